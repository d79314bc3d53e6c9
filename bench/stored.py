"""Data directories with many jobs in them."""

import contextlib
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

from .servers import JOBS, homeport, job

TABLES = ("workload", "attempt", "event")


def fill(data_dir: Path, count: int) -> tuple[list[str], str]:
    """Submits a job, lets it run on the simulated runtime, copies its rows. Gives the ids, and a token."""
    with homeport(data_dir) as server:
        first: str = server.ask("POST", JOBS, job("bench"))["metadata"]["id"]
        while server.ask("GET", f"{JOBS}/{first}")["status"]["state"] != "Completed":
            time.sleep(0.05)
        time.sleep(0.3)  # what is left of it on the machine goes now
        token = server.token
    ids = [f"bench-{number:06}" for number in range(1, count)]
    with contextlib.closing(sqlite3.connect(data_dir / "homeport.db")) as database, database:
        for table in TABLES:
            _copy(database, table, first, ids)
    return [first, *ids], token


def _copy(database: sqlite3.Connection, table: str, first: str, ids: list[str]) -> None:
    """Every row of the table belongs to the job `first`; again for each id."""
    cursor = database.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()

    def renamed(name: str, value: Any, new: str) -> Any:
        if name == "seq":
            return None  # counts on
        return value.replace(first, new) if isinstance(value, str) else value

    database.executemany(
        f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})",
        ([renamed(n, v, i) for n, v in zip(names, row, strict=True)] for i in ids for row in rows),
    )


def copy_database(data_dir: Path, target: Path) -> Path:
    """For the plain application; the server is not running."""
    return Path(shutil.copy(data_dir / "homeport.db", target))
