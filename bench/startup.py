"""`homeport serve` until it answers, and its dialects, beside hello world; `--help` beside `import click`."""

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from .engine import open_engine
from .figures import Figure, alternate, show
from .servers import ENV, JOBS, ROOT, Server, free_port, homeport, started
from .stored import fill

SERVER_ROUNDS, COMMAND_ROUNDS = 5, 9
MANY = 50_000


def until_ready(server: AbstractContextManager[Server]) -> float:
    """In seconds, from the process's start to its first answer."""
    began = time.perf_counter()
    with server:
        return time.perf_counter() - began


def until_listed(server: AbstractContextManager[Server]) -> float:
    """In seconds, from the process's start to its first answer in a dialect's words."""
    began = time.perf_counter()
    with server as running:
        running.ask("GET", JOBS)
        return time.perf_counter() - began


def hello(folder: Path) -> AbstractContextManager[Server]:
    port = free_port()
    return started(["-m", "bench.hello", str(port)], port, "/hello", folder / "hello.log")


def command(argv: Sequence[str]) -> float:
    """In milliseconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *argv], cwd=ROOT, env=ENV, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def measure() -> list[Figure]:
    script = Path(sys.executable).with_name("homeport")
    argv = [str(script)] if script.exists() else ["-m", "homeport"]
    engine = open_engine()
    with tempfile.TemporaryDirectory(prefix="homeport-bench-") as name:
        folder, fresh = Path(name), itertools.count()
        fill(folder / "many", MANY)
        sides = {
            "ready, fresh": lambda: until_ready(homeport(folder / f"fresh-{next(fresh)}")),
            "ready, with one job": lambda: until_ready(homeport(folder / "one")),
            f"ready, with {MANY:,} jobs": lambda: until_ready(homeport(folder / "many")),
        }
        if engine is not None:
            sides["ready, on Docker"] = lambda: until_ready(homeport(folder / "docker", runtime="docker"))
        fill(folder / "one", 1)
        until_ready(hello(folder))  # warm up
        *ours, listed, theirs = alternate(
            SERVER_ROUNDS,
            *sides.values(),
            lambda: until_listed(homeport(folder / f"fresh-{next(fresh)}")),
            lambda: until_ready(hello(folder)),
        )
    help_ms, click_ms = alternate(
        COMMAND_ROUNDS, lambda: command([*argv, "--help"]), lambda: command(["-c", "import click"])
    )
    return [
        *(
            Figure(what, time_s, "s", theirs, "FastAPI hello world", most=1.0, is_absolute=True)
            for what, time_s in zip(sides, ours, strict=True)
        ),
        Figure("first list of jobs, fresh", listed, "s", theirs, "FastAPI hello world"),
        Figure("homeport --help", help_ms, "ms", click_ms, "import click", most=150, is_absolute=True),
    ]


if __name__ == "__main__":
    show([measure], sys.argv[1:])
