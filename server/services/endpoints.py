"""Create, change, restart and find endpoints. Their name is their own, and their spec can change."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlmodel import Session

from ..domain.endpoints import is_asleep, is_ready, ready_of, serving_of
from ..domain.rollouts import begun_anew
from ..domain.workload import Attempt, Workload, WorkloadSpec
from ..errors import Conflict, Invalid, NotFound
from ..store.documents import to_doc
from ..store.found import Found
from ..store.writes import add_event, load_attempt, load_workload, save_attempt
from .access import Caller
from .context import Services
from .ingresses import check_host_form
from .workloads import check_not_deleting, create_workload, list_workloads, update_workload

KIND, POD = "endpoint", "pod"
BOTH = (KIND, POD)  # they share their names: the legacy API has one list of both
# What of a spec can change while its containers run on.
LIGHT = (
    "serving", "extras", "is_stopped", "priority", "is_preemptible", "can_preempt", "collects_logs",
    "is_private", "spread",
)  # fmt: skip


async def create_endpoint(
    services: Services,
    *,
    workspace: str,
    name: str,
    owner: str,
    spec: WorkloadSpec,
    warnings: Sequence[tuple[str, str]],
    kind: str = KIND,
    sole_among: Sequence[str] = BOTH,
    decided_replicas: int | None = None,
) -> Workload:
    """As `create_workload`."""
    check_host_form(services, workspace, name)
    return await create_workload(
        services, workspace=workspace, name=name, kind=kind, owner=owner, spec=spec, warnings=warnings,
        sole_among=sole_among, decided_replicas=decided_replicas,
    )  # fmt: skip


def list_endpoints(services: Services, who: Caller, kinds: Sequence[str] = (KIND,)) -> list[Found]:
    """Newest first."""
    found = [
        found
        for kind in kinds
        for found in list_workloads(services, who.workspace, kind, archived=False, viewer=who)
    ]
    return found if len(kinds) == 1 else sorted(found, key=lambda f: -f.workload.created_at_ms)


def hidden_keys(services: Services, who: Caller) -> set[str]:
    """By which the gateway knows what the caller may not see. For an admin nothing has to be read."""
    if who.is_admin:
        return set()
    return {
        found.workload.route_key
        for kind in BOTH
        for found in list_workloads(
            services, who.workspace, kind, archived=False, accepts=lambda w: not who.is_shown(w)
        )
    }


def get_endpoint(
    services: Services, who: Caller, name: str, kinds: Sequence[str] = BOTH
) -> tuple[Found, list[Attempt]]:
    """The newest of that name; one that is being deleted only while there is no other."""
    named = [
        found
        for kind in kinds
        for found in list_workloads(
            services,
            who.workspace,
            kind,
            archived=False,
            name=name,
            accepts=lambda w: w.name == name,
            viewer=who,
        )
    ]
    if not named:
        raise NotFound(" or ".join(kinds), name)
    found = next((f for f in named if not f.workload.is_deleting), named[0])
    return found, services.store.attempts_of(found.workload.id)


def changed(workload: Workload, attempts: Sequence[Attempt], spec: WorkloadSpec, now_ms: int) -> Workload:
    """
    The workload with that spec. Its replicas are replaced if what runs in them would differ.
    One that has gone to zero for want of traffic is started by the spec it has, and by
    another number of replicas.
    """
    same = {name: getattr(workload.spec, name) for name in LIGHT}
    if spec == workload.spec:
        return _awake(workload) if is_asleep(workload) else workload
    was_stopped, before = workload.spec.is_stopped, replace(spec, **same)
    is_heavy = before != workload.spec or _probes(spec) != _probes(workload.spec) or bool(workload.failed)
    version = (workload.major + 1, 0) if is_heavy else (workload.major, workload.minor + 1)
    after = replace(workload, major=version[0], minor=version[1])
    if was_stopped and not spec.is_stopped:
        return replace(begun_anew(after, spec, attempts, (), now_ms), decided_replicas=None, is_waking=False)
    if is_heavy:
        after = begun_anew(after, spec, attempts, ready_of(workload, attempts), now_ms)
    after = replace(after, spec=spec)
    if serving_of(after).scaling is None:
        after = replace(after, decided_replicas=None)
    is_other_number = serving_of(after).replicas != serving_of(workload).replicas
    return _awake(after) if is_asleep(after) and is_other_number else after


def _probes(spec: WorkloadSpec) -> object:
    return spec.serving and (spec.serving.readiness, spec.serving.liveness, spec.serving.port)


def _awake(workload: Workload) -> Workload:
    """Requests wait for it, as after a wake by one of them."""
    return replace(workload, decided_replicas=None, is_waking=True)


async def change_endpoint(
    services: Services,
    who: Caller,
    name: str,
    make: Callable[[WorkloadSpec], WorkloadSpec],
    *,
    kinds: Sequence[str] = BOTH,
    is_dry_run: bool = False,
    stamp: Callable[[Workload, Workload], Workload] = lambda _before, after: after,
    warnings: Sequence[tuple[str, str]] = (),
) -> Workload:
    """
    Args:
        make: the new spec from the one there is.
        stamp: what a dialect keeps of the change, once it is known what it has led to.
        warnings: as of `create_workload`; read once the change has been made.

    Raises:
        Invalid: nothing would change.
        Conflict: it is being deleted, or somebody else changed it at the same time.
    """
    found, attempts = get_endpoint(services, who, name, kinds)
    check_not_deleting(found.workload, name)
    before, after, now = found.workload.spec, make(found.workload.spec), services.clock.now_ms()
    planned = changed(found.workload, attempts, after, now)
    if planned == found.workload:
        raise Invalid("spec", "no valid field to update")  # the clients look for these words
    if is_dry_run:
        to_doc(planned)  # refused as the change itself would be
        return planned

    def change(workload: Workload, attempts: list[Attempt]) -> tuple[Workload, str]:
        check_not_deleting(workload, name)
        if workload.spec != before:
            raise Conflict(f"{KIND} {name} was changed at the same time; look at it and try again")
        return stamp(workload, changed(workload, attempts, after, now)), "UpdateRequested"

    def tell(session: Session) -> None:
        for reason, message in warnings:
            add_event(session, found.id, now, reason, message, type_="Warning")

    workload = await update_workload(services, who, found.workload.id, change)
    if warnings:
        await services.store.write(tell)
    return workload


async def approve_replicas(services: Services, who: Caller, name: str, replica: str | None) -> list[str]:
    """Lets one replica take requests, or all that run now. Their ids."""
    found, attempts = get_endpoint(services, who, name)
    chosen = [a for a in attempts if a.is_live and replica in (None, a.replica_id)]
    if not chosen and replica is not None:
        raise NotFound("replica that runs", replica)

    def approve(session: Session) -> None:
        for key in [a.key for a in chosen]:
            attempt = load_attempt(session, key)
            if attempt is not None and attempt.is_live:
                approved, now = replace(attempt, is_approved=True), services.clock.now_ms()
                workload = load_workload(session, attempt.workload_id)
                if approved.ready_at_ms is None and workload is not None and is_ready(workload, approved):
                    approved = replace(approved, ready_at_ms=now)
                save_attempt(session, approved)
                message = f"{attempt.replica_id} may take requests"
                add_event(session, found.id, now, "Approved", message)

    await services.store.write(approve)
    services.poke()
    return [a.replica_id for a in chosen]


async def restart_endpoint(
    services: Services, who: Caller, name: str, kinds: Sequence[str] = BOTH
) -> Workload:
    found, _ = get_endpoint(services, who, name, kinds)
    if not serving_of(found.workload).replicas:
        raise Invalid("spec.resource_requirement.min_replicas", f"{name} is stopped; raise it first")

    def change(workload: Workload, attempts: list[Attempt]) -> tuple[Workload, str]:
        check_not_deleting(workload, name)
        again = _awake(workload) if is_asleep(workload) else workload
        again = replace(again, major=workload.major + 1, minor=0)
        ready, now = ready_of(workload, attempts), services.clock.now_ms()
        return begun_anew(again, workload.spec, attempts, ready, now), "RestartRequested"

    return await update_workload(services, who, found.workload.id, change)
