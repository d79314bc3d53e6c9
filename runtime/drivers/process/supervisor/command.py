"""From a job to the command that runs."""

import contextlib
import json
import os
import signal
from pathlib import Path

from .job import Job
from .private_mounts import PrivateMounts, Refused
from .processes import end_with
from .state import State


def spawn(folder: Path, job: Job, output: int) -> tuple[int, State]:
    """Its pid, and what state.json says of a start that failed, else {}."""
    told, tell = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            _become(folder, job, output, parent)
        except Refused as error:
            refused: State = {"exit_code": 126, "error": str(error)}
            refused["refused_mount"] = [error.target, error.detail]
            os.write(tell, json.dumps(refused).encode())
        except BaseException as error:
            os.write(tell, json.dumps({"exit_code": 127, "error": str(error)}).encode())
        finally:
            os._exit(127)
    os.close(tell)
    with open(told, "rb") as pipe:
        answer: State = json.loads(pipe.read() or b"{}")  # a successful exec closes it unwritten
    return child, answer


def _become(folder: Path, job: Job, output: int, parent: int) -> None:
    os.setsid()
    end_with(parent)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    work = folder / "work"
    os.chdir(work)
    if job["mounts"] or job["hosts"]:
        try:
            PrivateMounts(folder).enter(job["mounts"], job["hosts"])
        except OSError as error:  # the kernel forbids mount namespaces here
            first = job["mounts"][0]["target"] if job["mounts"] else "/etc/hosts"
            raise Refused(first, f"no private mounts: {error.strerror or error}") from error
        os.chdir(work)  # the same directory, in the root that the command sees
    # What Python, or a shell that began the server in the background, ignores would stay ignored after exec.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):  # the C library keeps two of them to itself
            signal.signal(number, signal.SIG_DFL)
    if wanted := job["working_dir"]:
        os.chdir(wanted)
    os.execvpe(job["command"][0], job["command"], job["env"])
