"""
Rule 10: a queue below its share takes back what others have beyond theirs.

Source: contracts of Run:ai (over quota, fairness and preemption), KAI-Scheduler docs/fairness and
plugins/proportion/reclaimable. The priority of work has no part in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..model import AskClass
from ..shares import CPU, GPUS, MEMORY, RESOURCES, Account, Triple
from ..state import State
from .steps import Step, amounts_in

EPSILON = 1e-6
NONE = (0.0, 0.0, 0.0)
UNITS = ("GPUs", "CPU cores", "MiB of memory")


def first_difference(state: State, one: str, other: str) -> tuple[str, str]:
    """The queues at the first level at which two projects' branches part."""
    mine, theirs = state.tree.branch(one), state.tree.branch(other)
    if mine[0] == theirs[0] and len(mine) == len(theirs):
        return mine[-1], theirs[-1]
    return mine[0], theirs[0]


def saturation(allocated: float, fair: float) -> float:
    """How much of its fair share a queue has; 1 is all of it."""
    if fair <= 0:
        return float("inf") if allocated > EPSILON else 0.0
    return allocated / fair


def is_lasting(state: State, ask: AskClass, pool: str, steps: Sequence[Step]) -> bool:
    """
    Whether an ask that preempts in its own project would not lose the place again at once: what is within
    the fair share goes before what is not, so the latter displaces nothing that would be the former.
    """
    if not state.snapshot.queues:
        return True
    account = state.account(ask.queue, pool)
    wants, fair = state.need(ask).amounts(pool), account.fair_share
    each = [amounts_in(state, s, pool) for s in steps]
    lost = [sum(amounts[r] for amounts in each) for r in RESOURCES]
    left = [h - g for h, g in zip(account.has, lost, strict=True)]

    def is_within(part: Triple) -> bool:
        return all(part[r] <= 0 or left[r] + part[r] <= fair[r] + EPSILON for r in range(3))

    return is_within(wants) or not any(is_within(p) for s in steps for p in s.parts)


def is_entitled(wants: Triple, account: Account) -> bool:
    """With the ask its project has no more than its fair share. Quotas are for the placing to say."""
    return _is_within(account.has, wants, account.fair_share)


def _is_within(has: Triple, wants: Triple, bound: Triple) -> bool:
    """Of what it does not ask for, more than the bound is no hindrance."""
    return not any([w > 0 and h + w > b + EPSILON for h, w, b in zip(has, wants, bound, strict=True)])


@dataclass(slots=True)
class Reclaimer:
    """One ask in one node pool, and what it may take there. What queues have is read live."""

    state: State
    ask: AskClass
    pool: str
    wants: Triple = field(init=False)
    asked: tuple[int, ...] = field(init=False)
    _speaks: bool | None = field(init=False, default=None)
    _ways: dict[str, tuple[tuple[str, str], tuple[str, ...]]] = field(
        init=False, default_factory=dict[str, tuple[tuple[str, str], tuple[str, ...]]]
    )

    def __post_init__(self) -> None:
        self.wants = wants = self.state.need(self.ask).amounts(self.pool)
        self.asked = tuple([r for r in RESOURCES if wants[r] > 0])

    def is_entitled(self) -> bool:
        return is_entitled(self.wants, self._account(self.ask.queue))

    def stays_within_quota(self, queue: str) -> bool:
        account = self._account(queue)
        return _is_within(account.has, self.wants, account.deserved)

    def _account(self, queue: str) -> Account:
        return self.state.account(queue, self.pool)

    def _exceeds(self, has: Sequence[float], bound: Sequence[float]) -> bool:
        # Of what the ask does not ask for, more than its share helps nobody.
        return any(has[r] > bound[r] + EPSILON for r in self.asked)

    def is_over(self, mine: str, theirs: str, has: Sequence[float]) -> bool:
        """Above its fair share; or, for a reclaimer that stays within its quota, above its own quota."""
        account = self._account(theirs)
        return self._exceeds(has, account.due) or (
            self._exceeds(has, account.deserved)
            and self.stays_within_quota(mine)
            and self.speaks_for_its_queue()
        )

    def speaks_for_its_queue(self) -> bool:
        """
        Whether nothing beyond the quota, yet within the fair share, waits before it in its own queue. For its
        queue has its turn as that, no earlier than whoever would lose work within a fair share to this.
        """
        if self._speaks is None:
            waiting, rank = self.state.waiting_in(self.ask.queue), self.state.snapshot.rank

            def place(ask: AskClass, ids: Sequence[str]) -> tuple[int, bool, int]:
                return -ask.priority, ask.is_extra, rank.get(ids[0], 0) if ids else 0

            own = place(self.ask, self.state.snapshot.pending.get(self.ask, ()))
            before = (a for a, ids in waiting if place(a, ids) < own)
            others = (Reclaimer(self.state, a, self.pool) for a in before)
            mine = self.ask.queue
            self._speaks = not any(o.is_entitled() and not o.stays_within_quota(mine) for o in others)
        return self._speaks

    def who_may_lose(self, queues: Iterable[str]) -> list[str]:
        """Those projects of which any work may be taken at all, at the level at which they part."""
        known: dict[tuple[str, str], bool] = {}
        found: list[str] = []
        for queue in queues:
            pair = mine, theirs = self._way_to(queue)[0]
            if pair not in known:
                known[pair] = mine != theirs and self.is_over(mine, theirs, self._account(theirs).still_has)
            if known[pair]:
                found.append(queue)
        return found

    def exceeds_its_quota(self, queue: str) -> bool:
        account = self._account(queue)
        return self._exceeds(account.still_has, account.deserved)

    def may_take(self, steps: Sequence[Step]) -> bool:
        """
        Whether all these may go: no queue that loses could take back even the least of it and be within its
        bound again, and afterwards no queue of the reclaimer is above its share and yet as saturated as one
        that lost. So nothing is taken that its owner would be entitled to a moment later.
        """
        lost: dict[str, list[float]] = {}
        parts: dict[tuple[str, str], set[Triple]] = {}
        for step in steps:
            pair, branch = self._way_to(step.queue)
            parts.setdefault(pair, set()).update(step.parts)
            gpus, cpu, memory = amounts_in(self.state, step, self.pool)
            for queue in branch:
                gone = lost.setdefault(queue, [0.0, 0.0, 0.0])
                gone[GPUS] += gpus
                gone[CPU] += cpu
                gone[MEMORY] += memory
        for (mine, theirs), each in parts.items():
            if mine == theirs:
                return False
            left = [h - g for h, g in zip(self._account(theirs).still_has, lost[theirs], strict=True)]
            back = ([h + p for h, p in zip(left, part, strict=True)] for part in each)
            if not all(self.is_over(mine, theirs, with_it) for with_it in back):
                return False
        department = self.state.department
        return all(
            self._keeps_order(mine, theirs, lost)
            for mine in self.state.tree.branch(self.ask.queue)
            for theirs in lost
            if theirs != mine and department(theirs) == department(mine)
        )

    def _way_to(self, queue: str) -> tuple[tuple[str, str], tuple[str, ...]]:
        """Where its branch and ours part, and the whole of its branch."""
        known = self._ways.get(queue)
        if known is None:
            pair = first_difference(self.state, self.ask.queue, queue)
            known = self._ways[queue] = pair, self.state.tree.branch(queue)
        return known

    def _keeps_order(self, mine: str, theirs: str, lost: Mapping[str, Sequence[float]]) -> bool:
        ours, others = self._account(mine), self._account(theirs)
        our_has, their_has = ours.has, others.has
        our_loss, their_loss = lost.get(mine, NONE), lost[theirs]
        for r in self.asked:
            fair, their_fair = ours.fair_share[r], others.fair_share[r]
            has = our_has[r] - our_loss[r] + self.wants[r]
            left = their_has[r] - their_loss[r]
            after = saturation(has, fair)
            if after > 1 + EPSILON and their_fair > 0 and after >= saturation(left, their_fair) - EPSILON:
                return False
        return True

    def sentence(self, step: Step) -> str:
        """For the victim: who takes its place and why, with what both queues had before."""
        mine, theirs = first_difference(self.state, self.ask.queue, step.queue)
        kind = "project" if mine == self.ask.queue else "department"
        resource = self._resource_of(theirs)
        ours, others = self._account(mine), self._account(theirs)
        our_share = ours.due[resource]
        of = "" if kind == "project" else f" of project {self.ask.queue}"
        return (
            f"evicted: reclaimed for {kind} {mine}{of}, which has {ours.has[resource]:g} of its "
            f"{our_share:g} {UNITS[resource]}; {theirs} has {others.has[resource]:g} of "
            f"{self._bound(others, resource):g}"
        )

    def _resource_of(self, theirs: str) -> int:
        account = self._account(theirs)
        has, otherwise = account.has, (*self.asked, 0)[0]
        return next((r for r in self.asked if has[r] > self._bound(account, r) + EPSILON), otherwise)

    @staticmethod
    def _bound(account: Account, resource: int) -> float:
        most = account.due[resource]
        return account.deserved[resource] if account.has[resource] <= most else most
