"""How many replicas an endpoint is to have. Pure: what was seen goes in, a decision comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from .serving import Scaling, Serving

TOLERANCE = 0.1  # of a target that a ratio is taken to; the default of Kubernetes' autoscaler
EVERY_S = 5.0  # between two looks at an endpoint that has a target


@dataclass(frozen=True, slots=True)
class Seen:
    """
    What an endpoint does now. None is what cannot be known, and moves nothing.

    Args:
        ready: replicas that take requests.
        is_settled: all that are wanted have become ready; no update is under way.
        requests: in the last minute, of those that count.
        gpu_percent: average utilisation of its GPUs.
        idle_s: since its last request ended, or it became ready; 0 while one is open or waits.
        open: requests that are open or wait now.
        latency_ms: that the requests of the last minute took on average; 0 where there was none.
    """

    ready: int
    is_settled: bool
    requests: int | None = None
    gpu_percent: float | None = None
    idle_s: float | None = None
    open: int | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """As many replicas as the figures ask for now, and the figures in words."""

    replicas: int
    because: str


@dataclass(frozen=True, slots=True)
class Decision:
    replicas: int
    reason: str
    message: str


def wish(serving: Serving, scaling: Scaling, seen: Seen) -> Wish | None:
    """Between the user's least and most; None where there is no target, or its figure is not known."""
    if scaling.qpm and seen.requests is not None:
        asked = ceil(seen.requests / scaling.qpm)
        because = f"{seen.requests} requests in the last minute, {scaling.qpm:g} per replica wanted"
    elif scaling.gpu_percent and seen.gpu_percent is not None and seen.ready:
        asked = _by_ratio(seen.ready, seen.gpu_percent / scaling.gpu_percent)
        because = f"GPUs at {seen.gpu_percent:.0f}%, {scaling.gpu_percent}% wanted"
    elif scaling.concurrency and seen.open is not None:
        asked = ceil(seen.open / scaling.concurrency)
        because = f"{seen.open} requests at a time, {scaling.concurrency:g} per replica wanted"
    elif scaling.latency_ms and seen.latency_ms is not None and seen.ready:
        asked = _by_ratio(seen.ready, seen.latency_ms / scaling.latency_ms)
        because = f"requests took {seen.latency_ms:.0f} ms, {scaling.latency_ms:g} ms wanted"
    else:
        return None
    if asked > scaling.most:
        because += f", at most {_replicas(scaling.most)}"
    elif asked < serving.replicas:
        because += f", at least {_replicas(serving.replicas)}"
    return Wish(max(serving.replicas, min(asked, scaling.most)), because)


def _by_ratio(ready: int, ratio: float) -> int:
    """Source: the algorithm of Kubernetes' horizontal pod autoscaler."""
    return ready if abs(ratio - 1) <= TOLERANCE else ceil(round(ready * ratio, 6))


def decide(
    serving: Serving, now: int, seen: Seen, current: Wish | None, window: Sequence[int]
) -> Decision | None:
    """
    Up at once; down to the most that was wished for within the window; to zero after the
    time without traffic. Never down while a replica has not become ready yet.

    Args:
        now: replicas that are wanted so far; 0 is left only by a wake.
        current: what `wish` said.
        window: numbers wished for in the last `calm_s`; empty while it is not known for so long.
    """
    scaling = serving.scaling
    if scaling is None or now == 0:
        return None
    if current is not None and current.replicas > now:
        return _decision("ScaledUp", now, current.replicas, current.because)
    if not seen.is_settled:
        return None
    limit_s = scaling.no_traffic_timeout_s
    if limit_s and seen.idle_s is not None and seen.idle_s >= limit_s:
        because = f"no request for {seen.idle_s:.0f} s, {limit_s} s is the limit"
        return _decision("ScaledToZero", now, 0, because)
    if current is not None and window and (target := max(*window, current.replicas)) < now:
        calm = f"{scaling.calm_s // 60} min" if scaling.calm_s % 60 == 0 else f"{scaling.calm_s} s"
        return _decision("ScaledDown", now, target, f"{current.because}, for {calm} no more")
    return None


def woken(serving: Serving) -> Decision:
    after = (serving.scaling and serving.scaling.woken) or serving.replicas
    return _decision("Waking", 0, after, "a request waits for it")


def next_look_s(scaling: Scaling, seen: Seen) -> float:
    """When to look again, if nothing happens before."""
    has_target = scaling.qpm or scaling.gpu_percent or scaling.concurrency or scaling.latency_ms
    times = [EVERY_S] if has_target else []
    if scaling.no_traffic_timeout_s and seen.idle_s is not None:
        times.append(max(scaling.no_traffic_timeout_s - seen.idle_s, 0.0) or EVERY_S)
    return min(times, default=EVERY_S)


def _decision(reason: str, before: int, after: int, because: str) -> Decision:
    return Decision(after, reason, f"{before} -> {_replicas(after)}: {because}")


def _replicas(number: int) -> str:
    return f"{number} replica" if number == 1 else f"{number} replicas"
