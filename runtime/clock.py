"""The only module that reads the time or sleeps; everything else is given a Clock."""

import asyncio
import contextlib
import heapq
import itertools
import json
import time
from pathlib import Path
from typing import Any, Protocol


class Clock(Protocol):
    """Timestamps are Unix milliseconds (UTC); intervals are monotonic seconds."""

    def now_ms(self) -> int: ...

    def monotonic_s(self) -> float: ...

    def spent_s(self) -> float:
        """To measure what one's own work costs, never to decide by: it takes no time where time is set."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    async def rest(self, seconds: float) -> None:
        """Gives way to others for so long in real time, however time is set."""
        ...


class Steerable(Clock, Protocol):
    """
    Time that tests and demos move by hand. It never runs backwards.

    A move raises OSError where it cannot be kept for the next server; nothing is moved then.
    """

    @property
    def is_frozen(self) -> bool: ...

    def freeze(self) -> None:
        """It stands still from now on; sleepers wait until it is advanced."""
        ...

    def resume(self) -> None:
        """It runs on from where it stands. Raises ValueError where it has no run of its own."""
        ...

    def advance(self, seconds: float) -> None:
        """Raises ValueError for a negative number."""
        ...

    def set_ms(self, now_ms: int) -> None:
        """Advance to that moment. Raises ValueError where it has passed."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    def spent_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Sleepers:
    """Who waits for which moment. Those that were cancelled meanwhile are swept, so none piles up."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._cancelled = 0

    @property
    def next_s(self) -> float | None:
        if self._cancelled > len(self._waiting) // 2:
            self._waiting = [entry for entry in self._waiting if not entry[2].done()]
            heapq.heapify(self._waiting)
            self._cancelled = 0
        return self._waiting[0][0] if self._waiting else None

    def add(self, deadline_s: float) -> asyncio.Future[None]:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (deadline_s, next(self._order), woken))
        return woken

    async def wait(self, woken: asyncio.Future[None]) -> None:
        try:
            await woken
        except asyncio.CancelledError:
            self._cancelled += 1
            raise

    def wake(self, until_s: float) -> None:
        """In the order of their deadlines."""
        while (next_s := self.next_s) is not None and next_s <= until_s:
            _, _, woken = heapq.heappop(self._waiting)
            if not woken.done():
                woken.set_result(None)


class VirtualClock:
    """Stands still until `advance`; sleepers wake in order of their deadlines."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._start_ms = start_ms
        self._elapsed_s = 0.0
        self._sleepers = _Sleepers()

    def now_ms(self) -> int:
        return self._start_ms + round(self._elapsed_s * 1000)

    def monotonic_s(self) -> float:
        return self._elapsed_s

    def spent_s(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return await asyncio.sleep(0)
        await self._sleepers.wait(self._sleepers.add(self._elapsed_s + seconds))

    async def rest(self, seconds: float) -> None:
        await asyncio.sleep(0)

    @property
    def is_frozen(self) -> bool:
        return True

    def freeze(self) -> None:
        return

    def resume(self) -> None:
        raise ValueError("this clock has no run of its own; advance it")

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._elapsed_s += seconds
        self._sleepers.wake(self._elapsed_s)

    def set_ms(self, now_ms: int) -> None:
        self.advance(_seconds_until(now_ms, self.now_ms()))


class SteeredClock:
    """
    The machine's own time until it is frozen, advanced or set; then it goes on from there.

    Every sleeper waits here and not in the event loop, so that it follows when time jumps.

    Args:
        base: in place of the machine's clock.
        kept: the file in which moves outlive the server: what was written down at a later time must not
            come to lie in the future. None keeps none.
        is_movable: False where nobody may move it any more; it goes on from where it was moved to.
    """

    def __init__(
        self, base: Clock | None = None, kept: Path | None = None, *, is_movable: bool = True
    ) -> None:
        self._base: Clock = base or SystemClock()
        self._kept, self.is_movable = kept, is_movable
        self._ahead_s = 0.0  # of the machine's time; negative after a time of standing still
        self._frozen_s: float | None = None  # the base's monotonic time at which it was frozen
        self._epoch_ms: float | None = None  # None: never steered, and the machine's clock is followed
        self._sleepers = _Sleepers()
        self._timer: asyncio.TimerHandle | None = None
        if kept is not None:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._go_on(json.loads(kept.read_bytes()))

    def now_ms(self) -> int:
        if self._epoch_ms is None:
            return self._base.now_ms()
        return round(self._epoch_ms + self.monotonic_s() * 1000)

    def monotonic_s(self) -> float:
        base = self._base.monotonic_s() if self._frozen_s is None else self._frozen_s
        return base + self._ahead_s

    def spent_s(self) -> float:
        return self._base.spent_s()

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return await asyncio.sleep(0)
        woken = self._sleepers.add(self.monotonic_s() + seconds)
        self._set_timer()
        await self._sleepers.wait(woken)

    async def rest(self, seconds: float) -> None:
        await self._base.rest(seconds)

    @property
    def is_frozen(self) -> bool:
        return self._frozen_s is not None

    def freeze(self) -> None:
        if self._frozen_s is None:
            self._take_over()
            self._frozen_s = self._base.monotonic_s()  # before the writing, which takes time of its own
            try:
                self._keep(self.now_ms(), is_frozen=True)
            except OSError:
                self._frozen_s = None
                raise
            self._set_timer()

    def resume(self) -> None:
        if self._frozen_s is not None:
            self._keep(self.now_ms(), is_frozen=False)
            self._ahead_s -= self._base.monotonic_s() - self._frozen_s
            self._frozen_s = None
            self._set_timer()

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._take_over()
        self._keep(self.now_ms() + round(seconds * 1000), is_frozen=self.is_frozen)
        self._ahead_s += seconds
        self._wake()

    def set_ms(self, now_ms: int) -> None:
        self.advance(_seconds_until(now_ms, self.now_ms()))

    def _go_on(self, told: dict[str, Any]) -> None:
        """From where the server before this one left it."""
        now_ms, stands = told["now_ms"], told["is_frozen"] and self.is_movable
        if not told["is_frozen"]:
            now_ms = max(now_ms, self._base.now_ms() + told["ahead_ms"])
        self._epoch_ms = now_ms - self.monotonic_s() * 1000
        if stands:
            self._frozen_s = self._base.monotonic_s()

    def _keep(self, now_ms: int, *, is_frozen: bool) -> None:
        if self._kept is None:
            return
        from .faults import write_json  # only who moves it has to have that

        ahead_ms = now_ms - self._base.now_ms()
        write_json(self._kept, {"now_ms": now_ms, "ahead_ms": ahead_ms, "is_frozen": is_frozen})

    def _take_over(self) -> None:
        if self._epoch_ms is None:
            self._epoch_ms = self._base.now_ms() - self.monotonic_s() * 1000

    def _wake(self) -> None:
        self._sleepers.wake(self.monotonic_s())
        self._set_timer()

    def _set_timer(self) -> None:
        """One for all sleepers: for the first of them."""
        due_s = self._sleepers.next_s
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if due_s is not None and self._frozen_s is None:
            rest_s = max(0.0, due_s - self.monotonic_s())
            self._timer = asyncio.get_running_loop().call_later(rest_s, self._wake)


def _seconds_until(wanted_ms: int, now_ms: int) -> float:
    if wanted_ms < now_ms:
        raise ValueError("time does not run backwards")
    return (wanted_ms - now_ms) / 1000
