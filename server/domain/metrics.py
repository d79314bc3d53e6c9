"""Figures of one workload in one minute: what was asked of it, what its replicas used. They add up."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

GROWTH = 1.1  # from one latency bucket to the next: a percentile is at most 5 % off
OTHER = "(other)"
MOST_PATHS = 50  # of one workload in one minute; further ones are counted under OTHER
LONGEST_PATH = 200
QUANTILES = (("p50", 0.50), ("p90", 0.90), ("p95", 0.95), ("p99", 0.99))


def bucket_of(duration_us: int) -> int:
    return 0 if duration_us <= 1 else math.ceil(math.log(duration_us) / math.log(GROWTH))


def middle_ms(bucket: int) -> float:
    """What a duration in that bucket is taken for, in milliseconds."""
    return GROWTH ** (bucket - 0.5) / 1000 if bucket else 0.001


@dataclass(slots=True)
class Traffic:
    """
    Args:
        statuses: answers by HTTP status. latency: by bucket of `bucket_of`, from request to the answer's end.
    """

    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict[int, int])
    latency: dict[int, int] = field(default_factory=dict[int, int])
    bytes_in: int = 0
    bytes_out: int = 0

    def count(self, status: int, bucket: int, bytes_in: int, bytes_out: int) -> None:
        self.requests += 1
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latency[bucket] = self.latency.get(bucket, 0) + 1
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out

    def add(self, other: "Traffic") -> None:
        self.requests += other.requests
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        _add_counts(self.statuses, other.statuses)
        _add_counts(self.latency, other.latency)

    def quantile_ms(self, q: float) -> float | None:
        """None where nothing was asked."""
        total, seen = sum(self.latency.values()), 0
        for bucket, count in sorted(self.latency.items()):
            seen += count
            if seen >= q * total:
                return middle_ms(bucket)
        return None

    @property
    def errors(self) -> int:
        """Answers that tell of a fault of the endpoint or the gateway."""
        return sum(count for status, count in self.statuses.items() if status >= 500)


def _add_counts(into: dict[int, int], more: Mapping[int, int]) -> None:
    for key, count in more.items():
        into[key] = into.get(key, 0) + count


def traffic_of(parts: Iterable[Traffic]) -> Traffic:
    whole = Traffic()
    for part in parts:
        whole.add(part)
    return whole


@dataclass(slots=True)
class Mean:
    """Of some samples; adds up with others by their number."""

    total: float = 0.0
    samples: int = 0

    def count(self, value: float | None) -> None:
        if value is not None:
            self.total += value
            self.samples += 1

    def add(self, other: "Mean") -> None:
        self.total += other.total
        self.samples += other.samples

    @property
    def value(self) -> float | None:
        return self.total / self.samples if self.samples else None


def most(one: float | None, other: float | None) -> float | None:
    return max((v for v in (one, other) if v is not None), default=None)


@dataclass(slots=True)
class GpuFigures:
    """`percent` is a mean, the rest are the most that was seen."""

    percent: Mean = field(default_factory=Mean)
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    temperature_c: float | None = None
    is_simulated: bool = False

    def add(self, other: "GpuFigures") -> None:
        self.percent.add(other.percent)
        self.memory_used_bytes = most(self.memory_used_bytes, other.memory_used_bytes)
        self.memory_total_bytes = most(self.memory_total_bytes, other.memory_total_bytes)
        self.temperature_c = most(self.temperature_c, other.temperature_c)
        self.is_simulated = self.is_simulated or other.is_simulated


@dataclass(slots=True)
class ReplicaFigures:
    """`gpus`: by UUID."""

    cpu_cores: Mean = field(default_factory=Mean)
    memory_bytes: float | None = None
    gpus: dict[str, GpuFigures] = field(default_factory=dict[str, GpuFigures])

    def add(self, other: "ReplicaFigures") -> None:
        self.cpu_cores.add(other.cpu_cores)
        self.memory_bytes = most(self.memory_bytes, other.memory_bytes)
        for uuid, gpu in other.gpus.items():
            self.gpus.setdefault(uuid, GpuFigures()).add(gpu)


@dataclass(slots=True)
class Minute:
    """`replicas`: by id."""

    traffic: Traffic = field(default_factory=Traffic)
    paths: dict[str, Traffic] = field(default_factory=dict[str, Traffic])
    replicas: dict[str, ReplicaFigures] = field(default_factory=dict[str, ReplicaFigures])

    def count(self, path: str, status: int, bucket: int, bytes_in: int, bytes_out: int) -> None:
        self.traffic.count(status, bucket, bytes_in, bytes_out)
        self._path(path).count(status, bucket, bytes_in, bytes_out)

    def add(self, other: "Minute") -> None:
        self.traffic.add(other.traffic)
        for path, traffic in other.paths.items():
            self._path(path).add(traffic)
        for replica, figures in other.replicas.items():
            self.replicas.setdefault(replica, ReplicaFigures()).add(figures)

    def _path(self, path: str) -> Traffic:
        if path not in self.paths and len(self.paths) >= MOST_PATHS:
            path = OTHER
        return self.paths.setdefault(path, Traffic())
