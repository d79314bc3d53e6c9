"""What the engine streams: a container's log, events, the progress of a pull. Read by threads."""

import contextlib
import struct
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from requests import Response
from urllib3.exceptions import ProtocolError

from ..errors import DriverError
from ..model import LogEntry
from .docker_engine import BROKEN, LONG_S, Engine, close_response
from .docker_observed import ALIVE, STATES, unix_ns

READ_BYTES = 64 * 1024
FRAME_HEADER = struct.Struct(">BxxxL")  # stream, length; as in the Engine API's `attach`
SYSTEM_ERROR = 3
MAX_FRUITLESS = 2  # connections in a row that end with nothing said while the container runs
STAMP_BYTES = 30  # RFC 3339 in UTC, with nanoseconds: always as long
PIECE_BYTES = (
    16 * 1024
)  # longer lines are noted in pieces of this length. Source: moby, daemon/logger/copier.go
OVERLAP_NS = 10**9  # stdout and stderr are noted by two hands, so times may go back a little


def api_time(unix_ns: int) -> str:
    return f"{unix_ns // 10**9}.{unix_ns % 10**9:09d}"


class LogStream:
    """
    The log of one container. Two things the SDK's own stream does not do: a connection that
    breaks is opened anew, or raises, so it is never taken for the end of the container; and what the engine
    drops at that end is read again (20.10 ends a `follow` when the container dies, however
    much of its log is still to come: 20,000 of 100,000 lines were seen).
    """

    def __init__(self, engine: Engine, container: str, *, follow: bool) -> None:
        self._engine, self._follow = engine, follow
        self._path = f"/containers/{quote(container, safe='')}"
        self._container = container
        self._lock = threading.Lock()
        self._is_closed = False
        self._response: Response | None = None
        self._split = split_frames
        self._latest_ns = 0
        self._recent: deque[int] = deque()  # times of the entries handed out in the last OVERLAP_NS
        self._is_running()  # an engine that hangs, or knows no such container, shows here within seconds

    def __iter__(self) -> Iterator[Sequence[LogEntry]]:
        yield from self._read(follow=False)
        fruitless = 0
        while self._follow:
            latest, handed_out = self._latest_ns, len(self._recent)
            broke: Exception | None = None
            try:
                yield from self._read(follow=True)
            except BROKEN as error:  # an engine that is gone says so at the next question
                broke = error
            is_running = self._is_running()
            yield from self._read(follow=False)
            if not is_running or self._is_closed:
                return
            has_news = (self._latest_ns, len(self._recent)) != (latest, handed_out)
            fruitless = 0 if has_news else fruitless + 1
            if fruitless == MAX_FRUITLESS:
                raise broke or ProtocolError("the log ended before its container")

    def _is_running(self) -> bool:
        seen = self._engine.quick.inspect_container(self._container)
        state, self._split = seen["State"], split_lines if seen["Config"]["Tty"] else split_frames
        return STATES.get(state["Status"]) in ALIVE

    def _read(self, *, follow: bool) -> Iterator[Sequence[LogEntry]]:
        """All entries that were not handed out yet; the same file always comes in the same order."""
        since_ns = max(self._latest_ns - OVERLAP_NS, 0)
        skip = sum(at_ns >= since_ns for at_ns in self._recent)
        response = self._open(since_ns, follow=follow)
        if response is None:
            return
        raw, pending = response.raw, b""
        with contextlib.closing(response):
            # What is there comes in large pieces, what is being written as it comes.
            chunks = (
                raw.stream(READ_BYTES, decode_content=False)
                if follow
                else iter(partial(raw.read, READ_BYTES), b"")
            )
            for chunk in chunks:
                entries, pending = self._split(pending + chunk)
                fresh = entries[skip:]
                skip = max(skip - len(entries), 0)
                if fresh:
                    self._note(fresh)
                    yield fresh
        if pending and self._split is split_lines:
            last, pending = split_lines(pending, is_whole=True)
            if last[skip:]:
                self._note(last[skip:])
                yield last[skip:]
        if pending:
            raise ProtocolError("the log ended within an entry")

    def _open(self, since_ns: int, *, follow: bool) -> Response | None:
        response = self._engine.open(
            "GET",
            f"{self._path}/logs",
            read_s=None if follow else LONG_S,
            follow=int(follow),
            stdout=1,
            stderr=1,
            timestamps=1,
            since=api_time(since_ns),
        )
        with self._lock:
            if not self._is_closed:
                self._response = response
                return response
        response.close()
        return None

    def _note(self, entries: Sequence[LogEntry]) -> None:
        self._recent.extend(entry.at_ns for entry in entries)
        self._latest_ns = max(self._latest_ns, max(entry.at_ns for entry in entries))
        while self._recent[0] < self._latest_ns - OVERLAP_NS:
            self._recent.popleft()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._response is not None:
                close_response(self._response)


def split_frames(data: bytes) -> tuple[list[LogEntry], bytes]:
    """Whole frames, each `<RFC 3339 time> <data>`, and the rest that waits for more."""
    entries: list[LogEntry] = []
    at = 0
    while len(data) - at >= FRAME_HEADER.size:
        stream, length = FRAME_HEADER.unpack_from(data, at)
        start = at + FRAME_HEADER.size
        at_next = start + length
        if at_next > len(data):
            break
        at = at_next
        if stream == SYSTEM_ERROR:
            text = data[start:at].decode(errors="replace").strip()
            raise DriverError(f"Docker cannot read the log: {text}")
        if length:
            stamp, _, line = data[start:at].partition(b" ")
            entries.append(LogEntry(unix_ns(stamp.decode()), line))
    return entries, data[at:]


def split_lines(data: bytes, *, is_whole: bool = False) -> tuple[list[LogEntry], bytes]:
    """
    As `split_frames`, of what came from a terminal: that has one stream, and so the engine frames nothing.

    Args:
        is_whole: there is no more to come, so that a last line without its end is one.
    """
    entries: list[LogEntry] = []
    at = 0
    while len(data) - at > STAMP_BYTES:
        start = at + STAMP_BYTES + 1
        end = data.find(b"\n", start, start + PIECE_BYTES) + 1 or start + PIECE_BYTES
        if end > len(data) and not is_whole:
            break
        entries.append(LogEntry(unix_ns(data[at : at + STAMP_BYTES].decode()), data[start:end]))
        at = end
    return entries, data[at:]


class EventStream:
    """Starts and ends of this instance's containers; an empty event first, once it listens."""

    def __init__(self, engine: Engine, instance: str, since_ns: int) -> None:
        self._events: Any = engine.slow.events(
            since=api_time(since_ns),
            filters={
                "label": f"homeport.instance={instance}",
                "event": ["start", "die", "oom", "destroy"],
            },
            decode=True,
        )

    def __iter__(self) -> Iterator[Sequence[dict[str, Any]]]:
        yield [{}]
        for event in self._events:
            yield [event]

    def close(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # it ended at this moment
            self._events.close()
