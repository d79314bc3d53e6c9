"""What happened to the simulated machine, a JSON line each, so that it outlives the server."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import RuntimeUnavailable
from .compaction import FLAGS, Ledger, NewFile, Rewriting, write_all

# Lines that no longer matter, by which a file is rewritten: at the start, where it costs the time that the
# next start saves, and while the server runs, where each costs some microseconds of it.
MOST_DEAD_AT_START, MOST_DEAD = 1_000, 100_000
LINES_EACH = 4  # of one container that is there, at most: created, stopped, paused and gone on again


class Journal:
    """
    It is rewritten when most of its lines no longer matter: at the start, and in a thread while it is open.

    Args:
        path: where the lines are. None keeps none.
        most_dead: lines beside those of what is there, by which an open one is rewritten.
    """

    def __init__(self, path: Path | None, most_dead: int = MOST_DEAD) -> None:
        self._path, self._most_dead = path, most_dead
        self._file: int | None = None
        self._ledger = Ledger()
        self._lines = self._live = 0
        self._since = 0  # lines when the rewriting began
        self._rewriting: Rewriting | None = None
        self._not_before = 0  # lines; a rewriting has failed

    def replay(self) -> Iterator[dict[str, Any]]:
        """
        What was written before, oldest first. A line that the server was killed within never happened.

        Raises:
            ValueError: names the line that is none of ours.
        """
        if self._path is None:
            return
        try:
            written = self._path.read_bytes()
        except FileNotFoundError:
            return
        whole = written[: written.rfind(b"\n") + 1]
        if len(whole) < len(written):
            os.truncate(self._path, len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
            self._ledger.add(line, record)
            yield record

    def open(self) -> None:
        """After all was replayed."""
        if self._path is None:
            return
        ledger, self._ledger = self._ledger, Ledger()
        self._lines, self._live = ledger.seen, ledger.live
        if self._lines > max(MOST_DEAD_AT_START, 2 * LINES_EACH * self._live):
            self._file = self._compacted(self._path, ledger)
        if self._file is None:
            self._file = os.open(self._path, FLAGS, 0o600)

    def _compacted(self, path: Path, ledger: Ledger) -> int | None:
        """The open file; None: the disk takes no other."""
        try:
            new = NewFile(path, path.stat().st_size)
        except OSError:
            return None
        try:
            lines = new.write(ledger.lines())
            file = new.take_place()
        except OSError:
            new.drop()
            return None
        self._lines = lines
        return file

    def write(self, record: dict[str, Any], rule: str = "") -> None:
        """
        A line whole or not at all: a full disk must not cost those before and after it.

        Args:
            rule: JSON that was made before, since thousands of records have the same.

        Raises:
            RuntimeUnavailable: the disk takes no more; nothing has happened.
        """
        if self._file is None:
            return
        text = json.dumps(record)
        if rule:
            text = f'{text[:-1]}, "rule": {rule}}}'
        whole = os.fstat(self._file).st_size
        try:
            write_all(self._file, text.encode() + b"\n")
        except OSError as error:
            os.ftruncate(self._file, whole)
            raise RuntimeUnavailable("the simulated runtime", f"its journal: {error.strerror}") from error
        self._lines += 1
        match record["op"]:
            case "create":
                self._live += 1
            case "remove":
                self._live -= 1
            case _:
                pass
        if self._lines > self._most_dead or self._rewriting is not None:
            self._look_after()

    def _look_after(self) -> None:
        if self._file is None or self._path is None:
            return
        if (rewriting := self._rewriting) is None:
            if self._lines <= max(self._most_dead + LINES_EACH * self._live, self._not_before):
                return
            try:
                self._rewriting = Rewriting(self._path, os.fstat(self._file).st_size)
            except OSError:
                self._not_before = 2 * self._lines
            self._since = self._lines
        elif rewriting.is_over:
            self._rewriting = None
            if (made := rewriting.finish()) is None:
                self._not_before = 2 * self._lines
                return
            os.close(self._file)
            self._file, lines = made
            self._lines = lines + self._lines - self._since

    def close(self) -> None:
        if self._rewriting is not None:
            self._rewriting.leave()
            self._rewriting = None
        if self._file is not None:
            os.close(self._file)
            self._file = None
