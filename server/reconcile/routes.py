"""What the gateway is to know: endpoints with the replicas that are ready. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from ..domain.endpoints import is_ready, serving_of
from ..domain.serving import Access
from ..domain.workload import Attempt, Workload
from ..routing import AccessRule, Balancing, Route, RouteState, Target


def routes_of(
    workloads: Iterable[Workload],
    attempts: Sequence[Attempt],
    addresses: Mapping[tuple[str, int], str],
    workspace_tokens: Mapping[str, frozenset[str]],
) -> dict[str, Route]:
    """
    Routes by key. One that is being deleted has none: its name may belong to another by now.

    Args:
        addresses: of running containers, by replica and attempt.
        workspace_tokens: hashes of the valid tokens of each workspace.
    """
    mine: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.is_live and attempt.key in addresses:
            mine.setdefault(attempt.workload_id, []).append(attempt)
    routes: dict[str, Route] = {}
    for workload in workloads:
        if workload.spec.serving is None or workload.is_deleting or workload.archived_at_ms is not None:
            continue
        ready = [a for a in mine.get(workload.id, ()) if is_ready(workload, a)]
        own = workspace_tokens.get(workload.workspace, frozenset())
        route = _route(workload, ready, addresses, own)
        routes[route.key] = route
    return routes


def _route(
    workload: Workload,
    ready: Sequence[Attempt],
    addresses: Mapping[tuple[str, int], str],
    own: frozenset[str],
) -> Route:
    serving = serving_of(workload)
    targets: tuple[Target, ...] = ()
    if serving.port is not None and not workload.spec.is_stopped:
        by_index = sorted(ready, key=lambda a: a.index)
        targets = tuple(Target(a.replica_id, addresses[a.key], serving.port) for a in by_index)
    return Route(
        workspace=workload.workspace,
        endpoint=workload.name,
        replicas=targets,
        access=_rule(serving.access, own),
        state=RouteState.STOPPED if workload.spec.is_stopped else RouteState.SERVING,
        timeout_s=serving.timeout_s,
        may_name_replica=serving.pins_replicas,
        balancing=Balancing(serving.balancing),
        choice_count=serving.choice_count,
    )


def _rule(access: Access, own: frozenset[str]) -> AccessRule:
    opens = frozenset(access.tokens) | (own if access.takes_workspace_token else frozenset())
    return AccessRule(None if access.is_public else opens, own, access.addresses)
