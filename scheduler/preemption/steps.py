"""What of the running work can go at once: one member beyond the minimum, or all that a workload has."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..model import AskClass, Running
from ..state import State

MOST_MEMBERS = 1 << 20  # of one workload, between the places of two


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """
    Args:
        order: among those that may go; the lower goes first.
        is_whole: the workload ends with it.
        gpus, cpu, memory_mib: what its members have, wherever they are.
    """

    workload: str
    queue: str
    members: tuple[Running, ...]
    is_whole: bool
    order: int
    gpus: float
    cpu: float
    memory_mib: float

    @property
    def amounts(self) -> tuple[float, float, float]:
        return self.gpus, self.cpu, self.memory_mib


Cost = tuple[int, float, float, float, int, tuple[int, ...]]


def cost(steps: Iterable[Step]) -> Cost:
    """Fewest workloads end, then least GPUs, CPU, memory, then fewest members, then the first to go."""
    wholes, members, gpus, cpu, memory = 0, 0, 0.0, 0.0, 0.0
    orders: list[int] = []
    for step in steps:
        wholes += step.is_whole
        members += len(step.members)
        gpus, cpu, memory = gpus + step.gpus, cpu + step.cpu, memory + step.memory_mib
        orders.append(step.order)
    return wholes, round(gpus, 6), round(cpu, 6), memory, members, tuple(sorted(orders))


def may_ever_go(running: Running) -> bool:
    """What is not preemptible, protected or leaving already is nobody's victim (rules 4, 10, 11 and 16)."""
    return running.ask.is_preemptible and not (running.is_protected or running.is_leaving)


def minimum_of(members: Sequence[Running]) -> int:
    """With fewer members than this a workload cannot go on."""
    return max((m.ask.members for m in members if not m.ask.is_extra), default=0)


def beyond_minimum(members: Sequence[Running]) -> list[Running]:
    """Members that can go alone, the first to go first: those that came last (rule 12)."""
    spare = len(members) - minimum_of(members)
    ordered = sorted(members, key=lambda m: (not m.ask.is_extra, -m.index, m.id))
    return ordered[: max(0, spare)]


class Victims:
    """
    All that could go, lowest priority and latest first; worked out once for each workload, and anew once
    some of it has gone.

    Of a workload that keeps its minimum only members beyond it go, one by one from the last on; the rest
    goes whole, and only where every member of it may.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._pools: dict[str, set[str]] = {}
        queues: dict[str, dict[str, tuple[int, int, str]]] = {}
        for r in state.running:
            key = (r.ask.priority, -r.rank, r.workload)
            there = queues.setdefault(r.ask.queue, {})
            there[r.workload] = min(key, there.get(r.workload, key))
            self._pools.setdefault(r.workload, set()).add(state.pool_of(r.placement.node) or "")
        line = sorted(key for there in queues.values() for key in there.values())
        self._place = {workload: at * MOST_MEMBERS for at, (_, _, workload) in enumerate(line)}
        self._by_queue = {q: sorted(there, key=self._place.__getitem__) for q, there in queues.items()}
        self._steps: dict[str, tuple[Step, ...]] = {}

    @property
    def queues(self) -> tuple[str, ...]:
        return tuple(self._by_queue)

    def of(
        self,
        queues: Iterable[str],
        pools: Collection[str],
        may_go: Callable[[Running], bool] = lambda _: True,
    ) -> list[Step]:
        """Of workloads in these queues with a member in one of these pools, and of which `may_go` holds."""
        found: list[Step] = []
        for queue in queues:
            for workload in self._by_queue.get(queue, ()):
                if self._pools[workload].isdisjoint(pools):
                    continue
                steps = self.steps(workload)
                if steps and may_go(steps[0].members[0]):
                    found.extend(steps)
        found.sort(key=lambda s: s.order)
        return found

    def gone(self, steps: Iterable[Step]) -> None:
        """To be called when some have been let go."""
        for step in steps:
            self._steps.pop(step.workload, None)

    def steps(self, workload: str) -> tuple[Step, ...]:
        """What of one workload can go now, the first to go first."""
        known = self._steps.get(workload)
        if known is None:
            known = self._steps[workload] = tuple(self._of_workload(workload))
        return known

    def _of_workload(self, workload: str) -> Iterator[Step]:
        members = self._state.members(workload)
        if not members:
            return
        order = self._place[workload]
        spare = [m for m in beyond_minimum(members) if may_ever_go(m)]
        if len(spare) == len(members):
            spare.pop()  # nothing holds them together: the last of them ends the workload
        for number, member in enumerate(spare):
            yield _step(self._state, order + number, workload, [member], False)
        if all(may_ever_go(m) for m in members):
            yield _step(self._state, order + MOST_MEMBERS - 1, workload, members, True)


def _step(state: State, order: int, workload: str, members: Sequence[Running], is_whole: bool) -> Step:
    each = [state.amounts_of(m) for m in members]
    gpus, cpu, memory = (sum(a[r] for a in each) for r in range(3))
    return Step(workload, members[0].ask.queue, tuple(members), is_whole, order, gpus, cpu, memory)


def without_doubles(steps: Iterable[Step]) -> list[Step]:
    """Where a workload goes whole, its members need not go one by one."""
    chosen = list(steps)
    whole = {s.workload for s in chosen if s.is_whole}
    return [s for s in chosen if s.is_whole or s.workload not in whole]


def devices_missing(state: State, ask: AskClass, node: str) -> int:
    """Devices that one member lacks on a node once those have gone that leave, or fewer."""
    there = state.by_name[node]
    if ask.mig_profile:
        has = sum(there.available(p, True) > 0.999 for p in there.slices.get(ask.mig_profile, ()))
    elif ask.gpu_memory_mib is not None or ask.gpu_portion < 1:
        # A part of a device may be free on any; which is enough is for the placing to say.
        has = sum(there.available(p, True) > 0.001 for p in there.usable)
    else:
        has = there.later_whole
    return max(0, ask.gpu_count - has)
