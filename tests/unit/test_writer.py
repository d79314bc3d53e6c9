"""The one writer, on a store of its own."""

import asyncio
from collections.abc import Generator
from pathlib import Path

import pytest
from sqlmodel import Session, col, func, select

from homeport.server.domain.workload import Attempt, AttemptState, Workload, WorkloadSpec
from homeport.server.errors import Conflict
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


def test_attempts_are_read_anew_once_they_have_changed(store: Store) -> None:
    placed = Attempt("w-0", 1, "w", 0, "n", 1, 1, 1)
    over = Attempt("w-0", 1, "w", 0, "n", 1, 1, 1, state=AttemptState.RUNNING)

    async def story() -> None:
        await store.write(lambda s: save_workload(s, Workload("w", "local", "w", "job", "me", 0, SPEC)))
        await store.write(lambda s: save_attempt(s, placed))
        first = store.reads.attempts_of(store.reads.active(0))
        assert first == {"w": [placed]}
        again = store.reads.attempts_of(store.reads.active(0))
        assert again["w"] is first["w"]
        await store.write(lambda s: save_attempt(s, over))
        assert store.reads.attempts_of(store.reads.active(0)) == {"w": [over]}
        assert store.reads.attempts_of([]) == {}

    asyncio.run(story())
