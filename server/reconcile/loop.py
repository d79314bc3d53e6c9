"""The shell round `diff` and `plan`: load, decide, act, record. Woken by a signal and by a timer."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from ...runtime.errors import DriverError, RuntimeUnavailable
from ...runtime.model import ContainerState, Observed
from ...scheduler.model import Unplaced
from ..domain.workload import Attempt
from ..errors import StoreUnavailable
from ..routing import Route
from .acting import Actor
from .attention import Attention
from .autoscale import Autoscaler
from .groups import Groups
from .launches import Machine
from .log_pumps import LogPumps
from .placing import Placing, Waiting
from .probing import Probing
from .recording import Recorder
from .replicas import Change, Launch, Record, diff, unseen, workload_of
from .rooms import resume_rollouts
from .shown_routes import ShownRoutes
from .tasks import KeyedTasks
from .view import View, look

log = logging.getLogger(__name__)
RETRY_S = 1.0
FAILED_PASS_S = 5.0
LONG_PASS_S, LONGEST_REST_S = 0.1, 1.0
BLIND_PASSES = 2
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
        self._recorder = Recorder(machine, self.poke)
        self._routes = ShownRoutes(machine, self._tasks)
        self._groups = Groups(machine, self._tasks)
        self._actor = Actor(
            machine, self._tasks, self._recorder, self._routes, self._groups, self._pumps, self._report
        )
        self._probing = Probing(machine.prober, machine.store, machine.clock, self.poke, self._turned)
        self._scaler = Autoscaler(
            machine.store, machine.clock, machine.traffic, machine.gpu_percent, machine.zero
        )
        self._owned: list[asyncio.Task[None]] = []
        self._blind_passes = 0
        self._is_first = True
        self.reasons: list[str] = []
        self.observed: Sequence[Observed] = ()  # as last listed
        self.passes, self.pass_s = 0, 0.0  # how many, and what they took together
        self._rests = False  # between passes
        self._changes = machine.store.reads.table.follow()
        self._attention = Attention()
        self._placing = Placing(machine, self._actor.begin, self.poke)

    def poke(self) -> None:
        self._woken.set()

    @property
    def is_idle(self) -> bool:
        """It waits for time to pass or for somebody to poke it, and nothing that it began is under way."""
        return self._rests and not self._woken.is_set() and not self._tasks

    @property
    def routes(self) -> Mapping[str, Route]:
        """By key, as the gateway was last shown them."""
        return self._routes.routes

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
            await self._groups.look()
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
            self._actor.drains.adopt(view.workloads, attempts)
            await resume_rollouts(m.store, view.workloads, now)
        self._copy_logs(attempts, view.observed)
        self._probing.look(view.workloads, attempts, view.observed)
        self._actor.give_up_pulls(attempts)
        await self._recorder.record([a for a in actions if isinstance(a, Record | Change)])
        self._routes.see(observed)
        await self._routes.show()
        coming = self._actor.coming(attempts, view.observed)
        actions = [a for a in actions if not isinstance(a, Launch) or a.attempt.key not in coming]
        # Not before: where one of these failed, all of them are looked at again.
        self._attention.settle(*view.without(workload_of(a) for a in actions), now)
        for action in actions:
            self._actor.begin(action)
        self._groups.drop_unused(observed, now)
        return min(scale_s, await self._placing.place())

    def _report(self, reason: str) -> None:
        self.reasons = [reason]

    async def _lose_sight(self, error: RuntimeUnavailable) -> None:
        """Unseen is not gone: nothing is decided without a list. One answer that came late is no outage."""
        self.reasons = [str(error)]
        self._blind_passes += 1
        if self._blind_passes >= BLIND_PASSES:
            await self._recorder.record(unseen(self._m.store.reads.live_attempts(), str(error)))

    def _look(self, observed: Sequence[Observed], now_ms: int) -> View:
        """What has to be looked at: mostly little of what there is."""
        reads = self._m.store.reads
        entries = reads.table.look(now_ms)
        seen = {(o.replica_id, o.attempt): o for o in observed}
        with self._changes.taking() as touched:
            touched |= {seen[key].workload_id for key in self._pumps.take_lapsed() if key in seen}
            chosen = self._attention.choose(entries, touched, seen, now_ms)
        return look(reads, entries, chosen, seen)

    async def _turned(self) -> None:
        """A probe's verdict: requests follow at once; what else follows the next pass finds out."""
        await self._routes.show()
        self.poke()

    def _copy_logs(self, attempts: Sequence[Attempt], observed: Sequence[Observed]) -> None:
        known = {a.key: a for a in attempts}
        for seen in observed:
            key = (seen.replica_id, seen.attempt)
            if key in known and seen.state is ContainerState.RUNNING:
                self._pumps.ensure(key, seen.handle)
