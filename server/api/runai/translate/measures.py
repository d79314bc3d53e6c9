"""
What a workload had and used at some moments of the past, from its attempts and from its minutes.

Source of the names: runapy 1.224.0, `WorkloadMetricType`; values are strings there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ....domain.metrics import Minute, ReplicaFigures
from ....domain.workload import Attempt
from .org import time_to_wire
from .seen import Seen

MINUTE_MS = 60_000
MIB = 2**20
OfAttempt = Callable[[Attempt, Seen], float]
OfReplica = Callable[[ReplicaFigures], float | None]


def _gpu_memory(attempt: Attempt, seen: Seen) -> float:
    return sum(seen.where.gpu_mib.get(u, 0) * attempt.gpu_portion for u in attempt.gpu_uuids) * MIB


def _percent(figures: ReplicaFigures) -> float | None:
    known = [g.percent.value for g in figures.gpus.values() if g.percent.value is not None]
    return sum(known) / len(known) if known else None


def _gpu_bytes(figures: ReplicaFigures) -> float | None:
    known = [g.memory_used_bytes for g in figures.gpus.values() if g.memory_used_bytes is not None]
    return sum(known) if known else None


# Of what has its place at the moment that is asked for.
HELD: Mapping[str, OfAttempt] = {
    "POD_COUNT": lambda _a, _s: 1,
    "RUNNING_POD_COUNT": lambda _a, _s: 1,
    "GPU_ALLOCATION": lambda a, s: s.where.gpus_of(a),
    "GPU_MEMORY_REQUEST_BYTES": _gpu_memory,
    "CPU_REQUEST_CORES": lambda a, _s: a.cpu_cores,
    "CPU_LIMIT_CORES": lambda a, s: s.spec.cpu_limit_cores or a.cpu_cores,
    "CPU_MEMORY_REQUEST_BYTES": lambda a, _s: a.memory_mib * MIB,
    "CPU_MEMORY_LIMIT_BYTES": lambda a, s: (s.spec.memory_limit_mib or a.memory_mib) * MIB,
}
USED: Mapping[str, OfReplica] = {
    "GPU_UTILIZATION": _percent,
    "GPU_MEMORY_USAGE_BYTES": _gpu_bytes,
    "CPU_USAGE_CORES": lambda r: r.cpu_cores.value,
    "CPU_MEMORY_USAGE_BYTES": lambda r: r.memory_bytes,
}
MEANS = ("GPU_UTILIZATION",)  # over replicas; the others add up
MEASURES = (*HELD, *USED)


def sample_times(begin_ms: int, end_ms: int, count: int) -> list[int]:
    """As many as were asked for, evenly from the first moment to the last; none that is to come."""
    if count <= 0 or end_ms < begin_ms:
        return []
    if count == 1:
        return [end_ms]
    return [begin_ms + (end_ms - begin_ms) * i // (count - 1) for i in range(count)]


def measure(
    kinds: Sequence[str],
    seen: Seen,
    index: int | None,
    minutes: Mapping[int, Minute],
    times: Sequence[int],
) -> list[dict[str, Any]]:
    """
    Args:
        index: of one replica; None: of all together. minutes: by when they begin.
    """
    return [
        {
            "type": kind,
            "values": [
                {"value": f"{value:.10g}", "timestamp": time_to_wire(at)}
                for at in times
                if (value := _value(kind, seen, index, minutes, at)) is not None
            ],
        }
        for kind in kinds
    ]


def _value(
    kind: str, seen: Seen, index: int | None, minutes: Mapping[int, Minute], at_ms: int
) -> float | None:
    if kind in HELD:
        began = "started_at_ms" if kind == "RUNNING_POD_COUNT" else "placed_at_ms"
        there = [a for a in seen.attempts if index in (None, a.index) and _holds(a, getattr(a, began), at_ms)]
        return sum(HELD[kind](a, seen) for a in there)
    minute = minutes.get(at_ms // MINUTE_MS * MINUTE_MS)
    if minute is None:
        return None
    mine = {a.replica_id for a in seen.attempts if index in (None, a.index)}
    known = [v for r, f in minute.replicas.items() if r in mine and (v := USED[kind](f)) is not None]
    if not known:
        return None
    return sum(known) / (len(known) if kind in MEANS else 1)


def _holds(attempt: Attempt, since_ms: int | None, at_ms: int) -> bool:
    return since_ms is not None and since_ms <= at_ms and (attempt.finished_at_ms or at_ms + 1) > at_ms
