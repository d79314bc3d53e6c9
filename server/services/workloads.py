"""Create, read, stop, start and delete workloads."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlmodel import Session

from ...runtime.clock import Clock
from ..domain.inventory import HostNode, Shape, shapes_of
from ..domain.workload import Attempt, Phase, Workload, WorkloadSpec, phase_of, restarted
from ..errors import Conflict, Invalid, NotFound
from ..store.store import Store, add_event, load_workload, save_workload
from ..store.tables import EventRow

ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class Services:
    """What every use case needs; `app.py` makes the one there is."""

    store: Store
    clock: Clock
    nodes: tuple[HostNode, ...]
    poke: Callable[[], None]

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return shapes_of(self.nodes)


def new_id(name: str) -> str:
    return f"{name}-{''.join(secrets.choice(ID_ALPHABET) for _ in range(4))}"


def get_shape(services: Services, name: str, *, field: str) -> Shape:
    found = {s.name: s for s in services.shapes}
    if name not in found:
        raise Invalid(field, f"no shape named {name!r}; there are {', '.join(sorted(found))}")
    return found[name]


async def create_workload(
    services: Services, *, workspace: str, name: str, kind: str, owner: str, spec: WorkloadSpec
) -> Workload:
    """Durable when it returns; the id is the name and four more characters."""
    known = {n.id for n in services.nodes}
    if unknown := [n for n in spec.nodes if n not in known]:
        raise Invalid("spec.affinity.allowed_nodes_in_node_group", f"no node named {unknown[0]!r}")
    groups = {n.node_group for n in services.nodes}
    if unknown := [g for g in spec.node_groups if g not in groups]:
        raise Invalid("spec.affinity.allowed_dedicated_node_groups", f"no node group named {unknown[0]!r}")

    def insert(session: Session) -> Workload:
        workload_id = new_id(name)
        while load_workload(session, workload_id) is not None:
            workload_id = new_id(name)
        now = services.clock.now_ms()
        workload = Workload(workload_id, workspace, name, kind, owner, now, spec)
        save_workload(session, workload)
        add_event(session, workload_id, now, "Created", f"{kind} {workload_id} was created by {owner}")
        return workload

    workload = await services.store.write(insert)
    services.poke()
    return workload


def get_workload(services: Services, workspace: str, workload_id: str) -> tuple[Workload, list[Attempt]]:
    workload = services.store.get_workload(workspace, workload_id)
    if workload is None:
        raise NotFound("job", workload_id)
    return workload, services.store.attempts_of(workload_id)


def list_workloads(
    services: Services, workspace: str, *, archived: bool | None
) -> list[tuple[Workload, Phase]]:
    return services.store.list_workloads(workspace, archived=archived)


def list_events(services: Services, workspace: str, workload_id: str) -> Sequence[EventRow]:
    get_workload(services, workspace, workload_id)
    return services.store.events_of(workload_id)


async def set_stopped(services: Services, workspace: str, workload_id: str, *, stopped: bool) -> Workload:
    """Stopping is a wish: the phase says Stopping until the container has ended. Starting runs it anew."""

    def change(workload: Workload, attempts: list[Attempt]) -> tuple[Workload, str]:
        if stopped:
            return replace(workload, spec=replace(workload.spec, is_stopped=True)), "StopRequested"
        if any(a.is_live for a in attempts) and workload.spec.is_stopped:
            raise Conflict(f"job {workload_id} is still stopping; start it once it is stopped")
        if not workload.spec.is_stopped:
            return workload, ""
        return restarted(workload, attempts), "StartRequested"

    return await _update(services, workspace, workload_id, change)


async def delete_workload(services: Services, workspace: str, workload_id: str) -> None:
    """What it has on the machine is ended, then it moves to the archive with its log."""
    await _update(
        services, workspace, workload_id, lambda w, _a: (replace(w, is_deleting=True), "DeleteRequested")
    )


async def _update(
    services: Services,
    workspace: str,
    workload_id: str,
    change: Callable[[Workload, list[Attempt]], tuple[Workload, str]],
) -> Workload:
    _, attempts = get_workload(services, workspace, workload_id)

    def apply(session: Session) -> Workload:
        workload = load_workload(session, workload_id)
        if workload is None or phase_of(workload, attempts) is Phase.ARCHIVED:
            raise NotFound("job that is not archived", workload_id)
        changed, reason = change(workload, attempts)
        if changed != workload:
            save_workload(session, changed)
            add_event(
                session, workload_id, services.clock.now_ms(), reason, f"asked for through the API: {reason}"
            )
        return changed

    changed = await services.store.write(apply)
    services.poke()
    return changed
