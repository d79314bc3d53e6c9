"""
Servers that need no start-up: forked from a process that has imported everything.

A sweep kills hundreds of servers, and their imports would be nearly all of its time. Run as
a script this is that process: a JSON line with argv, env and paths in, a process id out.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.world import World

MODULES = ("homeport.server.app", "homeport.server.cli", "homeport.runtime.drivers.docker")
MODULES += ("homeport.runtime.drivers.process", "homeport.runtime.drivers.simulated")


class ForkedServer:
    """What a World needs of a Popen."""

    def __init__(self, pid: int, stdout: Path) -> None:
        self.pid, self.stdout = pid, stdout.open()
        self._alive = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return self.wait(timeout=0)

    def wait(self, timeout: float | None = None) -> int | None:
        """-9 once it has gone, however it went; None while it lives."""
        gone = select.select([self._alive], [], [], timeout)[0]
        return -signal.SIGKILL if gone else None

    def send_signal(self, number: int) -> None:
        signal.pidfd_send_signal(self._alive, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forks:
    """The process that servers are forked from."""

    def __init__(self) -> None:
        argv = [sys.executable, "-m", "tests.fault.forks"]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def spawn(self, argv: Sequence[str], env: dict[str, str], log: Path) -> ForkedServer:
        with tempfile.TemporaryDirectory() as folder:
            stdout = Path(folder, "stdout")
            os.mkfifo(stdout)
            ask: dict[str, Any] = {"argv": argv, "env": env, "stdout": str(stdout), "stderr": str(log)}
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            print(json.dumps(ask), file=self._process.stdin, flush=True)
            return ForkedServer(int(self._process.stdout.readline()), stdout)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)


@dataclass
class ForkedWorld(World):
    """Its servers come from `forks`."""

    forks: Forks | None = None

    def spawn(self, argv: Sequence[str], env: dict[str, str], log: Path) -> Any:
        assert self.forks is not None
        return self.forks.spawn(argv, env, log)


@contextmanager
def open_forks() -> Generator[Forks]:
    made = Forks()
    try:
        yield made
    finally:
        made.close()


def main() -> None:
    for module in MODULES:
        __import__(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    for line in sys.stdin:
        ask = json.loads(line)
        if (child := os.fork()) == 0:
            _serve(ask)
        print(child, flush=True)


def _serve(ask: dict[str, Any]) -> None:
    from homeport.server.cli import main as homeport

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    stdout = os.open(ask["stdout"], os.O_WRONLY)  # waits for its reader
    stderr = os.open(ask["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for source, target in ((nothing, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(ask["env"])
    try:
        homeport(ask["argv"])
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
