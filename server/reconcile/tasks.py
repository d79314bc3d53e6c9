"""Owned tasks, at most one per key: a pass never waits for one, and skips a key in flight."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

log = logging.getLogger(__name__)


class KeyedTasks:
    def __init__(self, when_done: Callable[[], None]) -> None:
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._when_done = when_done

    def start(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if key in self._tasks:
            return
        task = asyncio.create_task(make(), name=f"reconcile {key}")
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._finished(key, done))

    def _finished(self, key: Hashable, task: asyncio.Task[None]) -> None:
        del self._tasks[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("reconcile action failed: %s", key, exc_info=error)
        self._when_done()

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
