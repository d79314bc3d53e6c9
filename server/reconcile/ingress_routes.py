"""The names under which endpoints answer, and the ingresses in front of them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..domain.ingresses import Ingress
from ..routing import INGRESS_MARK, AccessRule, Balancing, Route, Share, hosts_of


def with_hosts(
    routes: Mapping[str, Route],
    ingresses: Iterable[Ingress],
    workspace_tokens: Mapping[str, frozenset[str]],
    requests_per_minute: float,
) -> dict[str, Route]:
    """
    The routes with their names in the Host form, and a route for each ingress.

    A name goes to the first route that has it, ingresses last: that two have the same one is
    refused when they are made, and must never keep the whole table from the gateway.

    Args:
        routes: of endpoints, by key.
        requests_per_minute: of an ingress that is limited.
    """
    taken: set[str] = set()

    def free(hosts: tuple[str, ...]) -> tuple[str, ...]:
        mine = tuple(h for h in hosts if h not in taken)
        taken.update(mine)
        return mine

    found = {key: replace(r, hosts=free(hosts_of(r.workspace, r.endpoint))) for key, r in routes.items()}
    for ingress in ingresses:
        own = workspace_tokens.get(ingress.workspace, frozenset())
        route = Route(
            ingress.workspace,
            INGRESS_MARK + ingress.domain,
            hosts=free((ingress.domain,)),
            access=AccessRule(own if ingress.needs_workspace_token else None, own, ingress.addresses),
            shares=_shares(ingress, routes),
            requests_per_minute=requests_per_minute if ingress.is_rate_limited else None,
        )
        found[route.key] = route
    return found


def _shares(ingress: Ingress, routes: Mapping[str, Route]) -> tuple[Share, ...]:
    """What an endpoint had that is gone falls to the others, since weights are relative."""
    found: list[Share] = []
    for share in ingress.shares:
        key = f"{ingress.workspace}/{share.endpoint}"
        if key in routes and share.weight > 0:
            balancing = Balancing(share.balancing) if share.balancing else None
            found.append(Share(key, share.weight, balancing, share.choice_count))
    return tuple(found)
