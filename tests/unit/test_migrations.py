"""Files of older servers are brought forward with nothing lost; newer ones are left alone."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

from homeport.server.domain.workload import Phase
from homeport.server.errors import StoreRefused
from homeport.server.store.log_files import LogFiles
from homeport.server.store.opening import engine
from homeport.server.store.store import Store
from homeport.server.store.tables import SCHEMA_VERSION

# Written by the first server there was: four jobs, one of them removed, one on two GPUs.
FIRST = Path(__file__).parent / "data" / "store-0001.sql"


@pytest.fixture
def first(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "homeport.db")) as connection:
        connection.executescript(FIRST.read_text())
    return tmp_path


def differences(path: Path) -> object:
    with engine(path).connect() as connection:
        return compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)


def test_file_of_the_first_schema_is_brought_forward(first: Path) -> None:
    (first / "logs").mkdir()
    log = first / "logs" / "ended-d3bt-0-d3bt-1.log"
    log.write_text("one\ntwo\n")
    store = Store(first)
    try:
        found = {f.workload.name: f for f in store.reads.by_ids(["ended-d3bt", "failed-m0g4", "gone-8cgl"])}
        assert {n: f.phase for n, f in found.items()} == {
            "ended": Phase.COMPLETED, "failed": Phase.FAILED, "gone": Phase.ARCHIVED,
        }  # fmt: skip
        assert found["ended"].workload.spec.env == (("A", "b"),)
        assert store.attempts_of("failed-m0g4")[0].exit_code == 3
        assert store.events_of("ended-d3bt")[0].reason == "Created"
        assert list(store.reads.active(0)) == []
    finally:
        store.close()
    files = LogFiles(first / "logs")
    assert files.read(("ended-d3bt-0-d3bt", 1), 0)[0] == b"one\ntwo\n"
    assert [line for _, line in files.lines(("ended-d3bt-0-d3bt", 1), 0, 2**63)] == [b"one", b"two"]
    assert differences(first / "homeport.db") == []
    with closing(sqlite3.connect(first / "homeport.db.0001")) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)


def test_gpu_that_was_taken_whole_stays_taken_when_leases_have_portions(first: Path) -> None:
    with closing(sqlite3.connect(first / "homeport.db")) as connection, connection:
        attempt = {
            "replica_id": "ended-d3bt-0-d3bt", "number": 7, "workload_id": "ended-d3bt", "index": 0,
            "node": "this-host", "cpu_cores": 1, "memory_mib": 1, "generation": 1, "gpu_uuids": ["GPU-a"],
        }  # fmt: skip
        values = (attempt["replica_id"], 7, "ended-d3bt", 1, json.dumps(attempt))
        connection.execute(
            "INSERT INTO attempt (replica_id, number, workload_id, is_live, doc) VALUES (?, ?, ?, ?, ?)",
            values,
        )
        connection.execute("INSERT INTO gpu_lease VALUES ('GPU-a', ?, 7)", (attempt["replica_id"],))
    Store(first).close()
    with closing(sqlite3.connect(first / "homeport.db")) as connection:
        leases = connection.execute(
            "SELECT node, gpu_uuid, slice, portion, replica_id, number FROM gpu_lease"
        ).fetchall()
        assert leases == [("this-host", "GPU-a", 0, 1.0, "ended-d3bt-0-d3bt", 7)]
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(
                "INSERT INTO gpu_lease VALUES ('this-host', 'GPU-a', 1, 0.5, 'ended-d3bt-0-d3bt', 7)"
            )
    assert differences(first / "homeport.db") == []


def test_fresh_file_has_todays_schema(tmp_path: Path) -> None:
    Store(tmp_path).close()
    assert differences(tmp_path / "homeport.db") == []


def test_newer_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    Store(tmp_path).close()
    path = tmp_path / "homeport.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match=f"schema 9999, this Homeport knows up to {SCHEMA_VERSION}"):
        Store(tmp_path)
    assert path.read_bytes() == before


def test_migration_that_fails_changes_nothing(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(first / "homeport.db")) as connection, connection:
        connection.execute("UPDATE workload SET doc = 'damaged' WHERE name = 'failed'")
    with pytest.raises(ValueError, match="Expecting value"):
        Store(first)
    with closing(sqlite3.connect(first / "homeport.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        columns = {row[1] for row in connection.execute("PRAGMA table_info(workload)")}
    assert "is_settled" not in columns
