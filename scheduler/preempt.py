"""
Room for what waits: consolidation, nodes of reservations for their owners, reclaim, preemption, and the end
of stale gangs, in this order.

Each solution is tried out whole on the working copy before anybody is evicted for it. Source: the cycle of
Run:ai and KAI-Scheduler (allocate, consolidation, reclaim, preempt, stale gang eviction). Reservations are
Lepton's: they come before what queues owe each other, and after moves, by which nobody loses a place.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .holding import Held
from .model import AskClass, EvictedBy, Eviction, Placement, Running
from .needs import EVERYWHERE, Need
from .preemption.consolidate import Move, has_enough, is_alike, move
from .preemption.consolidate import sentence as moved_to
from .preemption.reclaim import Reclaimer, is_entitled, is_lasting
from .preemption.search import Budget, Memo, Singles, Solution, let_go, places_after, singles_of, smallest
from .preemption.steps import Choice, Step, Victims, may_ever_go, minimum_of
from .preemption.take_back import at_home, in_force, may_be_taken_for, of_its_nodes, sparing_owners
from .preemption.take_back import sentence as reserved_for
from .state import State

Places = tuple[Placement, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    Asks of one class that found no place, oldest first.

    Args:
        behind: the ids of those whose kept places it leaves alone; see `Held`.
    """

    ask: AskClass
    ids: tuple[str, ...]
    behind: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """
    Args:
        evictions: in the order in which they were decided, each running id at most once.
        promised: where each ask goes once what is evicted (or leaves already) has gone.
        moved: where the consolidated can run, by their running ids; kept free in this cycle.
    """

    evictions: tuple[Eviction, ...] = ()
    promised: Mapping[str, Places] = field(default_factory=dict[str, Places])
    moved: Mapping[str, Placement] = field(default_factory=dict[str, Placement])


Attempt = Callable[[AskClass, str], bool]


def make_room(state: State, waiting: Sequence[Waiting], held: Held, grown: Sequence[AskClass] = ()) -> Room:
    """
    Who is evicted so that what waits gets its place. The state is left with all of it released and promised.

    Of a class whose first ask finds no room the others are not tried: they ask for the same. The effort of a
    cycle is bounded by a count of sets tried out, so that the same snapshot always gives the same answer.

    Args:
        waiting: in the order of the queues; within a queue the higher priority and then the older goes first.
        held: what is kept for some of them. Nobody behind those gets it here either, though others leave for
            it; they themselves do.
        grown: of the members that gangs have got beyond their minimum in this cycle. None of those gangs goes
            in it: the new member would be left alone.
    """
    maker = _Maker(state, held, grown)
    left: Sequence[Waiting] = [w for w in waiting if w.ids]
    if left and state.snapshot.running:
        for attempt, may_help in (
            (maker.consolidate, maker.may_move), (maker.take_back, maker.may_take_back),
            (maker.reclaim, maker.may_reclaim), (maker.preempt, maker.may_preempt),
        ):  # fmt: skip
            left = maker.serve(left, attempt, may_help)
    maker.end_stale()
    return Room(tuple(maker.evictions), maker.promised, maker.moved)


class _Maker:
    def __init__(self, state: State, held: Held, grown: Sequence[AskClass]) -> None:
        self.state, self._held = state, held
        self._grown: dict[tuple[str, int], list[AskClass]] = {}
        for ask in grown:
            self._grown.setdefault((ask.queue, ask.priority), []).append(ask)
        self.evictions: list[Eviction] = []
        self.promised: dict[str, Places] = {}
        self.moved: dict[str, Placement] = {}
        self._budget = Budget()
        self._victims = Victims(state, self._may_go)
        self._in_force = in_force(state)
        self._of_reservations: dict[str, Victims] = {}
        self._at_home: dict[int, tuple[AskClass, AskClass]] = {}
        self._memo: Memo = {}
        self._is_left_over = False
        self._ended: dict[str, dict[int, AskClass]] = {}  # of what goes whole, by queue

    def serve(
        self, waiting: Sequence[Waiting], attempt: Attempt, may_help: Callable[[AskClass], bool]
    ) -> Sequence[Waiting]:
        """
        One stage for all; what is left of each class for the next.

        Args:
            may_help: False where the stage has nothing for a class, whoever goes; asked again for each queue.
        """
        queues: dict[str, list[int]] = {}
        for number, w in enumerate(waiting):
            queues.setdefault(w.ask.queue, []).append(number)
        served = [0] * len(waiting)
        for numbers in queues.values():
            can_change = self._is_left_over or bool(self._held.by_id)
            if can_change or any(may_help(waiting[n].ask) for n in numbers):
                self._serve_queue(waiting, numbers, attempt, served)
        if not any(served):
            return waiting
        return [
            replace(w, ids=w.ids[n:]) if n else w
            for w, n in zip(waiting, served, strict=True)
            if n < len(w.ids)
        ]

    def _serve_queue(
        self, waiting: Sequence[Waiting], numbers: Sequence[int], attempt: Attempt, served: list[int]
    ) -> None:
        """The classes of one queue; how many of each were served is written into `served`."""
        rank = self.state.snapshot.rank

        def head(number: int) -> tuple[int, bool, int, int]:
            ask, first = waiting[number].ask, waiting[number].ids[served[number]]
            return -ask.priority, ask.is_extra, rank.get(first, 0), number

        heads = [head(number) for number in numbers]
        heapq.heapify(heads)
        while heads:
            number = heapq.heappop(heads)[-1]
            ask, ids = waiting[number].ask, waiting[number].ids
            if ask.is_extra and not self._goes_on(ask):
                continue
            id_ = ids[served[number]]
            self._held.bind(self.state, waiting[number].behind)
            if not self._fits_already(ask, id_) and (self._budget.is_spent or not attempt(ask, id_)):
                continue
            self._held.served(self.state, id_)
            served[number] += 1
            if served[number] < len(ids):
                heapq.heappush(heads, head(number))

    def _goes_on(self, ask: AskClass) -> bool:
        """
        Whether a gang that wants one more member still runs: it may be what has just been evicted. Whose
        member it is nobody says, so after the end of one such gang those of all wait for the next cycle.
        """
        if any(is_alike(ended, ask) for ended in self._ended.get(ask.queue, {}).values()):
            return False
        return any(is_alike(r.ask, ask) for r in self.state.running_in(ask.queue))

    def _has_grown(self, running: Running) -> bool:
        ask = running.ask
        return any(is_alike(ask, other) for other in self._grown.get((ask.queue, ask.priority), ()))

    def _may_go(self, running: Running) -> bool:
        return may_ever_go(running) and not self._has_grown(running)

    def _fits_already(self, ask: AskClass, id_: str) -> bool:
        """What an earlier solution left over is used before another is sought."""
        if not self._is_left_over:
            return False
        found = self.state.promise(self.state.need(ask))
        if found is None:
            return False
        self.promised[id_] = found
        return True

    # -- the stages ---------------------------------------------------------------------------------------

    def may_move(self, ask: AskClass) -> bool:
        return ask.gpu_count > 0 and self.state.snapshot.may_move and has_enough(self.state, ask)

    def consolidate(self, ask: AskClass, id_: str) -> bool:
        state = self.state
        if not self.may_move(ask):
            return False
        pools = [p for p in state.pools_of(ask) if state.quota_refusal(ask, p, with_leaving=True) is None]
        if not pools:
            return False
        there = state.pool_names if EVERYWHERE in pools else tuple(pools)

        def steps() -> Choice:
            some = self._victims.of(
                self._victims.queues, there, lambda r: not (r.was_moved or is_alike(r.ask, ask))
            )
            return sparing_owners(state, ask, some)

        self._budget.begin(64)
        found = smallest(state, ask, steps, lambda some: move(state, ask, some), self._budget, is_move=True)
        if found is None:
            return False
        result: Move = found.result
        self.moved.update(result.moved)
        self._commit(
            ask, id_, Solution(found.steps, result.places), EvictedBy.CONSOLIDATION,
            lambda _, member: moved_to(id_, result, member),
        )  # fmt: skip
        for step in found.steps:
            for member in step.members:
                state.take(member.ask, (result.moved[member.id],), promised=True)
        return True

    def may_take_back(self, ask: AskClass) -> bool:
        return ask.reservation in self._in_force

    def take_back(self, ask: AskClass, id_: str) -> bool:
        """Of the nodes of its reservation; see `preemption/take_back.py`. Its queues are asked as ever."""
        state, name = self.state, ask.reservation
        if name is None or name not in self._in_force:
            return False
        victims = self._of_reservations.get(name)
        if victims is None:
            victims = Victims(state, lambda r: may_be_taken_for(name, r) and not self._has_grown(r))
            self._of_reservations[name] = victims
        # One object for each class: much is remembered by what it is worked out of.
        home = self._at_home.setdefault(id(ask), (ask, at_home(ask)))[1]
        # A gang that may burst is content with room at home for some of it and what is idle elsewhere for the
        # others; for one member alone there is nothing between the two.
        for wanted in (home, ask) if ask.may_burst and ask.members > 1 else (home,):
            self._budget.begin()

            def steps(wanted: AskClass = wanted) -> Choice:
                some = victims.below(victims.queues, state.pool_names)
                return some if wanted is home else of_its_nodes(state, ask, some)

            found = smallest(
                state, wanted, steps, lambda some, w=wanted: places_after(state, w, some), self._budget,
                singles=self._singles("take back", wanted, "", (), steps),
            )  # fmt: skip
            if found is not None:
                self._commit(
                    ask, id_, found, EvictedBy.RESERVATION, lambda step, _: reserved_for(state, ask, step)
                )
                return True
        return False

    def may_reclaim(self, ask: AskClass) -> bool:
        need = self.state.need(ask)
        return any(_is_entitled(need, pool) for pool in need.pools)

    def reclaim(self, ask: AskClass, id_: str) -> bool:
        return any(self._reclaim_in(ask, id_, pool) for pool in self.state.pools_of(ask))

    def _reclaim_in(self, ask: AskClass, id_: str, pool: str) -> bool:
        state = self.state
        if not _is_entitled(state.need(ask), pool):
            return False
        reclaimer = Reclaimer(state, ask, pool)
        queues = reclaimer.who_may_lose(q for q in self._victims.queues if q != ask.queue)
        beyond = [q for q in queues if reclaimer.exceeds_its_quota(q)]
        # A project within its own quota pays for its department only where no other can.
        for those in (beyond, queues) if len(beyond) < len(queues) else (queues,):
            if not those:
                continue
            self._budget.begin()

            def steps(those: Sequence[str] = those) -> Choice:
                return sparing_owners(state, ask, self._victims.in_pool(tuple(those), pool))

            found = smallest(
                state, ask, steps, lambda some: places_after(state, ask, some, pool), self._budget,
                reclaimer.may_take, self._singles("reclaim", ask, pool, those, steps),
            )  # fmt: skip
            if found is not None:
                texts = {s: reclaimer.sentence(s) for s in found.steps}
                self._commit(ask, id_, found, EvictedBy.RECLAIM, lambda step, _, texts=texts: texts[step])
                return True
        return False

    def may_preempt(self, ask: AskClass) -> bool:
        if not ask.can_preempt:
            return False
        # A gang may fit without any victim, where an earlier one's have left something over.
        return ask.members > 1 or self._victims.lowest_priority(ask.queue) < ask.priority

    def preempt(self, ask: AskClass, id_: str) -> bool:
        """Rule 11. Quotas and limits are for the placing to say, as they are once the victims have gone."""
        if not self.may_preempt(ask):
            return False
        state = self.state
        self._budget.begin()

        def steps() -> Choice:
            some = self._victims.below((ask.queue,), state.pool_names, ask.priority)
            return sparing_owners(state, ask, some)

        def places(some: Sequence[Step]) -> Places | None:
            found = places_after(state, ask, some)
            if found is None or not is_lasting(state, ask, state.pool_of(found[0].node) or "", some):
                return None
            return found

        singles = self._singles("preempt", ask, "", (ask.queue,), steps)
        found = smallest(state, ask, steps, places, self._budget, singles=singles)
        if found is None:
            return False
        self._commit(
            ask, id_, found, EvictedBy.PREEMPTION,
            lambda _, member: f"evicted: preempted by {id_}, whose priority {ask.priority} is higher "
            f"than {member.ask.priority}",
        )  # fmt: skip
        return True

    def end_stale(self) -> None:
        """Rule 12: what is left of a gang below its minimum goes, for nobody, and starts anew as a gang."""
        if not any(r.is_stale for r in self.state.snapshot.running):
            return
        stale = dict.fromkeys(r.workload for r in self.state.running if r.is_stale)
        for workload in stale:
            members = self.state.members(workload)
            text = (
                f"evicted: stale gang, {len(members)} of its members have run for too long without "
                f"the others: it needs at least {minimum_of(members)}"
            )
            for member in members:
                self.state.release(member)
                self.evictions.append(Eviction(member.id, workload, EvictedBy.STALE_GANG, "", text))

    # -- what they share ----------------------------------------------------------------------------------

    def _singles(
        self, stage: str, ask: AskClass, pool: str, queues: Sequence[str], steps: Callable[[], Choice]
    ) -> Singles:
        # the class is one object in a cycle, and its hash is dear
        key = (stage, id(ask), pool, *queues)
        known = self._memo.get(key)
        if known is None:
            known = self._memo[key] = singles_of(self.state, ask, steps())
        return known

    def _commit(
        self,
        ask: AskClass,
        id_: str,
        found: Solution[Places],
        how: EvictedBy,
        text: Callable[[Step, Running], str],
    ) -> None:
        evictions = [
            Eviction(member.id, step.workload, how, id_, text(step, member))
            for step in sorted(found.steps, key=lambda s: s.order)
            for member in step.members
        ]
        gpus = sum(step.gpus for step in found.steps)
        asked = sum(len(p.gpu_uuids) * p.gpu_portion for p in found.result)
        # A GPU for a GPU leaves nothing for the next: it need not even look.
        self._is_left_over |= gpus != asked or not gpus or how is EvictedBy.CONSOLIDATION
        let_go(self.state, found.steps)
        for step in found.steps:
            if step.is_whole:
                its = step.members[0].ask
                self._ended.setdefault(step.queue, {})[id(its)] = its
        for victims in (self._victims, *self._of_reservations.values()):
            victims.gone(found.steps)
        self.state.take(ask, found.result, promised=True)
        self.promised[id_] = found.result
        self.evictions.extend(evictions)


def _is_entitled(need: Need, pool: str) -> bool:
    """Whether its project may reclaim what it asks for in a pool; without queues nobody may."""
    accounts, wants = need.accounts(pool), need.amounts(pool)
    return bool(accounts) and any(wants) and is_entitled(wants, accounts[0])
