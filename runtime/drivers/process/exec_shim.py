"""
Becomes one more command beside a workload of the process runtime; run as a script,
stdlib only.

It joins the workload's mount namespace, root and directory, takes its environment,
and then is the command: nothing of it stays. What keeps it from that is written as
JSON to `tell`; a successful exec closes that unwritten.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import sys
import termios
from pathlib import Path
from typing import Any

# linux/sched.h, linux/prctl.h
CLONE_NEWNS = 0x00020000
PR_SET_PDEATHSIG = 1
NOT_FOUND, CANNOT_RUN = 127, 126


class Gone(Exception):
    pass


def started_ticks(pid: int) -> int | None:
    """When a process began, in ticks since boot: with the pid it names one process for good."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return None


def join(pid: int, ticks: int) -> dict[str, str]:
    """
    Into the surroundings of that process; its environment.

    Args:
        ticks: when it began, so that no other process of this number is taken for it.
    """
    try:
        room, top, here = (os.open(f"/proc/{pid}/{name}", os.O_RDONLY) for name in ("ns/mnt", "root", "cwd"))
        pairs = [pair.partition(b"=") for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")]
    except FileNotFoundError as error:
        raise Gone from error
    if not pairs[0][0] or started_ticks(pid) != ticks:  # what has ended has no environment any more
        raise Gone
    libc = ctypes.CDLL(None, use_errno=True)
    if not os.path.samestat(os.fstat(room), os.stat("/proc/self/ns/mnt")) and libc.setns(room, CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), f"cannot join its mounts: {os.strerror(ctypes.get_errno())}")
    if not os.path.samestat(os.fstat(top), os.stat("/")):
        os.fchdir(top)
        os.chroot(".")
    os.fchdir(here)
    for opened in (room, top, here):
        os.close(opened)
    return {os.fsdecode(name): os.fsdecode(value) for name, equals, value in pairs if equals}


def become(job: dict[str, Any]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != job["parent"]:
        return  # the server was killed meanwhile: nobody wants it any more
    if job["tty"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    env = join(job["pid"], job["ticks"])
    if job["tty"]:
        env.setdefault("TERM", "xterm")
    os.get_exec_path(env)  # imports what it needs: in the workload's root there may be no Python
    # What Python, or a shell that began the server in the background, ignores would stay ignored after exec.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):  # the C library keeps two of them to itself
            signal.signal(number, signal.SIG_DFL)
    os.execvpe(job["command"][0], job["command"], env)


def main(job_fd: int, tell: int) -> None:
    os.set_inheritable(tell, False)
    answer: dict[str, Any] = {}
    with os.fdopen(job_fd) as told:
        job = json.load(told)
    try:
        become(job)
    except Gone:
        answer = {"is_gone": True}
    except FileNotFoundError:
        answer = {"exit_code": NOT_FOUND, "error": f"there is no program {job['command'][0]!r}"}
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        answer = {"exit_code": CANNOT_RUN, "error": f"cannot run {job['command'][0]!r}: {said}"}
    os.write(tell, json.dumps(answer).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
