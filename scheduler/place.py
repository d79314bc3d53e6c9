"""Finds places for the members of one ask: all of them or none."""

import heapq
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .filters import refusal
from .model import AskClass, Code, Placement, Strategy, Unplaced
from .needs import Candidates, Need
from .nodes import NodeState
from .scores import Key, Scorer, slots

if TYPE_CHECKING:
    from .state import State

Entry = tuple[int, Key, int, int]  # penalty, key, order and version of the node


class Index:
    """
    The nodes that fit one shape, best first. What changed since it was last asked is looked at again and
    nothing else: an entry of an older version of its node is void.
    """

    def __init__(self, state: "State", candidates: Candidates, scorer: Scorer, with_leaving: bool) -> None:
        self._state, self._scorer, self._with_leaving = state, scorer, with_leaving
        self._candidates = candidates
        self._heap: list[Entry] = []
        self._seen = 0
        self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [e for node in self._candidates.nodes if (e := self._entry(node)) is not None]
        heapq.heapify(self._heap)
        self._seen = len(self._state.changes)

    def _entry(self, node: NodeState) -> Entry | None:
        key = self._scorer.key(node, self._with_leaving)
        if key is None:
            return None
        return self._candidates.penalties[node.order], key, node.order, node.version

    def _catch_up(self) -> None:
        changes, nodes = self._state.changes, self._candidates.nodes
        behind = len(changes) - self._seen
        if not behind:
            return
        if behind > len(nodes) or len(self._heap) > 4 * len(nodes) + 64:
            self._rebuild()
            return
        penalties, all_nodes, heap = self._candidates.penalties, self._state.nodes, self._heap
        for order in {*changes[self._seen :]} if behind > 1 else changes[self._seen :]:
            if order not in penalties or (entry := self._entry(all_nodes[order])) is None:
                continue
            if heap and heap[0][2] == order:  # its old entry is void
                heapq.heapreplace(heap, entry)
            else:
                heapq.heappush(heap, entry)
        self._seen = len(changes)

    def best(self, ask: AskClass) -> NodeState | None:
        """The best of those that have fewest of its spread group; none at all where they have to be apart."""
        self._catch_up()
        heap, nodes, group = self._heap, self._state.nodes, ask.spread
        aside: list[Entry] = []
        found: NodeState | None = None
        fallback: tuple[int, NodeState] | None = None
        while heap:
            entry = heap[0]
            node = nodes[entry[2]]
            if node.version != entry[3]:
                heapq.heappop(heap)
                continue
            if not group or not node.is_tenant(group, self._with_leaving):
                found = node
                break
            others = node.tenancy(group)[self._with_leaving]
            if not ask.must_spread and (fallback is None or others < fallback[0]):
                fallback = others, node
            aside.append(heapq.heappop(heap))
        for entry in aside:
            heapq.heappush(heap, entry)
        return found or (fallback[1] if fallback else None)


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
    if refused and not failures:
        return Unplaced(tuple(sentences), refused[0].code)
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
    return Unplaced((*(f"{gang}{n} node(s): {r}" for r, n in ordered), *sentences), Code.NO_PLACE)


def _in_pool(
    state: "State", need: Need, pool: str, with_leaving: bool, *, is_told: bool
) -> tuple[Placement, ...] | Failure:
    ask = need.ask
    alike = (need.kind[pool], with_leaving)
    dead = state.dead.get(alike)
    if dead is not None and not ask.must_spread and not (is_told and dead.refused is None):
        return dead
    if ask.segment_size > 0:
        placements = _in_segments(state, need, pool, with_leaving)
    else:
        placements = _one_by_one(state, need, pool, with_leaving)
    if len(placements) == ask.members:
        return tuple(placements)
    failure = Failure(len(placements), _refusals(state, need, pool, with_leaving) if is_told else None)
    if not ask.must_spread:
        state.dead[alike] = failure
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
        placements.append(_put(state, ask, scorer, node, with_leaving))
    return placements


def index_of(state: "State", need: Need, pool: str, with_leaving: bool) -> Index:
    """The one of its shape in a pool, made when it is first asked for."""
    index = need.indexes.get((pool, with_leaving))
    if index is None:
        key = (need.shape, need.fixed, pool, with_leaving)
        index = state.indexes.get(key)
        if index is None:
            candidates = state.candidates(need, pool)
            index = state.indexes[key] = Index(state, candidates, need.scorers[pool], with_leaving)
        need.indexes[pool, with_leaving] = index
    assert isinstance(index, Index)
    return index


def _put(state: "State", ask: AskClass, scorer: Scorer, node: NodeState, with_leaving: bool) -> Placement:
    devices = scorer.devices(node, with_leaving)
    assert devices is not None  # the index has only what fits
    positions, portion = devices
    gpus = node.node.gpus
    is_last = ask.members == 1  # nobody has to be taken back when it is there
    state.put(node, ask, positions, portion, promised=with_leaving, is_final=is_last)
    return Placement(node.node.name, tuple([gpus[p].uuid for p in positions]), portion)


def _refusals(state: "State", need: Need, pool: str, with_leaving: bool) -> Counter[str]:
    candidates, scorer = state.candidates(need, pool), need.scorers[pool]
    refused = Counter(candidates.refused)
    for node in candidates.nodes:
        why = refusal(need.ask, scorer, node, with_leaving)
        refused[why or "no room beside its other members in one segment"] += 1
    return refused


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
        placed.append(_put(state, ask, scorer, state.nodes[best[3]], with_leaving))
    return placed
