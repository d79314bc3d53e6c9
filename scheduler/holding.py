"""
Places kept for what has waited for long, so that smaller asks behind it cannot pass it for ever.

Nobody is evicted for it: of the nodes on which it will fit first, what is free goes to nobody behind it,
and so more of them is free in each cycle. Everywhere else later asks are placed as before (backfill).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from .model import AskClass, Placement, Running, Unplaced
from .nodes import EPSILON, NodeState
from .state import State

MOST_HELD = 8  # asks in one cycle
MOST_NODES = 64  # looked at for each of them


@dataclass(slots=True)
class Held:
    """What is kept in one cycle."""

    by_id: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    _queues: dict[str, str] = field(default_factory=dict[str, str])
    _places: list[tuple[AskClass, Placement]] = field(default_factory=list[tuple[AskClass, Placement]])

    def hold(self, state: State, ask: AskClass, id_: str) -> None:
        """Keeps what is free now of the places that it will have."""
        if len(self.by_id) >= MOST_HELD:
            return
        places = _first_to_come(state, ask)
        for place in places:
            node = state.by_name[place.node]
            free = [
                uuid
                for uuid, p in zip(place.gpu_uuids, node.positions(place.gpu_uuids), strict=True)
                if node.available(p, True) >= place.gpu_portion - EPSILON
            ]
            kept = Placement(place.node, tuple(free), place.gpu_portion)
            state.put(node, ask, node.positions(free), place.gpu_portion, promised=True)
            self._places.append((ask, kept))
        if places:
            self.by_id[id_] = tuple(dict.fromkeys(p.node for p in places))
            self._queues[id_] = ask.queue

    def let_go(self, state: State) -> None:
        """Nothing is kept any more; those that are kept for may be made room for, too."""
        for ask, place in self._places:
            state.unput(ask, place)
        self._places.clear()

    def told(self, id_: str, why: Unplaced) -> Unplaced:
        """The refusal with what is kept for it, or for others in its way."""
        if not self.by_id:
            return why
        own = self.by_id.get(id_)
        if own is not None:
            kept = f"what is free of {', '.join(own)} is kept for it, since it has waited for long"
            return Unplaced((*why.reasons, kept), why.code)
        # All whom it keeps waiting read this; who it is kept for may be none of their business.
        reasons = [
            f"what is free of {', '.join(nodes)} is kept for {self._whose(other)} that has waited for long"
            for other, nodes in self.by_id.items()
        ]
        return Unplaced((*why.reasons, *dict.fromkeys(reasons)), why.code)

    def _whose(self, id_: str) -> str:
        queue = self._queues[id_]
        return f"work of project {queue}" if queue else "work"


def _most_free_first(node: NodeState) -> tuple[int, float, int]:
    return -node.whole, -node.cpu, node.order


def _first_to_come(state: State, ask: AskClass) -> Sequence[Placement]:
    """Its places if node after node were empty, those with most that is free first; () if it fits nowhere."""
    here: dict[str, list[Running]] = {}
    for running in state.running:
        here.setdefault(running.placement.node, []).append(running)
    mark = state.mark()
    for pool in state.pools_of(ask):
        nodes = sorted(state.candidates(state.need(ask), pool).nodes, key=_most_free_first)
        for node in nodes[:MOST_NODES]:
            for running in here.pop(node.node.name, ()):
                state.release(running)
            found = state.place_later(ask)
            if found is not None:
                state.rollback(mark)
                return found
    state.rollback(mark)
    return ()
