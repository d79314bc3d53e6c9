"""64 clients at once on each hot route, and one client before and after them."""

import json
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from .figures import Figure, percentile, show
from .load import Load, drive, request
from .servers import JOBS, Server, homeport, job, plain
from .stored import copy_database, fill

CLIENTS, SECONDS = 64, 10.0
PLAIN_SECONDS, ALONE_SECONDS = 1.5, 0.7
STORED = 5_000
SLOWEST_S = 5
BODY = json.dumps(job("bench")).encode()


def routes(ids: list[str], token: str) -> dict[str, Callable[[], bytes]]:
    """The last one leaves jobs that are still to run; what comes after it would feel them."""
    return {
        "GET a job": lambda: request("GET", f"{JOBS}/{random.choice(ids)}", token),
        "page of 100": lambda: request("GET", f"{JOBS}?page=1&page_size=100", token),
        "submit": lambda: request("POST", JOBS, token, BODY),
    }


def on_route(what: str, make: Callable[[], bytes], ours: Server, theirs: Server) -> list[Figure]:
    def load(server: Server, clients: int, seconds: float) -> Load:
        return drive(server.port, make, clients=clients, seconds=seconds)

    load(ours, 1, ALONE_SECONDS)  # warm up
    before = load(ours, 1, ALONE_SECONDS)
    crowd = load(ours, CLIENTS, SECONDS)
    after = load(ours, 1, ALONE_SECONDS)
    other = load(theirs, CLIENTS, PLAIN_SECONDS)
    than = "SQLModel session per request"
    refused = before.refused + crowd.refused + after.refused
    figures = [
        Figure(f"{what}: answers", crowd.rate, "/s", other.rate, than),
        Figure(f"{what}: refused", refused, "", other.refused, than, most=0, is_absolute=True),
        Figure(f"{what}: slowest", max(crowd.latencies_ms) / 1000, "s", max(other.latencies_ms) / 1000, than,
               most=SLOWEST_S, is_absolute=True),
    ]  # fmt: skip
    figures += [
        Figure(f"{what}: p{share:.0%}"[:-1], percentile(crowd.latencies_ms, share), "ms",
               percentile(other.latencies_ms, share), than)
        for share in (0.5, 0.99)
    ]  # fmt: skip
    return [*figures, Figure(f"{what}: afterwards", after.rate, "/s", before.rate, "before", least=0.9)]


def measure() -> list[Figure]:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="homeport-bench-") as folder:
        data_dir = Path(folder) / "data"
        ids, token = fill(data_dir, STORED)
        copy = copy_database(data_dir, Path(folder) / "plain.db")
        with homeport(data_dir) as ours, plain(copy, token) as theirs:
            for what, make in routes(ids, token).items():
                figures += on_route(what, make, ours, theirs)
    return figures


if __name__ == "__main__":
    show([measure], sys.argv[1:])
