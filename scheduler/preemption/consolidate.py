"""
Rule 13: what runs is moved where that alone makes room.

Source: KAI-Scheduler, actions/consolidation. A move is an eviction that restarts elsewhere, so what is
protected or not preemptible stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..model import AskClass, Placement, Running
from ..state import State
from .search import let_go
from .steps import Step, minimum_of

# Pods that are moved for one ask; KAI bounds its consolidation, too.
MOST_MOVED = 16


@dataclass(frozen=True, slots=True)
class Move:
    """Where the ask goes, and where each of the moved goes, by its running id."""

    places: tuple[Placement, ...]
    moved: Mapping[str, Placement]


def has_enough(state: State, ask: AskClass) -> bool:
    """Whether all that is free would do in one place. Moving frees nothing, so else nothing helps."""
    need = ask.gpu_count * ask.members
    free = state.free_later(ask.mig_profile)
    portion = ask.gpu_portion if ask.gpu_memory_mib is None else 0.0
    return free + 1e-6 >= need * portion


def is_alike(one: AskClass, other: AskClass) -> bool:
    """Members of one gang, and whoever asks for just the same: moving the one for the other gains nothing."""
    if one.queue != other.queue or one.priority != other.priority:
        return False  # before all of their fields are looked at
    return replace(one, members=1, is_extra=False) == replace(other, members=1, is_extra=False)


def move(state: State, ask: AskClass, steps: Sequence[Step]) -> Move | None:
    """
    Whether the ask finds a place and then all of them another one. This is the order of the next cycles, too,
    else they would undo what was done for this: those who leave are told for whom, who is served before
    anybody else (`Snapshot.claimants`), so none of them gets its old place first, however nodes are filled.
    """
    if sum(len(s.members) for s in steps) > MOST_MOVED:
        return None
    if any(s.is_whole and len(s.members) < minimum_of(s.members) for s in steps):
        return None  # a gang that has lost a member starts anew with all of them, elsewhere or not
    mark = state.mark()
    let_go(state, steps)
    found = _served(state, ask, _groups(steps))
    state.rollback(mark)
    return found


def _groups(steps: Sequence[Step]) -> list[tuple[AskClass, tuple[Running, ...]]]:
    """As they will ask again: the minimum of a gang together, each member beyond it alone; oldest first."""
    groups: list[tuple[int, AskClass, tuple[Running, ...]]] = []
    for step in steps:
        members = sorted(step.members, key=lambda m: (m.ask.is_extra, m.index, m.id))
        minimum = minimum_of(members) if step.is_whole else 0
        if minimum:
            groups.append((members[0].rank, members[0].ask, tuple(members[:minimum])))
        for member in members[minimum:]:
            groups.append((member.rank, replace(member.ask, members=1), (member,)))
    groups.sort(key=lambda g: (-g[1].priority, g[0]))
    return [(ask, members) for _, ask, members in groups]


def _served(
    state: State, ask: AskClass, groups: Sequence[tuple[AskClass, tuple[Running, ...]]]
) -> Move | None:
    places = state.promise(state.need(ask))
    if places is None:
        return None
    moved: dict[str, Placement] = {}
    for group, members in groups:
        found = state.promise(state.need(group))
        if found is None:
            return None
        moved.update({m.id: p for m, p in zip(members, found, strict=True)})
    return Move(places, moved)


def sentence(by: str, move: Move, member: Running) -> str:
    target = move.moved[member.id].node
    where = ", ".join(dict.fromkeys(p.node for p in move.places))
    return f"evicted: consolidated, it can run on {target}, and {by} then fits on {where}"
