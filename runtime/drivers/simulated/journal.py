"""What happened to the simulated machine, a JSON line each, so that it outlives the server."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import RuntimeUnavailable


class Journal:
    """
    Args:
        path: where the lines are. None keeps none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: int | None = None

    def replay(self) -> Iterator[dict[str, Any]]:
        """What was written before, oldest first. A line that the server was killed within never happened."""
        if self._path is None:
            return
        try:
            written = self._path.read_bytes()
        except FileNotFoundError:
            return
        whole = written[: written.rfind(b"\n") + 1]
        if len(whole) < len(written):
            os.truncate(self._path, len(whole))
        for line in whole.splitlines():
            yield json.loads(line)

    def open(self) -> None:
        if self._path is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)

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
        data = text.encode() + b"\n"
        whole = os.fstat(self._file).st_size
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            os.ftruncate(self._file, whole)
            raise RuntimeUnavailable("the simulated runtime", f"its journal: {error.strerror}") from error

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
