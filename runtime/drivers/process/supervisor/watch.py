"""One command from its start to its end, with all that it says."""

import fcntl
import json
import os
import select
import signal
import sys
from pathlib import Path

from .clock import monotonic_s, now_ms, sleep
from .command import spawn
from .job import Job
from .log import Log
from .processes import LINUX, adopt_orphans, boot_id, exit_code, kill_group, orphans, started_ticks
from .state import State, save_surely, take_lock

DRAIN_S = 1.0  # so long the output of an ended command is read when something else holds its pipe
READ_BYTES = 1 << 18
BATCH_S = 0.002  # a writer of single lines costs one wake-up per this time, not one per line


def supervise(folder: Path) -> None:
    if not take_lock(folder) or (folder / "state.json").exists():
        return
    job: Job = json.load(sys.stdin)
    for mount in job["mounts"]:
        if mount["source_fd"] >= 0:
            os.set_inheritable(mount["source_fd"], False)
    log = Log(folder / "log")
    output, output_end = _output_pipe()
    adopt_orphans()
    ended = _end_signal()
    state: State = {"started_at_ms": now_ms(), "boot": boot_id()}
    child, failure = spawn(folder, job, output_end)
    os.close(output_end)
    if failure:
        save_surely(folder, state | failure | {"finished_at_ms": now_ms()})
        return
    if not save_surely(folder, state | {"child_pid": child, "child_ticks": started_ticks(child)}):
        kill_group(child)
        return
    state |= {"child_pid": child, "exit_code": _watch(child, output, ended, log)}
    state["finished_at_ms"] = max(state["started_at_ms"], now_ms())
    save_surely(folder, state)


def _output_pipe() -> tuple[int, int]:
    """What the command says: our end, and its own."""
    output, output_end = os.pipe()
    if LINUX:
        fcntl.fcntl(output, getattr(fcntl, "F_SETPIPE_SZ", 1031), 1 << 20)
    return output, output_end


def _end_signal() -> int:
    """Can be read from whenever a child has ended."""
    wakened, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _wake)
    return wakened


def _wake(_number: int, _frame: object) -> None:
    """Having a handler is enough: it makes Python write to the wake-up descriptor."""


def _watch(child: int, output: int, ended: int, log: Log) -> int:
    """Its exit code, once it has ended and all that it said is in the log."""
    poll = select.poll()
    poll.register(output, select.POLLIN)
    poll.register(ended, select.POLLIN)
    is_open, code, deadline_s = True, None, 0.0
    while True:
        waits = [w for w in (log.wait_s(), None if code is None else 0.02) if w is not None]
        ready = {fd for fd, _ in poll.poll(int(min(waits) * 1000) + 1 if waits else None)}
        if ended in ready:
            os.read(ended, 4096)
            for orphan in orphans(child):
                os.waitpid(orphan, os.WNOHANG)
        if output in ready:
            if chunk := os.read(output, READ_BYTES):
                log.feed(chunk)
            else:
                is_open = False
                poll.unregister(output)
        log.flush(only_due=True)
        if code is None and (code := exit_code(child)) is not None:
            deadline_s = monotonic_s() + DRAIN_S
        if code is not None:
            kill_group(child)
            for orphan in orphans(child):
                os.kill(orphan, signal.SIGKILL)
            if not is_open or monotonic_s() >= deadline_s:
                log.flush(only_due=False)
                return code
        elif output in ready:
            sleep(BATCH_S)
