"""Owned tasks, at most one per key: a pass never waits for one, and skips a key in flight."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

from ...runtime.clock import Clock
from ...runtime.errors import DriverError
from ..errors import StoreUnavailable

log = logging.getLogger(__name__)


RETRY_S = 1.0  # a key whose task has failed stays taken this long, or the next pass would spin on it


class KeyedTasks:
    def __init__(self, clock: Clock, when_done: Callable[[], None]) -> None:
        self._clock, self._when_done = clock, when_done
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}

    def start(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if key in self._tasks:
            return
        task = asyncio.create_task(self._run(key, make), name=f"reconcile {key}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._finished(key))

    async def _run(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await make()
        except (DriverError, StoreUnavailable) as error:
            log.warning("%s: %s", key, error)
            await self._clock.sleep(RETRY_S)
        except Exception:  # one action's trouble must not stop the others
            log.exception("%s failed", key)
            await self._clock.sleep(RETRY_S)

    def _finished(self, key: Hashable) -> None:
        del self._tasks[key]
        self._when_done()

    def __contains__(self, key: Hashable) -> bool:
        """Whether its task is in flight."""
        return key in self._tasks

    def __bool__(self) -> bool:
        """Whether any is in flight."""
        return bool(self._tasks)

    def cancel(self, key: Hashable) -> None:
        if (task := self._tasks.get(key)) is not None:
            task.cancel()

    async def join(self, key: Hashable) -> None:
        """Until the task of that key has ended, however it did."""
        if (task := self._tasks.get(key)) is not None:
            await asyncio.wait({task})

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
