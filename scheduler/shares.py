"""Who should have how much: fair shares, and what each queue has of each node pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import floor, inf
from typing import Protocol

from .model import Amounts, AskClass, Queue, Quota, Share, Snapshot

EPSILON = 1e-9
DIGITS = 9  # portions are sums of fractions
RESOURCES = GPUS, CPU, MEMORY = 0, 1, 2
Triple = tuple[float, float, float]
Children = Mapping[str | None, Sequence[str]]

# Run:ai: GPUs not given are 0; of CPU and memory not given there is no accounting.
UNNAMED = Quota(deserved=Amounts(0.0, inf, inf))


@dataclass(frozen=True, slots=True)
class Claim:
    """What one queue may get of one resource. `requested` counts what it has, up to its limit."""

    deserved: float
    requested: float
    weight: float = 1.0
    rank: int = 0


def divide(total: float, claims: Sequence[Claim], *, is_whole: bool) -> list[float]:
    """
    The fair share of each: first min(deserved, requested), even where that is more than there is; what is
    left goes to the highest rank first, within a rank in proportion to weight and never beyond the request.

    Args:
        claims: of queues that share a parent, oldest first.
        is_whole: a share that is less than the request is a whole number (GPUs), and the devices that this
            leaves over go to the largest remainders, of equal ones to the oldest.

    Source: Run:ai, over-quota; KAI, docs/fairness and proportion/resource_division.
    """
    fair = [min(c.deserved, c.requested) for c in claims]
    left = total - sum(fair)
    for rank in sorted({c.rank for c in claims}, reverse=True):
        hungry = [i for i, c in enumerate(claims) if c.rank == rank and c.weight > 0]
        while left > EPSILON:
            hungry = [i for i in hungry if claims[i].requested - fair[i] > EPSILON]
            if not hungry:
                break
            weights = sum(claims[i].weight for i in hungry)
            part = {i: left * claims[i].weight / weights for i in hungry}
            sated = [i for i in hungry if claims[i].requested - fair[i] <= part[i] + EPSILON]
            for i in sated:
                left -= claims[i].requested - fair[i]
                fair[i] = claims[i].requested
            if not sated:
                left = _round(left, part, claims, fair) if is_whole else _give(part, fair)
    return fair


def _give(part: Mapping[int, float], fair: list[float]) -> float:
    for i, amount in part.items():
        fair[i] += amount
    return 0.0


def _round(left: float, part: Mapping[int, float], claims: Sequence[Claim], fair: list[float]) -> float:
    for i, amount in part.items():
        fair[i] += floor(amount + EPSILON)
        left -= floor(amount + EPSILON)
    for i in sorted(part, key=lambda i: (floor(part[i] + EPSILON) - part[i], i)):
        extra = max(0.0, min(1.0, left, claims[i].requested - fair[i]))
        fair[i] += extra
        left -= extra
    return left


class Account:
    """One queue in one pool; every list is GPUs, cores, MiB."""

    __slots__ = (
        "allocated", "base", "binding", "deserved", "due", "fair", "fair_share", "fixed", "kept",
        "leaving", "leaving_fixed", "limit", "pool", "queue", "quota", "requested", "weight",
    )  # fmt: skip

    def __init__(self, queue: Queue, pool: str) -> None:
        self.queue, self.pool = queue, pool
        self.quota = queue.quotas.get(pool, UNNAMED)
        self.deserved, self.limit = _triple(self.quota.deserved), _triple(self.quota.limit)
        self.weight = _triple(self.quota.weight)
        self.binding = any(limit < inf for limit in self.limit)
        self.allocated, self.fixed = [0.0] * 3, [0.0] * 3  # `fixed` is the part that cannot be preempted
        self.kept = [0.0] * 3  # of what it had when the cycle began
        self.leaving, self.leaving_fixed = [0.0] * 3, [0.0] * 3
        self.requested, self.fair = [0.0] * 3, [0.0] * 3
        self.base: list[float] = [0.0] * 3  # of these a dominant share is a part
        self.fair_share: Triple = (0.0, 0.0, 0.0)  # `fair` without the dust that sums of portions leave
        self.due: Triple = self.deserved  # what nobody reclaims: the fair share, or what it deserves

    def add(self, amounts: Sequence[float], is_preemptible: bool) -> None:
        """It has more."""
        gpus, cpu, memory = amounts
        has = self.allocated
        has[GPUS] += gpus
        has[CPU] += cpu
        has[MEMORY] += memory
        if not is_preemptible:
            fixed = self.fixed
            fixed[GPUS] += gpus
            fixed[CPU] += cpu
            fixed[MEMORY] += memory

    def part(self, amounts: Sequence[float], is_preemptible: bool) -> None:
        """It is to lose this: no longer its own, but not yet free."""
        for r in RESOURCES:
            self.allocated[r] -= amounts[r]
            self.kept[r] -= amounts[r]
            self.leaving[r] += amounts[r]
            if not is_preemptible:
                self.fixed[r] -= amounts[r]
                self.leaving_fixed[r] += amounts[r]

    def saved(self) -> tuple[list[float], ...]:
        mine = self.allocated, self.fixed, self.leaving, self.leaving_fixed, self.kept
        return tuple([amounts.copy() for amounts in mine])

    def restore(self, saved: object) -> None:
        assert isinstance(saved, tuple)
        self.allocated, self.fixed, self.leaving, self.leaving_fixed, self.kept = saved

    @property
    def has(self) -> Triple:
        """`allocated` without that dust."""
        gpus, cpu, memory = self.allocated
        return round(gpus, DIGITS), cpu, memory

    @property
    def still_has(self) -> Triple:
        """
        Of what ran when the cycle began: all that it can lose now. What was placed since stays, so it is no
        reason to take what was there before; in the next cycle it is the first to go.
        """
        gpus, cpu, memory = self.kept
        return round(gpus, DIGITS), cpu, memory

    def divided(self, total: Sequence[float]) -> None:
        """
        To be called when `fair` is known, and before anything is placed.

        Args:
            total: what the pool has.
        """
        gpus, cpu, memory = self.fair
        self.fair_share = round(gpus, DIGITS), cpu, memory
        own_gpus, own_cpu, own_memory = self.deserved
        self.due = max(self.fair_share[0], own_gpus), max(cpu, own_cpu), max(memory, own_memory)
        self.base = [_base(self, r, total[r]) for r in RESOURCES]
        self.kept = self.allocated.copy()

    def share(self) -> Share:
        return Share(
            self.queue.id, self.pool, self.quota, fair=_amounts(self.fair),
            allocated=_amounts(self.allocated), allocated_non_preemptible=_amounts(self.fixed),
            requested=_amounts(self.requested),
        )  # fmt: skip


def by_age(queue: Queue) -> tuple[bool, int, str]:
    """Departments first."""
    return queue.parent is not None, queue.age, queue.id


class Ground(Protocol):
    """What the tree has to know of the rest."""

    snapshot: Snapshot
    pool_names: tuple[str, ...]

    def capacity(self, pool: str) -> Triple: ...
    def amounts_per_pool(self, ask: AskClass) -> Mapping[str, Triple]: ...


class Tree:
    """
    Departments, and projects below them. `ids` are of those that have or want something, departments first,
    each by its age: of thousands of queues mostly a few, and the others' fair share is nothing.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.queues = {q.id: q for q in snapshot.queues}
        self.ids: tuple[str, ...] = ()
        if self.queues:
            named = {c.queue for c, ids in snapshot.pending.items() if ids}
            named |= {c.queue for c in snapshot.to_come} | {r.ask.queue for r in snapshot.running}
            for unknown in sorted(named - set(self.queues)):
                self.queues[unknown] = Queue(unknown)
            named |= {above for id_ in named if (above := self.parent(id_)) is not None}
            ranked = sorted(map(self.queues.__getitem__, named), key=by_age)
            self.ids = tuple([q.id for q in ranked])
        self._branches: dict[str, tuple[str, ...]] = {}
        self._accounts: dict[tuple[str, str], Account] = {}
        self._paths: dict[tuple[str, str], tuple[Account, ...]] = {}
        self._by_pool: dict[tuple[str, tuple[str, ...]], Mapping[str, tuple[Account, ...]]] = {}

    def parent(self, queue_id: str) -> str | None:
        """The department of a project, where there is such a one."""
        queue = self.queues.get(queue_id)
        above = None if queue is None else queue.parent
        return above if above in self.queues else None

    def branch(self, queue_id: str) -> tuple[str, ...]:
        """From the department down to the project."""
        known = self._branches.get(queue_id)
        if known is None:
            above = self.parent(queue_id)
            known = self._branches[queue_id] = (queue_id,) if above is None else (above, queue_id)
        return known

    def account(self, queue_id: str, pool: str) -> Account:
        """One that nobody made deserves nothing."""
        account = self._accounts.get((queue_id, pool))
        if account is None:
            account = self._accounts[queue_id, pool] = Account(
                self.queues.get(queue_id) or Queue(queue_id), pool
            )
        return account

    def accounts(self, queue_id: str, pool: str) -> tuple[Account, ...]:
        """The project's and its department's; none where there are no queues."""
        path = self._paths.get((queue_id, pool))
        if path is None:
            path = ()
            if self.queues:
                ids = (queue_id, self.parent(queue_id))
                path = tuple(self.account(i, pool) for i in ids if i is not None)
            self._paths[queue_id, pool] = path
        return path

    def by_pool(self, queue_id: str, pools: tuple[str, ...]) -> Mapping[str, tuple[Account, ...]]:
        """`accounts` in each of these pools; nothing where there are no queues."""
        known = self._by_pool.get((queue_id, pools))
        if known is None:
            known = {pool: self.accounts(queue_id, pool) for pool in pools} if self.queues else {}
            self._by_pool[queue_id, pools] = known
        return known

    def tallies(self, queue_id: str, pool: str, is_preemptible: bool) -> Sequence[list[float]]:
        """The amounts to which is added when a queue has more; see `Account.add`."""
        accounts = self.accounts(queue_id, pool)
        return [a.allocated for a in accounts] + ([] if is_preemptible else [a.fixed for a in accounts])

    def divide(self, ground: Ground) -> None:
        """Fair shares of all queues in all pools, top down, once what runs is counted."""
        if not self.queues:
            return
        snapshot = ground.snapshot
        waits = [(ask, len(ids)) for ask, ids in snapshot.pending.items()]
        for ask, count in chain(waits, snapshot.to_come.items()):
            for pool, (gpus, cpu, memory) in ground.amounts_per_pool(ask).items() if count else ():
                for account in self.accounts(ask.queue, pool):
                    requested = account.requested
                    requested[GPUS] += gpus * count
                    requested[CPU] += cpu * count
                    requested[MEMORY] += memory * count
        children: dict[str | None, list[str]] = {}
        for id_ in self.ids:
            children.setdefault(self.parent(id_), []).append(id_)
        for pool in ground.pool_names:
            total = ground.capacity(pool)
            for id_ in self.ids:
                account = self.account(id_, pool)
                for r in RESOURCES:
                    account.requested[r] += account.allocated[r]
            self._divide_level(total, children.get(None, []), pool, children)
            for account in (self.account(id_, pool) for id_ in self.ids):
                account.divided(total)

    def _divide_level(
        self, total: Sequence[float], ids: Sequence[str], pool: str, children: Children
    ) -> None:
        accounts = [self.account(i, pool) for i in ids]
        for r in RESOURCES:
            claims = [  # without bounds is all there is, and not more: a department's projects divide that
                Claim(
                    total[r] if a.deserved[r] == inf else a.deserved[r],
                    self._requestable(a, r, children), a.weight[r], a.quota.rank,
                )
                for a in accounts
            ]  # fmt: skip
            for account, fair in zip(accounts, divide(total[r], claims, is_whole=r == GPUS), strict=True):
                account.fair[r] = fair
        for account in accounts:
            if below := children.get(account.queue.id):
                self._divide_level(account.fair, below, pool, children)

    def _requestable(self, account: Account, r: int, children: Children) -> float:
        """What it can use: no more than its limit, nor than its children's together."""
        below = [self.account(i, account.pool) for i in children.get(account.queue.id, ())]
        beyond = sum(max(0.0, a.requested[r] - a.limit[r]) for a in below)
        return min(account.requested[r] - beyond, account.limit[r])


def _base(account: Account, r: int, total: float) -> float:
    deserved = account.deserved[r]
    return total if deserved == inf else min(max(deserved, account.fair[r]), account.limit[r])


def _triple(amounts: Amounts) -> Triple:
    return amounts.gpus, amounts.cpu, amounts.memory_mib


def _amounts(values: Sequence[float]) -> Amounts:
    gpus, cpu, memory = values
    return Amounts(round(gpus, DIGITS), cpu, memory)
