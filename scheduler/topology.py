"""Places for an ask whose members are kept together in a domain, or spread over domains."""

from typing import TYPE_CHECKING

from .domains import Home, Occupancy
from .homes import rooms_of
from .index import put_member
from .model import Placement, Strategy
from .needs import Need
from .ranking import ranking_of

if TYPE_CHECKING:
    from .state import State


def find_in_domains(state: "State", need: Need, pool: str, with_leaving: bool) -> list[Placement]:
    """
    All of its members, or as many as found a place where most of them did; they stay on their nodes.

    Args:
        need: its group has a name, by which those who are there are known.
    """
    return _Search(state, need, pool, with_leaving).find()


def occupancy_of(state: "State", need: Need, pool: str, with_leaving: bool) -> Occupancy:
    """How the group of an ask is spread, as things stand."""
    return ranking_of(state, need, pool, with_leaving).occupancy


class _Search:
    def __init__(self, state: "State", need: Need, pool: str, with_leaving: bool) -> None:
        assert need.ask.spread
        self._state, self._need, self._pool, self._with_leaving = state, need, pool, with_leaving
        self._ranking = ranking_of(state, need, pool, with_leaving)
        self._scorer = need.scorers[pool]

    def find(self) -> list[Placement]:
        """
        Rules that keep together have to begin somewhere; those that spread need no choice. For a gang binpack
        takes the domain with the least room that is enough, spread the one with the most. Who comes alone may
        be the first of many, and begins where most of those find a place that wait with it, and of such
        domains where there is most room.
        """
        state, ask, chooses = self._state, self._need.ask, self._ranking.occupancy.chooses
        if not any(chooses):
            return self._fill(None, ask.members)
        rooms = rooms_of(state, self._need, state.cells(self._need, self._pool), chooses, self._with_leaving)
        is_bound = any(r.is_required and c for r, c in zip(ask.topology, chooses, strict=True))
        is_tight = self._scorer.gpu is Strategy.BINPACK and ask.members > 1
        wanted = self._wanted() if is_bound else ask.members
        most, best = -1, None
        for home, reach in rooms.in_order(ask.members, is_tight=is_tight):
            if reach <= most:
                continue  # no more of them find a place than found one elsewhere
            mark = state.position
            placed = self._fill(home, wanted)
            if len(placed) == ask.members == wanted:
                return placed
            state.undo(mark)
            if len(placed) > most:
                most, best = len(placed), home
                if most == wanted:
                    break
        return [] if best is None else self._fill(best, ask.members)

    def _wanted(self) -> int:
        """
        How many a domain should have places for. By one rule alone its room says that; by more of them it
        has to be tried.
        """
        ask = self._need.ask
        if ask.members > 1 or len(ask.topology) == 1:
            return ask.members
        return max(1, len(self._state.snapshot.pending.get(ask, ())))

    def _fill(self, home: Home | None, members: int) -> list[Placement]:
        """
        Each member where the rules like it best, and of what they like alike where the pool does. As many as
        find a place.
        """
        state, ask, ranking = self._state, self._need.ask, self._ranking
        is_trial = members > ask.members
        if home is not None:
            ranking.begin(home)
        placed: list[Placement] = []
        while len(placed) < members and (node := ranking.first()) is not None:
            put = put_member(state, ask, self._scorer, node, self._with_leaving, is_trial=is_trial)
            placed.append(put)
        return placed
