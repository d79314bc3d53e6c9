"""
Figures of an endpoint as the clients of api v0 read them.

They take any JSON; it is shaped as the result of a Prometheus range query: a list of series, each
with labels and with pairs of Unix seconds and a value as text, a step apart. Rates are per second,
latencies in seconds. A step without a request has no latency.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ....domain.metrics import QUANTILES, Minute, Traffic

MINUTE_MS = 60_000
STEPS = 60
Json = dict[str, Any]


def first_ms(now_ms: int, created_at_ms: int) -> int:
    """When the first step begins: an hour ago, or with the endpoint."""
    begin = max(now_ms - (STEPS - 1) * MINUTE_MS, created_at_ms)
    return begin // MINUTE_MS * MINUTE_MS


def qps_to_wire(minutes: Mapping[int, Minute], since_ms: int, now_ms: int) -> list[Json]:
    return [_rates({"name": "all"}, {at: m.traffic for at, m in minutes.items()}, since_ms, now_ms)]


def qps_by_path_to_wire(minutes: Mapping[int, Minute], since_ms: int, now_ms: int) -> list[Json]:
    return [
        _rates({"name": path, "handler": path}, parts, since_ms, now_ms)
        for path, parts in sorted(_by_path(minutes).items())
    ]


def latency_to_wire(minutes: Mapping[int, Minute]) -> list[Json]:
    return list(_latencies({}, {at: m.traffic for at, m in minutes.items()}))


def latency_by_path_to_wire(minutes: Mapping[int, Minute]) -> list[Json]:
    found: list[Json] = []
    for path, parts in sorted(_by_path(minutes).items()):
        found += _latencies({"handler": path}, parts)
    return found


def _by_path(minutes: Mapping[int, Minute]) -> dict[str, dict[int, Traffic]]:
    found: dict[str, dict[int, Traffic]] = {}
    for at_ms, minute in minutes.items():
        for path, traffic in minute.paths.items():
            found.setdefault(path, {})[at_ms] = traffic
    return found


def _rates(labels: Json, parts: Mapping[int, Traffic], since_ms: int, now_ms: int) -> Json:
    """Zero is a rate as well; the minute under way has had less than 60 s so far."""

    def rate(at_ms: int) -> float:
        traffic = parts.get(at_ms)
        seconds = min(60.0, max(1.0, (now_ms - at_ms) / 1000))
        return traffic.requests / seconds if traffic else 0.0

    return _series(labels, range(since_ms, now_ms + 1, MINUTE_MS), rate)


def _latencies(labels: Json, parts: Mapping[int, Traffic]) -> Iterable[Json]:
    for name, q in QUANTILES:

        def seconds(at_ms: int, q: float = q) -> float:
            return (parts[at_ms].quantile_ms(q) or 0.0) / 1000

        asked = [at_ms for at_ms, traffic in parts.items() if traffic.latency]
        yield _series({"name": name, "quantile": str(q)} | labels, asked, seconds)


def _series(labels: Json, times_ms: Iterable[int], value: Callable[[int], float]) -> Json:
    return {"metric": labels, "values": [[at // 1000, f"{value(at):.6g}"] for at in times_ms]}
