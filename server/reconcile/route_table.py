"""The table that the gateway is to have, from the store."""

from collections.abc import Mapping
from dataclasses import replace

from ..routing import Route
from .exposed_routes import Known, exposed_routes, rule_of, with_exposed
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
    exposing = reads.table.exposing(machine.clock.now_ms()).values()
    entries = [(e.found.workload, e.attempts) for e in exposing]
    asking = [w for w in workloads if w.spec.serving is not None and not w.spec.serving.access.is_public]
    known = machine.known() if entries or asking else Known()
    for workload in asking:
        if (route := routes.get(workload.route_key)) is not None and workload.spec.serving is not None:
            rule = rule_of(workload.spec.serving.access, workload.workspace, known)
            routes[route.key] = replace(route, access=rule)
    found = with_hosts(routes, reads.ingresses(), tokens, machine.ingress_rpm)
    return with_exposed(found, exposed_routes(entries, addresses, known)) if entries else found
