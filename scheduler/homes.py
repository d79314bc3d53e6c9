"""How much room there is in the domains in which a group that is kept together may begin."""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from .domains import Cells, Home
from .model import Topology
from .needs import Need
from .scores import Shape, slots

if TYPE_CHECKING:
    from .state import State

Entry = tuple[int, tuple[str, ...], int]  # how many members there is room for, below 0; its words and number


def rooms_of(
    state: "State", need: Need, cells: Cells, chooses: tuple[bool, ...], with_leaving: bool
) -> "Rooms":
    """
    Those of one shape, as things stand.

    Args:
        chooses: the rules of which the domain is still open.
    """
    key = (need.shape, with_leaving, chooses)
    found = cells.rooms.get(key)
    if found is None:
        found = cells.rooms[key] = Rooms(state, cells, need.ask.topology, chooses, need.shape, with_leaving)
    found.catch_up()
    return found


class Rooms:
    """For how many members of a shape there is room in each home, whatever else their rules say."""

    def __init__(
        self, state: "State", cells: Cells, topology: Sequence[Topology], chooses: Sequence[bool],
        shape: Shape, with_leaving: bool,
    ) -> None:  # fmt: skip
        self._state, self._shape, self._with_leaving = state, shape, with_leaving
        self._slots: dict[int, int] = {}  # of each node, by its order
        self._number: dict[int, int] = {}  # of its home
        self._room: list[int] = []  # by the number of a home
        self._homes: list[Home] = []
        # Of a home only what is required binds those who begin there; by that, how much room is within reach.
        binds = [rule.is_required for rule in topology]
        self._bounds: list[Home] = []  # by the number of a home
        self._reach: Counter[Home] = Counter()
        numbers: dict[Home, int] = {}
        for cell, nodes in cells.nodes.items():
            home = tuple([value if is_open else None for value, is_open in zip(cell, chooses, strict=True)])
            number = numbers.setdefault(home, len(numbers))
            if number == len(self._homes):
                self._homes.append(home)
                self._room.append(0)
                self._bounds.append(tuple([v if b else None for v, b in zip(home, binds, strict=True)]))
            for node in nodes:
                self._number[node.order] = number
                self._slots[node.order] = room = slots(shape, node, with_leaving)
                self._room[number] += room
                self._reach[self._bounds[number]] += room
        # Those without a domain where they could have one come last of all.
        self._is_nowhere = [home.count(None) > chooses.count(False) for home in self._homes]
        self._sorted: dict[bool, list[Entry]] = {
            is_nowhere: sorted(self._entry(n) for n, v in enumerate(self._is_nowhere) if v is is_nowhere)
            for is_nowhere in (False, True)
        }
        self._seen = len(state.changes)

    def _entry(self, number: int) -> Entry:
        return -self._room[number], tuple([value or "" for value in self._homes[number]]), number

    def catch_up(self) -> None:
        """With all that has changed since it was last asked."""
        changes, nodes = self._state.changes, self._state.nodes
        if self._seen == len(changes):
            return
        for order in {*changes[self._seen :]}:
            number = self._number.get(order)
            if number is None:
                continue
            more = slots(self._shape, nodes[order], self._with_leaving) - self._slots[order]
            if not more:
                continue
            entries, entry = self._sorted[self._is_nowhere[number]], self._entry(number)
            del entries[bisect_left(entries, entry)]
            self._slots[order] += more
            self._room[number] += more
            self._reach[self._bounds[number]] += more
            insort(entries, self._entry(number))
        self._seen = len(changes)

    def in_order(self, members: int, *, is_tight: bool) -> Iterator[tuple[Home, int]]:
        """
        Homes, each with the most members that can find a place when they begin there. Those with room for all
        members come first, then the others, the roomiest first.

        Args:
            is_tight: of those with enough the one with least comes first, else the one with most.
        """
        for entries in self._sorted.values():
            end = bisect_left(entries, (1 - members,)) if is_tight else 0
            for _, _, number in chain(_backwards(entries, end), entries[end:]):
                yield self._homes[number], self._reach[self._bounds[number]]


def _backwards(entries: Sequence[Entry], end: int) -> Iterator[Entry]:
    """Those before an end, least room first, and those with as much in the order of their words."""
    while end:
        start = bisect_left(entries, (entries[end - 1][0],))
        yield from entries[start:end]
        end = start
