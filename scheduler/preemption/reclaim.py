"""
Rule 10: a queue below its share takes back what others have beyond theirs.

Source: contracts of Run:ai (over quota, fairness and preemption), KAI-Scheduler docs/fairness and
plugins/proportion/reclaimable. The priority of work has no part in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..model import Amounts, AskClass, Share
from ..state import State
from .steps import Step, beyond_minimum

EPSILON = 1e-6
Three = tuple[float, float, float]
UNITS = ("GPUs", "CPU cores", "MiB of memory")


def three(amounts: Amounts) -> Three:
    return amounts.gpus, amounts.cpu, amounts.memory_mib


def path(state: State, queue: str) -> tuple[str, ...]:
    """From the department down to the project."""
    above = state.department(queue)
    return (queue,) if above is None else (above, queue)


def first_difference(state: State, one: str, other: str) -> tuple[str, str]:
    """The queues at the first level at which two projects' branches part."""
    pairs = list(zip(path(state, one), path(state, other), strict=False))
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[-1])


def allocatable(share: Share) -> Three:
    """What nobody reclaims by fair share: never less than what the queue deserves."""
    fair, deserved = three(share.fair), three(share.quota.deserved)
    return tuple(max(f, d) for f, d in zip(fair, deserved, strict=True))  # pyright: ignore[reportReturnType]


def saturation(allocated: float, fair: float) -> float:
    """How much of its fair share a queue has; 1 is all of it."""
    if fair <= 0:
        return float("inf") if allocated > EPSILON else 0.0
    return allocated / fair


def parts_of(state: State, step: Step) -> set[Three]:
    """In what amounts it would ask again: the minimum together, each member beyond it alone."""
    if not step.is_whole:
        return {step.amounts}
    beyond = beyond_minimum(step.members)
    parts = {state.amounts_of(m) for m in beyond}
    core = [state.amounts_of(m) for m in step.members if m not in beyond]
    if core:
        gpus, cpu, memory = (sum(a[r] for a in core) for r in range(3))
        parts.add((gpus, cpu, memory))
    return parts


def is_lasting(state: State, ask: AskClass, pool: str, steps: Sequence[Step]) -> bool:
    """
    Whether an ask that preempts in its own project would not lose the place again at once: what is within
    the fair share goes before what is not, so the latter displaces nothing that would be the former.
    """
    if not state.snapshot.queues:
        return True
    share = state.share(ask.queue, pool)
    wants, fair = three(state.amounts(ask, pool)), three(share.fair)
    lost = [sum(s.amounts[r] for s in steps) for r in range(3)]
    left = [h - g for h, g in zip(three(share.allocated), lost, strict=True)]

    def is_within(part: Three) -> bool:
        return all(part[r] <= 0 or left[r] + part[r] <= fair[r] + EPSILON for r in range(3))

    return is_within(wants) or not any(is_within(p) for s in steps for p in parts_of(state, s))


@dataclass(slots=True)
class Reclaimer:
    """One ask in one node pool, and what it may take there. What queues have is read live."""

    state: State
    ask: AskClass
    pool: str
    wants: Three = field(init=False)
    asked: tuple[int, ...] = field(init=False)
    _speaks: bool | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.wants = three(self.state.amounts(self.ask, self.pool))
        self.asked = tuple(r for r in range(3) if self.wants[r] > 0)

    def is_entitled(self) -> bool:
        """With the ask its project has no more than its fair share. Quotas are for the placing to say."""
        share = self.state.share(self.ask.queue, self.pool)
        has, fair = three(share.allocated), three(share.fair)
        return all(has[r] + self.wants[r] <= fair[r] + EPSILON for r in self.asked)

    def stays_within_quota(self, queue: str) -> bool:
        share = self.state.share(queue, self.pool)
        has, deserved = three(share.allocated), three(share.quota.deserved)
        return all(has[r] + self.wants[r] <= deserved[r] + EPSILON for r in self.asked)

    def _exceeds(self, has: Sequence[float], bound: Sequence[float]) -> bool:
        # Of what the ask does not ask for, more than its share helps nobody.
        return any(has[r] > bound[r] + EPSILON for r in self.asked)

    def is_over(self, mine: str, theirs: str, has: Sequence[float]) -> bool:
        """Above its fair share; or, for a reclaimer that stays within its quota, above its own quota."""
        share = self.state.share(theirs, self.pool)
        return self._exceeds(has, allocatable(share)) or (
            self.stays_within_quota(mine)
            and self._exceeds(has, three(share.quota.deserved))
            and self.speaks_for_its_queue()
        )

    def speaks_for_its_queue(self) -> bool:
        """
        Whether nothing beyond the quota, yet within the fair share, waits before it in its own queue. For its
        queue has its turn as that, no earlier than whoever would lose work within a fair share to this.
        """
        if self._speaks is None:
            pending, rank = self.state.snapshot.pending, self.state.snapshot.rank

            def place(ask: AskClass) -> tuple[int, bool, int]:
                first = next(iter(pending.get(ask, ())), "")
                return -ask.priority, ask.is_extra, rank.get(first, 0)

            own = place(self.ask)
            before = (a for a, ids in pending.items() if ids and a.queue == self.ask.queue and place(a) < own)
            others = (Reclaimer(self.state, a, self.pool) for a in before)
            mine = self.ask.queue
            self._speaks = not any(o.is_entitled() and not o.stays_within_quota(mine) for o in others)
        return self._speaks

    def may_lose(self, queue: str) -> bool:
        """Whether any work of another project may be taken at all, at the level at which they part."""
        mine, theirs = first_difference(self.state, self.ask.queue, queue)
        return mine != theirs and self.is_over(
            mine, theirs, three(self.state.share(theirs, self.pool).allocated)
        )

    def exceeds_its_quota(self, queue: str) -> bool:
        share = self.state.share(queue, self.pool)
        return self._exceeds(three(share.allocated), three(share.quota.deserved))

    def may_take(self, steps: Sequence[Step]) -> bool:
        """
        Whether all these may go: no queue that loses could take back even the least of it and be within its
        bound again, and afterwards no queue of the reclaimer is above its share and yet as saturated as one
        that lost. So nothing is taken that its owner would be entitled to a moment later.
        """
        lost: dict[str, list[float]] = {}
        parts: dict[tuple[str, str], set[Three]] = {}
        for step in steps:
            pair = first_difference(self.state, self.ask.queue, step.queue)
            parts.setdefault(pair, set()).update(parts_of(self.state, step))
            for queue in path(self.state, step.queue):
                before = lost.setdefault(queue, [0.0, 0.0, 0.0])
                lost[queue] = [b + a for b, a in zip(before, step.amounts, strict=True)]
        for (mine, theirs), each in parts.items():
            has = three(self.state.share(theirs, self.pool).allocated)
            left = [h - g for h, g in zip(has, lost[theirs], strict=True)]
            back = ([h + p for h, p in zip(left, part, strict=True)] for part in each)
            if mine == theirs or not all(self.is_over(mine, theirs, with_it) for with_it in back):
                return False
        return all(
            self._keeps_order(mine, theirs, lost)
            for mine in path(self.state, self.ask.queue)
            for theirs in lost
            if theirs != mine and self.state.department(theirs) == self.state.department(mine)
        )

    def _keeps_order(self, mine: str, theirs: str, lost: dict[str, list[float]]) -> bool:
        ours, others = self.state.share(mine, self.pool), self.state.share(theirs, self.pool)
        nothing = [0.0, 0.0, 0.0]
        for r in self.asked:
            fair, their_fair = three(ours.fair)[r], three(others.fair)[r]
            has = three(ours.allocated)[r] - lost.get(mine, nothing)[r] + self.wants[r]
            left = three(others.allocated)[r] - lost.get(theirs, nothing)[r]
            after = saturation(has, fair)
            if after > 1 + EPSILON and their_fair > 0 and after >= saturation(left, their_fair) - EPSILON:
                return False
        return True

    def sentence(self, step: Step) -> str:
        """For the victim: who takes its place and why, with what both queues had before."""
        mine, theirs = first_difference(self.state, self.ask.queue, step.queue)
        kind = "project" if mine == self.ask.queue else "department"
        resource = self._resource_of(theirs)
        ours, others = self.state.share(mine, self.pool), self.state.share(theirs, self.pool)
        our_share = max(three(ours.fair)[resource], three(ours.quota.deserved)[resource])
        of = "" if kind == "project" else f" of project {self.ask.queue}"
        return (
            f"evicted: reclaimed for {kind} {mine}{of}, which has {three(ours.allocated)[resource]:g} of its "
            f"{our_share:g} {UNITS[resource]}; {theirs} has {three(others.allocated)[resource]:g} of "
            f"{self._bound(others, resource):g}"
        )

    def _resource_of(self, theirs: str) -> int:
        share = self.state.share(theirs, self.pool)
        has = three(share.allocated)
        return next((r for r in self.asked if has[r] > self._bound(share, r) + EPSILON), (*self.asked, 0)[0])

    @staticmethod
    def _bound(share: Share, resource: int) -> float:
        fair, deserved = three(share.fair)[resource], three(share.quota.deserved)[resource]
        return deserved if three(share.allocated)[resource] <= max(fair, deserved) else max(fair, deserved)
