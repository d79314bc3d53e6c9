"""Finds places for the members of one ask: all of them or none."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .domains import Cell, aim
from .filters import refusal
from .index import index_of, put_member
from .model import AskClass, Code, Placement, Strategy, Unplaced
from .needs import Candidates, Need
from .nodes import NodeState
from .scores import Key, Scorer, slots
from .topology import find_in_domains, occupancy_of

if TYPE_CHECKING:
    from .state import State


class Failure:
    """
    Why not in one pool: how many members found a place, and what each node said to the next.

    Args:
        refused: None where nobody wanted to know: to ask all nodes costs far more than to find none.
    """

    __slots__ = ("member", "refused", "told")

    def __init__(self, member: int, refused: Counter[str] | None) -> None:
        self.member, self.refused = member, refused
        self.told: dict[tuple[str, ...], Unplaced] = {}  # in words, by the pools asked for


def find(state: "State", need: Need, with_leaving: bool) -> tuple[Placement, ...] | Unplaced:
    """
    Its pools in order, each with its quotas. The members are put on their nodes; where it is refused the
    caller takes back what of them was.
    """
    if len(need.pools) == 1:
        return _in_only_pool(state, need, need.pools[0], with_leaving)
    refused: list[Unplaced] = []
    failures: list[Failure] = []
    for pool in need.pools:
        over = need.quota_refusal(pool, with_leaving)
        if over is not None:
            refused.append(over)
            continue
        mark = state.position
        found = _in_pool(state, need, pool, with_leaving, is_told=True)
        if not isinstance(found, Failure):
            return found
        state.undo(mark)
        failures.append(found)
    return _sentences(state, need, refused, failures)


def find_silently(state: "State", need: Need, with_leaving: bool) -> tuple[Placement, ...] | None:
    """`find` for those who do not want to know why not. Nothing of it is left where it finds nothing."""
    for pool in need.pools:
        if need.quota_refusal(pool, with_leaving) is not None:
            continue
        mark = state.position
        found = _in_pool(state, need, pool, with_leaving, is_told=False)
        if not isinstance(found, Failure):
            return found
        state.undo(mark)
    return None


def _in_only_pool(
    state: "State", need: Need, pool: str, with_leaving: bool
) -> tuple[Placement, ...] | Unplaced:
    """Mostly there is no other; then equal asks are told the same sentences, made once."""
    over = need.quota_refusal(pool, with_leaving)
    if over is not None:
        return over
    mark = state.position
    found = _in_pool(state, need, pool, with_leaving, is_told=True)
    if not isinstance(found, Failure):
        return found
    state.undo(mark)
    why = found.told.get(need.ask.pools)
    if why is None:
        why = found.told[need.ask.pools] = _sentences(state, need, (), (found,))
    return why


def _sentences(
    state: "State", need: Need, refused: Sequence[Unplaced], failures: Sequence[Failure]
) -> Unplaced:
    ask = need.ask
    sentences = [sentence for r in refused for sentence in r.reasons]
    over = tuple(bound for r in refused for bound in r.over)
    if refused and not failures:
        return Unplaced(tuple(sentences), refused[0].code, over)
    if not need.pools:
        names = " or ".join(ask.pools)
        return Unplaced((f"node pool {names} has no nodes" if names else "there are no nodes",))
    nodes: Counter[str] = Counter()
    for failure in failures:
        nodes.update(failure.refused or ())
    if ask.pools:
        outside = len(state.nodes) - sum(len(state.nodes_in(p)) for p in need.pools)
        if outside:
            nodes[f"not in node pool {', '.join(sorted(ask.pools))}"] = outside
    member = max(f.member for f in failures)
    gang = f"member {member + 1} of {ask.members}: " if ask.members > 1 else ""
    ordered = sorted(nodes.items(), key=lambda item: (-item[1], item[0]))
    return Unplaced((*(f"{gang}{n} node(s): {r}" for r, n in ordered), *sentences), Code.NO_PLACE, over)


def _in_pool(
    state: "State", need: Need, pool: str, with_leaving: bool, *, is_told: bool
) -> tuple[Placement, ...] | Failure:
    ask = need.ask
    if ask.topology:
        return _under_rules(state, need, pool, with_leaving, is_told=is_told)
    alike = (need.kind[pool], with_leaving)
    dead = state.dead.get(alike)
    heeds_others = ask.must_spread  # those of its group, so equal asks are not alike
    if dead is not None and not heeds_others and not (is_told and dead.refused is None):
        return dead
    if ask.segment_size > 0:
        placements = _in_segments(state, need, pool, with_leaving)
    else:
        placements = _one_by_one(state, need, pool, with_leaving)
    if len(placements) == ask.members:
        return tuple(placements)
    failure = Failure(len(placements), _refusals(state, need, pool, with_leaving) if is_told else None)
    if not heeds_others:
        state.dead[alike] = failure
    return failure


def _under_rules(
    state: "State", need: Need, pool: str, with_leaving: bool, *, is_told: bool
) -> tuple[Placement, ...] | Failure:
    """Groups without members are alike: what one was told holds for the next, until something changes."""
    ask, cells = need.ask, state.cells(need, pool)
    alike = (need.shape, ask.members, with_leaving)
    is_empty = occupancy_of(state, need, pool, with_leaving).is_empty
    if is_empty and alike in cells.refused:
        changes, failure = cells.refused[alike]
        if changes == len(state.changes) and not (is_told and failure.refused is None):
            return failure
    mark = state.position
    placements = find_in_domains(state, need, pool, with_leaving)
    if len(placements) == ask.members:
        return tuple(placements)
    failure = Failure(len(placements), _refusals(state, need, pool, with_leaving) if is_told else None)
    state.undo(mark)
    if is_empty:
        cells.refused[alike] = len(state.changes), failure
    return failure


def _one_by_one(state: "State", need: Need, pool: str, with_leaving: bool) -> list[Placement]:
    """As many of its members as find a place."""
    ask, scorer = need.ask, need.scorers[pool]
    index = index_of(state, need, pool, with_leaving)
    placements: list[Placement] = []
    while len(placements) < ask.members:
        node = index.best(ask)
        if node is None:
            break
        placements.append(put_member(state, ask, scorer, node, with_leaving))
    return placements


def _refusals(state: "State", need: Need, pool: str, with_leaving: bool) -> Counter[str]:
    candidates, scorer = state.candidates(need, pool), need.scorers[pool]
    refused = Counter(candidates.refused)
    there, of = None, dict[int, Cell]()
    if need.ask.topology:
        there, of = occupancy_of(state, need, pool, with_leaving), state.cells(need, pool).of
    for node in candidates.nodes:
        why = there.refusal_in(of[node.order]) if there is not None else None
        why = why or refusal(need.ask, scorer, node, with_leaving)
        refused[why or _beside(need.ask)] += 1
    return refused


def _beside(ask: AskClass) -> str:
    """Why not, where there is room for one."""
    rule = next((r for r in ask.topology if r.is_required), None)
    if rule is None:
        return "no room beside its other members in one segment"
    return f"no room for all of its members, {aim(rule)} by {rule.key}"


def _in_segments(state: "State", need: Need, pool: str, with_leaving: bool) -> list[Placement]:
    """
    So many members at a time in one segment; a node without a segment is one of its own. Binpack takes the
    segment with the least room that is enough, spread the one with the most. As many as find a place.
    """
    ask, scorer = need.ask, need.scorers[pool]
    candidates = state.candidates(need, pool)
    segments: dict[str, list[NodeState]] = {}
    for node in candidates.nodes:
        segments.setdefault(node.node.segment or f"\0{node.node.name}", []).append(node)
    placements: list[Placement] = []
    side = 1 if scorer.gpu is Strategy.BINPACK else -1
    while len(placements) < ask.members:
        size = min(ask.segment_size, ask.members - len(placements))
        room = {s: sum(slots(scorer.shape, n, with_leaving) for n in there) for s, there in segments.items()}
        for name in sorted((s for s in room if room[s] >= size), key=lambda s: (side * room[s], s)):
            mark = state.position
            group = _together(state, need, scorer, segments[name], candidates, size, with_leaving)
            if group is not None:
                placements += group
                break
            state.undo(mark)
        else:
            break
    return placements


def _together(
    state: "State", need: Need, scorer: Scorer, nodes: Sequence[NodeState], candidates: Candidates,
    size: int, with_leaving: bool,
) -> list[Placement] | None:  # fmt: skip
    ask = need.ask
    placed: list[Placement] = []
    for _ in range(size):
        best: tuple[bool, int, Key, int] | None = None
        for node in nodes:
            key = scorer.key(node, with_leaving)
            tenant = bool(ask.spread) and node.is_tenant(ask.spread, with_leaving)
            if key is None or (tenant and ask.must_spread):
                continue
            entry = (tenant, candidates.penalties[node.order], key, node.order)
            best = entry if best is None or entry < best else best
        if best is None:
            return None
        placed.append(put_member(state, ask, scorer, state.nodes[best[3]], with_leaving))
    return placed
