"""The nodes for one more of a group under its rules, best first, kept up with what changes."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from .domains import Cell, Cells, Home, Occupancy, Rank
from .index import Entry, Index
from .needs import Need
from .nodes import NodeState
from .scores import Scorer

if TYPE_CHECKING:
    from .state import State

MOST_KEPT = 256  # rankings under the same rules; each is as long as there are cells


def ranking_of(state: "State", need: Need, pool: str, with_leaving: bool) -> "Ranking":
    """The one of its group, as things stand."""
    cells, ask = state.cells(need, pool), need.ask
    key = (need.shape, with_leaving, ask.spread)
    found = cells.rankings.get(key)
    if found is None:
        board = cells.boards.get((need.shape, with_leaving))
        if board is None:
            board = Board(state, cells, need.scorers[pool], with_leaving)
            cells.boards[need.shape, with_leaving] = board
        if len(cells.rankings) >= MOST_KEPT:
            cells.rankings.clear()
        there = Occupancy(ask, cells, state.nodes, with_leaving=with_leaving)
        found = cells.rankings[key] = Ranking(state, cells, board, there)
    found.catch_up()
    return found


class Board:
    """The best node of each cell for one shape, whoever has members where: what all groups begin with."""

    def __init__(self, state: "State", cells: Cells, scorer: Scorer, with_leaving: bool) -> None:
        self._state, self._cells, self._scorer, self._with_leaving = state, cells, scorer, with_leaving
        self._indexes: dict[Cell, Index] = {}
        self._rebuild()

    def _rebuild(self) -> None:
        self._seen, self._pushed = len(self._state.changes), 0
        self._heaps: dict[Rank, list[Entry]] = {}
        for cell, rank in self._cells.empty.items():
            entry = self.entry(cell)
            if entry is not None:
                self._heaps.setdefault(rank, []).append(entry)
        for heap in self._heaps.values():
            heapq.heapify(heap)

    def heaps(self) -> Mapping[Rank, Sequence[Entry]]:
        """By the rank of a cell for a group without members; entries of an older version are void."""
        cells, changes = self._cells, self._state.changes
        behind = len(changes) - self._seen
        if behind + self._pushed > 4 * len(cells.nodes) + 64:
            self._rebuild()
        elif behind:
            for cell in cells.changed(changes[self._seen :]):
                entry = self.entry(cell)
                if entry is not None:
                    heapq.heappush(self._heaps.setdefault(cells.empty[cell], []), entry)
            self._seen, self._pushed = len(changes), self._pushed + behind
        nodes = self._state.nodes
        for heap in self._heaps.values():  # what is void and on top, each of those who copy it would meet
            while heap and nodes[heap[0][2]].version != heap[0][3]:
                heapq.heappop(heap)
        return self._heaps

    def entry(self, cell: Cell) -> Entry | None:
        """The best of a cell, as things stand; None where nothing fits."""
        nodes = self._cells.nodes[cell]
        if len(nodes) > 1:
            return self._index(cell, nodes).first()
        node = nodes[0]
        key = self._scorer.key(node, self._with_leaving)
        if key is None:
            return None
        return self._cells.candidates.penalties[node.order], key, node.order, node.version

    def _index(self, cell: Cell, nodes: Sequence[NodeState]) -> Index:
        index = self._indexes.get(cell)
        if index is None:
            some = self._cells.candidates.only(nodes)
            index = self._indexes[cell] = Index(self._state, some, self._scorer, self._with_leaving)
        return index


class Ranking:
    """
    The cells by how the rules like one more of a group there, and of those liked alike the best node.

    What changed since it was last asked is looked at again and nothing else: an entry is void once its node
    is of another version, or its cell of another rank.
    """

    def __init__(self, state: "State", cells: Cells, board: Board, occupancy: Occupancy) -> None:
        self._state, self._cells, self._board, self.occupancy = state, cells, board, occupancy
        self._home: Home | None = None
        self._rebuild()

    def _rebuild(self) -> None:
        self._seen, self._pushed = len(self._state.changes), 0
        self._heaps: dict[Rank, list[Entry]] = {r: [*heap] for r, heap in self._board.heaps().items()}
        self._ranks: dict[Cell, Rank] = {}  # where they are not as for a group without members
        self._put({*self.occupancy.with_members(), *self.occupancy.at(self._home)})

    def catch_up(self) -> None:
        """With all that has changed since it was last asked."""
        changes, cells, occupancy = self._state.changes, self._cells, self.occupancy
        behind = len(changes) - self._seen
        if not behind:
            return
        if behind + self._pushed > 4 * len(cells.nodes) + 64:
            occupancy.look_at_all(self._state.nodes)
            self._rebuild()
            return
        orders = {*changes[self._seen :]}
        self._seen = len(changes)
        before = occupancy.chooses
        moved = [domain for order in orders for domain in occupancy.look(self._state.nodes[order])]
        touched = cells.changed(orders)
        for number, value in moved:
            touched.update(cells.within[number][value])
        if before != occupancy.chooses:
            touched.update(occupancy.at(self._home))
        self._put(touched)

    def begin(self, home: Home) -> None:
        """From now on this is where the first of those goes that are kept together."""
        self.catch_up()
        if home != self._home:
            touched = {*self.occupancy.at(self._home), *self.occupancy.at(home)}
            self._home = home
            self._put(touched)

    def first(self) -> NodeState | None:
        """The best node for one more; None where the rules or the nodes have no room for it."""
        self.catch_up()
        nodes, of = self._state.nodes, self._cells.of
        for rank in sorted(self._heaps):
            if not self.occupancy.admits(rank):
                continue
            heap = self._heaps[rank]
            while heap:
                _, _, order, version = heap[0]
                if nodes[order].version == version and self._rank(of[order]) == rank:
                    return nodes[order]
                heapq.heappop(heap)
            del self._heaps[rank]
        return None

    def _rank(self, cell: Cell) -> Rank:
        return self._ranks.get(cell) or self._cells.empty[cell]

    def _put(self, touched: Iterable[Cell]) -> None:
        """Cells that may have another rank, or another best node."""
        for cell in touched:
            rank, entry = self.occupancy.rank(cell, self._home), self._board.entry(cell)
            self._ranks[cell] = rank
            self._pushed += 1
            if entry is not None:
                heapq.heappush(self._heaps.setdefault(rank, []), entry)
