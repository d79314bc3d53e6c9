"""Durable submits: a group commit for all that wait, beside a commit for each request."""

import json
import sys
import tempfile
from functools import partial
from pathlib import Path

from .figures import Figure, alternate, show
from .load import drive, request
from .servers import JOBS, Server, homeport, job, plain
from .stored import copy_database, fill

ROUNDS, CELL_S = 5, 1.0
# Stopped from the start: accepted and kept, but never run, since the plain application runs nothing.
BODY = json.dumps(job("bench", stopped=True)).encode()


def per_second(server: Server, clients: int) -> float:
    load = drive(
        server.port, lambda: request("POST", JOBS, server.token, BODY), clients=clients, seconds=CELL_S
    )
    if load.refused:
        raise RuntimeError(f"{load.refused} submits were refused")
    return load.rate


def measure() -> list[Figure]:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="homeport-bench-") as folder:
        data_dir = Path(folder) / "data"
        _, token = fill(data_dir, 1_000)
        copy = copy_database(data_dir, Path(folder) / "plain.db")
        with homeport(data_dir) as ours, plain(copy, token) as theirs:
            for clients, goal in ((1, None), (16, 7.0)):
                sides = [partial(per_second, server, clients) for server in (ours, theirs)]
                for side in sides:
                    side()  # warm up
                mine, other = alternate(ROUNDS, *sides)
                figures.append(
                    Figure(f"submits, {clients} clients", mine, "/s", other, "SQLModel, a commit each",
                           least=goal)
                )  # fmt: skip
    return figures


if __name__ == "__main__":
    show([measure], sys.argv[1:])
