"""Finds a place for each replica that is needed, and commits its attempt."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from sqlmodel import Session

from ...scheduler.model import Placement, Unplaced
from ...scheduler.plan import plan
from .. import snapshot
from ..crashpoints import CrashPoint
from ..domain.lifecycle import needed, next_try_ms
from ..domain.reservations import reserved_nodes
from ..domain.rollouts import as_started, goal, replica_id
from ..domain.workload import Attempt, Workload
from ..snapshot import Ask
from ..store.reservations import list_reservations
from ..store.writes import add_event, load_attempts, load_workload, save_attempt
from .launches import Machine
from .replicas import Launch
from .rooms import end_first, surge_refusal

IDLE_S = 30.0


class Placing:
    """
    `unplaced` holds why a workload waits, by its id.

    Args:
        begin: called with each launch once its attempt is committed.
    """

    def __init__(self, machine: Machine, begin: Callable[[Launch], None], poke: Callable[[], None]) -> None:
        self._m, self._begin, self._poke = machine, begin, poke
        self.unplaced: Mapping[str, Unplaced] = {}

    async def place(self) -> float:
        """Seconds until time alone may change something."""
        m = self._m
        now = m.clock.now_ms()
        found = [f.workload for f in m.store.reads.active(now)]
        by_id = m.store.reads.attempts([w.id for w in found])
        asks, barred = self._asks(found, by_id, now)
        if asks:
            await m.crash.reach(CrashPoint.PENDING)
        reservations = m.store.read(list_reservations)
        room = snapshot.Room(m.nodes, m.store.reads.live_attempts(), reserved_nodes(reservations, now))
        answer = plan(snapshot.build(room.nodes, room.live, asks, room.reserved))
        placed = [(ask, p) for ask in asks if (p := answer.placed.get(ask.id)) is not None]
        await asyncio.gather(*(self._commit(ask, p, now) for ask, p in placed))  # in one commit
        refused = {a.workload.id: answer.unplaced[a.id] for a in asks if a.id in answer.unplaced}
        for workload in [w for w in found if w.id in refused or w.id in barred]:
            why = refused.get(workload.id) or barred[workload.id]
            there = None if workload.id in barred else room
            if await end_first(m.store, workload, by_id[workload.id], why, there, now):
                refused.pop(workload.id, None)
                self._poke()
        fresh = {k: v for k, v in refused.items() if self.unplaced.get(k) != v}
        self.unplaced = refused
        if fresh:
            await m.store.write(lambda s: _add_refusals(s, fresh, now))
        times = [t for w in found if (t := next_try_ms(w, by_id[w.id], now)) is not None]
        times += [a.next_try_ms for mine in by_id.values() for a in mine if a.is_live and a.next_try_ms > now]
        if (expiry := m.store.reads.next_expiry_ms(now)) is not None:
            times.append(expiry)
        times += [t for r in reservations for t in (r.starts_at_ms, r.ends_at_ms) if t > now]
        now = m.clock.now_ms()  # time went on while this pass was written down
        return max(0.0, min([IDLE_S, *((t - now) / 1000 for t in times)]))

    def _asks(
        self, found: Sequence[Workload], by_id: Mapping[str, Sequence[Attempt]], now: int
    ) -> tuple[list[Ask], dict[str, Unplaced]]:
        """What is to be placed, and what cannot be while an old replica of it is there."""
        asks: list[Ask] = []
        barred: dict[str, Unplaced] = {}
        for workload in found:
            need = needed(workload, by_id[workload.id], now)
            if need.indexes and (why := surge_refusal(workload, by_id[workload.id], self._m.driver.kind)):
                barred[workload.id] = Unplaced((why,))
                continue
            groups = [need.indexes] if need.is_gang else [(i,) for i in need.indexes]
            asks += [Ask(as_started(workload), indexes) for indexes in groups]
        return asks, barred

    async def _commit(self, ask: Ask, placements: Sequence[Placement], now: int) -> None:
        def insert(session: Session) -> list[Launch]:
            launches: list[Launch] = []
            current = load_workload(session, ask.workload.id)
            attempts = load_attempts(session, ask.workload.id)
            if current is None or not set(ask.indexes) <= set(needed(current, attempts, now).indexes):
                return launches  # it changed while the plan was made
            if as_started(current).spec != ask.workload.spec:
                return launches  # what was placed is another size, perhaps
            number = max((a.number for a in attempts), default=0) + 1
            started = as_started(current)
            for index, placement in zip(ask.indexes, placements, strict=True):
                attempt = Attempt(
                    replica_id=replica_id(current, index), number=number,
                    workload_id=current.id, index=index, node=placement.node,
                    cpu_cores=started.spec.cpu_cores, memory_mib=started.spec.memory_mib,
                    generation=current.generation, gpu_uuids=placement.gpu_uuids, placed_at_ms=now,
                    shape=started.spec.shape, revision=goal(current) if current.spec.serving else 0,
                )  # fmt: skip
                save_attempt(session, attempt)
                message = f"{attempt.replica_id} goes to {placement.node}"
                add_event(session, current.id, now, "Scheduled", message)
                launches.append(Launch(started, attempt))
            return launches

        launches = await self._m.store.write(insert)
        await self._m.crash.reach(CrashPoint.PLACED)
        for launch in launches:
            self._begin(launch)  # no look at the machine first: of a new attempt there is nothing to be seen
        self._poke()


def _add_refusals(session: Session, refusals: Mapping[str, Unplaced], now_ms: int) -> None:
    for workload_id, refusal in refusals.items():
        message = "; ".join(refusal.reasons)
        add_event(session, workload_id, now_ms, "Unschedulable", message, type_="Warning")
