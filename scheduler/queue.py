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
    """What waits in one queue, next first."""

    __slots__ = ("_heap", "id")

    def __init__(self, id_: str) -> None:
        self.id = id_
        self._heap: list[tuple[tuple[int, bool, int, int], Line]] = []

    def add(self, line: Line) -> None:
        heapq.heappush(self._heap, (line.key, line))

    @property
    def next(self) -> Line | None:
        return self._heap[0][1] if self._heap else None

    def advance(self) -> None:
        """The next one was answered; the one behind it in its class comes to its own place."""
        line = self._heap[0][1]
        if line.at < len(line.ids):
            heapq.heapreplace(self._heap, (line.key, line))
        else:
            heapq.heappop(self._heap)

    def leave_out(self, beyond: list[Line]) -> None:
        """
        Moves what is not entitled to `beyond`, up to the first that is: it cannot speak for the queue. What
        starves does, lest those behind it pass it for ever.
        """
        while self._heap and not (self._heap[0][1].is_entitled or self._heap[0][1].starves):
            beyond.append(heapq.heappop(self._heap)[1])


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
    dominant = _part(has_gpus, base_gpus)
    if (part := _part(has_cpu, base_cpu)) > dominant:
        dominant = part
    if (part := _part(has_memory, base_memory)) > dominant:
        dominant = part
    queue = account.queue
    return (is_at_fair, is_beyond, -account.quota.rank, dominant, queue.age, queue.id)


def _part(has: float, base: float) -> float:
    if has <= EPSILON:
        return 0.0
    return has / base if base > EPSILON else inf


class Order:
    """
    All that waits: departments, in each of them projects, in each project classes. Only what was just
    answered changes its place, since a queue's place depends on nobody else.

    Args:
        beyond: gets the classes whose next ask exceeds its project's fair share, which are left out then.
    """

    def __init__(self, state: State, lines: Iterable[Line], beyond: list[Line] | None = None) -> None:
        self._beyond = beyond
        projects: dict[str, Project] = {}
        for line in lines:
            name = line.ask.queue if state.tree.queues else ""
            projects.setdefault(name, Project(name)).add(line)
        departments: dict[str, list[tuple[QueueKey, str, Project]]] = {}
        for project in projects.values():
            if beyond is not None:
                project.leave_out(beyond)
            if project.next is None:
                continue
            above = state.department(project.id)
            there = departments.setdefault(project.id if above is None else above, [])
            there.append((_own_key(project), project.id, project))
        self._heap: list[tuple[QueueKey, str, list[tuple[QueueKey, str, Project]]]] = []
        for name, there in departments.items():
            heapq.heapify(there)
            self._heap.append((_top_key(there[0][2]), name, there))
        heapq.heapify(self._heap)

    @property
    def next(self) -> Line | None:
        return self._heap[0][2][0][2].next if self._heap else None

    def advance(self) -> None:
        """The next one was answered: taken, refused, or its whole class dropped (`at` at its end)."""
        _, name, there = self._heap[0]
        project = there[0][2]
        project.advance()
        if self._beyond is not None:
            project.leave_out(self._beyond)
        if project.next is not None:
            heapq.heapreplace(there, (_own_key(project), project.id, project))
        else:
            heapq.heappop(there)
        if there:
            heapq.heapreplace(self._heap, (_top_key(there[0][2]), name, there))
        else:
            heapq.heappop(self._heap)


def _own_key(project: Project) -> QueueKey:
    line = project.next
    return queue_key(line.accounts[0], line.amounts) if line is not None and line.accounts else NO_KEY


def _top_key(project: Project) -> QueueKey:
    line = project.next
    return queue_key(line.accounts[-1], line.amounts) if line is not None and line.accounts else NO_KEY
