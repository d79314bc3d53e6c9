"""The only entry point: a whole snapshot in, a whole plan out."""

from .holding import Held
from .model import Code, Placement, Plan, Snapshot, Unplaced
from .preempt import Waiting, make_room
from .queue import Line, Order, lines_of
from .state import State


def plan(snapshot: Snapshot) -> Plan:
    """
    One cycle: fair shares; what waits is placed, in the order of its queues; then room is made for the rest.

    A class whose next ask does not fit is dropped whole, since the others ask for the same: so it never
    holds up another class; only for one that starves are places kept (`holding.py`). What fits once those
    have gone that leave is promised that place; nobody who comes later gets it. The same snapshot always
    gives the same plan.

    What its queue's fair share covers goes before what it does not cover, even where the latter is first in
    its own queue. For only the former may reclaim, and would else lose to whom it reclaimed it from.
    """
    state = State(snapshot)
    placed: dict[str, tuple[Placement, ...]] = {}
    promised: dict[str, tuple[Placement, ...]] = {}
    unplaced: dict[str, Unplaced] = {}
    waiting: list[Waiting] = []
    seen: list[str] = []
    beyond: list[Line] = []
    held = Held()
    order = Order(state, lines_of(state), beyond)
    while order.next is not None or beyond:
        line = order.next
        if line is None:
            order, beyond = Order(state, beyond), []
            continue
        ask = line.ask
        answer = state.allocate_need(line.need, False)
        if not isinstance(answer, Unplaced):
            placed[line.ids[line.at]] = answer
        elif state.has_leaving and not isinstance(later := state.allocate_need(line.need, True), Unplaced):
            promised[line.ids[line.at]] = later
        else:
            rest = tuple(line.ids[line.at :])
            if answer.code is Code.NO_PLACE:
                if rest[0] in snapshot.starving:
                    held.hold(state, ask, rest[0])
                unplaced[rest[0]] = held.told(rest[0], answer)
                unplaced.update(dict.fromkeys(rest[1:], held.told("", answer)))
            else:
                unplaced.update(dict.fromkeys(rest, answer))
            waiting.append(Waiting(ask, rest))
            seen += rest
            line.at = len(line.ids)
            order.advance()
            continue
        seen.append(line.ids[line.at])
        line.at += 1
        order.advance()
    held.let_go(state)
    shares = state.shares()
    room = make_room(state, waiting)
    promised.update(room.promised)
    for id_, places in promised.items():
        unplaced[id_] = _waits(places)
    return Plan(placed, unplaced, room.evictions, shares, tuple(seen), promised)


def _waits(places: tuple[Placement, ...]) -> Unplaced:
    nodes = ", ".join(dict.fromkeys(p.node for p in places))
    return Unplaced((f"waits until what leaves {nodes} has ended",), Code.WAITS_FOR_EVICTED)
