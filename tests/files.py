"""What a server has left on the disk."""

import contextlib
import os
from pathlib import Path


def files_below(folder: Path) -> dict[Path, bytes]:
    """Each regular file with its content; a file that is removed during the walk is left out."""
    found: dict[Path, bytes] = {}
    for where, _, names in os.walk(folder):
        for path in (Path(where, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    found[path] = path.read_bytes()
    return found
