"""What the folder tells of a command: state.json, and a lock that is held as long as it is watched."""

import fcntl
import json
import os
from pathlib import Path
from typing import TypedDict

from .clock import sleep
from .processes import boot_id, kill_group, started_ticks


class State(TypedDict, total=False):
    """Empty until the command was started; with an exit code it is final."""

    started_at_ms: int
    boot: str
    child_pid: int
    child_ticks: int | None
    exit_code: int
    finished_at_ms: int
    error: str
    refused_mount: list[str]  # target and detail


def read_state(folder: Path) -> State:
    try:
        return json.loads((folder / "state.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}


def is_locked(folder: Path) -> bool:
    lock = _try_lock(folder, os.O_RDONLY, fcntl.LOCK_SH)
    if lock is not None and lock >= 0:
        os.close(lock)
    return lock == -1


def take_lock(folder: Path) -> bool:
    """For the rest of this process; False where another supervisor holds it."""
    lock = None
    for _ in range(20):  # a driver that looks whether it is held holds it for an instant itself
        lock = _try_lock(folder, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
        if lock != -1:
            break
        sleep(0.01)
    return lock not in (None, -1)


def bury(folder: Path, now_ms: int) -> State:
    """The state of a command whose supervisor was killed: what is left of it is killed too."""
    lock = _try_lock(folder, os.O_RDWR, fcntl.LOCK_EX)
    if lock is None or lock < 0:
        return read_state(folder)
    try:
        state = read_state(folder)
        if "child_pid" not in state or "exit_code" in state:
            return state
        leader = started_ticks(state["child_pid"])
        # A number that another process bears by now names no group of ours.
        if state.get("boot") == boot_id() and leader in (None, state.get("child_ticks")):
            kill_group(state["child_pid"])
        error = "its supervising process was killed"
        state |= {"exit_code": 137, "finished_at_ms": now_ms, "error": error}
        _save(folder, state)
    finally:
        os.close(lock)
    return state


def save_surely(folder: Path, state: State) -> bool:
    """
    How a command ended is not lost to a full disk: it is written when there is room
    again. False: the folder was removed, nobody wants to know any more.
    """
    while True:
        try:
            _save(folder, state)
            return True
        except FileNotFoundError:
            return False
        except OSError:
            sleep(1)


def _save(folder: Path, state: State) -> None:
    draft = folder / "state.tmp"
    with draft.open("w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / "state.json")


def _try_lock(folder: Path, mode: int, kind: int) -> int | None:
    """A file descriptor; -1 where somebody else holds the lock, None where there is none to hold."""
    try:
        lock = os.open(folder / "lock", mode | os.O_CLOEXEC, 0o600)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return -1
    return lock
