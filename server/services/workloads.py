"""Create, read, stop, start and delete workloads."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlmodel import Session

from ..domain.inventory import Shape
from ..domain.runs import begun_anew, rested_ms
from ..domain.workload import Attempt, Phase, Workload, WorkloadSpec
from ..errors import Conflict, Invalid, NotFound
from ..store.found import Found
from ..store.org import has_project
from ..store.tables import EventRow
from ..store.writes import add_event, load_attempts, load_named, load_workload, save_workload
from . import org, reservations
from .access import Caller
from .context import Services

ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
Filter = Callable[[Workload], bool]
# From what there is to what is asked for, and the reason of the event that says so; it may refuse.
Change = Callable[[Workload, list[Attempt]], tuple[Workload, str]]
CHUNK = 500  # rows read at a time where a filter is not one of the store's


def new_id(name: str) -> str:
    base = len(ID_ALPHABET)
    number = secrets.randbelow(base**4)  # one call into the system, not one for each character
    return f"{name}-{''.join(ID_ALPHABET[number // base**i % base] for i in range(4))}"


def get_shape(services: Services, name: str, *, field: str) -> Shape:
    found = {s.name: s for s in services.shapes}
    if name not in found:
        raise Invalid(field, f"no shape named {name!r}; there are {', '.join(sorted(found))}")
    return found[name]


async def create_workload(
    services: Services,
    *,
    workspace: str,
    name: str,
    kind: str,
    owner: str,
    spec: WorkloadSpec,
    warnings: Sequence[tuple[str, str]] = (),
    sole_among: Sequence[str] = (),
    decided_replicas: int | None = None,
    claims: Callable[[Session], None] = lambda _session: None,
) -> Workload:
    """
    Durable when it returns; the id is the name and four more characters.

    Args:
        warnings: reason and message of events that tell what of the request has no effect.
        sole_among: kinds among which its name is its own, apart from those that are being deleted.
        decided_replicas: of an endpoint, to begin with; None: as many as its user wants.
        claims: raises where something that it is to have is somebody else's, at the time of the write.
    """
    _check_places(services, spec)
    if spec.reservation is not None:
        reservations.check_reservation(
            services, spec.reservation, field="spec.reservation_config.reservation_id",
            owner=owner, workspace=workspace,
        )  # fmt: skip

    def insert(session: Session) -> Workload:
        if not has_project(session, workspace):  # it may have been removed since its token was looked at
            raise NotFound("workspace", workspace)
        for other in sole_among:
            if load_named(session, workspace, other, name) is not None:
                raise Conflict(f"{other} {name} is there already; remove it first, or choose another name")
        claims(session)
        workload_id = new_id(name)
        while load_workload(session, workload_id) is not None:
            workload_id = new_id(name)
        now = services.clock.now_ms()
        workload = Workload(
            workload_id, workspace, name, kind, owner, now, spec,
            is_due=spec.start_at_ms is None or spec.start_at_ms <= now, decided_replicas=decided_replicas,
        )  # fmt: skip
        save_workload(session, workload)
        add_event(session, workload_id, now, "Created", f"{kind} {workload_id} was created by {owner}")
        for reason, message in warnings:
            add_event(session, workload_id, now, reason, message, type_="Warning")
        return workload

    workload = await services.store.write(insert)
    services.poke()
    return workload


def _check_places(services: Services, spec: WorkloadSpec) -> None:
    known = {n.id for n in services.nodes} if spec.nodes else set[str]()
    if unknown := [n for n in spec.nodes if n not in known]:
        raise Invalid("spec.affinity.allowed_nodes_in_node_group", f"no node named {unknown[0]!r}")
    groups = {p.name for p in org.list_node_pools(services)} if spec.node_groups else set[str]()
    if unknown := [g for g in spec.node_groups if g not in groups]:
        raise Invalid("spec.affinity.allowed_dedicated_node_groups", f"no node group named {unknown[0]!r}")


def get_workload(services: Services, who: Caller, workload_id: str) -> tuple[Found, list[Attempt]]:
    """What the caller may not see is not there, in the same words."""
    found = services.store.reads.get(who.workspace, workload_id)
    if found is None or not who.may_see(found):
        raise NotFound("job", workload_id)
    return found, services.store.attempts_of(workload_id)


def list_workloads(
    services: Services,
    workspace: str,
    kind: str,
    *,
    archived: bool | None,
    phases: Sequence[Phase] | None = None,
    name: str = "",
    accepts: Filter | None = None,
    before: int | None = None,
    size: int | None = None,
    viewer: Caller | None = None,
) -> list[Found]:
    """
    Newest first, those before the row `before`, at most `size`; `accepts` filters further.

    Args:
        viewer: only what they may see; None is Homeport itself.
    """
    chosen: list[Found] = []
    if viewer is not None and not viewer.is_admin:
        accepts = _both(viewer.is_shown, accepts)
    while size is None or len(chosen) < size:
        rows = services.store.reads.page(
            workspace, kind, size=size or CHUNK, before=before, archived=archived, phases=phases, name=name
        )
        chosen += rows if accepts is None else [r for r in rows if accepts(r.workload)]
        if len(rows) < (size or CHUNK):
            break
        before = rows[-1].seq
    return chosen[:size]


def _both(one: Filter, other: Filter | None) -> Filter:
    return one if other is None else lambda workload: one(workload) and other(workload)


def find_workload(services: Services, who: Caller, name_or_id: str) -> Found:
    """By its id, else the newest of that name."""
    reads = services.store.reads
    if (found := reads.get(who.workspace, name_or_id)) is not None and who.may_see(found):
        return found
    for kind in reads.counts(who.workspace):
        named = list_workloads(
            services, who.workspace, kind, archived=None, name=name_or_id,
            accepts=lambda w: w.name == name_or_id, size=1, viewer=who,
        )  # fmt: skip
        if named:
            return named[0]
    raise NotFound("workload", name_or_id)


def list_events(services: Services, who: Caller, workload_id: str) -> Sequence[EventRow]:
    get_workload(services, who, workload_id)
    return services.store.events_of(workload_id)


async def set_stopped(
    services: Services, who: Caller, workload_id: str, *, stopped: bool, at_once: bool = False
) -> Workload:
    return await update_workload(
        services, who, workload_id, stop_change(services, stopped=stopped, at_once=at_once)
    )


def stop_change(services: Services, *, stopped: bool, at_once: bool = False) -> Change:
    """
    Stopping is a wish: the phase says Stopping until the container has ended. Starting runs it anew.

    Args:
        at_once: what is still stopping may be started again, too; it has its new run once it has stopped.
    """

    def change(workload: Workload, attempts: list[Attempt]) -> tuple[Workload, str]:
        if stopped:
            spec = replace(workload.spec, is_stopped=True)
            since = workload.stopped_at_ms if workload.spec.is_stopped else services.clock.now_ms()
            # What a rule has stopped is not stopped again by a person: why it ended stays.
            changed = replace(workload, spec=spec, retry_at_ms=None, stopped_at_ms=since)
            return changed, "StopRequested"
        if not at_once and any(a.is_live for a in attempts) and workload.spec.is_stopped:
            raise Conflict(f"job {workload.id} is still stopping; start it once it is stopped")
        if not workload.spec.is_stopped:
            return workload, ""
        again = begun_anew(workload, attempts)
        spec = replace(workload.spec, is_stopped=False)
        resting = (workload.suspended_ms or 0) + rested_ms(workload, attempts, services.clock.now_ms())
        changed = replace(again, spec=spec, runs_failed=0, stopped_by="", suspended_ms=resting)
        return changed, "StartRequested"

    return change


def check_not_deleting(workload: Workload, shown_as: str) -> None:
    """
    Args:
        shown_as: the name or id by which its user knows it.
    """
    if workload.is_deleting:
        raise Conflict(f"{workload.kind} {shown_as} is being deleted; create it again to have it changed")


async def delete_workload(services: Services, who: Caller, workload_id: str) -> None:
    """What it has on the machine is ended, then it moves to the archive with its log."""
    await update_workload(
        services, who, workload_id, lambda w, _a: (replace(w, is_deleting=True), "DeleteRequested")
    )


async def update_workload(
    services: Services,
    who: Caller,
    workload_id: str,
    change: Change,
) -> Workload:
    get_workload(services, who, workload_id)

    def apply(session: Session) -> Workload:
        workload, attempts = load_workload(session, workload_id), load_attempts(session, workload_id)
        if workload is None or workload.archived_at_ms is not None:
            raise NotFound("job that is not archived", workload_id)
        changed, reason = change(workload, attempts)
        if changed != workload:
            changed = replace(changed, generation=workload.generation + 1)
            save_workload(session, changed)
            message = f"{who.owner} asked for it"
            add_event(session, workload_id, services.clock.now_ms(), reason, message)
        return changed

    changed = await services.store.write(apply)
    services.poke()
    return changed
