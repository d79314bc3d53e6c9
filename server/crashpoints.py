"""Named places where a test may kill the server: HOMEPORT_CRASH_AT=<name>:<k>, k counted from 1."""

import os
import signal
from enum import StrEnum

from ..runtime.clock import Clock
from .errors import Invalid


class CrashPoint(StrEnum):
    """All there are, in the order of a job's life; tests/fault/test_sweep.py dies at each of them."""

    PENDING = "pass.pending"  # a job was acknowledged, nothing is decided yet
    PLACED = "placement.committed"
    EVICTED = "eviction.committed"
    LAUNCH = "launch.begin"
    LAUNCHED = "launch.started"
    OBSERVED = "observation.committed"
    STOP = "stop.begin"
    STOPPED = "stop.done"
    SEALED = "log.sealed"
    REMOVED = "container.removed"
    GROUP_REMOVED = "group.removed"
    ARCHIVE = "archive.begin"
    ARCHIVED = "archive.committed"


def parse_crash_at(text: str) -> tuple[CrashPoint, int]:
    """Raises Invalid for what is no crash point, or no count."""
    name, _, count = text.partition(":")
    if name not in list(CrashPoint):
        raise Invalid("HOMEPORT_CRASH_AT", f"no crash point {name!r}; there are {', '.join(CrashPoint)}")
    if not (count or "1").isdecimal() or (at := int(count or 1)) < 1:
        raise Invalid("HOMEPORT_CRASH_AT", f"{count!r} is no count; for example {name}:1")
    return CrashPoint(name), at


class CrashPoints:
    """Does nothing unless armed, and is armed only with HOMEPORT_TESTING=1."""

    def __init__(self, clock: Clock, crash_at: str | None) -> None:
        self._clock = clock
        self._point, self._left = parse_crash_at(crash_at) if crash_at else (None, 0)

    async def reach(self, point: CrashPoint) -> None:
        if point is not self._point:
            return
        self._left -= 1
        if self._left == 0:
            await self._clock.sleep(0.3)  # answers that are already due get out first
            os.kill(os.getpid(), signal.SIGKILL)
