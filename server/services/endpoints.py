"""Create, change, restart and find endpoints. Their name is their own, and their spec can change."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlmodel import Session

from ..domain.endpoints import serving_of
from ..domain.workload import Attempt, Workload, WorkloadSpec
from ..errors import Conflict, Invalid, NotFound
from ..store.reads import Found
from ..store.writes import add_event, load_attempt, save_attempt
from .context import Services
from .workloads import create_workload, list_workloads, update_workload

KIND = "endpoint"
# What of a spec can change while its containers run on.
LIGHT = ("serving", "extras", "is_stopped", "priority")


async def create_endpoint(
    services: Services,
    *,
    workspace: str,
    name: str,
    owner: str,
    spec: WorkloadSpec,
    warnings: Sequence[tuple[str, str]],
) -> Workload:
    return await create_workload(
        services, workspace=workspace, name=name, kind=KIND, owner=owner, spec=spec, warnings=warnings,
        is_sole=True,
    )  # fmt: skip


def list_endpoints(services: Services, workspace: str) -> list[Found]:
    return list_workloads(services, workspace, KIND, archived=False)


def get_endpoint(services: Services, workspace: str, name: str) -> tuple[Found, list[Attempt]]:
    """The newest of that name; one that is being deleted only while there is no other."""
    named = list_workloads(
        services, workspace, KIND, archived=False, name=name, accepts=lambda w: w.name == name
    )
    if not named:
        raise NotFound(KIND, name)
    found = next((f for f in named if not f.workload.is_deleting), named[0])
    return found, services.store.attempts_of(found.workload.id)


def changed(workload: Workload, attempts: Sequence[Attempt], spec: WorkloadSpec) -> Workload:
    """The workload with that spec. Its replicas are replaced if what runs in them would differ."""
    same = {name: getattr(workload.spec, name) for name in LIGHT}
    if spec == workload.spec:
        return workload
    was_stopped, before = workload.spec.is_stopped, replace(spec, **same)
    is_heavy = before != workload.spec or _probes(spec) != _probes(workload.spec)
    version = (workload.major + 1, 0) if is_heavy else (workload.major, workload.minor + 1)
    after = replace(workload, spec=spec, major=version[0], minor=version[1])
    return _begun_anew(after, attempts) if is_heavy or (was_stopped and not spec.is_stopped) else after


def _probes(spec: WorkloadSpec) -> object:
    return spec.serving and (spec.serving.readiness, spec.serving.liveness, spec.serving.port)


def _begun_anew(workload: Workload, attempts: Sequence[Attempt]) -> Workload:
    return replace(workload, first_attempt=max((a.number for a in attempts), default=0) + 1)


async def change_endpoint(
    services: Services,
    workspace: str,
    name: str,
    make: Callable[[WorkloadSpec], WorkloadSpec],
    *,
    is_dry_run: bool = False,
) -> Workload:
    """
    Args:
        make: the new spec from the one there is.

    Raises:
        Invalid: nothing would change.
        Conflict: somebody else changed it at the same time.
    """
    found, attempts = get_endpoint(services, workspace, name)
    before, after = found.workload.spec, make(found.workload.spec)
    planned = changed(found.workload, attempts, after)
    if planned == found.workload:
        raise Invalid("spec", "no valid field to update")  # the clients look for these words
    if is_dry_run:
        return planned

    def change(workload: Workload, attempts: list[Attempt]) -> tuple[Workload, str]:
        if workload.spec != before:
            raise Conflict(f"{KIND} {name} was changed at the same time; look at it and try again")
        return changed(workload, attempts, after), "UpdateRequested"

    return await update_workload(services, workspace, found.workload.id, change)


async def approve_replicas(services: Services, workspace: str, name: str, replica: str | None) -> list[str]:
    """Lets one replica take requests, or all that run now. Their ids."""
    found, attempts = get_endpoint(services, workspace, name)
    chosen = [a for a in attempts if a.is_live and replica in (None, a.replica_id)]
    if not chosen and replica is not None:
        raise NotFound("replica that runs", replica)

    def approve(session: Session) -> None:
        for key in [a.key for a in chosen]:
            attempt = load_attempt(session, key)
            if attempt is not None and attempt.is_live:
                save_attempt(session, replace(attempt, is_approved=True))
                message = f"{attempt.replica_id} may take requests"
                add_event(session, found.id, services.clock.now_ms(), "Approved", message)

    await services.store.write(approve)
    services.poke()
    return [a.replica_id for a in chosen]


async def restart_endpoint(services: Services, workspace: str, name: str) -> Workload:
    found, _ = get_endpoint(services, workspace, name)
    if not serving_of(found.workload).replicas:
        raise Invalid("spec.resource_requirement.min_replicas", f"{KIND} {name} is stopped; raise it first")

    def change(workload: Workload, attempts: list[Attempt]) -> tuple[Workload, str]:
        again = replace(workload, major=workload.major + 1, minor=0)
        return _begun_anew(again, attempts), "RestartRequested"

    return await update_workload(services, workspace, found.workload.id, change)
