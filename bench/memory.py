"""Memory of the server with few and with many jobs, after it has been read from."""

import random
import sys
import tempfile
from pathlib import Path

from .figures import Figure, show
from .load import drive, request
from .servers import JOBS, Server, homeport, plain
from .stored import copy_database, fill

MANY = 100_000
SECONDS = 2.0


def after_reading(server: Server, ids: list[str]) -> float:
    """PSS in MiB, once jobs and pages were asked for by 8 clients."""

    def make() -> bytes:
        path = (
            f"{JOBS}?page={random.randint(1, 5)}&page_size=100"
            if random.random() < 0.2
            else f"{JOBS}/{random.choice(ids)}"
        )
        return request("GET", path, server.token)

    drive(server.port, make, clients=8, seconds=SECONDS)
    return server.pss_mib()


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="homeport-bench-") as folder:
        data_dir = Path(folder) / "data"
        ids, token = fill(data_dir, MANY)
        copy = copy_database(data_dir, Path(folder) / "plain.db")
        with homeport(Path(folder) / "fresh") as idle:
            fresh = idle.pss_mib()
        with homeport(data_dir) as ours, plain(copy, token) as theirs:
            mine, other = after_reading(ours, ids), after_reading(theirs, ids)
    return [
        Figure("memory, idle", fresh, "MiB", most=90, is_absolute=True),
        Figure(f"memory, {MANY:,} jobs stored", mine, "MiB", other, "SQLModel session per request",
               most=130, is_absolute=True),
    ]  # fmt: skip


if __name__ == "__main__":
    show([measure], sys.argv[1:])
