"""What the gateway tells of each endpoint, by its key; for the autoscaler, drains and subscribers."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..runtime.clock import Clock
from .routing import AccessRecord, Route, TrafficCounters

WINDOW_S = 60
MOST_PATHS = 256  # told apart within one second; further ones count only where no path is asked for
LOOK_S = 1.0

Heard = Callable[[Sequence[AccessRecord]], None]


class Source(Protocol):
    """The gateway, as far as it is asked."""

    @property
    def is_live(self) -> bool:
        """It can be asked; while it is away no request comes through either."""
        ...

    @property
    def is_taken_over(self) -> bool:
        """It is older than this server, and its counters are too."""
        ...

    def counters(self) -> Mapping[str, TrafficCounters]: ...


class Nothing:
    """No gateway has been started."""

    is_live = is_taken_over = False

    def counters(self) -> Mapping[str, TrafficCounters]:
        return {}


@dataclass(slots=True)
class _Mark:
    """What was known at the last look, and since when there is no traffic; both in monotonic seconds."""

    looked_s: float
    requests: int
    last_request_ms: int
    ready_ms: int
    idle_since_s: float


class Traffic:
    """
    Lives in the server's loop. Intervals are monotonic: a clock that jumps puts nobody to sleep.

    Args:
        poke: called when a request waits for an endpoint at zero.
    """

    def __init__(self, clock: Clock, poke: Callable[[], None]) -> None:
        self._clock, self._poke = clock, poke
        self._began_s = clock.monotonic_s()
        self.source: Source = Nothing()
        self.wakes: set[str] = set()  # keys; whoever has dealt with one takes it out
        self._heard: list[Heard] = []
        self._seconds: dict[str, deque[tuple[int, Counter[tuple[str, str]]]]] = {}
        self._took: dict[str, deque[tuple[int, int, int]]] = {}  # second, requests, microseconds in all
        self._ended_s: dict[str, float] = {}
        self._woken_s: dict[str, float] = {}  # when a request was last told to wait, before it is counted
        self._marks: dict[str, _Mark] = {}
        self._serving: set[tuple[str, str]] = set()  # key and replica that may have open requests
        self._adopted: set[tuple[str, str]] = set()  # of those, what an earlier server took out
        self._drains: dict[tuple[str, str], asyncio.Event] = {}

    # --- told by the gateway

    def subscribe(self, heard: Heard) -> None:
        """`heard` gets each batch of access records, and may not take long."""
        self._heard.append(heard)

    def wake(self, key: str) -> None:
        self.wakes.add(key)
        self._woken_s[key] = self._clock.monotonic_s()
        self._poke()

    def records(self, records: Sequence[AccessRecord]) -> None:
        now_s = self._clock.monotonic_s()
        for record in records:
            self._ended_s[record.key] = now_s
            if record.replica:  # what was refused was no work for a replica
                self._count(record, int(now_s))
        for heard in self._heard:
            heard(records)

    def drained(self, key: str, replica: str) -> None:
        self._serving.discard((key, replica))
        if (waiting := self._drains.get((key, replica))) is not None:
            waiting.set()

    def _count(self, record: AccessRecord, second: int) -> None:
        seconds = self._seconds.setdefault(record.key, deque())
        if not seconds or seconds[-1][0] != second:
            seconds.append((second, Counter()))
        while seconds[0][0] <= second - WINDOW_S:
            seconds.popleft()
        counted, path = seconds[-1][1], record.path.removeprefix(f"/e/{record.key}") or "/"
        took = self._took.setdefault(record.key, deque(maxlen=WINDOW_S))
        number, us = took.pop()[1:] if took and took[-1][0] == second else (0, 0)
        took.append((second, number + 1, us + record.duration_us))
        what = (record.method, path)
        counted[what if what in counted or len(counted) < MOST_PATHS else (record.method, "")] += 1

    # --- asked by the reconcile loop

    def requests(self, key: str, methods: Sequence[str] = (), paths: Sequence[str] = ()) -> int | None:
        """
        Requests of the last minute that reached a replica; None while the gateway is away.

        Args:
            paths: below the endpoint's address, as they are; one that ends with `*` is a prefix.
        """
        if not self.source.is_live:
            return None
        oldest = int(self._clock.monotonic_s()) - WINDOW_S
        counted = (c for second, c in self._seconds.get(key, ()) if second > oldest)
        return sum(
            number
            for of_second in counted
            for (method, path), number in of_second.items()
            if (not methods or method in methods) and (not paths or any(_is_path(path, p) for p in paths))
        )

    def open_now(self, key: str) -> int | None:
        """Requests that are open, those that wait for a replica with them; None while the gateway is away."""
        if not self.source.is_live:
            return None
        return (self.source.counters().get(key) or TrafficCounters()).open

    def latency_ms(self, key: str) -> float | None:
        """
        From request to the answer's end, on average over those that a replica answered in the last
        minute; 0 where there was none, None while the gateway is away.
        """
        if not self.source.is_live:
            return None
        oldest = int(self._clock.monotonic_s()) - WINDOW_S
        recent = [(n, us) for second, n, us in self._took.get(key, ()) if second > oldest]
        number = sum(n for n, _ in recent)
        return sum(us for _, us in recent) / number / 1000 if number else 0.0

    def idle_s(self, key: str, ready_ms: int) -> float | None:
        """
        Since the last request ended, or a replica became ready; None while the gateway is
        away. Where the gateway is as young as this server, never longer than this server runs.

        Args:
            ready_ms: when a replica has last become ready, Unix milliseconds.
        """
        if not self.source.is_live:
            return None
        now_s, now_ms = self._clock.monotonic_s(), self._clock.now_ms()
        told = self.source.counters().get(key) or TrafficCounters()
        mark = self._marks.get(key)
        if mark is None:
            since_s = now_s - max(0, now_ms - max(told.last_request_ms, ready_ms)) / 1000
            if not self.source.is_taken_over:
                since_s = max(since_s, self._began_s)
        else:
            since_s = mark.idle_since_s
            if (mark.requests, mark.last_request_ms) != (told.requests, told.last_request_ms):
                ended_s = self._ended_s.get(key, 0.0)
                since_s = ended_s if ended_s >= mark.looked_s else now_s
            if ready_ms > mark.ready_ms:
                since_s = max(since_s, min(now_s, now_s - (now_ms - ready_ms) / 1000))
        if told.open or told.held:
            since_s = now_s
        since_s = max(since_s, self._woken_s.get(key, since_s))  # counters come later than a wake
        self._marks[key] = _Mark(now_s, told.requests, told.last_request_ms, ready_ms, since_s)
        return now_s - since_s

    def shown(self, routes: Iterable[Route]) -> None:
        """Called before the gateway gets this table."""
        kept: set[str] = set()
        for route in routes:
            kept.add(route.key)
            self._serving.update((route.key, target.id) for target in route.replicas)
        for of_key in (self._seconds, self._took, self._ended_s, self._woken_s, self._marks):
            for key in of_key.keys() - kept:
                del of_key[key]
        self.wakes &= kept

    def adopt(self, key: str, replica: str) -> None:
        """An earlier server took it out of the table, and was told when it had no request left."""
        if (key, replica) not in self._serving:
            self._serving.add((key, replica))
            self._adopted.add((key, replica))

    async def wait_drained(self, key: str, replica: str, seconds: float) -> None:
        """Until a replica that was taken out of the table has no request left, `seconds` at most."""
        this, end_s = (key, replica), self._clock.monotonic_s() + seconds
        event = self._drains.setdefault(this, asyncio.Event())
        try:
            while self._is_busy(this) and (left_s := end_s - self._clock.monotonic_s()) > 0:
                waits = [
                    asyncio.ensure_future(event.wait()),
                    asyncio.ensure_future(self._clock.sleep(min(left_s, LOOK_S))),
                ]
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for wait in waits:
                        wait.cancel()
                if this in self._adopted and not self._has_open(key):
                    break
        finally:
            self._drains.pop(this, None)
            self._adopted.discard(this)
            self._serving.discard(this)

    def _is_busy(self, this: tuple[str, str]) -> bool:
        return this in self._serving and self.source.is_live

    def _has_open(self, key: str) -> bool:
        told = self.source.counters().get(key)
        return told is not None and told.open > 0


def _is_path(path: str, pattern: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern
