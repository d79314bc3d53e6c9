"""/homeport/...: health, info, coverage, why, logs and reservations."""

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field

from ...data_plane import DataPlane
from ...domain.runs import current_run
from ...domain.workload import TERMINAL, Phase
from ...errors import HomeportError, Invalid, NotFound, Unauthorized
from ...reconcile.loop import ReconcileLoop
from ...services import access, attempt_logs, endpoints, reservations, workloads
from ...services.attempt_logs import LogSources
from ...services.context import Services


@dataclass(frozen=True, slots=True)
class AdminContext:
    services: Services
    loop: ReconcileLoop
    logs: LogSources
    plane: DataPlane
    runtime: str
    version: str
    operations: tuple[tuple[str, str, str, str | None], ...]  # area, method, path, test


router = APIRouter()


async def context(request: Request) -> AdminContext:
    return request.app.state.context


Context = Annotated[AdminContext, Depends(context)]


async def bearer(request: Request, ctx: Context) -> access.Caller:
    token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    found = access.get_caller(ctx.services.store, ctx.services.clock, token) if token else None
    if found is None:
        raise Unauthorized(
            "the bearer token is missing, unknown or expired; `homeport env` prints a valid one"
        )
    return found


Bearer = Annotated[access.Caller, Depends(bearer)]


@router.get("/health")
async def get_health(ctx: Context) -> Response:
    """503 only while the store cannot write; trouble with the runtime is a reason, not an outage."""
    trouble = await ctx.services.store.trouble()
    told = [trouble, *ctx.loop.reasons, ctx.plane.trouble]
    reasons = list(dict.fromkeys(reason for reason in told if reason))
    answer = {"status": "degraded" if reasons else "ok", "reasons": reasons}
    return JSONResponse(answer | ({"message": trouble} if trouble else {}), 503 if trouble else 200)


@router.get("/info")
async def get_info(ctx: Context, _who: Bearer) -> Response:
    nodes = [
        {
            "id": n.id,
            "gpus": [{"uuid": g.uuid, "product": g.product, "simulated": g.is_simulated} for g in n.gpus],
        }
        for n in ctx.services.nodes
    ]
    return JSONResponse({"version": ctx.version, "runtime": ctx.runtime, "nodes": nodes})


@router.get("/coverage")
async def get_coverage(ctx: Context) -> Response:
    served = Counter(bool(test) for *_, test in ctx.operations)
    rows = [
        {"area": area, "method": method, "path": path, "test": test}
        for area, method, path, test in ctx.operations
    ]
    return JSONResponse({"lepton": {"served": served[True], "of": len(rows), "operations": rows}})


@router.get("/workloads")
async def list_workloads(ctx: Context, who: Bearer) -> Response:
    found = [
        f
        for kind in ctx.services.store.reads.counts(who.workspace)
        for f in workloads.list_workloads(ctx.services, who.workspace, kind, archived=False)
    ]
    return JSONResponse(
        [
            {
                "id": f.workload.id,
                "kind": f.workload.kind,
                "phase": f.phase.value,
                "shape": f.workload.spec.shape,
            }
            for f in found
        ]
    )


@router.get("/why/{workload_id}")
async def explain(workload_id: str, ctx: Context, who: Bearer) -> Response:
    """Why a workload is where it is: the scheduler's reasons while it is queued, else its last event."""
    found = workloads.find_workload(ctx.services, who.workspace, workload_id)
    refusal = ctx.loop.unplaced.get(found.workload.id)
    is_queued = found.phase in (Phase.QUEUED, Phase.RESTARTING)
    events = ctx.services.store.events_of(found.workload.id)
    reasons = list(refusal.reasons) if refusal and is_queued else [e.message for e in events[-1:]]
    if found.phase not in TERMINAL:
        reasons = [*ctx.loop.reasons, *reasons]
    return JSONResponse({"id": found.workload.id, "phase": found.phase.value, "reasons": reasons})


@router.get("/logs/{name}")
async def read_log(
    name: str, ctx: Context, who: Bearer, replica: str | None = None, follow: bool = False
) -> Response:
    """The log of a workload's latest run as text; several replicas' lines by time, each with its replica."""
    found = workloads.find_workload(ctx.services, who.workspace, name)
    attempts = current_run(found.workload, ctx.services.store.attempts_of(found.workload.id))
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
    approved = await endpoints.approve_replicas(ctx.services, who.workspace, name, approval.replica)
    return JSONResponse({"approved": approved})


class NewReservation(BaseModel):
    """`starts_at`: Unix seconds, now unless given. `lasts_s`: seconds."""

    name: str
    node_group: str = "default"
    nodes: int = Field(default=1, ge=1)
    starts_at: int | None = Field(default=None, ge=0)
    lasts_s: int = Field(ge=1)


@router.post("/reservations")
async def create_reservation(new: NewReservation, ctx: Context, who: Bearer) -> Response:
    made = await reservations.create_reservation(
        ctx.services, new.name, node_group=new.node_group, node_count=new.nodes, owner=who.owner,
        starts_at_ms=None if new.starts_at is None else new.starts_at * 1000,
        lasts=timedelta(seconds=new.lasts_s),
    )  # fmt: skip
    return JSONResponse(asdict(made), 201)


@router.delete("/reservations/{name}")
async def delete_reservation(name: str, ctx: Context, _who: Bearer) -> Response:
    await reservations.delete_reservation(ctx.services, name)
    return JSONResponse({})


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HomeportError)
    return JSONResponse({"code": error.code, "message": str(error)}, error.status)


def make_app(ctx: AdminContext) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.state.context = ctx
    app.include_router(router)
    app.add_exception_handler(HomeportError, _refused)
    return app
