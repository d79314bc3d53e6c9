"""
Supervises one process group for the process runtime; run as a script, stdlib only.

It holds a lock on its folder as long as it lives (kill -9 frees it), so a
restarted server knows by the lock alone whether the command is still watched.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path


def is_locked(folder: Path) -> bool:
    try:
        lock = os.open(folder / "lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _save(folder: Path, state: dict[str, object]) -> None:
    draft = folder / "state.tmp"
    with draft.open("w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / "state.json")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000  # noqa: TID251  a process of its own; the server's clock is not here


def supervise(folder: Path) -> None:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if (folder / "state.json").exists():
        return
    spec = json.loads((folder / "spec.json").read_text())
    state: dict[str, object] = {"started_at_ms": _now_ms()}
    with (folder / "log").open("ab") as log:
        try:
            child = subprocess.Popen(
                spec["command"], cwd=folder / "work", env=spec["env"], stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            _save(folder, state | {"exit_code": 127, "finished_at_ms": _now_ms(), "error": str(error)})
            return
    _save(folder, state | {"child_pid": child.pid})
    code = child.wait()
    _save(
        folder,
        state | {"exit_code": code if code >= 0 else 128 - code, "finished_at_ms": _now_ms()},
    )


if __name__ == "__main__":
    supervise(Path(sys.argv[1]))
