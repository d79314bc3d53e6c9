"""The figures of this server: told by the gateway, looked up on the machine, written down once a minute."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from ...runtime.clock import Clock
from ...runtime.metrics import Key, ReplicaUsage, UsageReader
from ...runtime.model import Observed
from ..domain.metrics import Minute, Traffic
from ..errors import StoreUnavailable
from ..routing import AccessRecord, TrafficCounters
from ..services.endpoints import BOTH
from ..store.metrics import add_minute, endpoint_named, forget_before, minutes_of
from ..store.store import Store
from .sampler import Sampler
from .window import MINUTE_MS, TrafficWindow

log = logging.getLogger(__name__)
LOOK_S = 5.0
SWEEP_MINUTES = 60  # between looks for what is too old of workloads that write no more
DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class LastMinute:
    """About the last 60 s. None: nothing was asked."""

    traffic: Traffic
    seconds: float

    @property
    def qps(self) -> float:
        return self.traffic.requests / self.seconds


class Metrics:
    """
    Args:
        counters: the gateway's, by key.
        observed: containers as they were last listed.
        keep_days: how long a minute is kept.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        reader: UsageReader,
        *,
        counters: Callable[[], Mapping[str, TrafficCounters]],
        observed: Callable[[], Sequence[Observed]],
        keep_days: int,
    ) -> None:
        self._store, self._clock, self._reader = store, clock, reader
        self._window = TrafficWindow(clock)
        self._sampler = Sampler(store, clock, reader, observed)
        self._keep_ms = keep_days * DAY_MS
        self._swept_ms: int | None = None
        self._task: asyncio.Task[None] | None = None
        self.counters = counters

    # --- told

    def add_records(self, records: Sequence[AccessRecord]) -> None:
        """Requests that have ended. Quick, and nothing is written now."""
        self._window.add(records)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """What the minute has had so far is written as well; the next server adds its own part."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            with contextlib.suppress(StoreUnavailable):
                await self._write(None)
        self._reader.close()

    async def _run(self) -> None:
        while True:
            due_s = self._clock.monotonic_s() + LOOK_S  # whatever the look itself takes
            try:
                await self._sampler.look()
                await self._write(self._clock.now_ms())
            except StoreUnavailable as error:
                log.warning("figures wait until the store can write: %s", error)
            except Exception:  # figures must not end with one of them
                log.exception("figures of the last minute could not be taken")
            await self._clock.sleep(max(0.0, due_s - self._clock.monotonic_s()))

    async def _write(self, before_ms: int | None) -> None:
        """Whatever is over, in one transaction."""
        asked = self._window.take(before_ms=before_ms)
        used = self._sampler.take(before_ms=before_ms)
        now = self._clock.now_ms()
        is_sweep = self._swept_ms is None or abs(now - self._swept_ms) >= SWEEP_MINUTES * MINUTE_MS
        if not (asked or used or is_sweep):
            return
        oldest = now - self._keep_ms

        def save(session: Session) -> None:
            minutes: dict[tuple[str, int], Minute] = dict(used)
            for (key, at_ms), minute in asked.items():
                workspace, _, name = key.partition("/")
                workload_id = endpoint_named(session, workspace, name, BOTH)
                if workload_id is None:
                    continue
                if (other := minutes.get((workload_id, at_ms))) is not None:
                    minute.add(other)
                minutes[workload_id, at_ms] = minute
            for (workload_id, at_ms), minute in minutes.items():
                add_minute(session, workload_id, at_ms, minute)
            if is_sweep:
                forget_before(session, oldest)

        try:
            await self._store.write(save)
        except StoreUnavailable:
            self._window.give_back(asked)
            raise
        if is_sweep:
            self._swept_ms = now

    # --- asked

    def gpu_percent(self, workload_id: str) -> float | None:
        """The mean utilisation of its replicas' GPUs in the last minute, 0..100; None: it is not known."""
        return self._sampler.gpu_percent(workload_id)

    def usage(self) -> Mapping[Key, ReplicaUsage]:
        """What replicas use now, by replica id and attempt."""
        return self._sampler.latest()

    def last_minute(self, key: str) -> LastMinute:
        return LastMinute(*self._window.last_minute(key))

    def history(self, workload_id: str, key: str, since_ms: int) -> dict[int, Minute]:
        """Minutes by when they begin, oldest first, the one that is under way with them."""
        found = dict(self._store.read(lambda s: minutes_of(s, workload_id, since_ms)))
        for part in (self._window.now(key), self._sampler.now(workload_id)):
            for at_ms, minute in part.items():
                if at_ms >= since_ms // MINUTE_MS * MINUTE_MS:
                    whole = Minute()
                    for piece in (found.get(at_ms), minute):
                        if piece is not None:
                            whole.add(piece)
                    found[at_ms] = whole
        return dict(sorted(found.items()))
