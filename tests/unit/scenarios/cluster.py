"""A cluster that does what plans say, cycle by cycle: for properties over many cycles, without a server."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from math import inf

from homeport.scheduler.model import (
    UNLIMITED,
    AskClass,
    EvictedBy,
    Eviction,
    Node,
    Placement,
    Plan,
    Pool,
    Queue,
    Quota,
    Running,
    Snapshot,
    Strategy,
    Unplaced,
)
from homeport.scheduler.plan import plan

from .tables import ask_of, node_of, taken

SLACK = 1e-6
POOLS = ("default", "fast")


@dataclass(slots=True)
class Job:
    """`size` members, of which `ask.members` are the minimum. `rank`: its place in line, which it keeps."""

    name: str
    ask: AskClass
    size: int
    rank: int


@dataclass(slots=True)
class Cluster:
    """
    Args:
        grace: cycles that pass between an eviction and the end of what is evicted.
        quotas: of each queue, in GPUs, in every pool.
        left_for: the job for which a member, by its job and index, was evicted, and how many attempts there
            had been by then; until it runs again.
        moving: running ids of what leaves for another place. moved: members, by job and index, that have left
            for one and have not begun again.
        lost_at: the number of the last attempt of a job that has gone.
        waited: for how many cycles each ask has.
        starves_after: so many cycles places are kept for what waits; never by itself.
    """

    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    queues: dict[str, Queue] = field(default_factory=dict[str, Queue])
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    running: dict[str, Running] = field(default_factory=dict[str, Running])
    leaves_in: dict[str, int] = field(default_factory=dict[str, int])
    left_for: dict[tuple[str, int], tuple[str, int]] = field(
        default_factory=dict[tuple[str, int], tuple[str, int]]
    )
    moving: set[str] = field(default_factory=set[str])
    moved: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    lost_at: dict[str, int] = field(default_factory=dict[str, int])
    waited: Counter[str] = field(default_factory=Counter[str])
    strategy: Strategy = Strategy.BINPACK
    starves_after: float = inf
    grace: int = 1
    submitted: int = 0
    attempts: int = 0
    evictions: int = 0

    # -- what users and the world do ----------------------------------------------------------------------

    def add_node(self, name: str, gpus: int, pool: str = "default") -> None:
        self.nodes[name] = node_of((name, str(gpus), f"pool={pool}"))

    def reserve(self, node: str, reservation: str | None) -> None:
        """From now on; whoever is there stays."""
        self.nodes[node] = replace(self.nodes[node], reservation=reservation)

    def set_quota(self, queue: str, gpus: float, *, limit: float = UNLIMITED.gpus, **fields: object) -> None:
        quota = Quota(replace(UNLIMITED, gpus=gpus), replace(UNLIMITED, gpus=limit))
        known = self.queues.get(queue, Queue(queue, age=len(self.queues)))
        self.queues[queue] = replace(known, quotas=dict.fromkeys(POOLS, quota), **fields)  # type: ignore[arg-type]

    def submit(self, queue: str, gpus: str, *, size: int = 1, minimum: int = 1, **words: str) -> str:
        name = f"j{self.submitted}"
        self.submitted += 1
        self.jobs[name] = Job(name, ask_of(queue, gpus, {"of": name} | words, minimum), size, self.submitted)
        return name

    def end(self, name: str) -> None:
        del self.jobs[name]
        self.left_for = {member: by for member, by in self.left_for.items() if member[0] != name}
        self.moved = {member for member in self.moved if member[0] != name}
        for id_ in [i for i, r in self.running.items() if r.workload == name]:
            self._gone(id_)

    def fail_node(self, name: str) -> None:
        self.nodes[name] = replace(self.nodes[name], is_ready=False)
        for id_ in [i for i, r in self.running.items() if r.placement.node == name]:
            self._gone(id_)

    def heal_node(self, name: str) -> None:
        self.nodes[name] = replace(self.nodes[name], is_ready=True)

    def protect(self, name: str, *, is_protected: bool = True) -> None:
        for id_, r in self.running.items():
            if r.workload == name:
                self.running[id_] = replace(r, is_protected=is_protected)

    def _claims(self, name: str, since: int) -> list[str]:
        """Ids of the asks of a job that claim what was left for it; none once it had that and lost it."""
        if name not in self.jobs or self.lost_at.get(name, 0) > since:
            return []
        numbers = [number_of(r.id) for r in self.members(name)]
        has_begun = bool(numbers) and min(numbers) > since
        return [id_ for id_, ask in self._asks(self.jobs[name]) if not (has_begun and ask.is_extra)]

    def _gone(self, id_: str) -> None:
        name = self.running[id_].workload
        self.lost_at[name] = max(self.lost_at.get(name, 0), number_of(id_))
        del self.running[id_]
        self.leaves_in.pop(id_, None)
        self.moving.discard(id_)

    # -- what the scheduler sees --------------------------------------------------------------------------

    def members(self, name: str, *, with_leaving: bool = True) -> list[Running]:
        there = [r for r in self.running.values() if r.workload == name]
        return there if with_leaving else [r for r in there if not r.is_leaving]

    def snapshot(self) -> Snapshot:
        nodes = dict(self.nodes)
        for r in self.running.values():
            nodes[r.placement.node] = taken(nodes[r.placement.node], r.ask, r.placement)
        pending: dict[AskClass, tuple[str, ...]] = {}
        rank: dict[str, int] = {}
        for job in self.jobs.values():
            for id_, ask in self._asks(job):
                pending[ask] = (*pending.get(ask, ()), id_)
                rank[id_] = job.rank
        to_come: Counter[AskClass] = Counter()
        for job in self.jobs.values():
            asked = sum(ask.members for _, ask in self._asks(job))
            if missing := job.size - asked - len(self.members(job.name, with_leaving=False)):
                to_come[extra_of(job)] += missing
        starving = frozenset(id_ for id_ in rank if self.waited[id_] > self.starves_after)
        moved = {id_ for member in self.moved for id_ in self._asks_of(*member)}
        claimants = frozenset(id_ for claim in self.left_for.values() for id_ in self._claims(*claim))
        return Snapshot(
            tuple(nodes.values()), pending, rank, tuple(self.running.values()), tuple(self.queues.values()),
            tuple(Pool(name, self.strategy) for name in POOLS), starving, claimants, frozenset(moved),
            not self.moving, to_come,
        )  # fmt: skip

    def _asks_of(self, name: str, index: int) -> list[str]:
        """Ids of the asks in which this member is."""
        return [i for i, ask in self._asks(self.jobs[name]) if not ask.is_extra or i == f"{name}+{index}"]

    def _asks(self, job: Job) -> list[tuple[str, AskClass]]:
        """The minimum together; once that runs each further member alone; nothing while its members leave."""
        members = self.members(job.name)
        if not members:
            return [(job.name, job.ask)]
        if len(self.members(job.name, with_leaving=False)) < job.ask.members:
            return []
        there = {r.index for r in members}
        return [(f"{job.name}+{index}", extra_of(job)) for index in range(job.size) if index not in there]

    # -- what the server makes of a plan ------------------------------------------------------------------

    def cycle(self) -> Plan:
        """One plan, checked and carried out; then one cycle's time passes."""
        snapshot = self.snapshot()
        answer = self._plan(snapshot)
        check(snapshot, answer)
        self.waited = Counter({id_: self.waited[id_] + 1 for id_ in answer.unplaced})
        for id_, places in answer.placed.items():
            name, _, index = id_.partition("+")
            for offset, place in enumerate(places):
                self._start(self.jobs[name], int(index) if index else offset, place)
        for eviction in answer.evicted:
            self.evictions += 1
            victim = self.running[eviction.id]
            is_moving = eviction.how is EvictedBy.CONSOLIDATION
            self.running[eviction.id] = replace(victim, is_leaving=True, is_moving=is_moving)
            if is_moving:
                self.moving.add(eviction.id)
                self.moved.add((victim.workload, victim.index))
            if eviction.by:
                by = eviction.by.partition("+")[0]
                self.left_for[victim.workload, victim.index] = by, self.attempts
            self.leaves_in[eviction.id] = self.grace
        for id_, left in list(self.leaves_in.items()):
            if left <= 0:
                self._gone(id_)
            else:
                self.leaves_in[id_] = left - 1
        for id_, r in self.running.items():
            staying = self.members(r.workload, with_leaving=False)
            self.running[id_] = replace(r, is_stale=not r.is_leaving and len(staying) < r.ask.members)
        return answer

    def _plan(self, snapshot: Snapshot) -> Plan:
        """What was evicted is looked at last while somebody for whom it was waits, too."""
        held: dict[str, str] = {}
        for (name, index), (by, since) in self.left_for.items():
            if (name, index) not in self.moved and self._claims(by, since):
                held |= {id_: by for id_, _ in self._asks(self.jobs[name])}
        if not held:
            return plan(snapshot)
        to_come = Counter(snapshot.to_come)
        pending: dict[AskClass, tuple[str, ...]] = {}
        for ask, ids in snapshot.pending.items():
            if left := tuple(i for i in ids if i not in held):
                pending[ask] = left
            to_come[ask] += len(ids) - len(left)
        first = plan(replace(snapshot, pending=pending, to_come=to_come, may_move=False))
        if not {i.partition("+")[0] for i in (*first.placed, *first.promised)} & {*held.values()}:
            return plan(snapshot)
        waits = {**first.unplaced, **dict.fromkeys(held, Unplaced(("it made room",)))}
        return replace(first, unplaced=waits)

    def _start(self, job: Job, index: int, place: Placement) -> None:
        self.attempts += 1
        self.left_for.pop((job.name, index), None)
        self.moved.discard((job.name, index))
        id_ = f"{job.name}/{index}#{self.attempts}"
        self.running[id_] = Running(id_, job.name, job.ask, place, job.rank, index)

    def settle(self, most: int) -> int:
        """Cycles until nothing happens any more, the leaving gone; fails after `most`."""
        for number in range(most):
            is_leaving = bool(self.leaves_in)
            answer = self.cycle()
            if not (answer.placed or answer.evicted or is_leaving):
                return number
        raise AssertionError(f"not quiet after {most} cycles: {answer.placed} {answer.evicted}")

    def runs(self, name: str) -> bool:
        return len(self.members(name, with_leaving=False)) >= self.jobs[name].ask.members


def extra_of(job: Job) -> AskClass:
    return replace(job.ask, members=1, is_extra=True)


def number_of(running_id: str) -> int:
    return int(running_id.rpartition("#")[2])


def check(snapshot: Snapshot, answer: Plan) -> None:
    """What must hold of every plan, whatever happened before."""
    asks = {id_: ask for ask, ids in snapshot.pending.items() for id_ in ids}
    running = {r.id: r for r in snapshot.running}
    assert set(answer.placed) | set(answer.unplaced) == set(asks)
    assert not set(answer.placed) & set(answer.unplaced)
    _check_capacity(snapshot, answer, asks)
    _check_topology(snapshot, answer, asks)
    _check_evictions(snapshot, running, answer)
    _check_quotas(snapshot, answer, asks)


def _check_capacity(snapshot: Snapshot, answer: Plan, asks: dict[str, AskClass]) -> None:
    """I1: nobody gets what another has; no partial gang; what is promised comes free."""
    free = {g.uuid: g.free for n in snapshot.nodes for g in n.gpus}
    down = {n.name for n in snapshot.nodes if not n.is_ready}
    gone = {e.id for e in answer.evicted}
    for id_, places in answer.placed.items():
        assert len(places) == asks[id_].members, f"partial gang {id_}"
        assert down.isdisjoint(p.node for p in places)
        for place in places:
            assert len(place.gpu_uuids) == asks[id_].gpu_count
            for uuid in place.gpu_uuids:
                free[uuid] -= place.gpu_portion
    assert all(left >= -SLACK for left in free.values()), "a device is given twice"
    for r in snapshot.running:
        if r.is_leaving or r.id in gone:
            for uuid in r.placement.gpu_uuids:
                free[uuid] += r.placement.gpu_portion
    for id_, places in answer.promised.items():
        assert id_ in answer.unplaced
        assert len(places) == asks[id_].members
        for place in places:
            for uuid in place.gpu_uuids:
                free[uuid] -= place.gpu_portion
    assert all(left >= -SLACK for left in free.values()), "more is promised than comes free"


def _check_topology(snapshot: Snapshot, answer: Plan, asks: dict[str, AskClass]) -> None:
    """
    A node for each domain, among those of the pool: who is placed keeps to its rules beside those that are
    there, among them those of its group that were placed before it.
    """
    pools = {n.name: n.node_group for n in snapshot.nodes}
    groups: dict[str, Counter[str]] = {}
    for running in snapshot.running:
        groups.setdefault(running.ask.spread, Counter())[running.placement.node] += 1
    for id_, places in answer.placed.items():
        counts = groups.setdefault(asks[id_].spread, Counter())
        counts.update(p.node for p in places)
        for rule in asks[id_].topology:
            if rule.is_required and rule.max_skew is None:
                assert len(counts) == 1, "members are apart"
            elif rule.is_required and rule.max_skew is not None:
                new = {p.node for p in places}
                there = {pools[n] for n in new}
                open_ = [n for n in snapshot.nodes if n.is_ready and not n.reservation]
                least = min(counts[n.name] for n in open_ if n.node_group in there)
                assert max(counts[n] for n in new) - least <= rule.max_skew, "members are not spread"


def _check_taken_back(snapshot: Snapshot, eviction: Eviction, running: dict[str, Running]) -> None:
    """Whoever names a reservation takes its nodes, and no others, from who does not name it."""
    victim = running[eviction.id]
    name = next(a.reservation for a, ids in snapshot.pending.items() if eviction.by in ids)
    kept = {n.name for n in snapshot.nodes if name and n.reservation == name}
    assert kept & {r.placement.node for r in running.values() if r.workload == victim.workload}
    assert victim.ask.reservation != name, "one who names the reservation is evicted for another"
    has_agreed = victim.ask.may_burst and victim.ask.reservation
    assert victim.ask.is_preemptible or has_agreed, "who has not agreed to go is evicted"


def _check_evictions(snapshot: Snapshot, running: dict[str, Running], answer: Plan) -> None:
    staying: Counter[str] = Counter(r.workload for r in running.values() if not r.is_leaving)
    before = staying.copy()
    for eviction in answer.evicted:
        victim = running[eviction.id]
        staying[victim.workload] -= 1
        assert not victim.is_leaving, "evicted twice"
        if eviction.how is EvictedBy.STALE_GANG:
            assert victim.is_stale
            continue
        if eviction.how is EvictedBy.RESERVATION:
            _check_taken_back(snapshot, eviction, running)
        else:
            assert victim.ask.is_preemptible, "what is not preemptible is evicted"
        assert not victim.is_protected, "what is protected is evicted"
        assert eviction.by in answer.promised
    for r in running.values():
        if before[r.workload] >= r.ask.members > staying[r.workload]:
            assert staying[r.workload] == 0, "a gang is left below its minimum"


def _check_quotas(snapshot: Snapshot, answer: Plan, asks: dict[str, AskClass]) -> None:
    """
    I6, rules 4 and 5, for each pool: no start goes beyond a limit, and none that cannot be preempted beyond
    the quota.
    """
    has: defaultdict[tuple[str, str], float] = defaultdict(float)
    fixed: defaultdict[tuple[str, str], float] = defaultdict(float)
    grown: set[tuple[str, str, bool]] = set()
    parents = {q.id: q.parent for q in snapshot.queues}
    pools = {n.name: n.node_group for n in snapshot.nodes}
    rows = [(r.ask, (r.placement,), False) for r in snapshot.running]
    rows += [(asks[id_], places, True) for id_, places in answer.placed.items()]
    for ask, places, is_new in rows:
        for place in places:
            gpus, pool = len(place.gpu_uuids) * place.gpu_portion, pools[place.node]
            for queue in (ask.queue, parents.get(ask.queue)):
                if queue is not None:
                    has[queue, pool] += gpus
                    fixed[queue, pool] += 0 if ask.is_preemptible else gpus
                    if is_new and gpus:
                        grown.add((queue, pool, ask.is_preemptible))
    for queue in snapshot.queues:
        for pool, quota in queue.quotas.items():
            its = queue.id, pool
            if (*its, True) in grown or (*its, False) in grown:
                assert has[its] <= quota.limit.gpus + SLACK, f"{queue.id} is beyond its limit in {pool}"
            if (*its, False) in grown:
                assert fixed[its] <= quota.deserved.gpus + SLACK, f"{queue.id} is beyond its quota in {pool}"
    if not (
        answer.placed or answer.evicted or answer.promised or any(r.is_leaving for r in snapshot.running)
    ):
        for share in answer.shares:
            its = share.queue, share.pool
            assert abs(share.allocated.gpus - has[its]) < SLACK
            assert abs(share.allocated_non_preemptible.gpus - fixed[its]) < SLACK
