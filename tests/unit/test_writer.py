"""The one writer, on a store of its own."""

import asyncio
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import Session, col, func, select

from homeport.server.domain.workload import Attempt, AttemptState, Workload, WorkloadSpec
from homeport.server.errors import Conflict
from homeport.server.store import active
from homeport.server.store.active import Entry
from homeport.server.store.opening import connect
from homeport.server.store.store import Store
from homeport.server.store.tables import SettingRow
from homeport.server.store.writer import MAX_BATCH
from homeport.server.store.writes import save_attempt, save_workload

DEADLINE_S = 60
SPEC = WorkloadSpec(image="a:1", command=("true",), shape="cpu.small", cpu_cores=1, memory_mib=4096)


@pytest.fixture
def store(tmp_path: Path) -> Generator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def add(session: Session, name: str) -> None:
    session.add(SettingRow(name=name, value=""))


def kept(store: Store) -> int:
    query = select(func.count()).where(col(SettingRow.name).startswith("w"))
    return store.read(lambda s: s.exec(query).one())


def test_every_write_is_answered_when_more_wait_than_one_commit_holds(store: Store) -> None:
    count = 2 * MAX_BATCH + 3

    async def crowd() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*(store.write(lambda s, n=n: add(s, f"w{n}")) for n in range(count)))

    asyncio.run(crowd())
    assert kept(store) == count


def test_neighbours_are_written_when_one_of_a_commit_is_refused(store: Store) -> None:
    def refuse(session: Session) -> None:
        add(session, "w-refused")
        session.flush()
        raise Conflict("not this one")

    async def crowd() -> list[object]:
        writes = [store.write(lambda s, n=n: add(s, f"w{n}")) for n in range(20)]
        again = store.write(lambda s: add(s, "w0"))  # that row is there: SQLite refuses it
        return await asyncio.gather(*writes, store.write(refuse), again, return_exceptions=True)

    answers = asyncio.run(crowd())
    assert [a for a in answers[:20] if a is not None] == []
    assert isinstance(answers[20], Conflict)
    assert isinstance(answers[21], Exception)
    assert kept(store) == 20


def test_table_of_what_is_active_is_told_what_each_commit_has_changed(store: Store) -> None:
    placed = Attempt("w-0", 1, "w", 0, "n", 1, 1, 1)
    over = replace(placed, state=AttemptState.ENDED, exit_code=0, finished_at_ms=1)
    table = store.reads.table
    changes = table.follow()

    def news() -> dict[str, Entry | None]:
        entries = table.look(0)
        with changes.taking() as touched:
            return {i: entries.get(i) for i in touched}

    async def story() -> None:
        for name in "wv":
            workload = Workload(name, "local", name, "job", "me", 0, SPEC)
            await store.write(lambda s, workload=workload: save_workload(s, workload))
        assert {i: len(e.attempts) for i, e in news().items() if e} == {"w": 0, "v": 0}
        await store.write(lambda s: save_attempt(s, placed))
        other = table.look(0)["v"]
        assert {i: e and list(e.attempts) for i, e in news().items()} == {"w": [placed]}
        assert table.look(0)["v"] is other
        with pytest.raises(ZeroDivisionError):
            await store.write(lambda s: (save_attempt(s, over), 1 / 0))
        assert news() == {}, "nothing of it was committed"
        await store.write(lambda s: save_attempt(s, over))
        assert news() == {"w": None}, "it is at rest"
        assert list(table.look(0)) == ["v"]

    asyncio.run(story())


def test_changes_that_were_taken_by_who_failed_are_told_again(store: Store) -> None:
    changes = store.reads.table.follow()
    changes.add(["w"])
    with pytest.raises(ZeroDivisionError), changes.taking():
        _ = 1 / 0
    with changes.taking() as touched:
        assert touched == {"w"}
    with changes.taking() as touched:
        assert touched == set()


def test_no_read_of_what_is_active_goes_through_all_there_ever_was(store: Store, tmp_path: Path) -> None:
    connection = connect(tmp_path / "homeport.db")
    for sql in (active.UNSETTLED, active.EXPIRED, active.NEXT_EXPIRY, active.ROWS, active.ATTEMPTS):
        steps = connection.execute(f"EXPLAIN QUERY PLAN {sql}", {"now": 1, "ids": '["w"]'}).fetchall()
        assert not [told for *_, told in steps if told.startswith(("SCAN workload", "SCAN attempt"))], sql
    connection.close()
