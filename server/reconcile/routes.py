"""What the gateway is to know: endpoints with the replicas that are ready. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from ..domain.endpoints import is_asleep, is_ready, serving_of
from ..domain.rollouts import spec_of
from ..domain.serving import Access
from ..domain.workload import Attempt, Workload
from ..routing import AccessRule, Balancing, Route, RouteState, Target


def routes_of(
    workloads: Iterable[Workload],
    attempts: Sequence[Attempt],
    addresses: Mapping[tuple[str, int], str],
    workspace_tokens: Mapping[str, frozenset[str]],
    *,
    wakes: bool = True,
) -> dict[str, Route]:
    """
    Routes by key. One that is being deleted has none: its name may belong to another by now.

    Args:
        addresses: of running containers, by replica and attempt.
        workspace_tokens: hashes of the valid tokens of each workspace.
        wakes: a request wakes what has no replica for want of traffic.
    """
    mine: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.is_live and attempt.key in addresses:
            mine.setdefault(attempt.workload_id, []).append(attempt)
    routes: dict[str, Route] = {}
    for workload in workloads:
        serving = workload.spec.serving
        if workload.is_deleting or workload.archived_at_ms is not None:
            continue
        if serving is None or serving.port is None or not serving.is_exposed:
            continue
        ready = [a for a in mine.get(workload.id, ()) if is_ready(workload, a)]
        own = workspace_tokens.get(workload.workspace, frozenset())
        route = _route(workload, ready, addresses, own, wakes)
        routes[route.key] = route
    return routes


def _route(
    workload: Workload,
    ready: Sequence[Attempt],
    addresses: Mapping[tuple[str, int], str],
    own: frozenset[str],
    wakes: bool,
) -> Route:
    serving = serving_of(workload)
    targets: tuple[Target, ...] = ()
    if not workload.spec.is_stopped:
        by_index = sorted(ready, key=lambda a: (a.index, a.number))
        ported = [(a, port) for a in by_index if (port := _port(workload, a)) is not None]
        targets = tuple(Target(a.replica_id, addresses[a.key], port) for a, port in ported)
    return Route(
        workspace=workload.workspace,
        endpoint=workload.name,
        replicas=targets,
        access=_rule(serving.access, own),
        state=_state(workload, bool(targets), wakes),
        timeout_s=serving.timeout_s,
        may_name_replica=serving.pins_replicas,
        balancing=Balancing(serving.balancing),
        choice_count=serving.choice_count,
    )


def _port(workload: Workload, attempt: Attempt) -> int | None:
    """Where that replica listens: an old one where it was told to."""
    spec = spec_of(workload, attempt)
    return spec.serving.port if spec is not None and spec.serving is not None else None


def _state(workload: Workload, is_served: bool, wakes: bool) -> RouteState:
    """Requests wait until the first replica is there again, however often it fails on its way."""
    if workload.spec.is_stopped or workload.failed:
        return RouteState.STOPPED
    if is_asleep(workload):
        return RouteState.ZERO if wakes else RouteState.ASLEEP
    return RouteState.ZERO if workload.is_waking and not is_served else RouteState.SERVING


def _rule(access: Access, own: frozenset[str]) -> AccessRule:
    opens = frozenset(access.tokens) | (own if access.takes_workspace_token else frozenset())
    return AccessRule(None if access.is_public else opens, own, access.addresses)
