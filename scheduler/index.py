"""The nodes that fit one shape, best first, and a member put on one of them."""

import heapq
from typing import TYPE_CHECKING

from .model import AskClass, Placement
from .needs import Candidates, Need
from .nodes import NodeState
from .scores import Key, Scorer

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

    def first(self) -> Entry | None:
        """The best of all, whoever has members there."""
        self._catch_up()
        heap, nodes = self._heap, self._state.nodes
        while heap and nodes[heap[0][2]].version != heap[0][3]:
            heapq.heappop(heap)
        return heap[0] if heap else None

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
            others = node.most_of(group, self._with_leaving)
            if not ask.must_spread and (fallback is None or others < fallback[0]):
                fallback = others, node
            aside.append(heapq.heappop(heap))
        for entry in aside:
            heapq.heappush(heap, entry)
        return found or (fallback[1] if fallback else None)


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


def put_member(
    state: "State", ask: AskClass, scorer: Scorer, node: NodeState, with_leaving: bool, *,
    is_trial: bool = False,
) -> Placement:  # fmt: skip
    devices = scorer.devices(node, with_leaving)
    assert devices is not None  # the index has only what fits
    positions, portion = devices
    gpus = node.node.gpus
    is_last = ask.members == 1 and not is_trial  # nobody has to be taken back when it is there
    state.put(node, ask, positions, portion, promised=with_leaving, is_final=is_last)
    return Placement(node.node.name, tuple([gpus[p].uuid for p in positions]), portion)
