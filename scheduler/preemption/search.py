"""The smallest set of what runs whose places let an ask in, found with bounded effort."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from typing import Generic, TypeVar

from ..model import AskClass, Placement
from ..needs import EVERYWHERE
from ..state import State
from .steps import Choice, Cost, Step, cost, cost_alone, devices_missing, moved, without_doubles

T = TypeVar("T")

# Sets that are looked at of one node, and workloads that go together for one member: beyond that a node is
# cleared from the first to go on, and what was not needed stays.
SETS_OF_A_NODE, TOGETHER, MOST_STEPS = 40, 8, 256
MOST_SORTED = 256  # sets among which the one that moves least is looked for


@dataclass(slots=True)
class Budget:
    """How many sets may still be tried out: in one cycle, and for one ask. Counts, so that answers repeat."""

    cycle: int = 2_000
    ask: int = 0

    def begin(self, tries: int = 256) -> None:
        self.ask = min(tries, self.cycle)

    @property
    def is_spent(self) -> bool:
        """Nothing more is tried out in this cycle."""
        return self.cycle <= 0

    def spend(self) -> bool:
        if self.ask <= 0:
            return False
        self.ask -= 1
        self.cycle -= 1
        return True


@dataclass(frozen=True, slots=True)
class Solution(Generic[T]):
    """Who goes, and what comes of it."""

    steps: tuple[Step, ...]
    result: T


Verify = Callable[[Sequence[Step]], T | None]
May = Callable[[Sequence[Step]], bool]


def let_go(state: State, steps: Iterable[Step]) -> None:
    """Releases what has not been released yet."""
    for step in steps:
        staying = {m.id for m in state.members(step.workload)}
        for member in step.members:
            if member.id in staying:
                state.release(member)


def places_after(
    state: State, ask: AskClass, steps: Sequence[Step], pool: str | None = None
) -> tuple[Placement, ...] | None:
    """
    Where the ask goes once these have gone, its queues asked too; nothing is changed.

    Args:
        pool: where it has to be; None: where it will. Who takes back its share of a pool takes it there.
    """
    mark = state.mark()
    let_go(state, steps)
    touched = dict.fromkeys(m.placement.node for s in steps for m in s.members)
    found = None
    # Room for one comes to be only where something goes: a look at those nodes spares most of the placing.
    if ask.members > 1 or any(n in state.by_name and fits_on(state, ask, n) for n in touched):
        found = state.place_later(ask)
    state.rollback(mark)
    if pool is not None and found is not None and any(state.pool_of(p.node) != pool for p in found):
        return None
    return found


@dataclass(slots=True)
class Singles:
    """
    Single steps that free enough on some node, cheapest first, for one class of asks. Kept from one ask of it
    to the next: what was of no use to the one is of no use to the other, so thousands of equal asks look at
    each step once.
    """

    spare: deque[Step]
    wholes: deque[Step]
    is_any_spare: bool


Memo = dict[tuple[object, ...], Singles]


def smallest(
    state: State, ask: AskClass, steps: Callable[[], Choice], verify: Verify[T], budget: Budget,
    may: May = lambda _: True, singles: Singles | None = None, *, is_move: bool = False,
) -> Solution[T] | None:  # fmt: skip
    """
    The first set, cheapest first, that may go and that `verify` has a result for, without what is needless.

    For one member all sets are within one node. A gang's members are given room one after another; a single
    workload that makes room for all of them goes before any two.

    Args:
        steps: all that could go; asked for only where it is needed.
        singles: from the last call for the same class and the same steps, but for those that have gone.
        is_move: nobody loses a place, so the price is how many workloads begin anew; see `moved`.
    """
    if ask.members == 1 and is_move:
        candidates = _moves_for_one(state, ask, steps(), may)
    elif ask.members == 1:
        candidates = _for_one(state, ask, steps, may, singles or singles_of(state, ask, steps()))
    else:
        candidates = _for_gang(state, ask, steps(), budget, may, moved if is_move else cost)
    for chosen in candidates:
        if not may(chosen):
            continue
        if not budget.spend():
            return None
        result = verify(chosen)
        if result is not None:
            return _without_needless(chosen, result, verify, budget)
    return None


def singles_of(state: State, ask: AskClass, choice: Choice) -> Singles:
    """See `Singles`."""
    enough: set[int] = set()
    for name, (there, missing) in _nodes_for(state, ask, choice).items():
        enough.update([s.order for s in there if s.devices[name] >= missing])
    ordered = [s for s in choice.by_cost if s.order in enough]
    spare = deque([s for s in ordered if not s.is_whole])
    return Singles(spare, deque([s for s in ordered if s.is_whole]), choice.has_spare)


def _each(state: State, line: deque[Step]) -> Iterator[list[Step]]:
    while line:
        step = line.popleft()
        staying = state.members(step.workload)
        as_it_was = len(staying) == len(step.members) if step.is_whole else True
        if as_it_was and all(m in staying for m in step.members):
            yield [step]


def _without_needless(chosen: Sequence[Step], result: T, verify: Verify[T], budget: Budget) -> Solution[T]:
    """What costs most is spared first."""
    kept = list(chosen)
    for step in sorted(chosen, key=cost_alone, reverse=True):
        if len(kept) == 1 or not budget.spend():
            break
        fewer = [s for s in kept if s is not step]
        better = verify(fewer)
        if better is not None:
            kept, result = fewer, better
    return Solution(tuple(kept), result)


def _for_one(
    state: State, ask: AskClass, steps: Callable[[], Choice], may: May, singles: Singles
) -> Iterator[list[Step]]:
    """Sets for one member, each on one node, cheapest first."""
    yield from _each(state, singles.spare)
    by_node: Mapping[str, tuple[Sequence[Step], int]] = {}
    if singles.is_any_spare:
        by_node = _nodes_for(state, ask, steps())
        sets = [
            chosen
            for name, (there, missing) in by_node.items()
            if (chosen := _first_enough([s for s in there if not s.is_whole], name, missing)) is not None
        ]
        yield from sorted(sets, key=cost)
    else:
        yield from _each(state, singles.wholes)
    by_node = by_node or _nodes_for(state, ask, steps())
    crowds = [_crowd(name, there, missing) for name, (there, missing) in by_node.items()]
    for together in range(1, TOGETHER + 1):
        yield from _cheapest_first([_together(c, together) for c in crowds if c.has_enough(together)])
    for _, (there, _) in sorted(by_node.items(), key=lambda item: (item[1][1], item[0])):
        yield _all_that_may(there, may)


def _moves_for_one(state: State, ask: AskClass, choice: Choice, may: May) -> Iterator[list[Step]]:
    """Every single step, be it a whole workload or one member of it, before any two; the cheapest first."""
    singles = singles_of(state, ask, choice)
    yield from sorted(([s] for s in (*singles.spare, *singles.wholes)), key=moved)
    rest = _for_one(state, ask, lambda: choice, may, Singles(deque(), deque(), singles.is_any_spare))
    yield from sorted(islice(rest, MOST_SORTED), key=moved)
    yield from rest


def _cheapest_first(nodes: Sequence[Iterator[list[Step]]]) -> Iterator[list[Step]]:
    """The first set of each node, which is its cheapest, in order of cost; then the others."""
    firsts = [(chosen, rest) for rest in nodes if (chosen := next(rest, None)) is not None]
    firsts.sort(key=lambda first: cost(first[0]))
    yield from (chosen for chosen, _ in firsts)
    for _, rest in firsts:
        yield from islice(rest, SETS_OF_A_NODE)


def _nodes_for(state: State, ask: AskClass, choice: Choice) -> dict[str, tuple[Sequence[Step], int]]:
    """What could go of each node that could hold it, and how many devices are missing there."""
    hosts = state.hosts(ask)
    return {
        name: (there, devices_missing(state, ask, name))
        for name, there in choice.by_node.items()
        if name in hosts
    }


def _all_that_may(steps: Sequence[Step], may: May) -> list[Step]:
    """From the first to go on, as many as may go together."""
    chosen: list[Step] = []
    for step in islice(steps, MOST_STEPS):
        more = without_doubles([*chosen, step])
        if may(more):
            chosen = more
    return chosen


def _first_enough(steps: Sequence[Step], node: str, missing: int) -> list[Step] | None:
    """The first of them that free as many devices as are missing; all of them where none is."""
    chosen: list[Step] = []
    freed = 0
    for step in steps:
        chosen.append(step)
        freed += step.devices[node]
        if freed >= missing > 0:
            return chosen
    return chosen if chosen and not missing else None


@dataclass(frozen=True, slots=True)
class _Crowd:
    """
    What could go of one node, in whole workloads and in members beyond a minimum.

    Args:
        missing: devices. sizes: how many each of the whole ones has there, the largest first.
        enough: devices that the whole ones have to free where all the others go.
    """

    node: str
    missing: int
    wholes: Sequence[Step]
    spare: Sequence[Step]
    sizes: Sequence[int]
    enough: int

    def has_enough(self, number: int) -> bool:
        """Whether so many whole workloads could do."""
        return len(self.sizes) >= number and sum(self.sizes[:number]) >= self.enough


def _crowd(node: str, there: Sequence[Step], missing: int) -> _Crowd:
    wholes, spare = [s for s in there if s.is_whole], [s for s in there if not s.is_whole]
    sizes = sorted([s.devices[node] for s in wholes], reverse=True)
    return _Crowd(node, missing, wholes, spare, sizes, missing - sum(s.devices[node] for s in spare))


def _together(crowd: _Crowd, number: int) -> Iterator[list[Step]]:
    """Sets of so many whole workloads, and of members beyond a minimum where those are not enough alone."""
    node, missing = crowd.node, crowd.missing
    for chosen in combinations(sorted(crowd.wholes, key=cost_alone), number):
        freed = sum([s.devices[node] for s in chosen])
        if freed >= missing:
            yield list(chosen)
        if not crowd.spare:
            continue
        gone = {s.workload for s in chosen}
        rest = [s for s in crowd.spare if s.workload not in gone]
        filled = _first_enough(rest, node, max(1, missing - freed)) if rest else None
        if filled is not None:
            yield [*chosen, *filled]


def fits_on(state: State, ask: AskClass, node: str) -> bool:
    """Whether one member fits there once those have gone that leave."""
    need, there = state.need(ask), state.by_name[node]
    pool = next((p for p in need.pools if p in (there.pool, EVERYWHERE)), None)
    return pool is not None and need.scorers[pool].key(there, True) is not None


def _for_gang(
    state: State, ask: AskClass, choice: Choice, budget: Budget, may: May, price: Callable[[list[Step]], Cost]
) -> Iterator[list[Step]]:
    """One workload alone, then room for one member after another, then all from the first to go on."""
    hosts = state.hosts(ask)
    useful = [s for s in choice.steps if not hosts.isdisjoint(s.devices)]
    whole = sum(len(m.placement.gpu_uuids) for s in without_doubles(useful) for m in s.members)
    missing = ask.members * ask.gpu_count - sum(n.later_whole for n in state.nodes if n.node.name in hosts)
    if ask.gpu_portion >= 1 and ask.gpu_memory_mib is None and not ask.mig_profile and whole < missing:
        return
    spare = [s for s in useful if not s.is_whole]
    singles = [s for s in useful if sum(len(m.placement.gpu_uuids) for m in s.members) >= missing]
    if price is cost and spare and any(s.is_whole for s in singles):
        # A workload that ends costs more than any number of members beyond a minimum.
        by_spare = _member_by_member(state, ask, spare, budget, may)
        if by_spare:
            yield by_spare
    yield from sorted(([s] for s in singles), key=price)
    one_by_one = _member_by_member(state, ask, useful, budget, may)
    if one_by_one:
        yield one_by_one
    if spare:
        yield spare
    yield _all_that_may(useful, may)


def _member_by_member(
    state: State, ask: AskClass, steps: Sequence[Step], budget: Budget, may: May
) -> list[Step]:
    """Cheapest room for the first member, then for the next with that gone; [] where one finds none."""
    single = replace(ask, members=1, segment_size=0)
    mark = state.mark()
    chosen: list[Step] = []
    try:
        for _ in range(ask.members):
            places = state.place_later(single)
            if places is None:
                left = Choice([s for s in steps if s not in chosen and not _is_gone(s, chosen)])
                taken = tuple(chosen)
                found = smallest(
                    state, single, lambda left=left: left, lambda some: places_after(state, single, some),
                    budget, lambda some, taken=taken: may(without_doubles([*taken, *some])),
                )  # fmt: skip
                if found is None:
                    return []
                let_go(state, found.steps)
                chosen.extend(found.steps)
                places = found.result
            state.take(single, places, promised=True)
        return without_doubles(chosen)
    finally:
        state.rollback(mark)


def _is_gone(step: Step, chosen: Sequence[Step]) -> bool:
    return any(step.workload == s.workload and s.is_whole for s in chosen)
