"""CPU for one job and for a page of 100, out of many, beside the plain way."""

import itertools
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .figures import Figure, alternate, show
from .load import drive, request
from .servers import JOBS, Server, homeport, plain
from .stored import copy_database, fill

COUNTS = (5_000, 50_000)
ROUNDS, CELL_S = 5, 0.4


def cpu_per_request(server: Server, paths: Iterator[str]) -> float:
    """In microseconds, of the server alone."""
    before = server.cpu_s()
    load = drive(server.port, lambda: request("GET", next(paths), server.token), clients=1, seconds=CELL_S)
    if load.refused:
        raise RuntimeError(f"{load.refused} requests were refused")
    return (server.cpu_s() - before) / load.answered * 1e6


def questions(ids: list[str]) -> dict[str, tuple[Callable[[], Iterator[str]], float]]:
    """Paths, and their goal. 5,000 jobs are remembered as rendered bytes, 50,000 are too many for that."""
    pages = [f"{JOBS}?page={n}&page_size=100" for n in range(1, len(ids) // 100 + 1)]
    return {
        "GET a job, any": (lambda: (f"{JOBS}/{random.choice(ids)}" for _ in itertools.count()), 0.2),
        "GET a job, one of 100": (lambda: itertools.cycle(f"{JOBS}/{i}" for i in ids[:100]), 0.2),
        "page of 100, in turn": (lambda: itertools.cycle(pages), 0.2),
        "page of 100, the newest": (lambda: itertools.repeat(pages[0]), 0.2),
    }


def measure() -> list[Figure]:
    figures: list[Figure] = []
    for count in COUNTS:
        with tempfile.TemporaryDirectory(prefix="homeport-bench-") as folder:
            data_dir = Path(folder) / "data"
            ids, token = fill(data_dir, count)
            copy = copy_database(data_dir, Path(folder) / "plain.db")
            with homeport(data_dir) as ours, plain(copy, token) as theirs:
                for path in (f"{JOBS}/{ids[7]}", f"{JOBS}?page=3&page_size=100"):
                    if ours.ask("GET", path) != theirs.ask("GET", path):
                        raise RuntimeError(f"the answers to {path} differ")
                for what, (make, goal) in questions(ids).items():
                    for_ours, for_theirs = make(), make()
                    cpu_per_request(ours, for_ours)  # warm up
                    cpu_per_request(theirs, for_theirs)
                    mine, other = alternate(
                        ROUNDS,
                        partial(cpu_per_request, ours, for_ours),
                        partial(cpu_per_request, theirs, for_theirs),
                    )
                    figures.append(
                        Figure(f"{what}, of {count:,}", mine, "us CPU", other, "SQLModel session per request",
                               most=goal)
                    )  # fmt: skip
    return figures


if __name__ == "__main__":
    show([measure], sys.argv[1:])
