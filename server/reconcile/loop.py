"""The shell round `diff` and `plan`: load, decide, act, record. Woken by a signal and by a timer."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlmodel import Session

from ...runtime.clock import Clock
from ...runtime.driver import Driver
from ...runtime.errors import DriverError, ImagePullFailed, RuntimeUnavailable
from ...runtime.model import ContainerSpec, Handle
from ...scheduler.model import Placement, Unplaced
from ...scheduler.plan import plan
from .. import snapshot
from ..crashpoints import CrashPoints
from ..domain.inventory import HostNode
from ..domain.workload import Attempt, AttemptState, Workload, current_run
from ..store.sealed_logs import SealedLogs
from ..store.store import Store, add_event, load_workload, save_attempt, save_workload
from .replicas import Action, Archive, Launch, Record, Remove, Stop, diff
from .tasks import KeyedTasks

log = logging.getLogger(__name__)
IDLE_S = 30.0
RETRY_S = 1.0
SETTLE_S, SETTLE_EVERY_S = 1.0, 0.05  # an engine may tell of an end before its list shows it
FAILED_PASS_S = 5.0
STOP_GRACE_S = 30.0
PULL_BACKOFF_S = (10.0, 300.0)  # first and longest pause between pulls of an image that fails


@dataclass(frozen=True, slots=True)
class Machine:
    """The parts of the world that the loop acts on."""

    store: Store
    driver: Driver
    clock: Clock
    nodes: tuple[HostNode, ...]
    instance: str
    logs: SealedLogs
    crash: CrashPoints
    environment: Callable[[Workload, Attempt], tuple[tuple[str, str], ...]]


class ReconcileLoop:
    """`reasons` is empty while all is well; /homeport/health shows it."""

    def __init__(self, machine: Machine) -> None:
        self._m = machine
        self._woken = asyncio.Event()
        self._tasks = KeyedTasks(self.poke)
        self._launches = asyncio.Semaphore(os.cpu_count() or 1)
        self._owned: list[asyncio.Task[None]] = []
        self._settled_at_s = 0.0
        self.reasons: list[str] = []
        self.unplaced: dict[str, Unplaced] = {}

    def poke(self) -> None:
        self._woken.set()

    def start(self) -> None:
        self._owned = [asyncio.create_task(self._run()), asyncio.create_task(self._listen())]

    async def close(self) -> None:
        for task in self._owned:
            task.cancel()
        await asyncio.gather(*self._owned, return_exceptions=True)
        await self._tasks.close()

    async def _listen(self) -> None:
        async for _ in self._m.driver.changes():
            self._settled_at_s = self._m.clock.monotonic_s() + SETTLE_S
            self.poke()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                pause = await self.run_pass()
            except Exception:  # a pass that fails must not end the loop: the next one reads everything anew
                log.exception("reconcile pass failed")
                self.reasons = ["the last reconcile pass failed; see the log"]
                pause = FAILED_PASS_S
            timer = asyncio.create_task(self._m.clock.sleep(pause))
            woken = asyncio.create_task(self._woken.wait())
            try:
                await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
                woken.cancel()

    async def run_pass(self) -> float:
        """One look at everything. Returns the seconds until the next one is due by itself."""
        m = self._m
        try:
            observed = await m.driver.list_owned()
        except RuntimeUnavailable as error:
            self.reasons = [str(error)]  # unseen is not gone: nothing is decided without a list
            return RETRY_S
        self.reasons = []
        now = m.clock.now_ms()
        workloads = {w.id: w for w in m.store.unarchived_workloads()}
        attempts = m.store.unarchived_attempts()
        actions = diff(workloads, [a for a in attempts if a.workload_id in workloads], observed, now_ms=now)
        await self._record([a for a in actions if isinstance(a, Record)])
        for action in actions:
            self._begin(action)
        await self._place()
        waits = [(a.next_try_ms - now) / 1000 for a in attempts if a.is_live and a.next_try_ms > now]
        is_settling = m.clock.monotonic_s() < self._settled_at_s
        return min([SETTLE_EVERY_S if is_settling else IDLE_S, *waits])

    # -- placement ----------------------------------------------------------

    async def _place(self) -> None:
        m = self._m
        attempts = m.store.unarchived_attempts()
        by_workload: dict[str, list[Attempt]] = {}
        for attempt in attempts:
            by_workload.setdefault(attempt.workload_id, []).append(attempt)
        queued = [
            w for w in m.store.unarchived_workloads()
            if w.is_wanted and not current_run(w, by_workload.get(w.id, []))
        ]  # fmt: skip
        if queued:
            await m.crash.reach("pass.pending")
        answer = plan(snapshot.build(m.nodes, [a for a in attempts if a.is_live], queued))
        now = m.clock.now_ms()
        for workload in queued:
            if (placements := answer.placed.get(workload.id)) is not None:
                await self._commit_placement(workload, placements, now)
        fresh = {k: v for k, v in answer.unplaced.items() if self.unplaced.get(k) != v}
        self.unplaced = dict(answer.unplaced)
        if fresh:
            await m.store.write(lambda s: _add_refusals(s, fresh, now))

    async def _commit_placement(self, workload: Workload, placements: Sequence[Placement], now: int) -> None:
        def insert(session: Session) -> None:
            current = load_workload(session, workload.id)
            if current is None or current.generation != workload.generation or not current.is_wanted:
                return
            for index, placement in enumerate(placements):
                attempt = Attempt(
                    replica_id=f"{workload.id}-{index}-{workload.id[-4:]}", number=workload.first_attempt,
                    workload_id=workload.id, node=placement.node, cpu_cores=workload.spec.cpu_cores,
                    memory_mib=workload.spec.memory_mib, generation=workload.generation,
                    gpu_uuids=placement.gpu_uuids, placed_at_ms=now,
                )  # fmt: skip
                save_attempt(session, attempt)
                add_event(
                    session, workload.id, now, "Scheduled", f"{attempt.replica_id} goes to {placement.node}"
                )

        await self._m.store.write(insert)
        await self._m.crash.reach("placement.committed")
        self.poke()

    # -- actions ------------------------------------------------------------

    async def _record(self, records: Sequence[Record]) -> None:
        if not records:
            return
        now = self._m.clock.now_ms()

        def save(session: Session) -> None:
            for record in records:
                save_attempt(session, record.attempt)
                type_ = "Warning" if record.is_warning else "Normal"
                add_event(
                    session, record.attempt.workload_id, now, record.reason, record.message, type_=type_
                )

        await self._m.store.write(save)
        await self._m.crash.reach("observation.committed")
        self.poke()

    def _begin(self, action: Action) -> None:
        match action:
            case Launch(workload, attempt):
                self._tasks.start(attempt.key, lambda: self._launch(workload, attempt))
            case Stop(attempt, seen, _):
                self._tasks.start(attempt.key, lambda: self._m.driver.stop(seen.handle, grace_s=STOP_GRACE_S))
            case Remove(seen, attempt, _):
                key = (seen.replica_id, seen.attempt)
                self._tasks.start(key, lambda: self._remove(seen.handle, attempt))
            case Archive(workload):
                self._tasks.start(workload.id, lambda: self._archive(workload))
            case Record():
                pass  # already committed, together with the others of this pass

    async def _launch(self, workload: Workload, attempt: Attempt) -> None:
        m = self._m
        spec = container_spec(m, workload, attempt)
        try:
            await m.driver.prepare(spec)
            async with self._launches:
                current = m.store.get_workload(workload.workspace, workload.id)
                if current is None or not current.is_wanted:
                    return
                await m.crash.reach("launch.begin")
                await m.driver.start(spec)
                await m.crash.reach("launch.started")
        except RuntimeUnavailable as error:
            self.reasons = [str(error)]
            await m.clock.sleep(RETRY_S)
        except DriverError as error:
            await self._record([failed_launch(attempt, error, m.clock.now_ms())])

    async def _remove(self, handle: Handle, attempt: Attempt | None) -> None:
        if attempt is not None:
            await self._m.logs.seal(
                attempt.replica_id, attempt.number, self._m.driver.logs(handle, follow=False)
            )
            await self._m.crash.reach("log.sealed")
        await self._m.driver.remove(handle)

    async def _archive(self, workload: Workload) -> None:
        now = self._m.clock.now_ms()

        def save(session: Session) -> None:
            current = load_workload(session, workload.id)
            if current is not None and current.is_deleting:
                save_workload(session, replace(current, archived_at_ms=now))
                add_event(
                    session, workload.id, now, "Archived", "its containers are gone; spec and log are kept"
                )

        await self._m.store.write(save)


def failed_launch(attempt: Attempt, error: DriverError, now_ms: int) -> Record:
    """A pull is tried again with growing pauses; any other refusal ends the attempt."""
    if isinstance(error, ImagePullFailed):
        first, longest = PULL_BACKOFF_S
        pause_s = min(first * 2**attempt.failures, longest)
        again = replace(attempt, failures=attempt.failures + 1, next_try_ms=now_ms + int(pause_s * 1000))
        return Record(again, "ImagePullBackOff", f"{error}; next try in {pause_s:g} s", is_warning=True)
    over = replace(
        attempt, state=AttemptState.ENDED, reason=error.code, message=str(error), finished_at_ms=now_ms
    )
    return Record(over, "FailedToStart", str(error), is_warning=True)


def container_spec(machine: Machine, workload: Workload, attempt: Attempt) -> ContainerSpec:
    simulated = {g.uuid for n in machine.nodes for g in n.gpus if g.is_simulated}
    real = tuple(u for u in attempt.gpu_uuids if u not in simulated)
    env = [*machine.environment(workload, attempt), *workload.spec.env]
    if len(real) < len(attempt.gpu_uuids):
        env.append(("HOMEPORT_SIMULATED_GPU", "1"))
    return ContainerSpec(
        instance=machine.instance, workload_id=workload.id, replica_id=attempt.replica_id,
        attempt=attempt.number, generation=attempt.generation, image=workload.spec.image,
        command=workload.spec.command, env=tuple(env), cpu_cores=attempt.cpu_cores,
        memory_mib=attempt.memory_mib, shm_mib=workload.spec.shm_mib, gpu_uuids=real,
    )  # fmt: skip


def _add_refusals(session: Session, refusals: dict[str, Unplaced], now_ms: int) -> None:
    for workload_id, refusal in refusals.items():
        message = "; ".join(refusal.reasons)
        add_event(session, workload_id, now_ms, "Unschedulable", message, type_="Warning")
