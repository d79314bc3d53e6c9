"""Parse, authenticate, one call, answer. No decisions here."""

import codecs
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from ....runtime.errors import DriverError
from ...domain.workload import Workload
from ...errors import Invalid, NotFound, NotImplementedYet
from ...services import access, attempt_logs, workloads
from ...services.access import Caller
from . import translate, wire
from .context import LeptonContext
from .operations import OPERATIONS

router = APIRouter()
ARCHIVED = {"alive_only": False, "archive_only": True, "alive_and_archive": None}
QueryMode = Literal["alive_only", "archive_only", "alive_and_archive"]


async def context(request: Request) -> LeptonContext:
    return request.app.state.context


Context = Annotated[LeptonContext, Depends(context)]


async def caller(ws: str, request: Request, ctx: Context) -> Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else None
    return access.authorize(ctx.services.store, ctx.services.clock, bearer, ws)


Authorized = Annotated[Caller, Depends(caller)]


@router.get("/{ws}")
async def get_display_name(who: Authorized) -> Response:
    return JSONResponse({"display_name": who.workspace, "id": who.workspace})


@router.get("/{ws}/workspace")
async def get_workspace(who: Authorized, ctx: Context) -> Response:
    s = ctx.services
    live = [a for a in s.store.unarchived_attempts() if a.is_live]
    jobs = len(s.store.list_workloads(who.workspace, archived=False))
    return JSONResponse(translate.workspace_to_wire(who.workspace, ctx.version, jobs, live, s.shapes))


@router.get("/{ws}/tokens")
async def list_tokens(who: Authorized, ctx: Context) -> Response:
    rows = [t for t in ctx.services.store.tokens() if t.workspace == who.workspace]
    return JSONResponse([translate.token_to_wire(t) for t in rows])


def groups(ctx: LeptonContext) -> list[dict[str, Any]]:
    names = dict.fromkeys(n.node_group for n in ctx.services.nodes)
    return [
        translate.node_group_to_wire(
            name, [n for n in ctx.services.nodes if n.node_group == name], ctx.created_at_ms
        )
        for name in names
    ]


@router.get("/{ws}/dedicated-node-groups")
async def list_node_groups(_who: Authorized, ctx: Context) -> Response:
    return JSONResponse(groups(ctx))


@router.get("/{ws}/dedicated-node-groups/{group}/nodes")
async def list_nodes(group: str, who: Authorized, ctx: Context, idle: bool = False) -> Response:
    s = ctx.services
    nodes = [n for n in s.nodes if n.node_group == group]
    if not nodes:
        raise NotFound("node group", group)
    live = [a for a in s.store.unarchived_attempts() if a.is_live]
    if idle:
        busy = {a.node for a in live}
        nodes = [n for n in nodes if n.id not in busy]
    return JSONResponse([translate.node_to_wire(n, live, who.workspace, ctx.created_at_ms) for n in nodes])


@router.get("/{ws}/shapes")
async def list_shapes(
    _who: Authorized, ctx: Context, node_groups: str | None = None, purpose: str | None = None
) -> Response:
    """Only jobs are served, so shapes are listed for jobs only."""
    known = list(dict.fromkeys(n.node_group for n in ctx.services.nodes))
    if purpose not in (None, "", "job") or (node_groups and node_groups not in known):
        return JSONResponse([])
    return JSONResponse([translate.shape_to_wire(s, node_groups or known[0]) for s in ctx.services.shapes])


@router.post("/{ws}/jobs")
async def create_job(job: wire.Job, who: Authorized, ctx: Context) -> Response:
    if not job.spec.resource_shape:
        raise Invalid("spec.resource_shape", "a job needs a shape; `lep node resource-shape` lists them")
    shape = workloads.get_shape(ctx.services, job.spec.resource_shape, field="spec.resource_shape")
    wanted = (job.spec.affinity or wire.Affinity()).allowed_dedicated_node_groups or []
    workload = await workloads.create_workload(
        ctx.services, workspace=who.workspace, name=translate.job_name(job), kind="job", owner=who.owner,
        spec=translate.to_spec(job, shape, node_groups=wanted),
    )  # fmt: skip
    return JSONResponse(_job(ctx, workload), 201)


def _job(ctx: LeptonContext, workload: Workload) -> dict[str, Any]:
    attempts = ctx.services.store.attempts_of(workload.id)
    return translate.job_to_wire(workload, workloads.phase_of(workload, attempts), attempts)


@router.get("/{ws}/jobs")
async def list_jobs(
    who: Authorized,
    ctx: Context,
    job_query_mode: QueryMode = "alive_only",
    q: str = "",
    query: str = "",
    status: Annotated[list[str] | None, Query()] = None,
    node_groups: Annotated[list[str] | None, Query()] = None,
    created_by: Annotated[list[str] | None, Query()] = None,
    page: Annotated[int | None, Query(ge=1)] = None,
    page_size: Annotated[int | None, Query(ge=1, le=1000)] = None,
) -> Response:
    if query:
        raise NotImplementedYet("label selectors (query=)")
    found: list[dict[str, Any]] = []
    for workload, phase in workloads.list_workloads(
        ctx.services, who.workspace, archived=ARCHIVED[job_query_mode]
    ):
        state = translate.STATES[phase].lower()
        allowed = set(workload.spec.node_groups or (n.node_group for n in ctx.services.nodes))
        if (
            q in workload.name
            and (not status or any(text.lower() in state for text in status))
            and (not node_groups or allowed & set(node_groups))
            and (not created_by or any(workload.owner.startswith(o) for o in created_by))
        ):
            found.append(_job(ctx, workload))
    if page is None and page_size is None:
        return JSONResponse(found)  # 0.22.9 and list_matching read a bare list
    size, at = page_size or 500, page or 1
    return JSONResponse({"jobs": found[(at - 1) * size : at * size], "total": len(found)})


@router.get("/{ws}/jobs/{job_id}")
async def get_job(
    job_id: str, who: Authorized, ctx: Context, job_query_mode: QueryMode = "alive_and_archive"
) -> Response:
    workload, _ = workloads.get_workload(ctx.services, who.workspace, job_id)
    if ARCHIVED[job_query_mode] not in (None, workload.archived_at_ms is not None):
        raise NotFound("job", job_id)
    return JSONResponse(_job(ctx, workload))


@router.patch("/{ws}/jobs/{job_id}")
async def update_job(job_id: str, patch: wire.JobPatch, who: Authorized, ctx: Context) -> Response:
    others = set(patch.model_dump(exclude_unset=True).get("spec", {})) - {"stopped"}
    if others:
        raise NotImplementedYet(f"changing spec.{min(others)} of a job")
    if patch.spec.stopped is None:
        raise Invalid("spec", "no valid field to update")  # the clients look for these words
    workload = await workloads.set_stopped(ctx.services, who.workspace, job_id, stopped=patch.spec.stopped)
    return JSONResponse(_job(ctx, workload))


@router.delete("/{ws}/jobs/{job_id}")
async def delete_job(job_id: str, who: Authorized, ctx: Context) -> Response:
    await workloads.delete_workload(ctx.services, who.workspace, job_id)
    return JSONResponse({})


@router.get("/{ws}/jobs/{job_id}/events")
async def list_job_events(job_id: str, who: Authorized, ctx: Context) -> Response:
    rows = workloads.list_events(ctx.services, who.workspace, job_id)
    return JSONResponse([translate.event_to_wire(r) for r in rows])


@router.get("/{ws}/jobs/{job_id}/replicas")
async def list_job_replicas(job_id: str, who: Authorized, ctx: Context) -> Response:
    _, attempts = workloads.get_workload(ctx.services, who.workspace, job_id)
    newest = {a.replica_id: a for a in attempts}
    return JSONResponse([translate.replica_to_wire(a) for a in newest.values()])


@router.get("/{ws}/jobs/{job_id}/replicas/{replica_id}/log")
async def get_job_log(job_id: str, replica_id: str, who: Authorized, ctx: Context) -> Response:
    _, attempts = workloads.get_workload(ctx.services, who.workspace, job_id)
    mine = [a for a in attempts if a.replica_id == replica_id]
    if not mine:
        raise NotFound("replica", replica_id)
    try:
        chunks = attempt_logs.follow_log(ctx.logs, mine[-1])
        return StreamingResponse(_whole_characters(chunks), media_type="text/plain; charset=utf-8")
    except DriverError as error:
        raise HTTPException(503, str(error)) from error


async def _whole_characters(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The clients decode each chunk by itself, so no character may span two."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for chunk in chunks:
        if text := decoder.decode(chunk):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text


KNOWN = [(o, re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(o.path)) + "$")) for o in OPERATIONS]


@router.api_route("/{ws}/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])
async def refuse(rest: str, request: Request, _who: Authorized) -> Response:
    """Vendor operations that are not served are told apart from paths that nobody knows."""
    matching = [o for o, pattern in KNOWN if pattern.match(f"/{rest}")]
    if any(o.method == request.method and o.test is None for o in matching):
        raise NotImplementedYet(f"{request.method} /{rest}")
    if matching:
        raise HTTPException(405, f"{request.method} is not an operation of /{rest}")
    raise NotFound("operation", f"{request.method} /{rest}")
