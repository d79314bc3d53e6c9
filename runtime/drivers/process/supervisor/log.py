"""
The log of one command: one entry per line, `<Unix ns, 19 digits><space or +><data>\\n`.
With `+` the newline is not the command's own: its line was too long, or not finished yet.
"""

import os
from pathlib import Path

from .clock import monotonic_s, now_ns

LINE_BYTES = 16 * 1024
UNFINISHED_S = 0.2  # so long a line may wait for its end before it is shown


class Log:
    """Writes entries whole or not at all; a full disk loses lines, never the command."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._rest = b""
        self._rest_since_s = 0.0
        self._last_ns = 0

    def feed(self, chunk: bytes) -> None:
        if not self._rest:
            self._rest_since_s = monotonic_s()
        *lines, rest = (self._rest + chunk).split(b"\n")
        if lines:
            self._rest_since_s = monotonic_s()
        stamp = self._stamp()
        out: list[bytes] = []
        for line in lines:
            if len(line) > LINE_BYTES:
                line = self._split(line, stamp, out)
            out.append(b"%b %b\n" % (stamp, line))
        self._rest = self._split(rest, stamp, out)
        self._write(b"".join(out))

    def wait_s(self) -> float | None:
        """Until an unfinished line is due."""
        return max(0.0, self._rest_since_s + UNFINISHED_S - monotonic_s()) if self._rest else None

    def flush(self, *, only_due: bool) -> None:
        if self._rest and not (only_due and self.wait_s()):
            self._write(b"%b+%b\n" % (self._stamp(), self._rest))
            self._rest = b""

    @staticmethod
    def _split(line: bytes, stamp: bytes, out: list[bytes]) -> bytes:
        at = 0
        while len(line) - at > LINE_BYTES:
            out.append(b"%b+%b\n" % (stamp, line[at : at + LINE_BYTES]))
            at += LINE_BYTES
        return line[at:]

    def _stamp(self) -> bytes:
        self._last_ns = max(self._last_ns, now_ns())  # the clock may be set back, a log never runs back
        return b"%019d" % self._last_ns

    def _write(self, data: bytes) -> None:
        whole = os.fstat(self._fd).st_size
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            os.ftruncate(self._fd, whole)
