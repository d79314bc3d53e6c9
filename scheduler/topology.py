"""Places for an ask whose members are kept together in a domain, or spread over domains."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .domains import Cell, Home, Occupancy
from .index import Index, put_member
from .model import Placement, Strategy
from .needs import Need
from .nodes import NodeState
from .scores import Key, slots

if TYPE_CHECKING:
    from .state import State

Entry = tuple[tuple[int, ...], int, Key, int]  # rank by the rules, penalty, key and order of the node


def find_in_domains(state: "State", need: Need, pool: str, with_leaving: bool) -> list[Placement]:
    """All of its members, or as many as found a place where most of them did; they stay on their nodes."""
    return _Search(state, need, pool, with_leaving).find()


def occupancy_of(state: "State", need: Need, pool: str, with_leaving: bool) -> Occupancy:
    """How the group of an ask is spread, as things stand."""
    return Occupancy(need.ask, state.cells(need, pool), state.nodes, with_leaving=with_leaving)


class _Search:
    def __init__(self, state: "State", need: Need, pool: str, with_leaving: bool) -> None:
        self._state, self._need, self._pool, self._with_leaving = state, need, pool, with_leaving
        self._cells = state.cells(need, pool)
        self._scorer = need.scorers[pool]

    def find(self) -> list[Placement]:
        members = self._need.ask.members
        most, best = -1, None
        for home in self._homes():
            mark = self._state.position
            placed = self._fill(home)
            if len(placed) == members:
                return placed
            if len(placed) > most:
                most, best = len(placed), home
            self._state.undo(mark)
        return [] if best is None else self._fill(best)

    def _homes(self) -> Sequence[Home]:
        """
        Where to begin under rules that keep together; those that spread need no choice. For a gang binpack
        takes the domain with the least room that is enough, spread the one with the most. Who comes alone may
        be the first of many, and begins where there is most.
        """
        chooses = occupancy_of(self._state, self._need, self._pool, self._with_leaving).chooses
        if not any(chooses):
            return [(None,) * len(chooses)]
        shape, members = self._scorer.shape, self._need.ask.members
        room: dict[Home, int] = {}
        for cell, there in self._cells.nodes.items():
            home = tuple(value if is_open else None for value, is_open in zip(cell, chooses, strict=True))
            room[home] = room.get(home, 0) + sum(slots(shape, n, self._with_leaving) for n in there.nodes)
        side = 1 if self._scorer.gpu is Strategy.BINPACK and members > 1 else -1

        def order(home: Home) -> tuple[bool, bool, int, tuple[str, ...]]:
            has, is_nowhere = room[home], home.count(None) > chooses.count(False)
            words = tuple(v or "" for v in home)
            return is_nowhere, has < members, side * has if has >= members else -has, words

        return sorted(room, key=order)

    def _fill(self, home: Home) -> list[Placement]:
        """Each member where the rules like it best, and of what they like alike where the pool does."""
        state, ask = self._state, self._need.ask
        occupancy = occupancy_of(state, self._need, self._pool, self._with_leaving)
        placed: list[Placement] = []
        while len(placed) < ask.members:
            best: Entry | None = None
            chosen: tuple[Cell, NodeState] | None = None
            for cell, there in self._cells.nodes.items():
                rank = occupancy.rank(cell, home)
                if rank is None or (best is not None and rank > best[0]):
                    continue
                node = there.nodes[0] if len(there.nodes) == 1 else self._index(cell).best(ask)
                key = None if node is None else self._scorer.key(node, self._with_leaving)
                if node is None or key is None:
                    continue
                penalty = there.penalties[node.order]
                entry = (rank, penalty, key, node.order)
                if best is None or entry < best:
                    best, chosen = entry, (cell, node)
            if chosen is None:
                break
            cell, node = chosen
            placed.append(put_member(state, ask, self._scorer, node, self._with_leaving))
            occupancy.add(cell)
        return placed

    def _index(self, cell: Cell) -> Index:
        """One for each cell, kept like the others of its shape."""
        need, state = self._need, self._state
        key = (need.shape, need.fixed, self._pool, self._with_leaving, need.ask.topology, cell)
        index = state.indexes.get(key)
        if index is None:
            some = self._cells.nodes[cell]
            index = state.indexes[key] = Index(state, some, self._scorer, self._with_leaving)
        return index
