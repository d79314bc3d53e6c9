"""Named places where a test may kill the server: HOMEPORT_CRASH_AT=<name>:<k>, k counted from 1."""

import os
import signal
from collections import Counter

from ..runtime.clock import Clock


class CrashPoints:
    """Does nothing unless armed, and is armed only with HOMEPORT_TESTING=1."""

    def __init__(self, clock: Clock, crash_at: str | None) -> None:
        self._clock = clock
        name, _, count = (crash_at or "").partition(":")
        self._name, self._at = name, int(count or 1)
        self._seen: Counter[str] = Counter()

    async def reach(self, name: str) -> None:
        if name != self._name:
            return
        self._seen[name] += 1
        if self._seen[name] == self._at:
            await self._clock.sleep(0.3)  # answers that are already due get out first
            os.kill(os.getpid(), signal.SIGKILL)
