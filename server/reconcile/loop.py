"""The shell round `diff` and `plan`: load, decide, act, record. Woken by a signal and by a timer."""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlmodel import Session

from ...runtime.errors import DriverError, PortTaken, RuntimeUnavailable
from ...runtime.model import ContainerSpec, ContainerState, Handle, Observed, RegistryLogin
from ...scheduler.model import Unplaced
from ..crashpoints import CrashPoint
from ..domain.workload import Attempt, AttemptState, Workload
from ..errors import StoreUnavailable
from ..routing import Route
from ..store.host_ports import release as release_host_ports
from ..store.log_files import Key
from ..store.writes import add_event, load_workload, preload, save_attempts, save_workload
from .attention import Attention
from .autoscale import Autoscaler
from .drains import Drains
from .gpus import tell_sharing
from .host_ports import may_move
from .launches import Machine, container_spec, failed_launch, group_of, moved_port
from .log_pumps import LogPumps
from .placing import Placing, Waiting
from .probing import Probing
from .pulls import add_unusable
from .replicas import (
    Action,
    Archive,
    Change,
    Launch,
    Pause,
    Record,
    Remove,
    Resume,
    Stop,
    diff,
    unseen,
    workload_of,
)
from .rooms import resume_rollouts
from .route_table import wanted_routes
from .tasks import KeyedTasks
from .told import as_told_since, is_to_start
from .view import View, look

log = logging.getLogger(__name__)
RETRY_S = 1.0
FAILED_PASS_S = 5.0
LONG_PASS_S, LONGEST_REST_S = 0.1, 1.0
STOP_GRACE_S = 30.0
BLIND_PASSES = 2
ROUTES = "routes"
HEARTBEAT_S = 3.0


class ReconcileLoop:
    """
    `reasons` is empty while all is well; /homeport/health shows it.
    `woken` is set by whoever changed something.
    """

    def __init__(self, machine: Machine, woken: asyncio.Event) -> None:
        self._m, self._woken = machine, woken
        self._tasks = KeyedTasks(machine.clock, self.poke)
        self._pumps = LogPumps(machine.driver, machine.logs, machine.clock, self.poke)
        self._probing = Probing(machine.prober, machine.store, machine.clock, self.poke, self._turned)
        self._scaler = Autoscaler(
            machine.store, machine.clock, machine.traffic, machine.gpu_percent, machine.zero
        )
        self._launches = asyncio.Semaphore(os.cpu_count() or 1)
        self._owned: list[asyncio.Task[None]] = []
        self._pulling: set[Key] = set()  # launches that wait for their image
        self._started: set[Key] = set()  # what the driver has started; it may be seen to run later
        self._blind_passes = 0
        self._groups: set[str] | None = None  # networks that exist; None before the first look
        self._is_first = True
        self.reasons: list[str] = []
        self._addresses: Mapping[Key, str] = {}  # of running containers, when last seen
        self.observed: Sequence[Observed] = ()  # as last listed
        self.passes, self.pass_s = 0, 0.0  # how many, and what they took together
        self._rests = False  # between passes
        self._routes: Mapping[str, Route] = {}  # that the gateway was shown
        self._showing = asyncio.Lock()
        self._drains = Drains(machine)
        self._changes = machine.store.reads.table.follow()
        self._attention = Attention()
        self._placing = Placing(machine, self._begin, self.poke)

    def poke(self) -> None:
        self._woken.set()

    @property
    def is_idle(self) -> bool:
        """It waits for time to pass or for somebody to poke it, and nothing that it began is under way."""
        return self._rests and not self._woken.is_set() and not self._tasks

    @property
    def routes(self) -> Mapping[str, Route]:
        """By key, as the gateway was last shown them."""
        return self._routes

    @property
    def unplaced(self) -> Mapping[str, Unplaced]:
        """Why a workload waits, by its id."""
        return self._placing.unplaced

    def waiting(self, workload_id: str) -> Unplaced | None:
        """Why it waits, with the code of the reason; None where it does not, or was not looked at yet."""
        return self.unplaced.get(workload_id)

    @property
    def last_plan(self) -> Waiting:
        """All that the scheduler said when it was last asked."""
        return self._placing.last

    @property
    def machine(self) -> Machine:
        """What it acts on."""
        return self._m

    def refusal(self, workload_id: str) -> Sequence[str]:
        """Why a workload waits; empty where it does not, or was not looked at yet."""
        found = self.unplaced.get(workload_id)
        return found.reasons if found else ()

    def start(self) -> None:
        self._owned = [asyncio.create_task(run()) for run in (self._run, self._listen, self._watch)]
        if self._m.gpus is not None:
            self._m.gpus.start()

    async def close(self) -> None:
        for task in self._owned:
            task.cancel()
        await asyncio.gather(*self._owned, return_exceptions=True)
        if self._m.gpus is not None:
            await self._m.gpus.close()
        await self._tasks.close()
        await self._pumps.close()
        await self._probing.close()

    async def _listen(self) -> None:
        async for _ in self._m.driver.changes():
            self.poke()

    async def _watch(self) -> None:
        """An engine that hangs tells nobody, and the next pass may be far away."""
        while True:
            await self._m.clock.sleep(HEARTBEAT_S)
            try:
                await self._m.driver.ping()
            except DriverError:
                self.poke()  # the pass finds out what it means

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            began_s = self._m.clock.spent_s()
            try:
                pause = await self.run_pass()
            except StoreUnavailable as error:
                self.reasons = [str(error)]
                pause = FAILED_PASS_S
            except Exception:  # a pass that fails must not end the loop: the next one reads everything anew
                log.exception("reconcile pass failed")
                self.reasons = ["the last reconcile pass failed; see the log"]
                pause = FAILED_PASS_S
            took_s = self._m.clock.spent_s() - began_s
            self.passes, self.pass_s = self.passes + 1, self.pass_s + took_s
            if took_s > LONG_PASS_S:  # thousands wait: the API shares this thread, and has the other half
                await self._m.clock.rest(min(took_s, LONGEST_REST_S))
            timer = asyncio.create_task(self._m.clock.sleep(pause))
            woken = asyncio.create_task(self._woken.wait())
            self._rests = True
            try:
                await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._rests = False
                timer.cancel()
                woken.cancel()

    async def run_pass(self) -> float:
        """One look at everything. Returns the seconds until the next one is due by itself."""
        m = self._m
        scale_s = await self._scaler.step()
        try:
            observed = await m.driver.list_owned()
            if self._groups is None:
                self._groups = set(await m.driver.list_groups())
        except RuntimeUnavailable as error:
            await self._lose_sight(error)
            return RETRY_S
        self.reasons, self._blind_passes = [], 0
        self.observed = observed
        now = m.clock.now_ms()
        view = self._look(observed, now)
        actions = diff(view.workloads, view.attempts, view.observed, now_ms=now)
        attempts = view.all_attempts
        if self._is_first:
            self._is_first = False
            self._drains.adopt(view.workloads, attempts)
            await resume_rollouts(m.store, view.workloads, now)
        self._copy_logs(attempts, view.observed)
        self._probing.look(view.workloads, attempts, view.observed)
        self._give_up_pulls(attempts)
        await self._record([a for a in actions if isinstance(a, Record | Change)])
        self._addresses = {(o.replica_id, o.attempt): o.address for o in observed if o.address}
        await self._show_routes()
        coming = self._coming(attempts, view.observed)
        actions = [a for a in actions if not isinstance(a, Launch) or a.attempt.key not in coming]
        # Not before: where one of these failed, all of them are looked at again.
        self._attention.settle(*view.without(workload_of(a) for a in actions), now)
        for action in actions:
            self._begin(action)
        self._drop_groups(observed, now)
        return min(scale_s, await self._placing.place())

    def _coming(self, attempts: Sequence[Attempt], observed: Sequence[Observed]) -> set[Key]:
        """Of what is there and does not run yet that which was started: to start it again changes nothing."""
        if not self._started:
            return set()
        self._started &= {a.key for a in attempts if a.state is AttemptState.PLACED}
        created = {(o.replica_id, o.attempt) for o in observed if o.state is ContainerState.CREATED}
        return self._started & created

    async def _lose_sight(self, error: RuntimeUnavailable) -> None:
        """Unseen is not gone: nothing is decided without a list. One answer that came late is no outage."""
        self.reasons = [str(error)]
        self._blind_passes += 1
        if self._blind_passes >= BLIND_PASSES:
            await self._record(unseen(self._m.store.reads.live_attempts(), str(error)))

    def _look(self, observed: Sequence[Observed], now_ms: int) -> View:
        """What has to be looked at: mostly little of what there is."""
        reads = self._m.store.reads
        entries = reads.table.look(now_ms)
        seen = {(o.replica_id, o.attempt): o for o in observed}
        with self._changes.taking() as touched:
            touched |= {seen[key].workload_id for key in self._pumps.take_lapsed() if key in seen}
            chosen = self._attention.choose(entries, touched, seen, now_ms)
        return look(reads, entries, chosen, seen)

    # -- actions ------------------------------------------------------------

    async def _record(self, records: Sequence[Record | Change]) -> None:
        if not records:
            return
        now = self._m.clock.now_ms()

        observed: dict[str, list[Attempt]] = {}
        for record in (r for r in records if isinstance(r, Record)):
            observed.setdefault(record.attempt.workload_id, []).append(record.attempt)

        def save(session: Session) -> None:
            preload(session, observed)
            for workload_id, attempts in observed.items():
                save_attempts(session, workload_id, attempts, as_told_since)
            for record in records:
                if isinstance(record, Record):
                    said, workload_id = record, record.attempt.workload_id
                elif load_workload(session, record.before.id) == record.before:
                    save_workload(session, record.advance.workload)
                    said, workload_id = record.advance, record.before.id
                else:
                    continue  # the user changed it meanwhile; the next pass looks again
                type_ = "Warning" if said.is_warning else "Normal"
                add_event(session, workload_id, now, said.reason, said.message, type_=type_)

        await self._m.store.write(save)
        await self._m.crash.reach(CrashPoint.OBSERVED)
        self.poke()

    def _begin(self, action: Action) -> None:
        match action:
            case Launch(workload, attempt):
                self._tasks.start(attempt.key, lambda: self._launch(workload, attempt))
            case Stop(attempt, seen, _):
                self._tasks.start(attempt.key, lambda: self._stop(attempt, seen.handle))
            case Pause(workload, attempt, seen):
                self._tasks.start(attempt.key, lambda: self._drains.pause(workload, attempt, seen.handle))
            case Resume(attempt, seen):
                self._tasks.start(attempt.key, lambda: self._resume(attempt, seen.handle))
            case Remove(seen, attempt, _, keeps_log):
                key = (seen.replica_id, seen.attempt)
                self._tasks.start(key, lambda: self._remove(seen.handle, attempt, keeps_log=keeps_log))
            case Archive(workload, why):
                self._tasks.start(workload.id, lambda: self._archive(workload, why))
            case Record() | Change():
                pass  # already committed, together with the others of this pass

    async def _launch(self, workload: Workload, attempt: Attempt) -> None:
        m = self._m
        try:
            leased = await m.host_ports.lease(workload, m.clock.now_ms())
            spec = container_spec(m, workload, attempt, leased)
            await tell_sharing(m.store, attempt, spec, m.clock.now_ms())
            await self._prepare(workload, attempt, spec)
            async with self._launches:
                table = m.store.reads.table
                if not is_to_start(table.look(m.clock.now_ms()).get(workload.id), attempt):
                    return
                if self._groups is not None and spec.group:
                    self._groups.add(group_of(workload))
                await m.crash.reach(CrashPoint.LAUNCH)
                await m.driver.start(spec)
                self._started.add(attempt.key)
                await m.crash.reach(CrashPoint.LAUNCHED)
        except RuntimeUnavailable as error:
            self.reasons = [str(error)]
            await m.clock.sleep(RETRY_S)
        except DriverError as error:
            if isinstance(error, PortTaken) and may_move(workload, attempt.failures):
                await m.host_ports.lease(workload, m.clock.now_ms(), taken=error.host_ports)
                await self._record([moved_port(attempt, error, m.clock.now_ms())])
                return
            failed = failed_launch(attempt, error, m.clock.now_ms(), workload.spec.pull_secrets)
            await self._record([failed])

    async def _prepare(self, workload: Workload, attempt: Attempt, spec: ContainerSpec) -> None:
        self._pulling.add(attempt.key)
        try:
            await self._m.driver.prepare(spec, lambda: self._pull_login(workload))
        finally:
            self._pulling.discard(attempt.key)

    async def _pull_login(self, workload: Workload) -> RegistryLogin | None:
        """The image is pulled without a login that was removed meanwhile, and an event says so."""
        found = self._m.pull_login(workload)
        if found.unusable:
            now = self._m.clock.now_ms()
            await self._m.store.write(lambda s: add_unusable(s, workload.id, found.unusable, now))
        return found.login

    def _give_up_pulls(self, attempts: Sequence[Attempt]) -> None:
        """A registry may take for ever; a launch that is past its pull is left to end."""
        for key in self._pulling - {a.key for a in attempts if a.is_live}:
            self._tasks.cancel(key)

    async def _turned(self) -> None:
        """A probe's verdict: requests follow at once; what else follows the next pass finds out."""
        await self._show_routes()
        self.poke()

    async def _show_routes(self) -> None:
        """
        After what was recorded, and before anything is stopped. Bounded by the gateway's patience.

        One at a time, and each reads when its turn comes: of two that wait for the same table to
        be shown, one would be left out.
        """
        async with self._showing:
            await self._tasks.join(ROUTES)  # of one that was cancelled meanwhile
            routes = wanted_routes(self._m, self._addresses)
            if routes != self._routes:
                self._routes = routes
                self._m.traffic.shown(routes.values())
                self._tasks.start(ROUTES, lambda: self._m.show_routes(routes.values()))
                await self._tasks.join(ROUTES)

    async def _resume(self, attempt: Attempt, handle: Handle) -> None:
        await self._m.driver.resume(handle)
        again = replace(attempt, is_paused=False)
        message = f"{attempt.replica_id} goes on where it was paused"
        await self._record([Record(again, "Resumed", message)])
        await self._show_routes()  # somebody waits for it

    async def _stop(self, attempt: Attempt, handle: Handle) -> None:
        await self._drains.wait(attempt)
        await self._m.crash.reach(CrashPoint.STOP)
        (found,) = self._m.store.reads.by_ids([attempt.workload_id])
        asked = found.workload.spec.grace_s
        await self._m.driver.stop(handle, grace_s=STOP_GRACE_S if asked is None else asked)
        await self._m.crash.reach(CrashPoint.STOPPED)

    async def _remove(self, handle: Handle, attempt: Attempt | None, *, keeps_log: bool) -> None:
        if attempt is not None:
            await self._pumps.finish(attempt.key, handle)
            await self._m.crash.reach(CrashPoint.SEALED)
            if not keeps_log:
                self._m.logs.empty(attempt.key)
        await self._m.driver.remove(handle)
        await self._m.crash.reach(CrashPoint.REMOVED)

    async def _archive(self, workload: Workload, why: str) -> None:
        await self._m.crash.reach(CrashPoint.ARCHIVE)
        now = self._m.clock.now_ms()

        def save(session: Session) -> None:
            current = load_workload(session, workload.id)
            if current is not None and current == workload:
                save_workload(session, replace(current, archived_at_ms=now))
                release_host_ports(session, workload.id)
                message = f"{why}; its spec and its logs are kept"
                add_event(session, workload.id, now, "Archived", message)

        await self._m.store.write(save)
        await self._m.crash.reach(CrashPoint.ARCHIVED)

    # -- what containers leave behind ---------------------------------------

    def _copy_logs(self, attempts: Sequence[Attempt], observed: Sequence[Observed]) -> None:
        known = {a.key: a for a in attempts}
        for seen in observed:
            key = (seen.replica_id, seen.attempt)
            if key in known and seen.state is ContainerState.RUNNING:
                self._pumps.ensure(key, seen.handle)

    def _drop_groups(self, observed: Sequence[Observed], now_ms: int) -> None:
        """The network of a workload goes with its last container."""
        if not self._groups:
            return
        entries = self._m.store.reads.table.look(now_ms)
        rest = self._groups - {o.workload_id for o in observed}
        for group in rest:
            if group not in entries or not any(a.is_live for a in entries[group].attempts):
                self._tasks.start(("group", group), lambda group=group: self._drop_group(group))

    async def _drop_group(self, group: str) -> None:
        await self._m.driver.remove_group(group)
        await self._m.crash.reach(CrashPoint.GROUP_REMOVED)
        if self._groups is not None:
            self._groups.discard(group)
