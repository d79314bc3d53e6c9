"""
One log file per attempt, kept after its container is gone.

An entry is a line `<unix ns> <text>`, or `<unix ns>+<text>` where the text was
not ended by a newline and more of it may follow. Times only grow, so a time is
found by bisection, and no two entries share one.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ...runtime.model import LogEntry

BATCH_BYTES = 256 * 1024
MOST_SILENT = 10_000  # beyond it who follows such a log waits somewhat longer for its end
NS_DIGITS = 19  # of a Unix time in nanoseconds, from 2001 to 2286

Key = tuple[str, int]  # replica id and attempt number


@dataclass(frozen=True, slots=True)
class Tail:
    """Where a reader or writer stands: entries and bytes before it, and the last entry's time."""

    entries: int = 0
    offset: int = 0
    last_ns: int = 0


class LogFiles:
    """A file under its final name is complete; while it grows it has another one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[Key, set[asyncio.Event]] = {}
        self._silent: dict[Key, None] = {}  # the latest of those that have ended without a word

    # Strings, not Paths: each container of thousands asks several times.

    def path(self, key: Key) -> str:
        return f"{self._folder}/{key[0]}-{key[1]}.log"

    def is_sealed(self, key: Key) -> bool:
        return key in self._silent or os.path.exists(self.path(key))

    def find(self, key: Key) -> str | None:
        return next((p for p in (self.path(key), self._draft(key)) if os.path.exists(p)), None)

    def _draft(self, key: Key) -> str:
        return f"{self._folder}/{key[0]}-{key[1]}.part"

    # -- writing ------------------------------------------------------------

    def tail(self, key: Key) -> Tail:
        """What is kept so far; half an entry that a crash left behind is cut off."""
        path = self._draft(key)
        if not os.path.exists(path):
            return Tail()
        entries = offset = last_ns = 0
        with open(path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                entries, offset, last_ns = entries + 1, offset + len(line), int(line[:NS_DIGITS])
        if offset < os.path.getsize(path):
            os.truncate(path, offset)
        return Tail(entries, offset, last_ns)

    def append(self, key: Key, batch: Iterable[LogEntry], tail: Tail) -> Tail:
        """Nothing is synced: what a power cut takes, the container still has."""
        lines: list[bytes] = []
        last_ns = tail.last_ns
        for entry in batch:
            last_ns = max(entry.at_ns, last_ns + 1)
            mark, text = (b" ", entry.data[:-1]) if entry.data.endswith(b"\n") else (b"+", entry.data)
            lines.append(b"%019d%b%b\n" % (last_ns, mark, text.replace(b"\n", b"\r")))
        data = b"".join(lines)
        with self._open_draft(key) as file:
            file.write(data)
        self._wake(key)
        return Tail(tail.entries + len(lines), tail.offset + len(data), last_ns)

    async def seal(self, key: Key) -> None:
        if self.is_sealed(key):
            return
        if os.path.exists(self._draft(key)):
            with self._open_draft(key) as file:
                await asyncio.to_thread(os.fsync, file.fileno())
            os.replace(self._draft(key), self.path(key))
        else:  # of a container that said nothing there is nothing to keep
            self._silent[key] = None
            if len(self._silent) > MOST_SILENT:
                del self._silent[next(iter(self._silent))]
        self._wake(key)

    def _open_draft(self, key: Key) -> BinaryIO:
        try:
            return open(self._draft(key), "ab")
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            return open(self._draft(key), "ab")

    def empty(self, key: Key) -> None:
        """Of a sealed file nothing is kept but that it was there: who follows it comes to its end."""
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self.path(key), 0)

    # -- following ----------------------------------------------------------

    def _wake(self, key: Key) -> None:
        for event in self._waiting.pop(key, ()):
            event.set()

    def growth(self, key: Key) -> asyncio.Event:
        """Set at the next append or seal; taken before a read, so that nothing falls between."""
        event = asyncio.Event()
        self._waiting.setdefault(key, set()).add(event)
        return event

    def forget(self, key: Key, event: asyncio.Event) -> None:
        self._waiting.get(key, set()).discard(event)

    def read(self, key: Key, offset: int) -> tuple[bytes, int]:
        """Some whole entries from `offset` as they were written, without times; the next offset."""
        path = self.find(key)
        if path is None:
            return b"", offset
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(BATCH_BYTES)
            data += b"" if data.endswith(b"\n") else file.readline()
        whole = data[: data.rfind(b"\n") + 1]
        texts = [
            line[NS_DIGITS + 1 :]
            if line[NS_DIGITS : NS_DIGITS + 1] == b"+"
            else line[NS_DIGITS + 1 :] + b"\n"
            for line in whole.split(b"\n")[:-1]
        ]
        return b"".join(texts), offset + len(whole)

    # -- history ------------------------------------------------------------

    def lines(self, key: Key, start_ns: int, end_ns: int) -> Iterator[tuple[int, bytes]]:
        """Whole lines whose first part was written in [start, end), oldest first."""
        path = self.find(key)
        if path is None:
            return
        with open(path, "rb") as file:
            _seek(file, start_ns)
            # The bisection may have landed in the middle of a line that began before the span.
            is_tail = bool(start_ns) and self._continues(path, start_ns)
            at_ns, parts = 0, list[bytes]()
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if not parts:
                    at_ns = int(line[:NS_DIGITS])
                    if at_ns >= end_ns:
                        return
                parts.append(line[NS_DIGITS + 1 : -1])
                if line[NS_DIGITS : NS_DIGITS + 1] == b"+":
                    continue
                if not is_tail:
                    yield at_ns, b"".join(parts)
                parts, is_tail = [], False
            if parts and not is_tail:
                yield at_ns, b"".join(parts)

    def _continues(self, path: str, start_ns: int) -> bool:
        """Whether the entry before the first one at or after `start_ns` is unfinished."""
        with open(path, "rb") as file:
            at = _seek(file, start_ns)
            if at == 0:
                return False
            back = min(at, 64 * 1024)
            file.seek(at - back)
            previous = file.read(back)[:-1].rpartition(b"\n")[2]
        return previous[NS_DIGITS : NS_DIGITS + 1] == b"+"


def _seek(file: BinaryIO, at_ns: int) -> int:
    """To the first entry written at or after `at_ns`. Returns its offset."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while low < high:
        middle = (low + high) // 2
        file.seek(middle)
        if middle:
            file.seek(middle - 1)
            file.readline()  # to the beginning of an entry
        here = file.tell()
        line = file.readline()
        if not line.endswith(b"\n") or here >= high or int(line[:NS_DIGITS]) >= at_ns:
            high = middle
        else:
            low = file.tell()
    file.seek(low)
    return low
