"""Jobs: their life, their replicas, their events."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from ....domain.workload import Phase, Workload
from ....errors import Invalid, NotFound
from ....services import job_changes, org, registries, secrets, volumes, workloads
from .. import wire
from ..context import LeptonContext
from ..labels import parse_selector
from ..translate import job_patches as patches
from ..translate import jobs as translate
from ..translate.foreign import metadata_to_wire
from ..translate.unheeded import unheeded, unheeded_ports
from .deps import Authorized, Context

router = APIRouter()
ARCHIVED = {"alive_only": False, "archive_only": True, "alive_and_archive": None}
QueryMode = Literal["alive_only", "archive_only", "alive_and_archive"]
PAGE_SIZE = 500


def json_bytes(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


@router.post("/{ws}/jobs")
async def create_job(job: wire.Job, who: Authorized, ctx: Context) -> Response:
    if not job.spec.resource_shape:
        raise Invalid("spec.resource_shape", "a job needs a shape; `lep node resource-shape` lists them")
    name = translate.job_name(job)
    shape = workloads.get_shape(ctx.services, job.spec.resource_shape, field="spec.resource_shape")
    wanted = (job.spec.affinity or wire.Affinity()).allowed_dedicated_node_groups or []
    spec = translate.to_spec(job, shape, node_groups=wanted)
    volumes.check_mounts(ctx.services, who, spec.node_groups, spec.mounts)
    secrets.check_secrets(ctx.services, who, [name for _, name in spec.secret_env])
    logins = registries.known_names(ctx.services, who.workspace, who.owner) if spec.pull_secrets else ()
    workload = await workloads.create_workload(
        ctx.services, workspace=who.workspace, name=name, kind="job", owner=who.owner, spec=spec,
        warnings=[
            *translate.warnings_of(job.spec.image_pull_secrets, logins),
            *unheeded(job.spec),
            *unheeded_ports(job.spec.container.ports or ()),
        ],
    )  # fmt: skip
    return _job(ctx, workload, 201)


def _job(ctx: LeptonContext, workload: Workload, status: int = 200) -> Response:
    found = ctx.services.store.reads.get(workload.workspace, workload.id)
    assert found is not None, f"{workload.id} is not in the store"
    return json_bytes(ctx.jobs.render([found])[0], status)


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
    page: Annotated[int | None, Query(ge=1, le=wire.INT32)] = None,
    page_size: Annotated[int | None, Query(ge=1, le=1000)] = None,
) -> Response:
    """Newest first. A page begins where the one before it ended, whatever was created meanwhile."""
    asker = "" if who.is_admin else who.owner
    filters = (str(status), str(node_groups), str(created_by))
    question = (who.workspace, asker, job_query_mode, q, query, *filters)
    phases = _phases(status)

    def look(before: int | None, size: int | None) -> list[workloads.Found]:
        return workloads.list_workloads(
            ctx.services, who.workspace, "job", archived=ARCHIVED[job_query_mode], phases=phases,
            name=q.lower(), accepts=_filter(ctx, query, node_groups, created_by), before=before, size=size,
            viewer=who,
        )  # fmt: skip

    if page is None and page_size is None:
        # 0.22.9 and list_matching read a bare list.
        return json_bytes(b"[" + b",".join(ctx.jobs.render(look(None, None))) + b"]")
    size, at = page_size or PAGE_SIZE, page or 1
    if at == 1:
        found = look(None, size)
    elif (before := ctx.jobs.page_start((question, size), at)) is not None:
        found = look(before, size)
    else:
        found = look(None, size * at)[size * (at - 1) :]
    if found:
        ctx.jobs.page_ended((question, size), at, found[-1].seq)
    return json_bytes(b'{"jobs":[' + b",".join(ctx.jobs.render(found)) + b"]}")


def _phases(status: list[str] | None) -> list[Phase] | None:
    """The CLI passes on what its user typed, so the beginning of a state, in any case, is enough."""
    if not status:
        return None
    return [
        p for p, state in translate.STATES.items() if any(state.lower().startswith(t.lower()) for t in status)
    ]


def _filter(
    ctx: LeptonContext, query: str, node_groups: list[str] | None, created_by: list[str] | None
) -> Callable[[Workload], bool] | None:
    """
    The clients pass on what their user typed, in any case: a part of a node group's name, the beginning of a
    user's. Source: 0.26.4, 0.27.3 and 0.47.1, cli.job.list_command with its help.
    """
    if not (query or node_groups or created_by):
        return None
    selects = parse_selector(query)
    everywhere = {p.name for p in org.list_node_pools(ctx.services)}
    groups = [g.lower() for g in node_groups or ()]
    owners = tuple(o.lower() for o in created_by or ())

    def accepts(workload: Workload) -> bool:
        allowed = workload.spec.node_groups or everywhere
        return (
            selects(metadata_to_wire(workload.spec).get("labels") or {})
            and (not groups or any(part in name.lower() for part in groups for name in allowed))
            and (not owners or workload.owner.lower().startswith(owners))
        )

    return accepts


@router.get("/{ws}/jobs/{job_id}")
async def get_job(
    job_id: str, who: Authorized, ctx: Context, job_query_mode: QueryMode = "alive_and_archive"
) -> Response:
    found = ctx.services.store.reads.get(who.workspace, job_id)
    is_archived = found is not None and found.phase is Phase.ARCHIVED
    if found is None or not who.may_see(found):
        raise NotFound("job", job_id)
    if ARCHIVED[job_query_mode] not in (None, is_archived):
        there = "one that is not archived"
        if is_archived:
            there = "one in the archive, which `lep job get --include-archived` shows"
        raise NotFound(f"job with job_query_mode={job_query_mode}", job_id, among=there)
    return json_bytes(ctx.jobs.render([found])[0])


@router.patch("/{ws}/jobs/{job_id}")
async def update_job(job_id: str, patch: wire.JobPatch, who: Authorized, ctx: Context) -> Response:
    """All that it asks for, or nothing of it."""
    asked = patch.model_dump(exclude_unset=True, by_alias=True)
    found, attempts = workloads.get_workload(ctx.services, who, job_id)
    patches.check_fixed(asked, translate.job_to_wire(found.workload, found.phase, attempts))
    if not patches.is_known(asked):
        raise Invalid("spec", "no valid field to update")  # the clients look for these words
    changes = [job_changes.described(who, lambda spec: patches.patched(spec, asked))]
    if "queue_config" in asked.get("spec", {}):
        queue = asked["spec"]["queue_config"]
        changes.append(job_changes.requeued(lambda spec: translate.with_queue(spec, queue)))
    if patch.spec.stopped is not None:
        changes.append(workloads.stop_change(ctx.services, stopped=patch.spec.stopped))
    workload = await workloads.update_workload(ctx.services, who, job_id, job_changes.in_turn(changes))
    return _job(ctx, workload)


@router.delete("/{ws}/jobs/{job_id}")
async def delete_job(job_id: str, who: Authorized, ctx: Context) -> Response:
    await workloads.delete_workload(ctx.services, who, job_id)
    return JSONResponse({})


@router.get("/{ws}/jobs/{job_id}/events")
async def list_job_events(job_id: str, who: Authorized, ctx: Context) -> Response:
    rows = workloads.list_events(ctx.services, who, job_id)
    return JSONResponse([translate.event_to_wire(r) for r in rows])


@router.get("/{ws}/jobs/{job_id}/replicas")
async def list_job_replicas(job_id: str, who: Authorized, ctx: Context) -> Response:
    """Those of the current run, in order of index; each by its newest attempt."""
    _, attempts = workloads.get_workload(ctx.services, who, job_id)
    newest = {a.replica_id: a for a in attempts}
    return JSONResponse(
        [translate.replica_to_wire(a) for a in sorted(newest.values(), key=lambda a: a.index)]
    )
