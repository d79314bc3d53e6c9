"""
What was asked of an inference at some moments of the past, from its minutes.

Source of the names: runapy 1.224.0, `InferenceWorkloadMetricType`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ....domain.metrics import Minute, Traffic, middle_ms
from .measures import MINUTE_MS
from .org import time_to_wire

Value = Callable[[Traffic, float], float | None]


def _latency_ms(traffic: Traffic, _seconds: float) -> float | None:
    """From request to the answer's end, on average; at most 5 % off."""
    number = sum(traffic.latency.values())
    return sum(middle_ms(b) * n for b, n in traffic.latency.items()) / number if number else None


# Requests in a second, and milliseconds, each over the minute that holds the moment.
MEASURES: Mapping[str, Value] = {
    "THROUGHPUT": lambda traffic, seconds: traffic.requests / seconds,
    "LATENCY": _latency_ms,
}


def measure(
    kinds: Sequence[str], minutes: Mapping[int, Minute], times: Sequence[int], now_ms: int
) -> list[dict[str, Any]]:
    """
    Args:
        minutes: by when they begin. now_ms: until when the minute that is under way has been.
    """
    return [
        {
            "type": kind,
            "values": [
                {"value": f"{value:.10g}", "timestamp": time_to_wire(at)}
                for at in times
                if (value := _value(kind, minutes, at, now_ms)) is not None
            ],
        }
        for kind in kinds
    ]


def _value(kind: str, minutes: Mapping[int, Minute], at_ms: int, now_ms: int) -> float | None:
    begin = at_ms // MINUTE_MS * MINUTE_MS
    minute = minutes.get(begin)
    if minute is None:
        return None
    return MEASURES[kind](minute.traffic, max(1, min(MINUTE_MS, now_ms - begin)) / 1000)
