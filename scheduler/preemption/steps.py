"""What of the running work can go at once: one member beyond the minimum, or all that a workload has."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from math import inf

from ..model import AskClass, Running
from ..shares import RESOURCES, Triple
from ..state import State

MOST_MEMBERS = 1 << 20  # of one workload, between the places of two


Cost = tuple[int, float, float, float, int, tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """
    Args:
        order: among those that may go; the lower goes first.
        is_whole: the workload ends with it.
        gpus, cpu, memory_mib: what its members have, wherever they are.
        devices: by node, of how many devices something comes free with it.
        parts: in what amounts it would ask again: the minimum together, each member beyond it alone.
        cost: of it alone; see `cost`.
    """

    workload: str
    queue: str
    members: tuple[Running, ...]
    is_whole: bool
    order: int
    gpus: float
    cpu: float
    memory_mib: float
    devices: Mapping[str, int]
    parts: frozenset[Triple]
    cost: Cost

    @property
    def amounts(self) -> Triple:
        return self.gpus, self.cpu, self.memory_mib


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


def moved(steps: Sequence[Step]) -> Cost:
    """
    Of steps that all get another place: fewest workloads, whole or not, then least GPUs, CPU, memory, then
    fewest members, then the first to go.
    """
    _, *rest = cost(steps)
    return (len({s.workload for s in steps}), *rest)  # pyright: ignore[reportReturnType]


def cost_alone(step: Step) -> Cost:
    return step.cost


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


class Choice:
    """What may go for an ask, the first to go first; what is worked out of it is worked out once."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps

    @cached_property
    def by_cost(self) -> Sequence[Step]:
        return sorted(self.steps, key=cost_alone)

    @cached_property
    def by_node(self) -> Mapping[str, Sequence[Step]]:
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            for name in step.devices:
                found.setdefault(name, []).append(step)
        return found

    @cached_property
    def has_spare(self) -> bool:
        """Whether some workload can lose a member and go on."""
        return any(not s.is_whole for s in self.steps)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """
    Args:
        place: of each workload among all, the first to go first, with room for its members behind it.
        by_queue: workloads, the first to go first. pools: where each of them has members.
    """

    place: Mapping[str, int]
    by_queue: Mapping[str, Sequence[str]]
    pools: Mapping[str, Set[str]]


def _rank(state: State) -> _Ranked:
    pools: dict[str, set[str]] = {}
    queues: dict[str, dict[str, tuple[int, int, str]]] = {}
    for r in state.running:
        key = (r.ask.priority, -r.rank, r.workload)
        there = queues.setdefault(r.ask.queue, {})
        there[r.workload] = min(key, there.get(r.workload, key))
        pools.setdefault(r.workload, set()).add(state.pool_of(r.placement.node) or "")
    line = sorted(key for there in queues.values() for key in there.values())
    place = {workload: at * MOST_MEMBERS for at, (_, _, workload) in enumerate(line)}
    return _Ranked(place, {q: sorted(there, key=place.__getitem__) for q, there in queues.items()}, pools)


class Victims:
    """
    All that could go, lowest priority and latest first; worked out once for each workload, and anew once
    some of it has gone.

    Of a workload that keeps its minimum only members beyond it go, one by one from the last on; the rest
    goes whole, and only where every member of it may.

    Args:
        may_go: of one member, whatever becomes of the others.
    """

    def __init__(self, state: State, may_go: Callable[[Running], bool] = may_ever_go) -> None:
        self._state, self._may_go = state, may_go
        self._steps: dict[str, tuple[Step, ...]] = {}
        self._by_queue: dict[tuple[str, tuple[str, ...]], list[tuple[Step, ...]]] = {}
        self._choices: dict[tuple[object, ...], Choice] = {}

    @cached_property
    def _lowest(self) -> Mapping[str, int]:
        """By queue; what has gone since still counts, so that it is never too high."""
        lowest: dict[str, int] = {}
        for r in self._state.snapshot.running:
            ask = r.ask
            if ask.priority < lowest.get(ask.queue, inf) and self._may_go(r):
                lowest[ask.queue] = ask.priority
        return lowest

    @cached_property
    def _ranked(self) -> _Ranked:
        """Made when it is first asked for, which is before anything has gone."""
        return _rank(self._state)

    @property
    def queues(self) -> tuple[str, ...]:
        return tuple(self._ranked.by_queue)

    def lowest_priority(self, queue: str) -> float:
        """In a queue nothing can go with a priority lower than this; inf where nothing can at all."""
        return self._lowest.get(queue, inf)

    def of(self, queues: Iterable[str], pools: tuple[str, ...], may_go: Callable[[Running], bool]) -> Choice:
        """Of workloads in these queues with a member in one of these pools, and of which `may_go` holds."""
        found: list[Step] = []
        for queue in queues:
            for steps in self._in_queue(queue, pools):
                if may_go(steps[0].members[0]):
                    found.extend(steps)
        found.sort(key=_order)
        return Choice(found)

    def below(self, queues: tuple[str, ...], pools: tuple[str, ...], priority: float = inf) -> Choice:
        """`of` what is of lower priority; the same until something has gone."""
        key = (queues, pools, priority)
        known = self._choices.get(key)
        if known is None:
            known = self._choices[key] = self.of(queues, pools, lambda r: r.ask.priority < priority)
        return known

    def in_pool(self, queues: tuple[str, ...], pool: str) -> Choice:
        """`below`, without single members that are elsewhere: with them nothing comes free there."""
        key = (queues, pool)
        known = self._choices.get(key)
        if known is None:
            some = self.below(queues, (pool,)).steps
            here = [s for s in some if any(self._state.pool_of(m.placement.node) == pool for m in s.members)]
            known = self._choices[key] = Choice(here)
        return known

    def _in_queue(self, queue: str, pools: tuple[str, ...]) -> Sequence[tuple[Step, ...]]:
        """The steps of each workload of which something can go, the first to go first."""
        known = self._by_queue.get((queue, pools))
        if known is None:
            ranked = self._ranked
            there = [w for w in ranked.by_queue.get(queue, ()) if not ranked.pools[w].isdisjoint(pools)]
            known = [steps for w in there if (steps := self.steps(w))]
            self._by_queue[queue, pools] = known
        return known

    def gone(self, steps: Iterable[Step]) -> None:
        """To be called when some have been let go."""
        for step in steps:
            self._steps.pop(step.workload, None)
        self._choices.clear()
        queues = {step.queue for step in steps}
        for key in [key for key in self._by_queue if key[0] in queues]:
            del self._by_queue[key]

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
        order = self._ranked.place[workload]
        beyond = beyond_minimum(members)
        spare = [m for m in beyond if self._may_go(m)]
        if len(spare) == len(members):
            spare.pop()  # nothing holds them together: the last of them ends the workload
        for number, member in enumerate(spare):
            yield _step(self._state, order + number, [member], beyond=None)
        if all(map(self._may_go, members)):
            yield _step(self._state, order + MOST_MEMBERS - 1, members, beyond)


def _step(state: State, order: int, members: Sequence[Running], beyond: Sequence[Running] | None) -> Step:
    """
    Args:
        beyond: those beyond the minimum, of a workload that goes whole; else None.
    """
    amounts = [state.amounts_of(m) for m in members]
    gpus, cpu, memory = whole = _sum(amounts)
    parts = {whole}
    if beyond:
        extra = {m.id for m in beyond}
        parts = {a for m, a in zip(members, amounts, strict=True) if m.id in extra}
        core = [a for m, a in zip(members, amounts, strict=True) if m.id not in extra]
        parts |= {_sum(core)} if core else set()
    devices: dict[str, int] = {}
    for m in members:
        devices[m.placement.node] = devices.get(m.placement.node, 0) + len(m.placement.gpu_uuids)
    is_whole, first = beyond is not None, members[0]
    return Step(
        first.workload, first.ask.queue, tuple(members), is_whole, order, gpus, cpu, memory, devices,
        frozenset(parts), (int(is_whole), round(gpus, 6), round(cpu, 6), memory, len(members), (order,)),
    )  # fmt: skip


def amounts_in(state: State, step: Step, pool: str) -> Triple:
    """What of a step is in one node pool: a workload may have members in several."""
    if len(state.pool_names) == 1:
        return step.amounts
    return _sum([state.amounts_of(m) for m in step.members if state.pool_of(m.placement.node) == pool])


def _sum(each: Sequence[Triple]) -> Triple:
    if len(each) == 1:
        return each[0]
    gpus, cpu, memory = (sum(a[r] for a in each) for r in RESOURCES)
    return gpus, cpu, memory


def _order(step: Step) -> int:
    return step.order


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
