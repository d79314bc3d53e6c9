"""Jobs: their life, their replicas, their events."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from ....domain.workload import Workload
from ....errors import Invalid, NotFound, NotImplementedYet
from ....services import workloads
from .. import wire
from ..context import LeptonContext
from ..translate import jobs as translate
from .deps import Authorized, Context

router = APIRouter()
ARCHIVED = {"alive_only": False, "archive_only": True, "alive_and_archive": None}
QueryMode = Literal["alive_only", "archive_only", "alive_and_archive"]


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
