"""Pumps of logs, over a driver whose stream breaks."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from homeport.runtime.clock import VirtualClock
from homeport.runtime.drivers.simulated import SimulatedDriver
from homeport.runtime.errors import RuntimeUnavailable
from homeport.runtime.model import Handle, LogEntry
from homeport.server.reconcile.log_pumps import LogPumps
from homeport.server.reconcile.tasks import RETRY_S
from homeport.server.store.log_files import LogFiles

KEY, HANDLE = ("w-0", 1), Handle("c", "c")


class BreaksOnce(SimulatedDriver):
    asked = 0
    was_asked = asyncio.Event()

    async def logs(self, handle: Handle, *, follow: bool) -> AsyncGenerator[Sequence[LogEntry]]:
        self.asked += 1
        self.was_asked.set()
        if self.asked == 1:
            raise RuntimeUnavailable("Docker", "gone")
        yield [LogEntry(1_700_000_000_000_000_000, b"said\n")]


def test_pump_that_failed_is_told_of_only_once_another_may_begin(tmp_path: Path) -> None:
    async def story() -> None:
        clock = VirtualClock()
        files, done = LogFiles(tmp_path), asyncio.Event()
        driver = BreaksOnce("i", clock)
        pumps = LogPumps(driver, files, clock, done.set)
        pumps.ensure(KEY, HANDLE)
        await driver.was_asked.wait()
        await asyncio.sleep(0)
        assert pumps.take_lapsed() == set(), "it pauses: to begin another would do nothing"
        while not done.is_set():
            clock.advance(RETRY_S)
            await asyncio.sleep(0)
        assert pumps.take_lapsed() == {KEY}
        assert pumps.take_lapsed() == set()
        pumps.ensure(KEY, HANDLE)
        await pumps.finish(KEY, HANDLE)
        assert files.read(KEY, 0)[0] == b"said\n"
        await pumps.close()
        await driver.close()

    asyncio.run(asyncio.wait_for(story(), 30))
