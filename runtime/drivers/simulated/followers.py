"""Who reads a simulated container's log waits for its next line, or for something to become of it."""

import asyncio

from ...clock import Clock


class Followers:
    """By container, so that what becomes of one wakes nobody who reads one of the thousands of others."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    async def wait(self, name: str, due_ms: int | None) -> None:
        """Until that time, or until somebody tells of the container of that name."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, set()).add(woken)
        sleeper: asyncio.Future[None] | None = None
        if due_ms is not None:
            seconds = max(0.001, (due_ms - self._clock.now_ms()) / 1000)
            sleeper = asyncio.ensure_future(self._clock.sleep(seconds))
            sleeper.add_done_callback(lambda _: _wake(woken))
        try:
            await woken
        finally:
            if sleeper is not None:
                sleeper.cancel()
            if (others := self._waiting.get(name)) is not None:
                others.discard(woken)
                if not others:
                    del self._waiting[name]

    def tell(self, name: str) -> None:
        for follower in self._waiting.pop(name, ()):
            _wake(follower)


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
