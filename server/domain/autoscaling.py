"""How many replicas an endpoint is to have. Pure: what was seen goes in, a decision comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from .serving import Scaling, Serving

STABLE_S = 300  # fewer replicas only after so long; the default of Kubernetes' autoscaler
TOLERANCE = 0.1  # of the GPU target; the default of Kubernetes' autoscaler
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
    """

    ready: int
    is_settled: bool
    requests: int | None = None
    gpu_percent: float | None = None
    idle_s: float | None = None


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
        ratio = seen.gpu_percent / scaling.gpu_percent
        asked = seen.ready if abs(ratio - 1) <= TOLERANCE else ceil(round(seen.ready * ratio, 6))
        because = f"GPUs at {seen.gpu_percent:.0f}%, {scaling.gpu_percent}% wanted"
    else:
        return None
    if asked > scaling.most:
        because += f", at most {_replicas(scaling.most)}"
    elif asked < serving.replicas:
        because += f", at least {_replicas(serving.replicas)}"
    return Wish(max(serving.replicas, min(asked, scaling.most)), because)


def decide(
    serving: Serving, now: int, seen: Seen, current: Wish | None, window: Sequence[int]
) -> Decision | None:
    """
    Up at once; down to the most that was wished for within the window; to zero after the
    time without traffic. Never down while a replica has not become ready yet.

    Args:
        now: replicas that are wanted so far; 0 is left only by a wake.
        current: what `wish` said.
        window: numbers wished for in the last STABLE_S; empty while it is not known for so long.
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
        return _decision("ScaledDown", now, target, f"{current.because}, for {STABLE_S // 60} min no more")
    return None


def woken(serving: Serving) -> Decision:
    return _decision("Waking", 0, serving.replicas, "a request waits for it")


def next_look_s(scaling: Scaling, seen: Seen) -> float:
    """When to look again, if nothing happens before."""
    times = [EVERY_S] if scaling.qpm or scaling.gpu_percent else []
    if scaling.no_traffic_timeout_s and seen.idle_s is not None:
        times.append(max(scaling.no_traffic_timeout_s - seen.idle_s, 0.0) or EVERY_S)
    return min(times, default=EVERY_S)


def _decision(reason: str, before: int, after: int, because: str) -> Decision:
    return Decision(after, reason, f"{before} -> {_replicas(after)}: {because}")


def _replicas(number: int) -> str:
    return f"{number} replica" if number == 1 else f"{number} replicas"
