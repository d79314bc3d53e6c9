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
    Whether all of them find another place and the ask one, whoever of them is served first: the next cycles
    place them anew, and must not undo what was done for this.
    """
    if sum(len(s.members) for s in steps) > MOST_MOVED:
        return None
    if any(s.is_whole and len(s.members) < minimum_of(s.members) for s in steps):
        return None  # a gang that has lost a member starts anew with all of them, elsewhere or not
    mark = state.mark()
    let_go(state, steps)
    groups = _groups(steps)
    after = state.mark()
    first = _served(state, ask, groups, is_ask_first=False)
    state.rollback(after)
    last = _served(state, ask, groups, is_ask_first=True) if first is not None else None
    state.rollback(mark)
    return last


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
    state: State, ask: AskClass, groups: Sequence[tuple[AskClass, tuple[Running, ...]]], *, is_ask_first: bool
) -> Move | None:
    moved: dict[str, Placement] = {}
    places: tuple[Placement, ...] = ()
    for is_ask in (is_ask_first, not is_ask_first):
        if is_ask:
            found = state.promise(state.need(ask))
            if found is None:
                return None
            places = found
            continue
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
