"""The only entry point: a whole snapshot in, a whole plan out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from .holding import Held
from .model import AskClass, Code, Placement, Plan, Running, Snapshot, Unplaced
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

    Those for which others were evicted come first of all, then what was moved for them: nobody loses a place
    by a move, and its new place is kept while it still leaves. What its queue's fair share covers goes before
    what it does not cover, even where the latter is first in its own queue. For only the former may reclaim,
    and would else lose to whom it reclaimed it from.
    """
    state = State(snapshot)
    cycle = _Cycle(state)
    lines = lines_of(state)
    for ids in (snapshot.claimants, snapshot.moved):
        if ids:
            _serve_first(state, cycle, lines, ids)
    for ask in _on_their_way(state.moving, state.members):
        state.promise(state.need(ask))
    for line, advance in _in_order(state, (line for line in lines if line.at < len(line.ids))):
        if not cycle.serve(line):
            cycle.refuse(line)
        advance()
    return cycle.end()


def _in_order(state: State, lines: Iterable[Line]) -> Iterator[tuple[Line, Callable[[], None]]]:
    """Whatever is next, with what is to be called once it was answered."""
    beyond: list[Line] = []
    order = Order(state, lines, beyond)
    while order.next is not None or beyond:
        if order.next is None:
            order, beyond = Order(state, beyond), []
            continue
        yield order.next, order.advance


def _serve_first(state: State, cycle: "_Cycle", lines: Sequence[Line], ids: frozenset[str]) -> None:
    """
    Among themselves in the order of all: what was evicted may be a claimant, too, and would else take the
    place of the one that it was evicted for.
    """
    whole = {line.number: line for line in lines}
    claims: list[Line] = []
    for line in lines:
        # Equal asks are as good as each other: the next of the class take the places.
        count = len(ids.intersection(line.ids[line.at :]))
        if count:
            claim = Line(state, line.ask, line.ids[: line.at + count], line.number)
            claim.at = line.at
            claims.append(claim)
    for claim, advance in _in_order(state, claims):
        if cycle.serve(claim):
            whole[claim.number].at = claim.at
        else:
            claim.at = len(claim.ids)  # those of its class that are left wait for their turn among all
        advance()


def _on_their_way(
    moving: Sequence[Running], members: Callable[[str], Sequence[Running]]
) -> Iterator[AskClass]:
    """
    As what those will ask that leave for another place: each alone where enough of its gang stay, else the
    minimum together.

    Args:
        members: of a workload, those that stay.
    """
    together: dict[str, AskClass] = {}
    for running in moving:
        if running.ask.members > len(members(running.workload)):
            together.setdefault(running.workload, running.ask)
        else:
            yield replace(running.ask, members=1, is_extra=True)
    yield from together.values()


class _Cycle:
    """What has been decided so far."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._placed: dict[str, tuple[Placement, ...]] = {}
        self._promised: dict[str, tuple[Placement, ...]] = {}
        self._unplaced: dict[str, Unplaced] = {}
        self._waiting: list[Waiting] = []
        self._seen: list[str] = []
        self._grown: dict[int, AskClass] = {}  # by identity, since a hash of a class is dear
        self._held = Held()
        self._refused = Unplaced(())  # why the last one was not served

    def serve(self, line: Line) -> bool:
        """A place for the next of a class, now or once what leaves has gone."""
        state, id_ = self._state, line.ids[line.at]
        answer = state.allocate(line.need)
        if not isinstance(answer, Unplaced):
            self._placed[id_] = answer
            if line.ask.is_extra:
                self._grown[id(line.ask)] = line.ask
        elif state.has_leaving and (later := state.promise(line.need)) is not None:
            self._promised[id_] = later
        else:
            self._refused = answer
            return False
        self._seen.append(id_)
        line.at += 1
        return True

    def refuse(self, line: Line) -> None:
        """All that is left of a class whose next could not be served."""
        why, rest = self._refused, tuple(line.ids[line.at :])
        behind = self._held.before(line.ask)
        if why.code is Code.NO_PLACE:
            if rest[0] in self._state.snapshot.starving:
                self._held.hold(self._state, line.ask, rest[0])
            self._unplaced[rest[0]] = self._held.told(rest[0], why)
            why = self._held.told("", why)
        else:
            self._unplaced[rest[0]] = why
        if len(rest) > 1:
            self._unplaced.update(dict.fromkeys(rest[1:], why))
        self._waiting.append(Waiting(line.ask, rest, behind))
        self._seen += rest
        line.at = len(line.ids)

    def end(self) -> Plan:
        """Room is made for what could not be served."""
        state = self._state
        shares = state.shares()
        room = make_room(state, self._waiting, self._held, tuple(self._grown.values()))
        self._promised.update(room.promised)
        for id_, places in self._promised.items():
            self._unplaced[id_] = _waits(places)
        return Plan(self._placed, self._unplaced, room.evictions, shares, tuple(self._seen), self._promised)


def _waits(places: tuple[Placement, ...]) -> Unplaced:
    nodes = ", ".join(dict.fromkeys(p.node for p in places))
    return Unplaced((f"waits until what leaves {nodes} has ended",), Code.WAITS_FOR_EVICTED)
