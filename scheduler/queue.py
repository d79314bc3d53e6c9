"""In which order asks are looked at."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from math import inf

from .model import AskClass
from .shares import Account, Triple
from .state import State

EPSILON = 1e-9
ENTITLED = 1e-6  # as for who may reclaim
QueueKey = tuple[bool, bool, int, float, int, str]
NO_KEY: QueueKey = (False, False, 0, 0.0, 0, "")


class Line:
    """
    One class as it waits. `at` is the number of its ids that were answered.

    Args:
        number: among all classes, in the snapshot's order.
    """

    __slots__ = ("_starving", "accounts", "amounts", "ask", "at", "ids", "need", "number", "rank")

    def __init__(self, state: State, ask: AskClass, ids: Sequence[str], number: int) -> None:
        self.ask, self.ids, self.number, self.at = ask, ids, number, 0
        self.rank: Mapping[str, int] = state.snapshot.rank
        self._starving = state.snapshot.starving
        self.need = need = state.need(ask)
        pool = need.pools[0] if need.pools else ""
        self.accounts: tuple[Account, ...] = need.accounts(pool)
        self.amounts: Triple = need.amounts(pool)

    @property
    def key(self) -> tuple[int, bool, int, int]:
        """Inside a queue: priority, those that do not run yet before more members of those that do, age."""
        ask = self.ask
        return (-ask.priority, ask.is_extra, self.rank.get(self.ids[self.at], 0), self.number)

    @property
    def starves(self) -> bool:
        return self.ids[self.at] in self._starving

    @property
    def is_entitled(self) -> bool:
        """With its next ask its project has no more than its fair share of anything that it asks for."""
        if not self.accounts:
            return True
        account = self.accounts[0]
        allocated, fair = account.allocated, account.fair
        for r, amount in enumerate(self.amounts):
            if amount > 0 and allocated[r] + amount > fair[r] + ENTITLED:
                return False
        return True


def lines_of(state: State) -> list[Line]:
    """A line for each class of which somebody waits."""
    pending = state.snapshot.pending.items()
    return [Line(state, ask, ids, number) for number, (ask, ids) in enumerate(pending) if ids]


class Project:
    """
    What waits in one queue, next first.

    Args:
        beyond: gets what is not entitled, up to the first that is: it cannot speak for the queue. What
            starves does, lest those behind it pass it for ever.
    """

    __slots__ = ("_beyond", "_heap", "id")

    def __init__(self, id_: str, lines: Iterable[Line], beyond: list[Line] | None) -> None:
        self.id, self._beyond = id_, beyond
        self._heap = [(line.key, line) for line in lines]
        heapq.heapify(self._heap)

    def first(self) -> Line | None:
        """The next; None where nothing is left."""
        heap, beyond = self._heap, self._beyond
        while heap:
            line = heap[0][1]
            if beyond is None or line.is_entitled or line.starves:
                return line
            beyond.append(heapq.heappop(heap)[1])
        return None

    def advance(self) -> Line | None:
        """The first was answered; the one behind it in its class comes to its own place. The next, then."""
        line = self._heap[0][1]
        if line.at < len(line.ids):
            heapq.heapreplace(self._heap, (line.key, line))
        else:
            heapq.heappop(self._heap)
        return self.first()


def queue_key(account: Account, amounts: Triple) -> QueueKey:
    """
    The order of queues with the same parent, smallest first.

    Below its fair share in everything that its next ask wants; then within its quota with that ask; then
    the higher rank; then the smaller dominant share, that ask included; then the older.
    Source: KAI, proportion/queue_order.
    """
    gpus, cpu, memory = amounts  # written out, since this is the most frequent question of a cycle
    has_gpus, has_cpu, has_memory = account.allocated
    fair_gpus, fair_cpu, fair_memory = account.fair
    own_gpus, own_cpu, own_memory = account.deserved
    is_at_fair = (
        (gpus > 0 and has_gpus >= fair_gpus - EPSILON)
        or (cpu > 0 and has_cpu >= fair_cpu - EPSILON)
        or (memory > 0 and has_memory >= fair_memory - EPSILON)
    )
    has_gpus, has_cpu, has_memory = has_gpus + gpus, has_cpu + cpu, has_memory + memory
    is_beyond = (
        (gpus > 0 and has_gpus > own_gpus + EPSILON)
        or (cpu > 0 and has_cpu > own_cpu + EPSILON)
        or (memory > 0 and has_memory > own_memory + EPSILON)
    )
    base_gpus, base_cpu, base_memory = account.base
    dominant = 0.0
    if has_gpus > EPSILON:
        dominant = has_gpus / base_gpus if base_gpus > EPSILON else inf
    if has_cpu > EPSILON and (part := has_cpu / base_cpu if base_cpu > EPSILON else inf) > dominant:
        dominant = part
    if (
        has_memory > EPSILON
        and (part := has_memory / base_memory if base_memory > EPSILON else inf) > dominant
    ):
        dominant = part
    queue = account.queue
    return (is_at_fair, is_beyond, -account.quota.rank, dominant, queue.age, queue.id)


ProjectEntry = tuple[QueueKey, str, Project, Line]  # its key, its id, and what is first in it


class Order:
    """
    All that waits: departments, in each of them projects, in each project classes. Only what was just
    answered changes its place, since a queue's place depends on nobody else.

    Args:
        beyond: gets the classes whose next ask exceeds its project's fair share, which are left out then.
    """

    def __init__(self, state: State, lines: Iterable[Line], beyond: list[Line] | None = None) -> None:
        queues: dict[str, list[Line]] = {}
        for line in lines:
            queues.setdefault(line.ask.queue if state.tree.queues else "", []).append(line)
        departments: dict[str, list[ProjectEntry]] = {}
        for id_, its in queues.items():
            project = Project(id_, its, beyond)
            first = project.first()
            if first is None:
                continue
            above = state.department(id_)
            there = departments.setdefault(id_ if above is None else above, [])
            there.append((_own_key(first), id_, project, first))
        self._heap: list[tuple[QueueKey, str, list[ProjectEntry]]] = []
        for name, there in departments.items():
            heapq.heapify(there)
            self._heap.append((_top_key(there[0][3]), name, there))
        heapq.heapify(self._heap)

    @property
    def next(self) -> Line | None:
        return self._heap[0][2][0][3] if self._heap else None

    def advance(self) -> None:
        """The next one was answered: taken, refused, or its whole class dropped (`at` at its end)."""
        _, name, there = self._heap[0]
        _, id_, project, _ = there[0]
        line = project.advance()
        if line is not None:
            heapq.heapreplace(there, (_own_key(line), id_, project, line))
        else:
            heapq.heappop(there)
        if there:
            heapq.heapreplace(self._heap, (_top_key(there[0][3]), name, there))
        else:
            heapq.heappop(self._heap)


def _own_key(line: Line) -> QueueKey:
    return queue_key(line.accounts[0], line.amounts) if line.accounts else NO_KEY


def _top_key(line: Line) -> QueueKey:
    return queue_key(line.accounts[-1], line.amounts) if line.accounts else NO_KEY
