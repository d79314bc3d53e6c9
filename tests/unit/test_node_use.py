"""What live attempts have of a node's CPU and memory: never more than there is, whoever commits when."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import Session, select

from homeport.scheduler.model import Placement
from homeport.server.domain.workload import Attempt, AttemptState, Workload, WorkloadSpec
from homeport.server.errors import Conflict
from homeport.server.reconcile.placing import insert_placed
from homeport.server.snapshot import Ask
from homeport.server.store.node_use import Capacity
from homeport.server.store.store import Store
from homeport.server.store.tables import AttemptRow, LeaseRow
from homeport.server.store.writes import (
    insert_attempts,
    load_attempts,
    note_changed,
    save_attempt,
    save_workload,
)

SPEC = WorkloadSpec(image="a:1", command=("true",), shape="cpu.small", cpu_cores=1, memory_mib=1000)
NODE = {"n": Capacity(4, 8000)}


def workload(id_: str, **fields: Any) -> Workload:
    return Workload(id_, "local", id_, "job", "me", 1, replace(SPEC, **fields))


def attempt(id_: str, cpu: float = 1, memory: int = 1000, node: str = "n") -> Attempt:
    return Attempt(f"{id_}-0", 1, id_, 0, node, cpu, memory, 1)


def over(one: Attempt) -> Attempt:
    return replace(one, state=AttemptState.ENDED, finished_at_ms=5, exit_code=0)


def run(tmp_path: Path, scenario: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    store = Store(tmp_path)
    try:
        asyncio.run(scenario(store))
    finally:
        store.close()


async def placed(store: Store, id_: str, capacity: dict[str, Capacity] = NODE, **fields: Any) -> bool:
    """Of a workload on node n, as the loop commits it; whether it was taken."""
    found = workload(id_, **fields)

    def insert(session: Session) -> int:
        return len(insert_placed(session, Ask(found, (0,)), [Placement("n")], {"n": {}}, 2, capacity))

    try:
        return await store.write(insert) == 1
    except Conflict:
        return False


async def made(store: Store, *ids: str, **fields: Any) -> None:
    for id_ in ids:
        await store.write(lambda s, id_=id_: save_workload(s, workload(id_, **fields)))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param({"cpu_cores": 3.0}, "6 of its 4 CPU core", id="cores"),
        pytest.param({"memory_mib": 5000}, "10000 of its 8000 MiB", id="memory"),
    ],
)
def test_one_of_two_that_race_for_a_node_is_refused_when_it_has_room_for_one(
    tmp_path: Path, fields: dict[str, Any], says: str
) -> None:
    """Both were planned on the same snapshot; they meet in one commit, or in one after the other."""

    async def scenario(store: Store) -> None:
        await made(store, "a", "b", "c", **fields)
        assert sorted(await asyncio.gather(*(placed(store, i, **fields) for i in "ab"))) == [False, True]
        assert not await placed(store, "c", **fields)
        with pytest.raises(Conflict, match=says):
            await store.write(lambda s: insert_attempts(s, [attempt("c", *_size(fields))], {}, NODE))
        live = [a for i in "abc" for a in store.attempts_of(i) if a.is_live]
        assert len(live) == 1
        await store.write(lambda s: save_attempt(s, over(live[0])))
        assert await placed(store, "c", **fields)

    run(tmp_path, scenario)


def _size(fields: dict[str, Any]) -> tuple[float, int]:
    return fields.get("cpu_cores", 1), fields.get("memory_mib", 1000)


def test_both_are_refused_when_together_in_one_write(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await made(store, "a", "b", "c")
        with pytest.raises(Conflict):
            await store.write(lambda s: [insert_attempts(s, [attempt(i, 3)], {}, NODE) for i in ("a", "b")])
        assert not store.attempts_of("a")
        assert not store.attempts_of("b")
        assert await placed(store, "c")  # nothing of what was undone is counted

    run(tmp_path, scenario)


def test_nothing_is_left_of_a_refused_write_when_its_neighbours_are_kept(tmp_path: Path) -> None:
    """It took one GPU before it was refused the other."""

    async def scenario(store: Store) -> None:
        await made(store, "a", "b", "c")
        devices = {"n": {"g1", "g2"}}
        takes = [("a", ("g2",)), ("b", ("g1", "g2")), ("c", ("g1",))]
        news = [replace(attempt(id_), gpu_uuids=gpus) for id_, gpus in takes]
        answers = await asyncio.gather(
            *(store.write(lambda s, new=new: insert_attempts(s, [new], devices)) for new in news),
            return_exceptions=True,
        )
        assert [type(a) for a in answers] == [type(None), Conflict, type(None)]
        leases = await store.write(lambda s: {(r.gpu_uuid, r.replica_id) for r in s.exec(select(LeaseRow))})
        assert leases == {("g2", "a-0"), ("g1", "c-0")}

    run(tmp_path, scenario)


def test_what_another_server_left_is_counted(tmp_path: Path) -> None:
    async def before(store: Store) -> None:
        await made(store, "a", "b")
        assert await placed(store, "a", cpu_cores=1)
        await store.write(lambda s: save_attempt(s, attempt("b", 2)))

    async def after(store: Store) -> None:
        await made(store, "c", "d")
        assert await placed(store, "c")
        assert not await placed(store, "d")

    run(tmp_path, before)
    run(tmp_path, after)


def test_what_went_round_the_unit_of_work_is_counted(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        await made(store, "a", "b", "c", cpu_cores=4)
        assert await placed(store, "a", cpu_cores=4)
        assert not await placed(store, "b", cpu_cores=4)

        def end(session: Session) -> None:
            row = session.exec(select(AttemptRow)).one()
            row.is_live, row.doc = False, row.doc.replace('"placed"', '"ended"')
            session.add(row)
            session.flush()
            note_changed(session)

        await store.write(end)
        assert await placed(store, "b", cpu_cores=4)

    run(tmp_path, scenario)


def test_a_node_that_nobody_is_placed_on_is_left_alone_when_it_has_too_much(tmp_path: Path) -> None:
    """Of containers that were adopted there may be more than the node has by now."""

    async def scenario(store: Store) -> None:
        await made(store, "a", "b")
        await store.write(lambda s: save_attempt(s, attempt("a", 9)))
        await store.write(
            lambda s: insert_attempts(s, [attempt("b", node="m")], {}, {"m": Capacity(1, 1000)})
        )
        assert [a.node for a in store.attempts_of("b")] == ["m"]

    run(tmp_path, scenario)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["place", "place", "end", "fail", "together"]),
        st.sampled_from("abcdef"),
        st.sampled_from([0.1, 0.5, 1.0, 2.5]),
        st.sampled_from([500, 3000]),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_the_sum_of_the_table_is_never_more_than_the_node_has(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, float, int]]
) -> None:
    def place(session: Session, id_: str, cpu: float, memory: int) -> None:
        number = len(load_attempts(session, id_)) + 1
        new = replace(attempt(id_, cpu, memory), number=number)
        insert_attempts(session, [new], {}, NODE)

    def end(session: Session, id_: str) -> None:
        for one in load_attempts(session, id_):
            save_attempt(session, over(one))

    async def scenario(store: Store) -> None:
        await made(store, *"abcdef")
        for what, id_, cpu, memory in steps:

            def fail(session: Session, id_: str = id_, cpu: float = cpu, memory: int = memory) -> None:
                place(session, id_, cpu, memory)
                raise ValueError("given up")

            def one(s: Session, id_: str = id_, cpu: float = cpu, memory: int = memory) -> None:
                place(s, id_, cpu, memory)

            def stop(session: Session, id_: str = id_) -> None:
                end(session, id_)

            kinds = {"place": [one], "fail": [fail], "end": [stop], "together": [one, fail, one]}
            writes: list[Callable[[Session], None]] = kinds[what]
            before = _sums(store)
            answers = await asyncio.gather(*map(store.write, writes), return_exceptions=True)
            now = _sums(store)
            assert now[0] <= 4 + 1e-6
            assert now[1] <= 8000
            if what == "place" and answers[0] is not None:  # nobody is refused for whom there was room
                assert isinstance(answers[0], Conflict)
                assert before[0] + cpu > 4 or before[1] + memory > 8000

    run(tmp_path_factory.mktemp("use"), scenario)


def _sums(store: Store) -> tuple[float, int]:
    live = [a for i in "abcdef" for a in store.attempts_of(i) if a.is_live]
    return sum(a.cpu_cores for a in live), sum(a.memory_mib for a in live)
