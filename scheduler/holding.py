"""
Places kept for what has waited for long, so that smaller asks behind it cannot pass it for ever.

Nobody is evicted for it: of the nodes on which it will fit first, what is free goes to nobody behind it,
and so more of them is free in each cycle. Everywhere else later asks are placed as before (backfill).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from .layout import EPSILON
from .model import AskClass, Placement, Unplaced
from .nodes import NodeState
from .state import State

MOST_HELD = 8  # asks in one cycle
MOST_NODES = 64  # looked at for each of them


@dataclass(slots=True)
class _Hold:
    """`places`: with those of their devices that are kept. `is_kept`: now; see `Held.bind`."""

    ask: AskClass
    places: Sequence[Placement]
    is_kept: bool = True


@dataclass(slots=True)
class Held:
    """What is kept in one cycle, for one ask after another."""

    by_id: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    _queues: dict[str, str] = field(default_factory=dict[str, str])
    _holds: dict[str, _Hold] = field(default_factory=dict[str, _Hold])

    def before(self, ask: AskClass) -> tuple[str, ...]:
        """Whose kept places an ask leaves alone that is refused now; in its own project it may be urgent."""
        if not self._holds:
            return ()  # mostly
        return tuple(
            id_
            for id_, hold in self._holds.items()
            if hold.ask.queue != ask.queue or hold.ask.priority >= ask.priority
        )

    def hold(self, state: State, ask: AskClass, id_: str) -> None:
        """Keeps what is free now of the places that it will have."""
        if len(self.by_id) >= MOST_HELD:
            return
        places = _first_to_come(state, ask)
        if places:
            self._holds[id_] = _Hold(ask, _keep(state, ask, places))
            self.by_id[id_] = tuple(dict.fromkeys(p.node for p in places))
            self._queues[id_] = ask.queue

    def bind(self, state: State, ids: Collection[str]) -> None:
        """From now on only what these have is kept: whoever has its turn is behind no others."""
        for id_, hold in self._holds.items():
            if hold.is_kept == (id_ in ids):
                continue
            if hold.is_kept:
                _let_go(state, hold)
            else:
                hold.places = _keep(state, hold.ask, hold.places)
            hold.is_kept = not hold.is_kept

    def served(self, state: State, id_: str) -> None:
        """It has a place of its own."""
        hold = self._holds.pop(id_, None)
        if hold is not None and hold.is_kept:
            _let_go(state, hold)

    def told(self, id_: str, why: Unplaced) -> Unplaced:
        """The refusal with what is kept for it, or for others in its way."""
        if not self.by_id:
            return why
        own = self.by_id.get(id_)
        if own is not None:
            kept = f"what is free of {', '.join(own)} is kept for it, since it has waited for long"
            return replace(why, reasons=(*why.reasons, kept))
        # All whom it keeps waiting read this; who it is kept for may be none of their business.
        reasons = [
            f"what is free of {', '.join(nodes)} is kept for {self._whose(other)} that has waited for long"
            for other, nodes in self.by_id.items()
        ]
        return replace(why, reasons=(*why.reasons, *dict.fromkeys(reasons)))

    def _whose(self, id_: str) -> str:
        queue = self._queues[id_]
        return f"work of project {queue}" if queue else "work"


def _keep(state: State, ask: AskClass, places: Sequence[Placement]) -> list[Placement]:
    """Those places with what is free of their devices, which nobody else gets now."""
    kept: list[Placement] = []
    for place in places:
        node = state.by_name[place.node]
        free = [
            uuid
            for uuid, p in zip(place.gpu_uuids, node.positions(place.gpu_uuids), strict=True)
            if node.available(p, True) >= place.gpu_portion - EPSILON
        ]
        state.put(node, ask, node.positions(free), place.gpu_portion, promised=True)
        kept.append(Placement(place.node, tuple(free), place.gpu_portion))
    return kept


def _let_go(state: State, hold: _Hold) -> None:
    for place in hold.places:
        state.unput(hold.ask, place)


def _most_free_first(node: NodeState) -> tuple[int, float, int]:
    return -node.whole, -node.cpu, node.order


def _first_to_come(state: State, ask: AskClass) -> Sequence[Placement]:
    """Its places if node after node were empty, those with most that is free first; () if it fits nowhere."""
    mark = state.mark()
    for pool in state.pools_of(ask):
        nodes = sorted(state.candidates(state.need(ask), pool).nodes, key=_most_free_first)
        for node in nodes[:MOST_NODES]:
            for running in state.running_on(node.node.name):
                state.release(running)
            found = state.place_later(ask)
            if found is not None:
                state.rollback(mark)
                return found
    state.rollback(mark)
    return ()
