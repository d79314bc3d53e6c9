"""What replicas use: looked at every few seconds, added up by the minute."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...runtime.clock import Clock
from ...runtime.metrics import Asked, GpuUsage, Key, ReplicaUsage, UsageReader
from ...runtime.model import Observed
from ..domain.metrics import GpuFigures, Minute, ReplicaFigures, most
from ..domain.workload import Attempt, AttemptState, Workload
from ..store.store import Store

MINUTE_MS = 60_000
SAMPLES_KEPT_S = 60.0


def may_be_pulled(workload: Workload) -> bool:
    """An endpoint may ask that nothing is read from its replicas (`metrics.disable_pulling_from_replica`)."""
    spec: Any = workload.spec.extras.get("spec")
    asked: Any = spec.get("metrics") if isinstance(spec, dict) else None
    return not (isinstance(asked, dict) and asked.get("disable_pulling_from_replica") is True)


class Sampler:
    """
    Args:
        observed: containers as they were last listed.
    """

    def __init__(
        self, store: Store, clock: Clock, reader: UsageReader, observed: Callable[[], Sequence[Observed]]
    ) -> None:
        self._store, self._clock, self._reader, self._observed = store, clock, reader, observed
        self._minutes: dict[tuple[str, int], Minute] = {}  # by workload id and when the minute begins
        self._percents: dict[str, deque[tuple[float, float]]] = {}  # by workload id: when, and the mean
        self._latest: dict[Key, ReplicaUsage] = {}

    async def look(self) -> None:
        if self._reader.is_blind:
            self._latest = {}
            return
        attempts = self._readable()
        handles = {(o.replica_id, o.attempt): o.handle for o in self._observed()}
        asked = [Asked(a.key, handles.get(a.key), a.gpu_uuids) for a in attempts]
        found = await self._reader.read(asked) if asked else {}
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        percents: dict[str, list[float]] = {}
        for attempt in attempts:
            usage = found.get(attempt.key)
            if usage is None:
                continue
            key = (attempt.workload_id, now_ms // MINUTE_MS * MINUTE_MS)
            replicas = self._minutes.setdefault(key, Minute()).replicas
            replicas.setdefault(attempt.replica_id, ReplicaFigures()).add(_figures(usage))
            told = [gpu.percent for gpu in usage.gpus if gpu.percent is not None]
            percents.setdefault(attempt.workload_id, []).extend(told)
        self._latest = dict(found)
        for workload_id, values in percents.items():
            if values:
                kept = self._percents.setdefault(workload_id, deque())
                kept.append((now_s, sum(values) / len(values)))
        self._drop_old(now_s)

    def _readable(self) -> list[Attempt]:
        running = [
            a
            for a in self._store.reads.live_attempts()
            if a.state is AttemptState.RUNNING and not a.is_unseen
        ]
        ids = sorted({a.workload_id for a in running})
        pulled = {f.id for f in self._store.reads.by_ids(ids) if may_be_pulled(f.workload)}
        return [a for a in running if a.workload_id in pulled]

    def _drop_old(self, now_s: float) -> None:
        for workload_id, kept in list(self._percents.items()):
            while kept and kept[0][0] < now_s - SAMPLES_KEPT_S:
                kept.popleft()
            if not kept:
                del self._percents[workload_id]

    def gpu_percent(self, workload_id: str) -> float | None:
        """The mean of its replicas' GPUs in the last minute, 0..100; None where nothing is known."""
        self._drop_old(self._clock.monotonic_s())
        kept = self._percents.get(workload_id)
        return sum(value for _, value in kept) / len(kept) if kept else None

    def latest(self) -> Mapping[Key, ReplicaUsage]:
        """As of the last look, by replica id and attempt."""
        return self._latest

    def now(self, workload_id: str) -> Mapping[int, Minute]:
        return {at_ms: minute for (one, at_ms), minute in self._minutes.items() if one == workload_id}

    def take(self, *, before_ms: int | None = None) -> dict[tuple[str, int], Minute]:
        taken = {k: m for k, m in self._minutes.items() if before_ms is None or k[1] + MINUTE_MS <= before_ms}
        for key in taken:
            del self._minutes[key]
        return taken


def _figures(usage: ReplicaUsage) -> ReplicaFigures:
    figures = ReplicaFigures(memory_bytes=most(usage.memory_bytes, None))
    figures.cpu_cores.count(usage.cpu_cores)
    figures.gpus = {gpu.uuid: _gpu_figures(gpu) for gpu in usage.gpus}
    return figures


def _gpu_figures(gpu: GpuUsage) -> GpuFigures:
    figures = GpuFigures(
        memory_used_bytes=most(gpu.memory_used_bytes, None),
        memory_total_bytes=most(gpu.memory_total_bytes, None),
        temperature_c=gpu.temperature_c,
        is_simulated=gpu.is_simulated,
    )
    figures.percent.count(gpu.percent)
    return figures
