"""The data directory in other hands, damaged, of another version, or on a full disk."""

import asyncio
import contextlib
import errno
import json
import os
import resource
import sqlite3
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from homeport.runtime.clock import SystemClock
from homeport.runtime.drivers.simulated import SimulatedDriver
from homeport.runtime.errors import RuntimeUnavailable
from homeport.runtime.model import ContainerSpec
from homeport.server.errors import StoreUnavailable
from homeport.server.store.store import Store
from homeport.server.store.tables import SettingRow
from tests.fault.conftest import MakeHome
from tests.sdk import Sdk
from tests.world import World, eventually

STAY = "trap 'exit 0' TERM; while true; do sleep 0.1; done"


@pytest.fixture
def home(make_home: MakeHome) -> World:
    return make_home("simulated")


def refusal(home: World) -> str:
    """What a further server says as it leaves."""
    log = home.data_dir.parent / "refused.log"
    argv = ["serve", "--port", "0", "--data-dir", str(home.data_dir), "--runtime", "simulated"]
    server = home.spawn(argv, dict(os.environ), log)
    assert server.wait(timeout=30) is not None
    return log.read_text()


def test_second_server_is_refused_with_the_pid_until_the_first_is_killed(home: World) -> None:
    home.start()
    assert home.server is not None
    assert f"is in use by another server (pid {home.server.pid})" in refusal(home)
    home.kill()
    home.start()


def test_schema_of_a_newer_version_is_refused_and_stays_as_it_is(home: World) -> None:
    home.start()
    home.stop()
    database = home.data_dir / "homeport.db"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = database.read_bytes()
    said = refusal(home)
    assert "9999" in said
    assert "install" in said
    assert database.read_bytes() == before


def lose_header(database: Path) -> None:
    with database.open("r+b") as file:
        file.write(b"not a database at all")


def lose_pages(database: Path) -> None:
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (database.stat().st_size - 4096))


def lose_half(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


@pytest.mark.parametrize("damage", [lose_header, lose_pages, lose_half])
def test_damaged_database_is_refused_with_a_recovery_and_never_written_to(
    home: World, sdk: Sdk, damage: Callable[[Path], None]
) -> None:
    home.start()
    sdk.create(home, "kept", STAY)
    home.stop()
    home.start()
    sdk.create(home, "logged", STAY)
    home.kill()  # so there is a write-ahead log, whose frames a careless reader would copy into the damage
    database, ahead = home.data_dir / "homeport.db", home.data_dir / "homeport.db-wal"
    damage(database)
    before = database.read_bytes(), ahead.read_bytes()
    assert before[1]
    said = refusal(home)
    assert "cannot be read" in said
    assert f"sqlite3 {database} .recover" in said
    assert (database.read_bytes(), ahead.read_bytes()) == before


def test_database_of_another_program_is_refused(home: World) -> None:
    with contextlib.closing(sqlite3.connect(home.data_dir / "homeport.db")) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    assert "did not make" in refusal(home)


@pytest.mark.parametrize(
    "told", ["", "[]", '{"now_ms": 5}', '{"now_ms": "x", "ahead_ms": 0, "is_frozen": false}']
)
def test_clock_that_cannot_be_read_is_refused_with_what_to_do(home: World, told: str) -> None:
    (home.data_dir / "clock.json").write_text(told)
    said = refusal(home)
    assert f"{home.data_dir / 'clock.json'} cannot be read" in said
    assert "remove it" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("name", "told"),
    [
        pytest.param("faults.json", "[{", id="faults-cut"),
        pytest.param("simulated-rules.json", '{"rules": []}', id="rules-of-another-shape"),
        pytest.param("simulated.jsonl", "garbage", id="journal-no-json"),
        pytest.param("simulated.jsonl", '{"op": "create"}', id="journal-half-a-record"),
    ],
)
def test_damaged_file_of_the_simulated_machine_is_refused_with_what_to_do(
    home: World, name: str, told: str
) -> None:
    (home.data_dir / name).write_text(f"{told}\n")
    said = refusal(home)
    assert f"{home.data_dir / name} cannot be read: " in said
    assert "Mend it, or remove it: " in said
    assert "Traceback" not in said


def test_directory_that_cannot_be_used_is_refused_in_one_sentence(home: World) -> None:
    home.data_dir.rmdir()
    home.data_dir.write_text("a file")
    said = refusal(home)
    assert f"{home.data_dir} cannot be used" in said
    assert "Traceback" not in said


# No room


class FullDisk:
    """A small file system for the data directory, filled up."""

    def __init__(self, home: World) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can mount a small file system")
        self._home, self._filler = home, home.data_dir / "filler"
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(home.data_dir)], check=True)

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    def make_room(self) -> None:
        self._filler.unlink()

    def close(self) -> None:
        self._home.clean_up()
        subprocess.run(["umount", str(self._home.data_dir)], check=True)


class FileLimit:
    """The kernel refuses every write to a file, as with a quota that is used up."""

    def __init__(self, home: World) -> None:
        self._home = home

    def fill(self) -> None:
        self._limit(0)

    def make_room(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        assert self._home.server is not None
        resource.prlimit(self._home.server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def close(self) -> None:
        pass


@pytest.mark.parametrize("make_disk", [FullDisk, FileLimit])
def test_write_is_refused_and_all_goes_on_by_itself_when_the_disk_was_full(
    make_home: MakeHome, sdk: Sdk, make_disk: Callable[[World], FullDisk | FileLimit]
) -> None:
    home = make_home("process")
    with contextlib.closing(make_disk(home)) as disk:
        home.start()
        running = sdk.create(home, "running", STAY)
        eventually("Running", lambda: sdk.state(home, running) == "Running")
        assert home.health() == (200, [])
        disk.fill()
        status, body = post(home, "refused")
        assert (status, body["code"]) == (503, "store_unavailable")
        assert "cannot write" in body["message"]
        assert home.health()[0] == 503
        assert "cannot write" in home.health()[1][0]
        listed = "result = [j.metadata.name for j in client.job.list_all()]"
        assert sdk.run(home, listed) == ["running"]
        disk.make_room()
        eventually("health", lambda: home.health()[0] == 200)
        assert sdk.run(home, listed) == ["running"]
        again = sdk.create(home, "again", "true")
        eventually("Completed", lambda: sdk.state(home, again) == "Completed")
        sdk.run(home, "client.job.update(job, spec={'spec': {'stopped': True}})", job=running)
        eventually("Stopped", lambda: sdk.state(home, running) == "Stopped")
        eventually("nothing to complain of", lambda: home.health() == (200, []))


def post(home: World, name: str) -> tuple[int, dict[str, Any]]:
    """A job with much to keep, so that what is left of an open page or file does not take it in."""
    spec = {"resource_shape": "cpu.small", "container": {"image": "any:1", "command": ["true"]},
            "envs": [{"name": "BIG", "value": "x" * 2_000_000}]}  # fmt: skip
    token = home.values["LEPTON_WORKSPACE_TOKEN"]
    request = urllib.request.Request(
        home.values["LEPTON_WORKSPACE_URL"] + "/jobs",
        data=json.dumps({"metadata": {"id": name}, "spec": spec}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_journal_of_the_simulated_machine_stays_readable_when_a_write_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(file: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: len(data) // 2])

    async def body() -> None:
        driver = SimulatedDriver("i", SystemClock(), journal=tmp_path / "journal")
        specs = [ContainerSpec("i", "w", f"r{n}", 1, 1, "any:1", ("true",)) for n in range(3)]
        await driver.start(specs[0])
        with monkeypatch.context() as full:
            full.setattr(os, "write", half)
            with pytest.raises(RuntimeUnavailable, match="No space left"):
                await driver.start(specs[1])
        await driver.start(specs[2])
        again = SimulatedDriver("i", SystemClock(), journal=tmp_path / "journal")
        assert [seen.replica_id for seen in await again.list_owned()] == ["r0", "r2"]

    write = os.write
    asyncio.run(body())


def test_neighbours_of_a_write_that_fills_the_disk_are_refused_with_it(tmp_path: Path) -> None:
    """SQLite may undo the whole transaction, so the other writes of the same commit are gone too."""

    async def body() -> None:
        store = Store(tmp_path)
        limit(store, 100)
        is_busy, go = threading.Event(), threading.Event()
        blocking = asyncio.create_task(store.write(lambda _: is_busy.set() or go.wait()))
        await asyncio.to_thread(is_busy.wait)
        small, large, last = (
            asyncio.create_task(store.write(put("small", "kept?"))),
            asyncio.create_task(store.write(put("large", "x" * 10_000_000))),
            asyncio.create_task(store.write(put("last", "kept?"))),
        )
        await asyncio.sleep(0)  # all three are queued, for one commit
        go.set()
        await blocking
        answers = await asyncio.gather(small, large, last, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
        assert all("full" in str(answer) for answer in answers)
        assert [store.setting(name) for name in ("small", "large", "last")] == [None] * 3
        assert await store.trouble() == ""  # there is room for what is small
        await store.write(put("small", "kept"))
        assert store.setting("small") == "kept"
        store.close()

    asyncio.run(body())


def put(name: str, value: str) -> Callable[[Session], None]:
    return lambda session: session.add(SettingRow(name=name, value=value))


def limit(store: Store, pages: int) -> None:
    """SQLite's own limit acts as a full disk does."""
    engine = store._write_engine  # pyright: ignore[reportPrivateUsage]
    with engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
