"""What runs: the list, logs, approval."""

from dataclasses import replace

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel

from ....domain.lifecycle import latest_attempts
from ....errors import Invalid, NotFound
from ....services import attempt_logs, endpoints, org, why, workloads
from .deps import Bearer, Context

router = APIRouter()


@router.get("/workloads")
async def list_workloads(ctx: Context, who: Bearer) -> Response:
    """Of the caller's workspace; for whoever runs the server of all others, too."""
    others = [p.name for p in org.list_projects(ctx.services) if p.name != who.workspace]
    found = [
        f
        for workspace in (who.workspace, *(others if who.runs_server else ()))
        for kind in ctx.services.store.reads.counts(workspace)
        for f in workloads.list_workloads(
            ctx.services, workspace, kind, archived=False, viewer=replace(who, workspace=workspace)
        )
    ]
    return JSONResponse(
        [
            {
                "id": f.workload.id,
                "kind": f.workload.kind,
                "workspace": f.workload.workspace,
                "phase": f.phase.value,
                "shape": f.workload.spec.shape,
            }
            for f in found
        ]
    )


@router.get("/logs/{name}")
async def read_log(
    name: str, ctx: Context, who: Bearer, replica: str | None = None, follow: bool = False
) -> Response:
    """The log of a workload's latest run as text; several replicas' lines by time, each with its replica."""
    found = why.find_anywhere(ctx.services, who, name)
    attempts = latest_attempts(found.workload, ctx.services.store.attempts_of(found.workload.id))
    latest = {a.replica_id: a for a in attempts if replica in (None, a.replica_id)}
    if not latest and replica is not None:
        raise NotFound("replica", replica)
    if len(latest) > 1 and follow:
        raise Invalid("replica", f"name one to follow it: {', '.join(sorted(latest))}")
    if follow and latest:
        log = attempt_logs.follow_log(ctx.logs, next(iter(latest.values())))
        return StreamingResponse(log, media_type="text/plain; charset=utf-8")
    lines = await attempt_logs.read_lines(ctx.logs, list(latest.values()))
    text = "".join(f"[{x.replica_id}] {x.text}\n" if len(latest) > 1 else f"{x.text}\n" for x in lines)
    return PlainTextResponse(text)


class Approval(BaseModel):
    """`replica`: its id; all that run now unless it is named."""

    replica: str | None = None


@router.post("/endpoints/{name}/approve")
async def approve_endpoint(name: str, approval: Approval, ctx: Context, who: Bearer) -> Response:
    there = replace(who, workspace=why.find_anywhere(ctx.services, who, name).workload.workspace)
    approved = await endpoints.approve_replicas(ctx.services, there, name, approval.replica)
    return JSONResponse({"approved": approved})
