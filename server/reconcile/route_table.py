"""The table that the gateway is to have, from the store."""

from collections.abc import Mapping

from ..routing import Route
from .ingress_routes import with_hosts
from .launches import Machine
from .routes import routes_of


def wanted_routes(machine: Machine, addresses: Mapping[tuple[str, int], str]) -> Mapping[str, Route]:
    """
    Args:
        addresses: of running containers, by replica and attempt.
    """
    reads = machine.store.reads
    tokens: dict[str, frozenset[str]] = {}
    for token in reads.tokens():
        tokens[token.workspace] = tokens.get(token.workspace, frozenset()) | {token.sha256}
    workloads = [f.workload for f in reads.serves()]
    by_id = reads.attempts([w.id for w in workloads]) if workloads else {}
    attempts = [a for mine in by_id.values() for a in mine]
    routes = routes_of(workloads, attempts, addresses, tokens, wakes=machine.zero.wakes)
    return with_hosts(routes, reads.ingresses(), tokens, machine.ingress_rpm)
