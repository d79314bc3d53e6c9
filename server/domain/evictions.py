"""What becomes of replicas that are to make room, and of devices that two replicas believe to have."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .workload import Attempt, Workload

FOR = " for "
DOUBLE_CLAIM, MOVED, TAINT = "double claim", "consolidated", "taint"
EPSILON = 1e-6  # sums of portions such as 0.1 are not exact


def evicting(
    workload: Workload, attempt: Attempt, how: str, by: Workload | None, now_ms: int, *, why: str = ""
) -> Attempt:
    """
    The attempt once it has been told to end. One that takes requests is drained first.

    Args:
        how: in one word or two. by: the workload that takes its place, where there is one.
        why: the same for people, where they are to be told more.
    """
    told = replace(
        attempt, evicting_at_ms=now_ms, evicted_by=f"{how}{FOR}{by.id}" if by else how,
        evicted_why=f"{how}{FOR}{named_for(workload.workspace, by)}" if by else why or how,
    )  # fmt: skip
    if workload.spec.serving is None or attempt.draining_at_ms is not None:
        return told
    return replace(told, draining_at_ms=now_ms, draining_why=f"evicted: {told.evicted_why}")


def named_for(workspace: str, other: Workload) -> str:
    """
    How everybody in a workspace may hear of a workload: what is told is stored once, for all its readers.
    Of another workspace they learn the project alone, of what is private only that it is there.
    """
    if other.workspace != workspace:
        return f"work of project {other.workspace}"
    return f"private work of project {workspace}" if other.spec.is_private else other.id


def all_named_for(workspace: str, others: Iterable[Workload]) -> str:
    """Each once, by name."""
    return ", ".join(sorted({named_for(workspace, other) for other in others}))


def evicted_why(attempt: Attempt) -> str:
    """How it was evicted, and for whom, in words that all of its workspace may read."""
    return attempt.evicted_why or attempt.evicted_by.partition(FOR)[0]


def evicted_for(attempt: Attempt) -> str:
    """The id of the workload whose place it took, or ""."""
    return attempt.evicted_by.partition(FOR)[2]


def is_by_taint(attempt: Attempt) -> bool:
    """Whether its node was given a taint: nobody has preempted it."""
    return attempt.evicted_by == TAINT


def how_evicted(attempt: Attempt) -> str:
    """In one word or two, as `evicting` was told; "" where it was not."""
    return attempt.evicted_by.partition(FOR)[0]


def is_moved(attempt: Attempt) -> bool:
    """Whether it was evicted so as to run elsewhere."""
    return how_evicted(attempt) == MOVED


@dataclass(frozen=True, slots=True)
class DoubleClaim:
    """`late` came when `others` had the device already, and more of it than leaves room for it."""

    node: str
    gpu_uuid: str
    late: Attempt
    others: tuple[Attempt, ...]


def double_claims(live: Iterable[Attempt]) -> list[DoubleClaim]:
    """Devices of which more than the whole is taken: whoever was placed first keeps it."""
    holders: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in sorted(live, key=lambda a: (a.placed_at_ms, a.replica_id, a.number)):
        for uuid in attempt.gpu_uuids:
            holders.setdefault((attempt.node, uuid), []).append(attempt)
    claims: list[DoubleClaim] = []
    for (node, uuid), mine in sorted(holders.items()):
        if sum(a.gpu_portion for a in mine) <= 1 + EPSILON:
            continue
        kept: list[Attempt] = []
        for attempt in mine:
            if sum(a.gpu_portion for a in kept) + attempt.gpu_portion <= 1 + EPSILON:
                kept.append(attempt)
            else:
                claims.append(DoubleClaim(node, uuid, attempt, tuple(kept)))
    return claims
