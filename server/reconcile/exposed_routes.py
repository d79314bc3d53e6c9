"""The gateway's way to exposed ports of what runs to an end. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..domain.exposures import is_reachable
from ..domain.serving import Access, Exposure
from ..domain.workload import Attempt, Workload
from ..routing import LOCAL_DOMAIN, AccessRule, Route, Signed, Target

MARK = ":"  # no endpoint's name has it
ANYBODY, WORKSPACE = Access(), Access(takes_workspace_token=True)


@dataclass(frozen=True, slots=True)
class Person:
    """
    Whose token is good somewhere.

    Args:
        names: by which an `Access` may mean them.
        workspace: of their tokens; None: all.
        tokens: hashes. client_id: in the tokens that are signed; "": they have none.
    """

    names: frozenset[str]
    workspace: str | None
    tokens: frozenset[str] = frozenset()
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """
    Args:
        people: those there are. key: of signed tokens, in hex; "": there are none.
        is_local: the gateway is reached from this machine only.
    """

    people: Sequence[Person] = ()
    key: str = ""
    is_local: bool = True


Load = Callable[[], Known]


def exposed_routes(
    entries: Iterable[tuple[Workload, Sequence[Attempt]]],
    addresses: Mapping[tuple[str, int], str],
    known: Known,
) -> dict[str, Route]:
    """
    Routes by key: one for each exposed port of what is wanted. Of several replicas the first that is
    reachable takes the requests: of a distributed workload that is its master.

    Args:
        addresses: of running containers, by replica and attempt.
    """
    found: dict[str, Route] = {}
    for workload, attempts in entries:
        if not workload.is_wanted:
            continue
        there = [
            a for a in attempts
            if a.key in addresses and a.evicting_at_ms is None and is_reachable(workload, a)
        ]  # fmt: skip
        first = min(there, key=lambda a: (a.index, -a.number), default=None)
        for number, exposure in enumerate(workload.spec.exposures):
            targets = () if first is None else (_target(first, addresses[first.key], exposure),)
            route = Route(
                workload.workspace,
                f"{workload.name}{MARK}{number}",
                targets,
                rule_of(exposure.access, workload.workspace, known),
                hosts=(exposure.host or _own_host(workload, exposure, is_first=number == 0),),
                is_exposed_port=True,
                prefix="" if exposure.host else exposure.path,
            )
            found[route.key] = route
    return found


def with_exposed(routes: Mapping[str, Route], exposed: Mapping[str, Route]) -> dict[str, Route]:
    """
    All of them. What claims an address that another has stays without it: that two have the same is
    refused when they are made, and must never keep the whole table from the gateway.
    """
    taken = {claim for route in routes.values() for claim in route.claims}
    found = dict(routes)
    for key, route in exposed.items():
        if taken & set(route.claims):
            hosts = tuple(h for h in route.hosts if h not in taken)
            route = replace(route, hosts=hosts, prefix="" if route.prefix in taken else route.prefix)
        taken.update(route.claims)
        found[key] = route
    return found


def _own_host(workload: Workload, exposure: Exposure, *, is_first: bool) -> str:
    """As an endpoint of that name would have; nobody can go to one that is too long."""
    label = f"{workload.workspace}-{workload.name}" + ("" if is_first else f"-{exposure.port}")
    return f"{label.lower()}.{LOCAL_DOMAIN}"


def _target(attempt: Attempt, address: str, exposure: Exposure) -> Target:
    return Target(attempt.replica_id, address, exposure.port)


def rule_of(access: Access | None, workspace: str, known: Known) -> AccessRule:
    """
    Tokens of ours never reach the container, whether or not they are asked for.

    Args:
        access: None: anybody, where only this machine reaches the gateway, else as of the workspace.
    """
    access = access or (ANYBODY if known.is_local else WORKSPACE)
    here = [p for p in known.people if p.workspace in (workspace, None)]
    welcome = here if access.takes_workspace_token else [p for p in here if p.names & set(access.people)]
    own = frozenset(token for person in here for token in person.tokens)
    opens = frozenset(access.tokens) | frozenset(t for person in welcome for t in person.tokens)
    holders = frozenset(person.client_id for person in welcome if person.client_id)
    return AccessRule(
        None if access.is_public else opens,
        own,
        access.addresses,
        Signed(known.key, holders) if known.key else None,
    )
