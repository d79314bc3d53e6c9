"""Finds a place for each replica that is needed, and commits its attempt; has others make room."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from ...scheduler.model import Placement, Plan, Snapshot, Unplaced
from ..crashpoints import CrashPoint
from ..domain.inventory import placed_on, product_of
from ..domain.lifecycle import needed
from ..domain.reservations import Reservation, reserved_nodes
from ..domain.rollouts import as_started, goal, replica_id
from ..domain.workload import Attempt, Workload
from ..errors import Conflict
from ..snapshot import Ask, Facts, Keeper, Room, Work
from ..snapshot.asks import workload_of
from ..snapshot.facts import capacity_of
from ..store.node_use import Capacity
from ..store.writes import add_event, insert_attempts, load_attempts, load_workload, preload
from .evictions import (
    by_asker,
    commit,
    is_told,
    planned,
    quarantine,
    with_claimants,
)
from .guarded import with_guarantees
from .launches import Machine
from .refusals import Refusals, Teller
from .replicas import Launch
from .rooms import end_first, surge_refusal
from .rules import RuleKeeper
from .taints import TaintKeeper

log = logging.getLogger(__name__)
IDLE_S = 30.0

Placed = tuple[Ask, Sequence[Placement]]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the scheduler last said: the snapshot that it was asked with, its plan, and by which facts."""

    snapshot: Snapshot
    plan: Plan
    works: Mapping[str, Work]


class Placing:
    """
    `unplaced` holds why a workload waits, by its id; `last` all that the scheduler said.

    Args:
        begin: called with each launch once its attempt is committed.
    """

    def __init__(self, machine: Machine, begin: Callable[[Launch], None], poke: Callable[[], None]) -> None:
        self._m, self._begin, self._poke = machine, begin, poke
        self._keeper = Keeper(self._barred)
        self._changes = machine.store.reads.table.follow()
        self._rules = RuleKeeper(machine.store, machine.gpu_percent)
        self._taints = TaintKeeper(machine.store)
        self._teller = Teller()
        self.unplaced: Mapping[str, Unplaced] = {}
        self.last = Waiting(Snapshot((), {}, {}), Plan({}, {}), {})

    async def place(self) -> float:
        """Seconds until time alone may change something."""
        m = self._m
        now = m.clock.now_ms()
        reservations = m.store.reads.reservations()
        table = m.store.reads.table
        entries = table.look(now)
        with self._changes.taking() as touched:
            snapshot = self._keeper.look(entries, touched, self._facts(reservations, now), now)
        works = self._keeper.works
        if snapshot.pending:
            await m.crash.reach(CrashPoint.PENDING)
        if not is_told(self._keeper.claims):
            claims = self._keeper.claims
            await m.store.write(lambda s: quarantine(s, claims, now))
            self._poke()
        has_evicted, taints_s = await self._taints.step(snapshot, works, self._keeper.facts, now)
        if has_evicted:
            self._poke()
            return 0.0  # the plan is made once they are known to leave
        if snapshot is not self.last.snapshot or self.last.plan.placed or self.last.plan.evicted:
            claimed = with_claimants(snapshot, works, self._keeper.odd)
            answer = planned(claimed, works, self._keeper.odd)
            if any(pool.min_runtime_s for pool in self._keeper.facts.org.pools):
                answer = with_guarantees(claimed, answer, works)
            await self._follow(answer, works, now)
            self.last = Waiting(snapshot, answer, works)
        has_ruled, rules_s = await self._rules.step(
            works.values(), self._keeper.facts.org, now, self.last.snapshot, self.last.plan
        )
        if has_ruled:
            self._poke()
        times = [t for r in reservations for t in (r.starts_at_ms, r.ends_at_ms) if t > now]
        times += [at for at in (self._keeper.next_ms(), table.next_expiry_ms) if at is not None]
        now = m.clock.now_ms()  # time went on while this pass was written down
        return max(0.0, min([IDLE_S, rules_s, taints_s, *((t - now) / 1000 for t in times)]))

    def _facts(self, reservations: Sequence[Reservation], now: int) -> Facts:
        m = self._m
        held = reserved_nodes(reservations, now)
        return Facts(m.nodes_now(), m.org(), held, dict(m.unhealthy()), m.down_nodes())

    def _barred(self, workload: Workload, attempts: Sequence[Attempt]) -> str:
        return surge_refusal(workload, attempts, self._m.driver.kind)

    async def _follow(self, answer: Plan, works: Mapping[str, Work], now: int) -> None:
        lucky = dict.fromkeys(workload_of(i) for i in answer.placed)
        asks = {ask.id: ask for i in lucky for ask, _ in works[i].asks}
        placed = [(asks[i], p) for i, p in answer.placed.items()]
        if placed:
            await self._commit(placed, now)
        if answer.evicted:
            await self._evict(answer, now)
        refused = Refusals(works, answer.unplaced)
        odd = list(self._keeper.odd.values())
        barred = {w.workload.id: Unplaced((w.barred,)) for w in odd if w.barred}
        rolling = [w for w in odd if w.workload.before]
        room = Room(self._keeper.facts, list(works.values()) if rolling else [])
        answered: set[str] = set()
        for work in [w for w in rolling if w.workload.id in refused or w.workload.id in barred]:
            workload = work.workload
            why = refused.get(workload.id) or barred[workload.id]
            there = None if workload.id in barred else room
            if await end_first(self._m.store, workload, work.attempts, why, there, now):
                answered.add(workload.id)
                self._poke()
        unplaced = answer.unplaced
        if answered:
            unplaced = {i: why for i, why in unplaced.items() if workload_of(i) not in answered}
        await self._tell(unplaced, works, now)
        self.unplaced = Refusals(works, unplaced)  # who sees this finds the plan, too, which is kept next

    async def _tell(self, unplaced: Mapping[str, Unplaced], works: Mapping[str, Work], now: int) -> None:
        """An event for each that begins to wait, and for each whose reason has become another."""

        def others(ask_id: str) -> list[str]:
            work = works.get(workload_of(ask_id))
            return [] if work is None else [ask.id for ask, _ in work.asks]

        firsts = unplaced.keys() - self._keeper.further_asks
        news = self._teller.news(unplaced, firsts, others, now)
        if news:
            told = {workload_of(ask_id): why for ask_id, why in news.items()}
            await self._m.store.write(lambda s: _add_refusals(s, told, now))
            self._teller.told(news, now)

    async def _evict(self, answer: Plan, now: int) -> None:
        groups = by_asker(answer.evicted)
        done = await asyncio.gather(
            *(self._m.store.write(lambda s, group=group: commit(s, group, now)) for group in groups)
        )
        if any(done):
            await self._m.crash.reach(CrashPoint.EVICTED)
        self._poke()

    async def _commit(self, placed: Sequence[Placed], now: int) -> None:
        """All of it in one write; where something in it has changed meanwhile, each for itself."""
        taken = {p.node for _, placements in placed for p in placements}
        nodes = [n for n in self._keeper.facts.nodes if n.id in taken]
        devices = {n.id: {g.uuid: product_of(g) for g in n.gpus} for n in nodes}
        capacity = {n.id: Capacity(*capacity_of(n)) for n in nodes}

        def insert(session: Session, some: Sequence[Placed]) -> list[Launch]:
            preload(session, {ask.workload.id: None for ask, _ in some})
            return [new for one in some for new in insert_placed(session, *one, devices, now, capacity)]

        async def alone(one: Placed) -> list[Launch]:
            try:
                return await self._m.store.write(lambda s: insert(s, [one]))
            except Conflict as error:  # nothing of it was written; the next pass sees what there is
                log.warning("%s was not placed: %s", one[0].id, error)
                return []

        try:
            launches = await self._m.store.write(lambda s: insert(s, placed))
        except Conflict:
            launches = [new for some in await asyncio.gather(*map(alone, placed)) for new in some]
        await self._m.crash.reach(CrashPoint.PLACED)
        for launch in launches:
            self._begin(launch)  # no look at the machine first: of a new attempt there is nothing to be seen
        self._poke()


def insert_placed(
    session: Session, ask: Ask, placements: Sequence[Placement], devices: Mapping[str, Mapping[str, str]],
    now: int, capacity: Mapping[str, Capacity],
) -> list[Launch]:  # fmt: skip
    """
    Its attempts, and what is to be launched; nothing where it has changed since the plan was made.

    Args:
        devices: the product of each GPU that the nodes have now, by node and UUID. capacity: of those nodes.

    Raises:
        Conflict: what was found for it is not there, or not free.
    """
    launches: list[Launch] = []
    current = load_workload(session, ask.workload.id)
    attempts = load_attempts(session, ask.workload.id)
    if current is None or not set(ask.indexes) <= set(needed(current, attempts, now).indexes):
        return launches
    started = as_started(current)
    if started.spec != ask.workload.spec:
        return launches  # what was placed is another size, perhaps
    number = max((a.number for a in attempts), default=0) + 1
    for index, placement in zip(ask.indexes, placements, strict=True):
        attempt = Attempt(
            replica_id=replica_id(current, index), number=number,
            workload_id=current.id, index=index, node=placement.node,
            cpu_cores=started.spec.cpu_cores, memory_mib=started.spec.memory_mib,
            generation=current.generation, gpu_uuids=placement.gpu_uuids, placed_at_ms=now,
            gpu_portion=placement.gpu_portion,
            shape=started.spec.shape, revision=goal(current) if current.spec.serving else 0,
        )  # fmt: skip
        launches.append(Launch(started, attempt))
    insert_attempts(session, [launch.attempt for launch in launches], devices, capacity)
    for launch, placement in zip(launches, placements, strict=True):
        products = [devices[placement.node][uuid] for uuid in placement.gpu_uuids]
        on = placed_on(placement.node, products, placement.gpu_portion)
        message = f"{launch.attempt.replica_id} goes to {on}"
        add_event(session, current.id, now, "Scheduled", message)
    return launches


def _add_refusals(session: Session, refusals: Mapping[str, Unplaced], now_ms: int) -> None:
    for workload_id, refusal in refusals.items():
        message = "; ".join(refusal.reasons)
        add_event(session, workload_id, now_ms, refusal.code.value, message, type_="Warning")
