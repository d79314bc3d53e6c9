"""
What SQLite alone takes for the rows of jobs that have run: the same statements on the same values, in
as large commits, and nothing else. No program that keeps these rows can be faster.
"""

import contextlib
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from homeport.server.store.leases import FREE, TAKE_WHOLE
from homeport.server.store.opening import connect, engine, migrate
from homeport.server.store.unit import ADD, EVENT, FOLLOW, FOLLOWING, SAVE, SAVE_ATTEMPT
from homeport.server.store.writer import MAX_BATCH

Rows = list[dict[str, Any]]
CAME, PLACED, RAN, ENDED = STEPS = range(4)


def written_per_second(data_dir: Path, folder: Path) -> float:
    """
    Jobs a second: each written when it came, when it was placed, when it ran and when it ended.

    Args:
        data_dir: of a server that is closed, with the jobs. folder: where they are written anew.
    """
    with contextlib.closing(connect(data_dir / "homeport.db")) as database:
        jobs = _rows(database, "SELECT * FROM workload ORDER BY seq")
        attempts = _by_job(_rows(database, "SELECT * FROM attempt"))
        events = _by_job(_rows(database, "SELECT * FROM event ORDER BY seq"))
    path = folder / "rows.db"
    made = engine(path)
    migrate(made, path)
    made.dispose()
    with contextlib.closing(connect(path)) as database:
        began = time.perf_counter()
        for step in STEPS:
            for first in range(0, len(jobs), MAX_BATCH):
                some = jobs[first : first + MAX_BATCH]
                tried = [a for job in some for a in attempts[job["id"]]]
                told = [e for job in some for e in _part(events[job["id"]], step)]
                database.execute("BEGIN")
                _write(database, step, some, tried, told)
                database.execute("COMMIT")
        return len(jobs) / (time.perf_counter() - began)


def _write(database: sqlite3.Connection, step: int, jobs: Rows, attempts: Rows, events: Rows) -> None:
    if step == CAME:
        database.executemany(SAVE, jobs)
    else:
        database.executemany(FOLLOW, [{"id_": j["id"]} | {name: j[name] for name in FOLLOWING} for j in jobs])
        database.executemany(SAVE_ATTEMPT, attempts)
    if step in (PLACED, ENDED):
        leases = [
            {"node": doc["node"], "uuid": uuid, "id": a["replica_id"], "n": a["number"]}
            for a in attempts
            for doc in [json.loads(a["doc"])]
            for uuid in doc["gpu_uuids"]
        ]
        database.executemany(TAKE_WHOLE if step == PLACED else FREE, leases)
    database.executemany(ADD, [{name: e[name] for name in EVENT} for e in events])


def _part(events: Rows, step: int) -> Rows:
    """One for each step, and what there are more of with the last."""
    return events[step:] if step == ENDED else events[step : step + 1]


def _rows(database: sqlite3.Connection, query: str) -> Rows:
    found = database.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def _by_job(rows: Rows) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for row in rows:
        found.setdefault(row["workload_id"], []).append(row)
    return found
