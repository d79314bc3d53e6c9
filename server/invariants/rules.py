"""The rules: pure, over the facts of one moment or of two."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import fsum

from ...runtime.model import ContainerState, Observed
from ..domain.endpoints import is_ready
from ..domain.lifecycle import phase_of, unwanted
from ..domain.runs import EVICTED, first_members, stale_at_ms
from ..domain.workload import TERMINAL, Attempt, AttemptState, Phase
from ..store.active import Entry
from .facts import Facts

ON = frozenset({ContainerState.RUNNING, ContainerState.PAUSED})
LEAVING = frozenset({Phase.STOPPING, Phase.DELETING})
CHOSEN = frozenset({"reclaimed", "preempted", "consolidated"})  # ways to be evicted in favour of another
RESERVED = "reserved"  # in favour of one whose reservation has the node; who bursts has agreed to that
EPSILON = 1e-6  # sums of portions such as 0.1 are not exact
# SQLite takes the log back into the file every 4 MiB; one beyond this has a reader that never ends.
MOST_WAL_BYTES = 64 * 2**20


def broken(facts: Facts, *, is_quiet: bool = False) -> list[str]:
    """
    A sentence for each rule that does not hold; empty where all is well.

    Args:
        is_quiet: nothing is under way, so that what was observed has been recorded and acted upon, too.
    """
    found = [] if facts.integrity == "ok" else [f"the database file is damaged: {facts.integrity}"]
    if facts.wal_bytes > MOST_WAL_BYTES:
        found.append(f"the write-ahead log has grown to {facts.wal_bytes} bytes")
    found += [f"a secret's value stands in clear in {place}" for place in facts.leaks]
    found += _of_leases(facts)
    found += _of_attempts(facts)
    found += _of_workloads(facts)
    found += _of_projects(facts)
    if is_quiet and facts.kept is not None:
        found += _of_memory(facts, facts.kept)
    if is_quiet and facts.observed is not None:  # else nothing can be said: unseen is not gone
        seen = facts.observed
        found += [*_of_containers(facts, seen), *_of_rest(facts, seen), *_of_routes(facts, seen)]
    return found


def broken_steps(before: Facts, after: Facts) -> list[str]:
    """What can never have happened between two looks at one server, however much did."""
    found: list[str] = []
    later = {a.key: a for a in after.attempts}
    for attempt in before.attempts:
        now = later.get(attempt.key)
        if now is None:
            found.append(f"{_named(attempt)} is gone from the store")
        elif not attempt.is_live and now != attempt:
            found.append(f"{_named(attempt)} had ended, and has changed since")
        elif attempt.state is AttemptState.RUNNING and now.state is AttemptState.PLACED:
            found.append(f"{_named(attempt)} ran, and is said not to have begun")
    known = {a.key for a in before.attempts}
    highest = {a.replica_id: a.number for a in sorted(before.attempts, key=lambda a: a.number)}
    found += [
        f"{_named(a)} is new, and its number has not grown beyond {highest[a.replica_id]}"
        for a in after.attempts
        if a.key not in known and a.number <= highest.get(a.replica_id, 0)
    ]
    for id_, workload in before.workloads.items():
        now = after.workloads.get(id_)
        if now is None:
            found.append(f"{id_} is gone from the store")
        elif workload.archived_at_ms is not None and now.archived_at_ms is None:
            found.append(f"{id_} was archived, and is no more")
        elif now.generation < workload.generation or now.first_attempt < workload.first_attempt:
            found.append(f"{id_} has gone back to generation {now.generation}, run {now.first_attempt}")
    return found


def _named(attempt: Attempt) -> str:
    return f"{attempt.replica_id}, attempt {attempt.number},"


def _of_leases(facts: Facts) -> list[str]:
    found: list[str] = []
    taken: dict[tuple[str, str], list[float]] = {}
    for lease in facts.leases:
        taken.setdefault(lease[:2], []).append(lease.portion)
    found += [
        f"GPU {uuid} of node {node} is leased {fsum(portions):g} times"
        for (node, uuid), portions in taken.items()
        if fsum(portions) > 1 + EPSILON
    ]
    found += [
        f"GPU {lease.gpu_uuid} is leased on node {lease.node}, which has no such device"
        for lease in facts.leases
        if lease.gpu_uuid not in facts.devices.get(lease.node, ())
    ]
    wanted = {
        (uuid, *a.key): a.gpu_portion for a in facts.attempts if a.is_live for uuid in a.gpu_uuids
    }  # what has ended has no lease
    held = {(lease.gpu_uuid, lease.replica_id, lease.number): lease.portion for lease in facts.leases}
    for (uuid, replica_id, number), portion in held.items():
        if (uuid, replica_id, number) not in wanted:
            found.append(f"GPU {uuid} is leased to {replica_id}, attempt {number}, which does not live")
        elif abs(portion - wanted[uuid, replica_id, number]) > EPSILON:
            found.append(f"the lease of GPU {uuid} for {replica_id} is of another size than its attempt")
    found += [
        f"{replica_id}, attempt {number}, has GPU {uuid} without a lease"
        for uuid, replica_id, number in wanted.keys() - held.keys()
    ]
    return found


def _of_attempts(facts: Facts) -> list[str]:
    found: list[str] = []
    live = Counter(a.replica_id for a in facts.attempts if a.is_live)
    found += [f"{replica} has {n} live attempts" for replica, n in live.items() if n > 1]
    last: dict[str, Attempt] = {}
    for attempt in sorted(facts.attempts, key=lambda a: a.number):
        before = last.get(attempt.replica_id)
        if before is not None and before.is_live:
            found.append(f"{_named(before)} lives, and there is a later one")
        if before is not None and attempt.placed_at_ms < before.placed_at_ms:
            found.append(f"{_named(attempt)} was placed before the one that it follows")
        last[attempt.replica_id] = attempt
        phase = facts.phases.get(attempt.workload_id)
        if phase is None:
            found.append(f"{attempt.replica_id} belongs to no workload")
        elif attempt.is_live and phase in TERMINAL:
            found.append(f"{attempt.replica_id} lives, and {attempt.workload_id} is {phase.value}")
        if attempt.is_live and attempt.node not in facts.devices:
            found.append(f"{attempt.replica_id} is on node {attempt.node}, which there is not")
    return found


def _of_workloads(facts: Facts) -> list[str]:
    found: list[str] = []
    for id_, workload in facts.workloads.items():
        attempts, told = facts.of(id_), facts.events.get(id_, Counter[str]())
        derived = phase_of(workload, attempts)
        if facts.phases.get(id_) is not derived:
            found.append(f"{id_} is stored as {facts.phases[id_].value}, and is {derived.value}")
        if told["Scheduled"] != len(attempts):
            found.append(f"{id_} has {len(attempts)} attempts, and {told['Scheduled']} events tell of one")
        evicted = sum(a.reason == EVICTED for a in attempts)
        if evicted > told["Evicted"] + told["DoubleClaim"] + told["IdleLimit"]:
            found.append(f"{id_} was evicted {evicted} times, and its events tell of {told['Evicted']}")
        spec = workload.spec
        never = CHOSEN if spec.may_burst and spec.reservation else CHOSEN | {RESERVED}
        if not spec.is_preemptible and (ways := {_way(a) for a in attempts} & never):
            found.append(f"{id_} cannot be preempted, and was {', '.join(sorted(ways))}")
        begun = sum(a.number == workload.first_attempt for a in attempts)
        if workload.spec.serving is None and 0 < begun < (least := first_members(workload.spec)):
            found.append(f"{id_} began with {begun} of the {least} that start together")
    return found


def _of_memory(facts: Facts, kept: Mapping[str, Entry]) -> Iterator[str]:
    """The loop knows what the store holds of all that is not at rest."""
    for id_, workload in facts.workloads.items():
        attempts = facts.of(id_)
        entry = kept.get(id_)
        if entry is None:
            if facts.phases[id_] not in TERMINAL or any(a.is_live for a in attempts):
                yield f"{id_} is {facts.phases[id_].value}, and the loop does not know it"
        elif entry.found.workload != workload or {*entry.attempts} != {*attempts}:
            yield f"{id_} is known to the loop as it was once"


def _way(attempt: Attempt) -> str:
    """How it was evicted; "" where it was not."""
    return attempt.evicted_by.partition(" for ")[0]


def _of_projects(facts: Facts) -> Iterator[str]:
    """What users are told that a project has is what is leased to it."""
    leased: dict[str, list[float]] = {}
    projects = {
        a.key: facts.workloads[a.workload_id].workspace
        for a in facts.attempts
        if a.workload_id in facts.workloads
    }
    for lease in facts.leases:
        project = projects.get((lease.replica_id, lease.number))
        if project is not None:
            leased.setdefault(project, []).append(lease.portion)
    for project in sorted(leased.keys() | facts.allocated.keys()):
        told, has = facts.allocated.get(project, 0.0), fsum(leased.get(project, ()))
        if abs(told - has) > EPSILON * 100:
            yield f"project {project} is said to have {told:g} GPUs, and {has:g} are leased to it"


def _of_containers(facts: Facts, observed: Sequence[Observed]) -> list[str]:
    """Nothing can be done about those on a node that is down."""
    by_key = {a.key: a for a in facts.attempts}
    there = [o for o in observed if o.state is not ContainerState.LOST]
    seen = Counter((o.replica_id, o.attempt) for o in observed)
    found = [
        f"{replica}, attempt {n}, has {count} containers" for (replica, n), count in seen.items() if count > 1
    ]
    for container in there:
        attempt = by_key.get((container.replica_id, container.attempt))
        if attempt is None:
            found.append(f"container {container.handle.name} belongs to no attempt")
        elif not attempt.is_live:
            found.append(f"container {container.handle.name} is still there, and its attempt has ended")
    busy = {o.workload_id for o in observed} | {a.workload_id for a in facts.attempts if a.is_live}
    found += [f"network {group} belongs to nothing that runs" for group in facts.groups if group not in busy]
    on = {(o.replica_id, o.attempt) for o in there if o.state in ON}
    for attempt in facts.attempts:
        if attempt.state is AttemptState.RUNNING and not attempt.is_unseen and attempt.key not in on:
            found.append(f"{_named(attempt)} is said to run, and has no container that does")
        if attempt.state is AttemptState.PLACED and attempt.key in on:
            found.append(f"{_named(attempt)} runs, and is not said to")
    return found


def _of_rest(facts: Facts, observed: Sequence[Observed]) -> list[str]:
    """Where nothing is under way nothing is on its way either, but for what waits for its time."""
    found: list[str] = []
    seen = {(o.replica_id, o.attempt) for o in observed}
    for id_, workload in facts.workloads.items():
        attempts = facts.of(id_)
        if (phase := facts.phases[id_]) in LEAVING:
            found.append(f"{id_} is {phase.value}, and nothing keeps it there")
        whys = unwanted(workload, attempts)
        for attempt in (a for a in attempts if a.is_live):
            if attempt.key in whys:
                found.append(f"{_named(attempt)} is to end ({whys[attempt.key]}), and lives")
            elif attempt.key not in seen and attempt.next_try_ms <= facts.now_ms:
                found.append(f"{_named(attempt)} was placed, and nobody starts it")
        stale = None if workload.spec.serving else stale_at_ms(workload, attempts)
        if stale is not None and stale <= facts.now_ms:
            found.append(f"{id_} runs with fewer members than it can, and is left to")
    return found


def _of_routes(facts: Facts, observed: Sequence[Observed]) -> list[str]:
    """The gateway knows the replicas that are ready, and no others."""
    addressed = {(o.replica_id, o.attempt) for o in observed if o.address}
    found: list[str] = []
    for id_, workload in facts.workloads.items():
        serving = workload.spec.serving
        if serving is None or serving.port is None or not serving.is_exposed or workload.is_deleting:
            continue
        ready = {a.replica_id for a in facts.of(id_) if is_ready(workload, a) and a.key in addressed}
        shown = set(facts.served.get(workload.route_key, ()))
        if shown != (ready if workload.is_wanted else set[str]()) and workload.archived_at_ms is None:
            found.append(f"the gateway leads {id_} to {sorted(shown)}, and {sorted(ready)} are ready")
    return found
