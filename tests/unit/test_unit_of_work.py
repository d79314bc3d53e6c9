"""What one transaction holds back until its end: the tables are as if each write had gone in at once."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import Session, col, select

from homeport.server.domain.workload import Attempt, AttemptState, Workload, WorkloadSpec
from homeport.server.errors import Conflict
from homeport.server.store.store import Store
from homeport.server.store.tables import AttemptRow, EventRow, LeaseRow, WorkloadRow
from homeport.server.store.writes import (
    add_event,
    load_attempt,
    load_attempts,
    load_named,
    load_workload,
    preload,
    save_attempt,
    save_workload,
)

SPEC = WorkloadSpec(image="a:1", command=("true",), shape="cpu.small", cpu_cores=1, memory_mib=4096)
Write = Callable[[Session], None]
IDS, NUMBERS, REASONS = ("w-a", "w-b", "w-c"), (1, 2, 3), ("Began", "Ended")


def workload(id_: str, generation: int = 1) -> Workload:
    return Workload(id_, "local", id_, "job", "me", 1, SPEC, generation=generation)


def attempt(id_: str, number: int, state: AttemptState = AttemptState.PLACED) -> Attempt:
    gpus = (f"GPU-{id_}",) if number == NUMBERS[-1] else ()
    over = {"finished_at_ms": 5, "exit_code": 0} if state is AttemptState.ENDED else {}
    made = Attempt(f"{id_}-0", number, id_, 0, "n", 1, 1, 1, gpu_uuids=gpus, state=state)
    return replace(made, **over)


def on(id_: str, write: Write) -> Write:
    """The workload is made before anything of it is."""

    def both(session: Session) -> None:
        if load_workload(session, id_) is None:
            save_workload(session, workload(id_))
        write(session)

    return both


def saving(id_: str, generation: int) -> Write:
    return on(id_, lambda s: save_workload(s, workload(id_, generation)))


def trying(id_: str, number: int, state: AttemptState) -> Write:
    return on(id_, lambda s: save_attempt(s, attempt(id_, number, state)))


def telling(id_: str, reason: str, now_ms: int) -> Write:
    return on(id_, lambda s: add_event(s, id_, now_ms, reason, "so"))


def reading(some: Sequence[str], id_: str) -> Write:
    def read(session: Session) -> None:
        preload(session, some)
        load_attempts(session, id_)

    return read


ids = st.sampled_from(IDS)
writes = st.one_of(
    st.builds(saving, ids, st.integers(2, 4)),
    st.builds(trying, ids, st.sampled_from(NUMBERS), st.sampled_from(AttemptState)),
    st.builds(telling, ids, st.sampled_from(REASONS), st.integers(1, 9)),
    st.builds(reading, st.lists(ids), ids),
)


def tables(store: Store) -> list[Any]:
    """All but revisions, which count commits."""

    def rows(session: Session) -> list[Any]:
        found: list[Any] = []
        for table in (WorkloadRow, AttemptRow, EventRow, LeaseRow):
            each = [row.model_dump(exclude={"revision"}) for row in session.exec(select(table))]
            found.append(sorted(each, key=lambda row: [str(v) for v in row.values()]))
        return found

    return store.read(rows)


def written(parts: Sequence[Sequence[Write]]) -> list[Any]:
    """The tables after one transaction for each part."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))

        async def run() -> None:
            for part in parts:
                await store.write(lambda s, part=part: [write(s) for write in part])

        try:
            asyncio.run(run())
            return tables(store)
        finally:
            store.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(writes, max_size=25))
def test_one_transaction_leaves_what_one_for_each_write_does(parts: list[Write]) -> None:
    assert written([parts]) == written([[part] for part in parts])


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = Store(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("is_together", [True, False])
def test_event_only_counts_up_where_it_follows_itself(store: Store, is_together: bool) -> None:
    told = [("Began", 5), ("Began", 3), ("Ended", 4), ("Began", 9), ("Began", 9)]
    parts = [telling("w-a", reason, now_ms) for reason, now_ms in told]

    async def run() -> None:
        for part in [parts] if is_together else [[part] for part in parts]:
            await store.write(lambda s, part=part: [write(s) for write in part])

    asyncio.run(run())
    rows = [(row.reason, row.count, row.last_ms) for row in store.events_of("w-a")]
    assert rows == [("Began", 2, 5), ("Ended", 1, 5), ("Began", 2, 9)]


def test_reads_see_what_was_saved_before_them(store: Store) -> None:
    def both(session: Session) -> None:
        assert load_workload(session, "w-a") is None
        save_workload(session, workload("w-a"))
        save_attempt(session, attempt("w-a", 2))
        save_attempt(session, attempt("w-a", 1))
        assert load_workload(session, "w-a") == workload("w-a")
        assert [a.number for a in load_attempts(session, "w-a")] == [1, 2]
        assert load_attempt(session, ("w-a-0", 2)) == attempt("w-a", 2)
        assert load_named(session, "local", "job", "w-a") == workload("w-a")
        found = session.exec(select(WorkloadRow.phase).where(col(WorkloadRow.id) == "w-a")).one()
        assert found == "starting"

    asyncio.run(store.write(both))


def test_refused_write_leaves_nothing_and_its_neighbours_do_not_see_it(store: Store) -> None:
    def refused(session: Session) -> None:
        save_workload(session, workload("w-b", 7))
        add_event(session, "w-a", 1, "Refused", "")
        raise Conflict("not this one")

    def after(session: Session) -> None:
        assert load_workload(session, "w-b") is None
        save_workload(session, workload("w-c"))

    async def together() -> list[object]:
        writes = [saving("w-a", 1), refused, after]
        return await asyncio.gather(*map(store.write, writes), return_exceptions=True)

    first, second, third = asyncio.run(together())
    assert (first, third) == (None, None)
    assert isinstance(second, Conflict)
    assert [row["id"] for row in tables(store)[0]] == ["w-a", "w-c"]
    assert tables(store)[2] == []


def test_gpu_of_another_is_refused_though_neither_is_in_the_tables_yet(store: Store) -> None:
    first, second = attempt("w-a", 3), replace(attempt("w-b", 3), gpu_uuids=("GPU-w-a",))

    async def together() -> list[object]:
        writes = (store.write(lambda s, a=a: save_attempt(s, a)) for a in (first, second))
        return await asyncio.gather(*writes, return_exceptions=True)

    answers = asyncio.run(together())
    assert answers[0] is None
    assert isinstance(answers[1], Conflict)
    assert [row["replica_id"] for row in tables(store)[3]] == ["w-a-0"]
    assert [row["replica_id"] for row in tables(store)[1]] == ["w-a-0"]
