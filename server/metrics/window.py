"""Access records added up by endpoint: whole minutes to be kept, and the last minute as it slides."""

from collections import deque
from collections.abc import Mapping, Sequence

from ...runtime.clock import Clock
from ..domain.metrics import LONGEST_PATH, OTHER, Minute, Traffic, bucket_of, traffic_of
from ..routing import AccessRecord

MINUTE_MS = 60_000
SLOT_S, SLOTS = 10, 6
MOST_KEYS = (
    20_000  # endpoints at a time; a gateway has a record's key from its own table, so there are no more
)


class TrafficWindow:
    """
    Costs no more the more requests there are: counts by status, by bucket of latency and by
    path, whose number is bounded.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._began_s = clock, clock.monotonic_s()
        self._minutes: dict[tuple[str, int], Minute] = {}
        self._slots: dict[str, deque[tuple[int, Traffic]]] = {}

    def add(self, records: Sequence[AccessRecord]) -> None:
        """They count where they are told, which is at most a moment after they have ended."""
        minute_ms = self._clock.now_ms() // MINUTE_MS * MINUTE_MS
        slot = int(self._clock.monotonic_s() // SLOT_S)
        for record in records:
            if not record.key:
                continue  # no endpoint's
            minute = self._minutes.get((record.key, minute_ms))
            if minute is None:
                if len(self._minutes) >= MOST_KEYS:
                    continue
                minute = self._minutes[record.key, minute_ms] = Minute()
            bucket = bucket_of(record.duration_us)
            minute.count(_path(record), record.status, bucket, record.bytes_in, record.bytes_out)
            self._slot(record.key, slot).count(record.status, bucket, record.bytes_in, record.bytes_out)

    def _slot(self, key: str, slot: int) -> Traffic:
        slots = self._slots.setdefault(key, deque(maxlen=SLOTS + 1))
        if not slots or slots[-1][0] != slot:
            slots.append((slot, Traffic()))
        return slots[-1][1]

    def last_minute(self, key: str) -> tuple[Traffic, float]:
        """What was asked in about the last 60 s, and over how many seconds exactly."""
        now_s = self._clock.monotonic_s()
        first = int(now_s // SLOT_S) - SLOTS
        found = traffic_of(traffic for slot, traffic in self._slots.get(key, ()) if slot >= first)
        return found, max(1.0, min(now_s - self._began_s, now_s - first * SLOT_S))

    def now(self, key: str) -> Mapping[int, Minute]:
        """What is not taken yet, by when the minute begins."""
        return {at_ms: minute for (one, at_ms), minute in self._minutes.items() if one == key}

    def take(self, *, before_ms: int | None = None) -> dict[tuple[str, int], Minute]:
        """Key and minute of what is over by then, or of everything; it is no longer in `now`."""
        taken = {k: m for k, m in self._minutes.items() if before_ms is None or k[1] + MINUTE_MS <= before_ms}
        for key in taken:
            del self._minutes[key]
        oldest = int(self._clock.monotonic_s() // SLOT_S) - SLOTS
        for key in [k for k, slots in self._slots.items() if slots[-1][0] < oldest]:
            del self._slots[key]
        return taken

    def give_back(self, taken: Mapping[tuple[str, int], Minute]) -> None:
        """What could not be written is kept for the next time, as far as there is room."""
        for key, minute in taken.items():
            if key in self._minutes:
                minute.add(self._minutes[key])
            if key in self._minutes or len(self._minutes) < MOST_KEYS:
                self._minutes[key] = minute


def _path(record: AccessRecord) -> str:
    """
    The endpoint's own path. What no replica has seen, or has not found, is of nobody's making but
    its client's: it must not crowd out the paths that there are.
    """
    if not record.replica or record.status == 404:
        return OTHER
    path = record.path.partition("?")[0]
    prefix = f"/e/{record.key}"
    if path == prefix or path.startswith(f"{prefix}/"):
        path = path[len(prefix) :]
    return path[:LONGEST_PATH] or "/"
