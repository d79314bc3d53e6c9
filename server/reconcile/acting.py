"""Does what was decided, each action in a task of its own."""

import asyncio
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from sqlmodel import Session

from ...runtime.errors import DriverError, PortTaken, RuntimeUnavailable
from ...runtime.model import ContainerSpec, ContainerState, Handle, Observed, RegistryLogin
from ..crashpoints import CrashPoint
from ..domain.workload import Attempt, AttemptState, Workload
from ..store.host_ports import release as release_host_ports
from ..store.log_files import Key
from ..store.writes import add_event, load_workload, save_workload
from .drains import Drains
from .gpus import tell_sharing
from .groups import Groups
from .host_ports import may_move
from .launches import Machine, container_spec, failed_launch, group_of, moved_port
from .log_pumps import LogPumps
from .pulls import add_unusable
from .recording import Recorder
from .replicas import Action, Archive, Change, Launch, Pause, Record, Remove, Resume, Stop
from .shown_routes import ShownRoutes
from .tasks import KeyedTasks
from .told import is_to_start

RETRY_S = 1.0
STOP_GRACE_S = 30.0


class Actor:
    """
    An action whose key is in flight already is left out: the next pass finds out whether it is still due.

    Args:
        report: called with why nothing can be started now.
    """

    def __init__(
        self,
        machine: Machine,
        tasks: KeyedTasks,
        recorder: Recorder,
        routes: ShownRoutes,
        groups: Groups,
        pumps: LogPumps,
        report: Callable[[str], None],
    ) -> None:
        self._m, self._tasks, self._recorder, self._routes = machine, tasks, recorder, routes
        self._groups, self._pumps, self._report = groups, pumps, report
        self.drains = Drains(machine)
        self._launches = asyncio.Semaphore(os.cpu_count() or 1)
        self._pulling: set[Key] = set()  # launches that wait for their image
        self._started: set[Key] = set()  # what the driver has started; it may be seen to run later

    def begin(self, action: Action) -> None:
        match action:
            case Launch(workload, attempt):
                self._tasks.start(attempt.key, lambda: self._launch(workload, attempt))
            case Stop(attempt, seen, _):
                self._tasks.start(attempt.key, lambda: self._stop(attempt, seen.handle))
            case Pause(workload, attempt, seen):
                self._tasks.start(attempt.key, lambda: self.drains.pause(workload, attempt, seen.handle))
            case Resume(attempt, seen):
                self._tasks.start(attempt.key, lambda: self._resume(attempt, seen.handle))
            case Remove(seen, attempt, _, keeps_log):
                key = (seen.replica_id, seen.attempt)
                self._tasks.start(key, lambda: self._remove(seen.handle, attempt, keeps_log=keeps_log))
            case Archive(workload, why):
                self._tasks.start(workload.id, lambda: self._archive(workload, why))
            case Record() | Change():
                pass  # already committed, together with the others of this pass

    def coming(self, attempts: Sequence[Attempt], observed: Sequence[Observed]) -> Collection[Key]:
        """
        Of what is there and does not run yet that which was started: to start it again changes nothing.

        Args:
            attempts, observed: what this pass looks at.
        """
        self._started -= {a.key for a in attempts if a.state is not AttemptState.PLACED}
        created = {(o.replica_id, o.attempt) for o in observed if o.state is ContainerState.CREATED}
        return self._started & created

    def give_up_pulls(self, attempts: Sequence[Attempt]) -> None:
        """A registry may take for ever; a launch that is past its pull is left to end."""
        for key in self._pulling - {a.key for a in attempts if a.is_live}:
            self._tasks.cancel(key)

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
                self._groups.add(group_of(workload))
                await m.crash.reach(CrashPoint.LAUNCH)
                await m.driver.start(spec)
                self._started.add(attempt.key)
                await m.crash.reach(CrashPoint.LAUNCHED)
        except RuntimeUnavailable as error:
            self._report(str(error))
            await m.clock.sleep(RETRY_S)
        except DriverError as error:
            if isinstance(error, PortTaken) and may_move(workload, attempt.failures):
                await m.host_ports.lease(workload, m.clock.now_ms(), taken=error.host_ports)
                await self._recorder.record([moved_port(attempt, error, m.clock.now_ms())])
                return
            failed = failed_launch(attempt, error, m.clock.now_ms(), workload.spec.pull_secrets)
            await self._recorder.record([failed])

    async def _prepare(self, workload: Workload, attempt: Attempt, spec: ContainerSpec) -> None:
        self._pulling.add(attempt.key)
        try:
            await self._m.driver.prepare(spec, lambda: self._pull_logins(workload, spec.image))
        finally:
            self._pulling.discard(attempt.key)

    async def _pull_logins(self, workload: Workload, image: str) -> Sequence[RegistryLogin]:
        """The image is pulled without a login that was removed meanwhile, and an event says so."""
        found = self._m.pull_logins(workload, image)
        if found.unusable:
            now = self._m.clock.now_ms()
            await self._m.store.write(lambda s: add_unusable(s, workload.id, found.unusable, now))
        return found.logins

    async def _resume(self, attempt: Attempt, handle: Handle) -> None:
        await self._m.driver.resume(handle)
        again = replace(attempt, is_paused=False)
        message = f"{attempt.replica_id} goes on where it was paused"
        await self._recorder.record([Record(again, "Resumed", message)])
        await self._routes.show()  # somebody waits for it

    async def _stop(self, attempt: Attempt, handle: Handle) -> None:
        await self.drains.wait(attempt)
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
