"""Is a GPU fit for work? A pure fold of what NVML tells about it at each look."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

LOST, UNSEEN, XID, ECC = "GPULost", "GPUUnseen", "GPUXid", "GPUEcc"
RECOVERY, THROTTLED = "GPUNeedsRecovery", "GPUThrottled"
FAULTS = frozenset({LOST, UNSEEN, XID, ECC, RECOVERY, THROTTLED})

# The program on the GPU caused these, not the GPU: it goes on. Source: NVIDIA's catalogue of Xid errors;
# NVIDIA's device plugin for Kubernetes skips the same ones.
APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 109})
LOST_XIDS = frozenset({79})  # "GPU has fallen off the bus"
THROTTLED_S = 30.0  # shorter ones are everyday life
HEAL_S, LONGEST_HEAL_S = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One look at one GPU; the default is a GPU that is well.

    Args:
        xids: codes of the Xid errors since the look before.
        is_lost: it has fallen off the bus, or its driver no longer knows it.
        ecc_errors: memory errors since the look before that could not be corrected.
        throttles: why the hardware slows it down now: `thermal`, `power brake`. What its own
            power limit or an idle GPU does is none.
        needs: what the driver asks for before it can be used again: `reset`, `reboot`,
            `replacement`; "" for nothing.
        detail: NVML's own words, "" where it has none.
    """

    xids: tuple[int, ...] = ()
    is_lost: bool = False
    ecc_errors: int = 0
    throttles: tuple[str, ...] = ()
    needs: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """
    What is known of one GPU; the default is one that was never looked at. Times are monotonic seconds.

    Args:
        reason: "" while it is healthy, else one of LOST, UNSEEN (it was lost at one look, which the
            next has to confirm), XID, ECC, RECOVERY, THROTTLED.
        message: a sentence about it.
        since_s: of the last turn from healthy to not, or back.
        good_since_s: since when an unhealthy one reads well; None while it does not.
        slow_since_s: since when the hardware slows it down; None while it does not.
        relapses: how often it fell ill again soon after it had healed; each doubles the time to heal.
    """

    reason: str = ""
    message: str = ""
    since_s: float = 0.0
    good_since_s: float | None = None
    slow_since_s: float | None = None
    relapses: int = 0

    @property
    def is_healthy(self) -> bool:
        return not self.reason

    @property
    def is_lost(self) -> bool:
        """What ran on it has lost it."""
        return self.reason == LOST

    @property
    def heal_s(self) -> float:
        """How long it has to read well before it is given work again."""
        return min(HEAL_S * 2 ** min(self.relapses, 16), LONGEST_HEAL_S)


def fold(before: Health, reading: Reading, now_s: float) -> Health:
    """The health after one more look. Without a look nothing changes: not knowing is no reason."""
    slow = (before.slow_since_s if before.slow_since_s is not None else now_s) if reading.throttles else None
    fault = _fault(before, reading, None if slow is None else now_s - slow)
    if fault is None:
        if before.is_healthy:
            return replace(before, slow_since_s=slow)
        good = before.good_since_s if before.good_since_s is not None else now_s
        if now_s - good < before.heal_s:
            return replace(before, good_since_s=good, slow_since_s=slow)
        return Health(since_s=now_s, slow_since_s=slow, relapses=before.relapses)
    reason, message = fault
    if before.is_healthy:
        is_relapse = before.since_s > 0 and now_s - before.since_s < LONGEST_HEAL_S
        relapses = before.relapses + 1 if is_relapse else 0
        return Health(reason, message, now_s, None, slow, relapses)
    if before.is_lost and reason != LOST:  # what ran on it has not come back by that
        reason, message = before.reason, before.message
    return replace(before, reason=reason, message=message, good_since_s=None, slow_since_s=slow)


def _fault(before: Health, reading: Reading, slow_s: float | None) -> tuple[str, str] | None:
    """The worst of it: the reason, and a sentence."""
    told = f" ({reading.detail})" if reading.detail else ""
    if LOST_XIDS & set(reading.xids):
        return LOST, f"it has fallen off the bus{told}"
    if reading.is_lost and before.reason in (LOST, UNSEEN):
        return LOST, f"it has fallen off the bus, or its driver is gone{told}"
    if reading.is_lost:  # NVML may have to be opened anew, and what runs must not end for that
        return UNSEEN, f"it does not answer{told}"
    if reading.needs:
        return RECOVERY, f"its driver asks for a {reading.needs} of it{told}"
    if xids := [x for x in reading.xids if x not in APPLICATION_XIDS]:
        return XID, f"Xid {', '.join(map(str, dict.fromkeys(xids)))}{told}"
    if reading.ecc_errors:
        return ECC, f"{reading.ecc_errors} memory error(s) that could not be corrected{told}"
    if slow_s is not None and slow_s >= THROTTLED_S:
        return THROTTLED, f"its hardware slows it down: {', '.join(reading.throttles)}{told}"
    return None


def application_xids(reading: Reading) -> tuple[int, ...]:
    """Those that tell of a fault of a program on it."""
    return tuple(x for x in dict.fromkeys(reading.xids) if x in APPLICATION_XIDS)


def merged(readings: Iterable[Reading]) -> Reading:
    """One reading of what several sources tell of the same GPU, or of an instance and its device."""
    found = Reading()
    for one in readings:
        found = Reading(
            xids=found.xids + one.xids,
            is_lost=found.is_lost or one.is_lost,
            ecc_errors=found.ecc_errors + one.ecc_errors,
            throttles=tuple(dict.fromkeys(found.throttles + one.throttles)),
            needs=found.needs or one.needs,
            detail="; ".join(filter(None, dict.fromkeys((found.detail, one.detail)))),
        )
    return found
