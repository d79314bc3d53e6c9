"""Copies each container's log into its file while it runs: one reader per container, however many follow."""

from collections.abc import Callable

from ...runtime.clock import Clock
from ...runtime.driver import Driver
from ...runtime.model import Handle
from ..store.log_files import Key, LogFiles
from .tasks import KeyedTasks


class LogPumps:
    def __init__(self, driver: Driver, files: LogFiles, clock: Clock, when_done: Callable[[], None]) -> None:
        self._driver, self._files = driver, files
        self._tasks = KeyedTasks(clock, when_done)
        self._told: set[Key] = set()  # those whose stream has ended in order
        self._lapsed: set[Key] = set()  # those whose stream broke

    def ensure(self, key: Key, handle: Handle) -> None:
        """For a running container. A pump that failed is started again and goes on where the file ends."""
        if key not in self._tasks and not self._files.is_sealed(key):
            self._tasks.start(key, lambda: self._follow(key, handle))

    def take_lapsed(self) -> set[Key]:
        """Those whose pump has failed since this was last asked, once its pause is over."""
        lapsed = {key for key in self._lapsed if key not in self._tasks}
        self._lapsed -= lapsed
        return lapsed

    async def finish(self, key: Key, handle: Handle) -> None:
        """Everything the ended container wrote is in the sealed file when this returns."""
        await self._tasks.join(key)
        if key not in self._told and not self._files.is_sealed(key):
            await self._copy(key, handle, follow=False)
        await self._files.seal(key)
        self._told.discard(key)

    async def _follow(self, key: Key, handle: Handle) -> None:
        self._told.discard(key)
        try:
            await self._copy(key, handle, follow=True)
        except Exception:
            self._lapsed.add(key)
            raise
        self._told.add(key)

    async def _copy(self, key: Key, handle: Handle, *, follow: bool) -> None:
        tail = self._files.tail(key)
        known = tail.entries
        async for batch in self._driver.logs(handle, follow=follow):
            fresh = batch[known:] if known else batch
            known = max(0, known - len(batch))
            if fresh:
                tail = self._files.append(key, fresh, tail)

    async def close(self) -> None:
        await self._tasks.close()
