"""What becomes of what is evicted, of devices claimed twice, of leases; and what a project's rules end."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, col, select

from homeport.runtime.model import ContainerState, Handle, Observed
from homeport.scheduler.model import EvictedBy, Eviction, Queue
from homeport.scheduler.plan import plan
from homeport.server.domain.endpoints import needed as needed_of_endpoint
from homeport.server.domain.evictions import double_claims, evicted_for, evicting
from homeport.server.domain.lifecycle import advance, needed, phase_of, unwanted
from homeport.server.domain.org import Rules
from homeport.server.domain.rules import Remedy, givers, in_force, verdicts
from homeport.server.domain.runs import Need, Outcome, outcome
from homeport.server.domain.workload import Attempt, AttemptState, Phase, Workload, WorkloadSpec
from homeport.server.errors import Conflict
from homeport.server.reconcile.evictions import (
    commit,
    held_back,
    planned,
    quarantine,
    with_claimants,
    without,
)
from homeport.server.reconcile.replicas import Record, diff
from homeport.server.snapshot import Facts, Work, build
from homeport.server.snapshot.work import running_id, work_of
from homeport.server.store.documents import to_doc
from homeport.server.store.found import Found
from homeport.server.store.leases import free_leases
from homeport.server.store.store import Store
from homeport.server.store.tables import EventRow, LeaseRow
from homeport.server.store.writes import (
    insert_attempts,
    keep_leases,
    load_attempt,
    save_attempt,
    save_workload,
)
from tests.unit.asks import node
from tests.unit.rolling import endpoint, serving

NOW = 1_000_000
DEVICES = {"n": {"g0", "g1"}}


def job(**spec: Any) -> Workload:
    return Workload("w", "local", "w", "job", "me", 0, WorkloadSpec("i", ("x",), "cpu.small", 1, 512, **spec))


def gang(size: int, **spec: Any) -> Workload:
    return job(completions=size, parallelism=size, **spec)


def attempt(index: int = 0, number: int = 1, **fields: Any) -> Attempt:
    return Attempt(f"w-{index}", number, "w", index, "n", 1, 512, 1, **fields)


def evicted(index: int = 0, number: int = 1) -> Attempt:
    return attempt(
        index, number, state=AttemptState.ENDED, reason="Evicted", exit_code=143, finished_at_ms=NOW,
        evicting_at_ms=NOW - 1, evicted_by="reclaimed for v",
    )  # fmt: skip


def other(id_: str, **fields: Any) -> Workload:
    return replace(job(), id=id_, name=id_, **fields)


def seen(state: ContainerState, **fields: Any) -> Observed:
    return Observed(Handle("c", "c"), "w", "w-0", 1, 1, state, **fields)


# -- what becomes of it --------------------------------------------------------


def test_evicted_job_waits_at_once_and_no_retry_is_counted() -> None:
    work, attempts = job(worker_retries=0), [evicted()]
    assert needed(work, attempts, NOW) == Need((0,), False)
    assert phase_of(work, attempts) is Phase.QUEUED
    assert outcome(work, attempts) is Outcome.OPEN


def test_evicted_gang_begins_anew_as_a_gang_once_all_its_members_have_ended() -> None:
    work = gang(2)
    leaving = replace(attempt(1), evicting_at_ms=NOW, evicted_by="reclaimed for v")
    assert advance(work, [evicted(0), leaving], NOW) is None
    ended = [evicted(0), evicted(1)]
    step = advance(work, ended, NOW)
    assert step is not None
    assert step.workload.runs_failed == 0
    assert needed(step.workload, ended, NOW) == Need((0, 1), True)


@pytest.mark.parametrize("first", [evicted(0), attempt(0, state=AttemptState.ENDED, exit_code=0)])
def test_no_member_of_an_evicted_gang_is_asked_for_while_the_last_of_them_end(first: Attempt) -> None:
    leaving = replace(attempt(1), evicting_at_ms=NOW, evicted_by="stale gang")
    nothing = Need((), False)
    assert needed(gang(3), [first, leaving, evicted(2)], NOW) == nothing
    assert needed(gang(3), [first, evicted(1), evicted(2)], NOW) == nothing  # it is to begin anew first


def test_member_is_asked_for_alone_when_the_others_stay() -> None:
    assert needed(gang(2), [attempt(0), evicted(1)], NOW) == Need((1,), False)


def test_member_beyond_the_minimum_is_asked_for_alone_when_it_was_evicted() -> None:
    work = gang(3, min_members=2)
    attempts = [attempt(0), attempt(1), evicted(2)]
    assert advance(work, attempts, NOW) is None
    assert needed(work, attempts, NOW) == Need((2,), False, is_extra=True)


def test_elastic_job_completes_with_those_that_ran() -> None:
    work = gang(3, min_members=2)
    done = [attempt(i, state=AttemptState.ENDED, exit_code=0, finished_at_ms=NOW) for i in (0, 1)]
    assert outcome(work, done) is Outcome.SUCCEEDED
    assert outcome(work, [done[0], attempt(1)]) is Outcome.OPEN
    assert needed(work, [done[0], attempt(1)], NOW) == Need((), False)


def test_job_has_failed_when_it_was_evicted_and_is_to_end_then() -> None:
    work = job(ends_when_evicted=True, run_retries=3)
    assert phase_of(work, [evicted()]) is Phase.FAILED
    assert advance(work, [evicted()], NOW) is None


def test_evicting_attempt_is_unwanted_with_the_reason_in_words() -> None:
    told = evicting(job(), attempt(), "preempted", other("v-1234"), NOW)
    assert unwanted(job(), [told]) == {told.key: "evicted: preempted for v-1234"}
    assert evicted_for(told) == "v-1234"
    nobody = evicting(job(), attempt(), "stale gang", None, NOW)
    assert unwanted(job(), [nobody]) == {nobody.key: "evicted: stale gang"}
    assert evicted_for(nobody) == ""


@pytest.mark.parametrize(
    ("asker", "told"),
    [
        pytest.param({"workspace": "b"}, "work of project b", id="of-another-workspace"),
        pytest.param({"spec": {"is_private": True}}, "private work of project local", id="private"),
    ],
)
def test_name_of_the_asker_is_not_told_when_some_of_the_workspace_may_not_read_it(
    asker: dict[str, Any], told: str
) -> None:
    by = replace(job(**asker.pop("spec", {})), id="v-1234", name="v", **asker)
    for work in (job(), endpoint(1)):
        leaving = evicting(work, attempt(), "reclaimed", by, NOW)
        assert unwanted(work, [leaving]) == {leaving.key: f"evicted: reclaimed for {told}"}
        assert evicted_for(leaving) == "v-1234"  # the loop knows


def test_attempt_written_by_an_older_server_tells_only_how_it_was_evicted() -> None:
    told = attempt(evicting_at_ms=NOW, evicted_by="reclaimed for v-1234")
    assert unwanted(job(), [told]) == {told.key: "evicted: reclaimed"}


def test_stop_by_a_rule_is_told_as_one() -> None:
    work = job(is_stopped=True)
    assert unwanted(work, [attempt()]) == {attempt().key: "stopped by request"}
    by_rule = replace(work, stopped_by="it has run for 5 s")
    assert unwanted(by_rule, [attempt()]) == {attempt().key: "stopped by a rule: it has run for 5 s"}
    pod = replace(endpoint(1), spec=replace(endpoint(1).spec, is_stopped=True), stopped_by="it has idled")
    assert unwanted(pod, [attempt()]) == {attempt().key: "stopped by a rule: it has idled"}


def ends(told: Attempt, container: Observed) -> Attempt:
    (record,) = (
        a for a in diff({"w": job()}, {"w": [told]}, [container], now_ms=NOW) if isinstance(a, Record)
    )
    return record.attempt


def test_container_that_ends_because_it_was_told_to_is_evicted() -> None:
    told = evicting(job(), attempt(state=AttemptState.RUNNING), "reclaimed", other("v"), NOW)
    over = ends(told, seen(ContainerState.EXITED, exit_code=0, finished_at_ms=NOW + 5))
    assert (over.reason, over.message) == ("Evicted", "ended with exit code 0: evicted: reclaimed for v")


@pytest.mark.parametrize("limit", [None, 2048], ids=["its-request", "a-limit-of-its-own"])
def test_container_that_went_over_its_memory_is_told_its_limit(limit: int | None) -> None:
    work = job(memory_limit_mib=limit)
    (record,) = (
        a
        for a in diff(
            {"w": work}, {"w": [attempt(state=AttemptState.RUNNING)]},
            [seen(ContainerState.EXITED, exit_code=137, oom_killed=True)], now_ms=NOW,
        )
        if isinstance(a, Record)
    )  # fmt: skip
    assert record.attempt.message == f"went over its memory limit of {limit or 512} MiB"


def test_container_that_had_ended_before_it_was_told_to_keeps_its_own_end() -> None:
    told = replace(attempt(state=AttemptState.RUNNING), evicting_at_ms=NOW, evicted_by="reclaimed for v")
    over = ends(told, seen(ContainerState.EXITED, exit_code=0, finished_at_ms=NOW - 5))
    assert over.reason == "Completed"


def test_endpoint_replica_is_drained_before_it_ends_and_is_needed_again_after_that() -> None:
    work = endpoint(1)
    told = evicting(work, serving(1), "preempted", other("v"), NOW)
    assert told.draining_at_ms == NOW
    assert needed_of_endpoint(work, [told], NOW).indexes == ()
    over = replace(told, state=AttemptState.ENDED, reason="Evicted", exit_code=143, finished_at_ms=NOW)
    assert needed_of_endpoint(work, [over], NOW).indexes == (0,)


# -- devices claimed twice -----------------------------------------------------


def holds(index: int, portion: float, at_ms: int) -> Attempt:
    return attempt(index, gpu_uuids=("g0",), gpu_portion=portion, placed_at_ms=at_ms)


@pytest.mark.parametrize(
    ("portions", "late"),
    [
        pytest.param([1.0, 1.0], ["w-1"], id="the-later-of-two-wholes"),
        pytest.param([0.5, 0.5], [], id="halves-are-no-double-claim"),
        pytest.param([0.1] * 10, [], id="tenths-add-up-to-the-whole"),
        pytest.param([0.5, 0.75, 0.5], ["w-1"], id="who-still-fits-stays"),
    ],
)
def test_double_claims(portions: list[float], late: list[str]) -> None:
    claims = double_claims(holds(i, portion, NOW + i) for i, portion in enumerate(portions))
    assert [claim.late.replica_id for claim in claims] == late


# -- leases --------------------------------------------------------------------


def in_store(tmp_path: Path, work: Callable[[Session], Any]) -> Any:
    async def run() -> Any:
        store = Store(tmp_path)
        try:
            await store.write(lambda s: save_workload(s, gang(9)))
            return await store.write(work)
        finally:
            store.close()

    return asyncio.run(run())


def leases(session: Session) -> list[tuple[str, str, int, float, str]]:
    rows = session.exec(select(LeaseRow))
    return sorted((r.node, r.gpu_uuid, r.slice, r.portion, r.replica_id) for r in rows)


def test_portions_share_a_device_each_in_its_slice(tmp_path: Path) -> None:
    def work(session: Session) -> Any:
        for i, portion in enumerate((0.5, 0.25, 0.25)):
            insert_attempts(session, [holds(i, portion, NOW)], DEVICES)
        ended = replace(holds(0, 0.5, NOW), state=AttemptState.ENDED, exit_code=0)
        save_attempt(session, ended)
        insert_attempts(session, [holds(3, 0.5, NOW)], DEVICES)
        return leases(session)

    assert in_store(tmp_path, work) == [
        ("n", "g0", 0, 0.5, "w-3"), ("n", "g0", 1, 0.25, "w-1"), ("n", "g0", 2, 0.25, "w-2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("portion", "uuid", "told"),
    [
        pytest.param(0.6, "g0", "0.5 of it is free", id="more-than-is-left"),
        pytest.param(1.0, "g0", "already taken", id="the-whole"),
        pytest.param(0.5, "g7", "has no GPU g7", id="a-device-that-the-node-has-not"),
    ],
)
def test_nothing_is_written_when_a_member_of_a_gang_cannot_have_its_device(
    tmp_path: Path, portion: float, uuid: str, told: str
) -> None:
    async def run() -> Any:
        store = Store(tmp_path)

        def both(session: Session) -> None:
            insert_attempts(session, [attempt(1, gpu_uuids=("g1",))], DEVICES)
            insert_attempts(session, [attempt(2, gpu_uuids=(uuid,), gpu_portion=portion)], DEVICES)

        try:
            await store.write(lambda s: save_workload(s, gang(9)))
            await store.write(lambda s: insert_attempts(s, [holds(0, 0.5, NOW)], DEVICES))
            with pytest.raises(Conflict, match=told):
                await store.write(both)
            return store.read(leases), [a.replica_id for a in store.attempts_of("w")]
        finally:
            store.close()

    assert asyncio.run(run()) == ([("n", "g0", 0, 0.5, "w-0")], ["w-0"])


def test_lost_leases_come_back_unless_somebody_else_has_the_device(tmp_path: Path) -> None:
    def work(session: Session) -> Any:
        insert_attempts(session, [holds(0, 1.0, NOW)], DEVICES)
        keep_leases(session, holds(1, 1.0, NOW))
        keep_leases(session, attempt(2, gpu_uuids=("g1",)))
        keep_leases(session, attempt(2, gpu_uuids=("g1",)))
        return leases(session)

    assert in_store(tmp_path, work) == [("n", "g0", 0, 1.0, "w-0"), ("n", "g1", 0, 1.0, "w-2")]


# -- what the loop commits -----------------------------------------------------


def two_jobs(session: Session) -> Attempt:
    """A victim that runs, and an asker that waits."""
    save_workload(session, replace(job(), id="v", name="v"))
    victim = replace(holds(0, 1.0, NOW), replica_id="v-0", workload_id="v")
    insert_attempts(session, [victim], DEVICES)
    return victim


def plan_of(*victims: Attempt, by: str = "w/0") -> list[Eviction]:
    return [
        Eviction(running_id(a), a.workload_id, EvictedBy.RECLAIM, by, "evicted: reclaimed for project x")
        for a in victims
    ]


def told(session: Session) -> list[tuple[str, str]]:
    rows = session.exec(select(EventRow).order_by(col(EventRow.seq)))
    return [(row.workload_id, row.reason) for row in rows]


def test_eviction_is_committed_once_and_told_to_both(tmp_path: Path) -> None:
    def work(session: Session) -> Any:
        victim = two_jobs(session)
        answers = [commit(session, plan_of(victim), NOW) for _ in range(2)]
        after = load_attempt(session, victim.key)
        assert after is not None
        return (
            answers,
            told(session),
            (after.is_live, after.evicting_at_ms, after.evicted_by),
            leases(session),
        )

    assert in_store(tmp_path, work) == (
        [True, False],
        [("v", "Evicted"), ("w", "MakingRoom")],
        (True, NOW, "reclaimed for w"),
        [("n", "g0", 0, 1.0, "v-0")],  # the device is its own until it has ended
    )


@pytest.mark.parametrize(
    ("workspace", "told"),
    [
        pytest.param("local", ("it can run on n, and w then fits", "v ends"), id="of-one-project"),
        pytest.param(
            "b", ("it can run on n, and work of project local then fits", "work of project b ends"),
            id="of-two-projects",
        ),
    ],
)  # fmt: skip
def test_event_names_only_what_its_readers_may_know(
    tmp_path: Path, workspace: str, told: tuple[str, str]
) -> None:
    def work(session: Session) -> Any:
        victim = two_jobs(session)
        save_workload(session, replace(job(), id="v", name="v", workspace=workspace))
        (wanted,) = plan_of(victim)
        commit(session, [replace(wanted, message="evicted: it can run on n, and w/0 then fits")], NOW)
        return [row.message for row in session.exec(select(EventRow).order_by(col(EventRow.seq)))]

    assert in_store(tmp_path, work) == [
        f"v-0 is evicted: {told[0]}", f"{told[1]} to make room for it: reclaimed"
    ]  # fmt: skip


@pytest.mark.parametrize(("workspace", "name"), [("local", "v-0"), ("b", "work of project b")])
def test_double_claim_names_only_what_its_readers_may_know(tmp_path: Path, workspace: str, name: str) -> None:
    def work(session: Session) -> Any:
        first = two_jobs(session)
        save_workload(session, replace(job(), id="v", name="v", workspace=workspace))
        late = attempt(0, gpu_uuids=("g1",))
        insert_attempts(session, [late], DEVICES)
        free_leases(session.connection().connection.dbapi_connection, late)  # type: ignore[arg-type]
        late = holds(0, 1.0, NOW + 1)
        save_attempt(session, late)
        quarantine(session, double_claims([first, late]), NOW)
        rows = session.exec(select(EventRow).order_by(col(EventRow.seq)))
        return {row.workload_id: row.message for row in rows}

    events = in_store(tmp_path, work)
    assert f"is claimed by {name} and by w-0, which was placed later" in events["w"]
    theirs = "w-0" if workspace == "local" else "work of project local"
    assert f"is claimed by v-0 and by {theirs}, which was placed later" in events["v"]


@pytest.mark.parametrize("gone", ["victim", "asker"])
def test_nobody_of_a_group_is_evicted_when_one_has_ended_or_the_asker_is_gone(
    tmp_path: Path, gone: str
) -> None:
    def work(session: Session) -> Any:
        victim, other = two_jobs(session), attempt(1, gpu_uuids=("g1",))
        other = replace(other, replica_id="v-1", workload_id="v")
        insert_attempts(session, [other], DEVICES)
        if gone == "victim":
            save_attempt(session, replace(other, state=AttemptState.ENDED, exit_code=0))
        else:
            save_workload(session, job(is_stopped=True))
        return commit(session, plan_of(victim, other), NOW), told(session)

    assert in_store(tmp_path, work) == (False, [])


def odd_of(works: Mapping[str, Work]) -> dict[str, Work]:
    return {i: work for i, work in works.items() if work.is_odd}


def works_of(*rows: tuple[Workload, list[Attempt]]) -> dict[str, Work]:
    facts = Facts(())
    found = [(Found(w.id, seq, 1, Phase.QUEUED, to_doc(w)), mine) for seq, (w, mine) in enumerate(rows)]
    return {f.id: work_of(f, mine, facts, NOW) for f, mine in found}


def test_evicted_is_held_back_only_while_the_one_it_made_room_for_waits() -> None:
    asker = replace(job(), id="v", name="v")
    works = works_of((job(), [evicted()]), (asker, []))
    assert held_back(works, odd_of(works)) == {"w/0": "v"}
    snapshot = build(Facts(()), works.values())
    assert sorted(without(snapshot, ["w/0"]).pending.values()) == [("v/0",)]
    served = replace(attempt(), replica_id="v-0", workload_id="v")
    works = works_of((job(), [evicted()]), (asker, [served]))
    assert held_back(works, odd_of(works)) == {}


def test_what_is_held_back_counts_for_the_share_of_its_queue_all_the_same() -> None:
    """Or the queue would seem to ask for less than it does, and lose more for it."""
    asker = replace(job(), id="v", name="v", workspace="elsewhere")
    third = replace(job(gpu_count=1), id="x", name="x")
    works = works_of((job(gpu_count=1), [evicted()]), (asker, []), (third, []))
    snapshot = build(Facts(()), works.values())
    left = without(snapshot, ["w/0"])
    ((wanted, count),) = left.to_come.items()
    assert (wanted.queue, wanted.gpu_count, count) == ("local", 1, 1)
    queues = (Queue("local"), Queue("elsewhere"))
    shares = [plan(replace(s, queues=queues, nodes=(node("n", cpu=2),))).shares for s in (snapshot, left)]
    assert {(s.queue, s.requested.gpus) for s in shares[1]} == {("local", 2.0), ("elsewhere", 0.0)}
    assert [s.fair for s in shares[0]] == [s.fair for s in shares[1]]


def test_who_lost_the_place_made_for_it_gets_another_in_the_queue_of_what_it_was_made_of() -> None:
    """Else it would be promised, and never get, what that queue is spared; and nothing went on for either."""
    asker = other("v", spec=replace(job().spec, priority=80, can_preempt=True))
    weak = other("x", spec=replace(job().spec, is_preemptible=True, priority=20))
    its = replace(attempt(), replica_id="x-0", workload_id="x")
    works = works_of((job(), [evicted()]), (asker, []), (weak, [its]))
    full = replace(build(Facts(()), works.values()), nodes=(node("n", cpu=0),))
    answer = planned(with_claimants(full, works, odd_of(works)), works, odd_of(works))
    assert [(e.workload, e.by) for e in answer.evicted] == [("x", "v/0")]
    assert answer.promised.keys() == {"v/0"}


def test_what_was_evicted_waits_and_is_told_for_whom_while_that_one_is_served() -> None:
    asker = other("v", spec=replace(job().spec, priority=80))
    works = works_of((job(), [evicted()]), (asker, []))
    free = replace(build(Facts(()), works.values()), nodes=(node("n", cpu=2),))
    answer = planned(with_claimants(free, works, odd_of(works)), works, odd_of(works))
    assert answer.placed.keys() == {"v/0"}
    assert answer.unplaced["w/0"].reasons == ("it made room for v, which comes first",)


@pytest.mark.parametrize("is_gone", [False, True], ids=["leaves", "has left"])
def test_place_belongs_to_whom_it_was_made_for(is_gone: bool) -> None:
    asker = replace(job(), id="v", name="v")
    leaving = replace(attempt(), evicting_at_ms=NOW, evicted_by="consolidated for v")
    works = works_of((job(), [evicted() if is_gone else leaving]), (asker, []))
    snapshot = build(Facts(()), works.values())
    assert with_claimants(snapshot, works, odd_of(works)).claimants == {"v/0"}
    nobody = works_of((job(), [attempt()]), (asker, []))
    assert with_claimants(snapshot, nobody, odd_of(nobody)) is snapshot


def test_what_was_moved_comes_right_after_the_one_that_it_made_room_for() -> None:
    """Else others would have the place that was found for it, and it would have lost its own for that."""
    asker, moved = replace(job(), id="v", name="v"), replace(evicted(), evicted_by="consolidated for v")
    works = works_of((job(), [moved]), (asker, []), (other("x"), []))
    snapshot = with_claimants(build(Facts(()), works.values()), works, odd_of(works))
    assert (snapshot.claimants, snapshot.moved) == ({"v/0"}, {"w/0"})
    assert held_back(works, odd_of(works)) == {}
    free = replace(snapshot, nodes=(node("n", cpu=2),))
    assert planned(free, works, odd_of(works)).placed.keys() == {"v/0", "w/0"}


def test_claim_ends_when_the_one_it_was_for_had_its_place_and_lost_it() -> None:
    """Or two that were evicted for each other would claim each other's place without end."""
    asker = replace(job(), id="v", name="v")
    first = replace(evicted(), evicting_at_ms=NOW - 20, evicted_by="reclaimed for v")
    had = replace(
        first, replica_id="v-0", workload_id="v", placed_at_ms=NOW - 10, evicting_at_ms=NOW - 5,
        evicted_by="preempted for w",
    )  # fmt: skip
    works = works_of((job(), [first]), (asker, [had]))
    snapshot = build(Facts(()), works.values())
    assert with_claimants(snapshot, works, odd_of(works)).claimants == {"w/0"}
    assert held_back(works, odd_of(works)) == {"v/0": "w"}
    before = works_of((job(), [first]), (asker, [replace(had, placed_at_ms=NOW - 30, evicted_by="idle")]))
    assert held_back(before, odd_of(before)) == {"w/0": "v"}


def test_claim_is_for_the_minimum_of_a_gang_where_that_had_to_begin() -> None:
    asker = replace(gang(2, min_members=1), id="v", name="v")
    first = replace(evicted(), evicting_at_ms=NOW - 20, evicted_by="consolidated for v")
    begun = replace(attempt(), replica_id="v-0", workload_id="v", state=AttemptState.RUNNING)
    for placed_at_ms, claimants in ((NOW - 10, set[str]()), (NOW - 30, {"v/1"})):
        works = works_of((job(), [first]), (asker, [replace(begun, placed_at_ms=placed_at_ms)]))
        snapshot = build(Facts(()), works.values())
        assert with_claimants(snapshot, works, odd_of(works)).claimants == claimants


def test_nothing_is_moved_while_something_is_on_its_way() -> None:
    asker = replace(job(), id="v", name="v")
    for how, may_move in (("consolidated", False), ("preempted", True)):
        leaving = replace(attempt(), evicting_at_ms=NOW, evicted_by=f"{how} for v")
        works = works_of((job(), [leaving]), (asker, []))
        snapshot = build(Facts(()), works.values())
        assert with_claimants(snapshot, works, odd_of(works)).may_move is may_move
    assert not without(snapshot, ["v/0"]).may_move


# -- rules ---------------------------------------------------------------------

BUILD = {"category": "Build", "gpu_count": 1}


@pytest.mark.parametrize(
    ("spec", "rules", "idle_since", "expected"),
    [
        pytest.param({}, Rules(training_time_limit_s=60), None, [("stop", 60)], id="a-training-has-its-time"),
        pytest.param(BUILD, Rules(training_time_limit_s=60), None, [], id="which-does-not-bind-a-workspace"),
        pytest.param(
            BUILD, Rules(interactive_time_limit_s=60), None, [("stop", 60)], id="a-workspace-has-its-own"
        ),
        pytest.param(
            {"gpu_count": 1}, Rules(training_max_idle_s=30), 100, [("stop", 130)], id="idle-for-so-long"
        ),
        pytest.param({"gpu_count": 1}, Rules(training_max_idle_s=30), None, [], id="busy"),
        pytest.param({}, Rules(training_max_idle_s=30), 100, [], id="what-has-no-GPU-is-not-idle"),
        pytest.param(
            BUILD | {"is_preemptible": True}, Rules(interactive_preempt_idle_s=5, interactive_max_idle_s=9),
            100, [("preempt", 105), ("stop", 109)], id="preempted-before-it-is-stopped",
        ),
        pytest.param(
            BUILD, Rules(interactive_preempt_idle_s=5), 100, [], id="what-is-not-preemptible-is-not-preempted"
        ),
        pytest.param(
            {"category": "Deploy", "gpu_count": 1},
            Rules(training_time_limit_s=1, interactive_time_limit_s=1), 1, [], id="what-serves-has-no-limit",
        ),
    ],
)  # fmt: skip
def test_rules(spec: Any, rules: Rules, idle_since: int | None, expected: list[tuple[str, int]]) -> None:
    idle_ms = None if idle_since is None else idle_since * 1000
    found = verdicts(job(**spec), rules, 0, idle_ms)
    assert found == sorted(found, key=lambda v: v.due_ms)
    assert [(v.remedy.value, v.due_ms // 1000) for v in found] == expected
    assert all(isinstance(v.remedy, Remedy) and v.message for v in found)


def test_rule_of_the_project_goes_before_its_departments() -> None:
    merged = in_force(Rules(training_time_limit_s=5), Rules(training_time_limit_s=9, training_max_idle_s=7))
    assert merged == Rules(training_time_limit_s=5, training_max_idle_s=7)


@pytest.mark.parametrize(
    ("mine", "whose"),
    [
        pytest.param(Rules(), "department research", id="of-the-department"),
        pytest.param(Rules(training_time_limit_s=60), "project local", id="of-the-project"),
    ],
)
def test_verdict_names_the_rule_whose_it_is_and_what_to_do(mine: Rules, whose: str) -> None:
    rules = in_force(mine, Rules(training_time_limit_s=60))
    (found,) = verdicts(job(), rules, 0, None, givers(mine, ("local", "research")))
    assert found.message == (
        f"it has run for 60 s, which is trainingJobTimeLimitSeconds of {whose}; "
        "start it again, or have schedulingRules.trainingJobTimeLimitSeconds raised"
    )
