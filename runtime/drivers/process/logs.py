"""Reads what a supervisor has written of its command's output."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from ...clock import Clock
from ...model import LogEntry
from .supervisor.state import is_locked

POLL_S = 0.05
CHUNK_BYTES = 256 * 1024
STAMP_BYTES = 19


async def read_log(clock: Clock, folder: Path, *, follow: bool) -> AsyncIterator[Sequence[LogEntry]]:
    """From its beginning; with `follow` until the command has ended."""
    try:
        file = (folder / "log").open("rb")
    except FileNotFoundError:
        return
    with file:
        rest = b""
        while True:
            has_ended = not is_locked(folder)  # asked before the read: nothing is missed
            while chunk := file.read(CHUNK_BYTES):
                whole, newline, rest = (rest + chunk).rpartition(b"\n")
                if newline:
                    yield _entries(whole)
            if has_ended or not follow:
                return
            await clock.sleep(POLL_S)


def _entries(lines: bytes) -> list[LogEntry]:
    """Source: the log format in supervisor/log.py. What a full disk has torn is left out."""
    found: list[LogEntry] = []
    for line in lines.split(b"\n"):
        stamp, mark, data = line[:STAMP_BYTES], line[STAMP_BYTES : STAMP_BYTES + 1], line[STAMP_BYTES + 1 :]
        if stamp.isdigit():
            found.append(LogEntry(int(stamp), data if mark == b"+" else data + b"\n"))
    return found
