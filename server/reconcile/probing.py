"""Probes what runs: a task per probe of a container. Only a verdict that turns is written down."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from sqlmodel import Session

from ...runtime.clock import Clock
from ...runtime.model import ContainerState, Observed
from ...runtime.prober import Prober
from ...runtime.probes import Probe, ProbeKind, ProbeState, begin, fold
from ..domain.endpoints import is_ready
from ..domain.exposures import is_reachable
from ..domain.rollouts import spec_of
from ..domain.workload import Attempt, AttemptState, Workload
from ..store.store import Store
from ..store.writes import add_event, load_attempt, load_workload, save_attempt
from .tasks import KeyedTasks

ProbeKey = tuple[str, int, ProbeKind]


def probes_of(workload: Workload, attempt: Attempt) -> Sequence[Probe | None]:
    """What serves is probed as it was made; of what runs to an end there is only whether it is ready."""
    spec = spec_of(workload, attempt)
    if spec is None:
        return ()
    if spec.serving is None:
        return (spec.readiness,)
    return spec.serving.readiness, spec.serving.liveness


HURRY_MS, HURRIED_PERIOD_S = 10_000, 0.02


def hurried(probe: Probe) -> Probe:
    """For a replica that requests wait for: they are not to wait for the probe's delay as well."""
    if probe.kind is not ProbeKind.READINESS:
        return probe
    return replace(probe, initial_delay_s=0, period_s=HURRIED_PERIOD_S)


def _is_well(workload: Workload, attempt: Attempt) -> bool:
    return (is_ready if workload.spec.serving else is_reachable)(workload, attempt)


class Probing:
    """
    Args:
        turned: called when a verdict has been written: requests follow at once, not with the next pass.
    """

    def __init__(
        self, prober: Prober, store: Store, clock: Clock, when_done: Callable[[], None],
        turned: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._prober, self._store, self._clock, self._turned = prober, store, clock, turned
        self._tasks = KeyedTasks(clock, when_done)
        self._states: dict[ProbeKey, ProbeState] = {}
        self._probes: dict[ProbeKey, Probe] = {}  # as they are to be made from now on
        self._telling: set[ProbeKey] = set()

    def look(
        self, workloads: Mapping[str, Workload], attempts: Sequence[Attempt], observed: Iterable[Observed]
    ) -> None:
        """Called in each pass: begins with containers that have come, lets go of those that have gone."""
        live = {a.key: a for a in attempts if a.state is AttemptState.RUNNING}
        probed: set[ProbeKey] = set()
        for seen in observed:
            attempt = live.get((seen.replica_id, seen.attempt))
            if attempt is None or seen.state is not ContainerState.RUNNING:
                continue
            workload = workloads[attempt.workload_id]
            for probe in probes_of(workload, attempt):
                if probe is not None:
                    key = (*attempt.key, probe.kind)
                    probed.add(key)
                    age_ms = self._clock.now_ms() - (attempt.started_at_ms or 0)
                    is_hurried = workload.is_waking and age_ms < HURRY_MS
                    self._ensure(key, hurried(probe) if is_hurried else probe, attempt, seen)
        for key in self._states.keys() - probed:
            self._tasks.cancel(key)
            del self._states[key], self._probes[key]

    def _ensure(self, key: ProbeKey, probe: Probe, attempt: Attempt, seen: Observed) -> None:
        stored = attempt.readiness if probe.kind is ProbeKind.READINESS else attempt.liveness
        first = begin(probe, stored, container=seen.handle.id, started_at_ms=attempt.started_at_ms or 0)
        self._probes[key] = probe
        state = self._states.setdefault(key, first)
        if state.container != seen.handle.id:
            state = self._states[key] = first
        if state.verdict is not first.verdict and key not in self._telling:
            # It could not be written, or a write of the attempt that began earlier came later.
            self._tasks.start((*key, "tell"), lambda: self._tell(key, probe, state, "as before"))
        self._tasks.start(key, lambda: self._watch(key, seen.address))

    async def _watch(self, key: ProbeKey, host: str) -> None:
        while not (state := self._states[key]).is_on_hold:
            await self._clock.sleep(max(0.0, (state.due_ms - self._clock.now_ms()) / 1000))
            probe = self._probes[key]
            result, told = await self._prober.probe(probe.handler, host, probe.timeout_s)
            after = fold(probe, state, result, self._clock.now_ms())
            if key not in self._states:
                return
            self._states[key] = after
            if after.verdict is not state.verdict:
                await self._tell(key, probe, after, told)
        await asyncio.Event().wait()  # until the container has gone: no pass is to begin another watch

    async def _tell(self, key: ProbeKey, probe: Probe, state: ProbeState, told: str) -> None:
        now = self._clock.now_ms()

        def save(session: Session) -> None:
            attempt = load_attempt(session, key[:2])
            if attempt is None or not attempt.is_live:
                return
            changed = (
                replace(attempt, readiness=state)
                if probe.kind is ProbeKind.READINESS
                else replace(attempt, liveness=state)
            )
            workload = load_workload(session, attempt.workload_id)
            if attempt.ready_at_ms is None and workload is not None and _is_well(workload, changed):
                changed = replace(changed, ready_at_ms=now)
            save_attempt(session, changed)
            reason = "Ready" if state.is_passing and probe.kind is ProbeKind.READINESS else "Unhealthy"
            message = f"{attempt.replica_id}: {probe.kind.value} probe: {told}"
            type_ = "Normal" if state.is_passing else "Warning"
            add_event(session, attempt.workload_id, now, reason, message, type_=type_)

        self._telling.add(key)
        try:
            await self._store.write(save)
            await self._turned()
        finally:
            self._telling.discard(key)

    async def close(self) -> None:
        await self._tasks.close()
