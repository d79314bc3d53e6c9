"""Commits that replicas are to make room; the loop then ends them like any other that is not wanted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlmodel import Session

from ...scheduler.model import AskClass, Eviction, Plan, Snapshot, Unplaced
from ...scheduler.plan import plan
from ..domain.evictions import (
    DOUBLE_CLAIM,
    DoubleClaim,
    all_named_for,
    evicted_for,
    evicting,
    is_moved,
    named_for,
)
from ..domain.lifecycle import needed
from ..domain.runs import EVICTED
from ..domain.workload import Attempt, Workload
from ..snapshot.asks import workload_of
from ..snapshot.work import Work, attempt_key
from ..store.writes import (
    add_event,
    keep_leases,
    load_attempt,
    load_attempts,
    load_workload,
    save_attempt,
)

Victim = tuple[Workload, Attempt, Eviction]


def by_asker(evictions: Sequence[Eviction]) -> list[list[Eviction]]:
    """Those that have to end for one and the same ask, together; what ends for nobody, by workload."""
    groups: dict[str, list[Eviction]] = {}
    for eviction in evictions:
        groups.setdefault(eviction.by or f"{eviction.workload}/", []).append(eviction)
    return list(groups.values())


def commit(session: Session, group: Sequence[Eviction], now_ms: int) -> bool:
    """
    All of a group or none: the plan was made for what there was when it was made.

    Returns:
        Whether they have been told to end. Not so where the ask, or one of them, is gone or has
        changed meanwhile; the next pass plans anew.
    """
    asker = waiting_asker(session, group[0].by, now_ms)
    if group[0].by and asker is None:
        return False
    victims: list[Victim] = []
    for eviction in group:
        attempt = load_attempt(session, attempt_key(eviction.id))
        workload = load_workload(session, eviction.workload)
        if attempt is None or workload is None or not attempt.is_live or attempt.evicting_at_ms is not None:
            return False
        victims.append((workload, attempt, eviction))
    for workload, attempt, eviction in victims:
        save_attempt(session, evicting(workload, attempt, eviction.how.value, asker, now_ms))
        message = f"{attempt.replica_id} is {_sentence(eviction, workload, asker)}"
        add_event(session, workload.id, now_ms, "Evicted", message, type_="Warning")
    if asker is not None:
        names = all_named_for(asker.workspace, [workload for workload, _, _ in victims])
        message = f"{names} {'ends' if ',' not in names else 'end'} to make room for it: {group[0].how.value}"
        add_event(session, asker.id, now_ms, "MakingRoom", message)
    return True


def _sentence(eviction: Eviction, victim: Workload, asker: Workload | None) -> str:
    """The scheduler calls an ask by its id, which is no word for people."""
    if asker is None:
        return eviction.message
    return eviction.message.replace(eviction.by, named_for(victim.workspace, asker))


def waiting_asker(session: Session, ask_id: str, now_ms: int) -> Workload | None:
    """The workload of the ask, where it still waits for that replica."""
    workload = load_workload(session, workload_of(ask_id)) if ask_id else None
    if workload is None:
        return None
    index = int(ask_id.rpartition("/")[2])
    return (
        workload if index in needed(workload, load_attempts(session, workload.id), now_ms).indexes else None
    )


def quarantine(session: Session, claims: Sequence[DoubleClaim], now_ms: int) -> None:
    """Whoever came later to a device that another has is ended; the one that stays has its leases."""
    for claim in claims:
        late = load_attempt(session, claim.late.key)
        workload = load_workload(session, claim.late.workload_id)
        if late is None or workload is None or not late.is_live or late.evicting_at_ms is not None:
            continue
        save_attempt(session, evicting(workload, late, DOUBLE_CLAIM, None, now_ms))
        for other in claim.others:
            keep_leases(session, other)
        owners = {o.workload_id: load_workload(session, o.workload_id) for o in (late, *claim.others)}
        for reader in filter(None, owners.values()):
            holders = ", ".join(_replica_for(reader, owners, other) for other in claim.others)
            message = (
                f"GPU {claim.gpu_uuid} of {claim.node} is claimed by {holders} and by "
                f"{_replica_for(reader, owners, late)}, which was placed later and is ended; "
                f"nobody else gets it meanwhile"
            )
            add_event(session, reader.id, now_ms, "DoubleClaim", message, type_="Warning")


def _replica_for(reader: Workload, owners: Mapping[str, Workload | None], attempt: Attempt) -> str:
    """As the workspace of `reader` may hear of it."""
    owner = owners[attempt.workload_id]
    if owner is None or owner.id == reader.id:
        return attempt.replica_id
    name = named_for(reader.workspace, owner)
    return attempt.replica_id if name == owner.id else name


def is_told(claims: Iterable[DoubleClaim]) -> bool:
    """Nothing is left to be committed about them."""
    return all(claim.late.evicting_at_ms is not None for claim in claims)


def held_back(works: Mapping[str, Work], odd: Mapping[str, Work]) -> dict[str, str]:
    """
    Ask ids of what was evicted and waits again, while the workload that it made room for waits
    too, and the id of that one: it must not go back to the place that it had to leave. What was moved comes
    right after that one, to the place that was found for it.

    Args:
        odd: those of the works that have to do with an eviction are among them.
    """
    held: dict[str, str] = {}
    for work in odd.values():
        waiting = [evicted_for(a) for a in _left(work) if not is_moved(a) and _claimed(a, works)]
        if waiting:
            held |= {ask.id: min(waiting) for ask, _ in work.asks}
    return held


def _left(work: Work) -> list[Attempt]:
    """The evicted ones that none has followed yet, of what waits."""
    if not work.made_room_for:
        return []
    last = {a.index: a for a in sorted(work.attempts, key=lambda a: a.number)}
    return [a for a in last.values() if a.reason == EVICTED]


def _claimed(evicted: Attempt, works: Mapping[str, Work]) -> list[str]:
    """
    Ids of the asks of the workload for which it was evicted, while that has a claim to its place. Once it
    had a place and lost it again it has none: two that were evicted for each other would both claim. Nor
    have members beyond a minimum for which room was made.
    """
    asker = works.get(evicted_for(evicted))
    if asker is None:
        return []
    since = evicted.evicting_at_ms
    later = [a for a in asker.attempts if since is not None and a.placed_at_ms > since]
    if any(not a.is_live for a in later):
        return []
    has_begun = bool(later) and len(later) == len(asker.live)
    return [ask.id for ask, _ in asker.asks if not (has_begun and ask.is_extra)]


def with_claimants(snapshot: Snapshot, works: Mapping[str, Work], odd: Mapping[str, Work]) -> Snapshot:
    """
    Whoever others leave for, or have left for: it has their places before anybody else. Then what was moved
    has its new place; while it is on its way nothing else is moved.

    Args:
        odd: as above.
    """
    leave = [a for w in odd.values() for a in w.live if a.evicting_at_ms is not None]
    left = [(w, a) for w in odd.values() for a in _left(w)]
    told = [*leave, *(a for _, a in left)]
    if not any(map(evicted_for, told)):
        return snapshot
    claims = frozenset(id_ for a in told for id_ in _claimed(a, works))
    moved = frozenset(id_ for work, a in left if is_moved(a) for id_ in _asks_of(work, a))
    return replace(snapshot, claimants=claims, moved=moved, may_move=not any(map(is_moved, leave)))


def _asks_of(work: Work, attempt: Attempt) -> list[str]:
    """Ids of the asks that want the replica of an attempt again."""
    return [ask.id for ask, _ in work.asks if attempt.index in ask.indexes]


def without(snapshot: Snapshot, asks: Iterable[str]) -> Snapshot:
    """
    As if these did not wait yet: their queues want them all the same. Nothing is moved meanwhile: it could
    take their places.
    """
    gone = set(asks)
    left: dict[AskClass, tuple[str, ...]] = {}
    to_come = dict(snapshot.to_come)
    for wanted, ids in snapshot.pending.items():
        if gone.isdisjoint(ids):
            left[wanted] = ids
            continue
        if kept := tuple(i for i in ids if i not in gone):
            left[wanted] = kept
        to_come[wanted] = to_come.get(wanted, 0) + len(ids) - len(kept)
    return replace(snapshot, pending=left, to_come=to_come, may_move=False)


def planned(snapshot: Snapshot, works: Mapping[str, Work], odd: Mapping[str, Work]) -> Plan:
    """
    The plan, with what was evicted looked at last while somebody that it made room for waits as well.

    Where nobody that others made room for is served by that, it is the plan for all that waits: whoever lost
    the place that was made for it, say with its node, has a right to another, if need be in that very queue.

    Args:
        odd: as above.
    """
    held = held_back(works, odd)
    if not held:
        return plan(snapshot)
    first = plan(without(snapshot, held))
    if not serves_askers(first, held):
        return plan(snapshot)
    waits = {
        ask: Unplaced((f"it made room for {_named(works, ask, by)}, which comes first",))
        for ask, by in held.items()
    }
    return replace(first, unplaced={**first.unplaced, **waits})


def _named(works: Mapping[str, Work], ask_id: str, other: str) -> str:
    """As all who may read of the ask may hear of the workload with the id `other`."""
    return named_for(works[workload_of(ask_id)].workload.workspace, works[other].workload)


def serves_askers(answer: Plan, held: Mapping[str, str]) -> bool:
    """Somebody that others made room for has a place in this plan, or has one promised."""
    lucky = {workload_of(i) for i in (*answer.placed, *answer.promised)}
    return bool(lucky & set(held.values()))
