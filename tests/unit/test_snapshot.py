"""What the scheduler is told: that the kept snapshot is the one made anew, and what is in it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.scheduler.model import Amounts, LabelMatch, Operator, Pool, Quota, Strategy
from homeport.server.domain.inventory import HostNode, NodeGpu
from homeport.server.domain.org import Amount, Department, NodePool, Org, PoolQuota, Project, Rank
from homeport.server.domain.runs import NODE_LOST, Outcome, outcome
from homeport.server.domain.workload import Attempt, AttemptState, Phase, Workload, WorkloadSpec
from homeport.server.snapshot import Facts, Keeper, ask_class, build
from homeport.server.snapshot.queues import Queues, queues_of
from homeport.server.snapshot.work import work_of
from homeport.server.store.active import Entry
from homeport.server.store.documents import to_doc
from homeport.server.store.found import Found

NOW = 1_000_000
NODES = tuple(
    HostNode(f"n{i}", "default", 8, 8192, tuple(NodeGpu(f"n{i}-g{g}", "H100", 81920, True) for g in range(2)))
    for i in range(2)
)
POOL = NodePool("1", "default", is_default=True, min_runtime_s=60)
ORG = Org(
    departments=(Department("2", "research", (PoolQuota("1", Amount(4.0)),)),),
    projects=(
        Project("3", "a", "2", "runai-a", (PoolQuota("1", Amount(2.0, 3.0, 1.0), rank=Rank.HIGH),)),
        Project("4", "b", "2", "runai-b", default_pools=("default",), training_nodes=("dgx",)),
    ),
    pools=(POOL,),
)
FACTS = Facts(NODES, ORG)


def workload(name: str = "w", workspace: str = "a", kind: str = "job", **spec: Any) -> Workload:
    return Workload(
        name, workspace, name, kind, "me", 0, WorkloadSpec("i", ("x",), "cpu.small", 1, 512, **spec)
    )


def attempt(of: str = "w", index: int = 0, number: int = 1, **fields: Any) -> Attempt:
    return Attempt(f"{of}-{index}", number, of, index, "n0", 1, 512, 1, placed_at_ms=NOW, **fields)


class Rows:
    """The store's rows of workloads and attempts, without the store."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, int, Workload, list[Attempt]]] = {}
        self.next_seq = 1
        self.touched: set[str] = set()

    def put(self, work: Workload, attempts: Sequence[Attempt] = ()) -> None:
        seq, revision, *_ = self.rows.get(work.id, (self.next_seq, 0))
        self.next_seq = max(self.next_seq, seq + 1)
        self.rows[work.id] = (seq, revision + 1, work, list(attempts))
        self.touched.add(work.id)

    def remove(self, workload_id: str) -> None:
        self.rows.pop(workload_id, None)
        self.touched.add(workload_id)

    def take_touched(self) -> set[str]:
        taken, self.touched = self.touched, set()
        return taken

    def entries(self) -> Mapping[str, Entry]:
        ordered = sorted(self.rows.values(), key=lambda row: row[0])
        return {
            w.id: Entry(Found(w.id, seq, revision, Phase.QUEUED, to_doc(w)), attempts)
            for seq, revision, w, attempts in ordered
        }

    def rebuilt(self, facts: Facts, now_ms: int) -> Any:
        return build(facts, [work_of(*entry, facts, now_ms) for entry in self.entries().values()])


GPUS = st.sampled_from([0, 1, 2])
STEPS = st.one_of(
    st.tuples(st.just("submit"), st.integers(0, 5), GPUS, st.sampled_from("ab"), st.sampled_from([1, 3])),
    st.tuples(st.just("place"), st.integers(0, 5), st.integers(0, 1), st.sampled_from([0.1, 0.5, 1.0])),
    st.tuples(st.just("end"), st.integers(0, 5), st.sampled_from(["Error", "Evicted", "Completed"])),
    st.tuples(st.just("evict"), st.integers(0, 5)),
    st.tuples(st.just("remove"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.integers(1, 120)),
    st.tuples(st.just("sick"), st.integers(0, 1)),
)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_kept_snapshot_is_the_one_that_is_made_anew_after_any_changes(steps: list[tuple[Any, ...]]) -> None:
    rows, now, facts = Rows(), NOW, FACTS
    keeper = Keeper()
    for step in steps:
        match step:
            case ("submit", number, gpus, queue, members):
                rows.put(workload(f"w{number}", queue, gpu_count=gpus, completions=members,
                                  parallelism=members, min_members=min(members, 2), worker_retries=2,
                                  is_preemptible=True))  # fmt: skip
            case ("place", number, node, portion) if f"w{number}" in rows.rows:
                _, _, work, attempts = rows.rows[f"w{number}"]
                uuids = (f"n{node}-g0",)[: work.spec.gpu_count]
                new = attempt(
                    work.id, number=len(attempts) + 1, gpu_uuids=uuids, gpu_portion=portion, started_at_ms=now
                )
                if not any(a.is_live for a in attempts):
                    rows.put(work, [*attempts, replace(new, node=f"n{node}")])
            case ("end", number, reason) if f"w{number}" in rows.rows:
                _, _, work, attempts = rows.rows[f"w{number}"]
                code = 0 if reason == "Completed" else 1
                over = {"reason": reason, "exit_code": code, "finished_at_ms": now}
                over["state"] = AttemptState.ENDED
                rows.put(work, [replace(a, **over) if a.is_live else a for a in attempts])
            case ("evict", number) if f"w{number}" in rows.rows:
                _, _, work, attempts = rows.rows[f"w{number}"]
                rows.put(work, [replace(a, evicting_at_ms=now) if a.is_live else a for a in attempts])
            case ("remove", number):
                rows.remove(f"w{number}")
            case ("wait", seconds):
                now += seconds * 1000
            case ("sick", gpu):
                facts = replace(facts, unhealthy={} if facts.unhealthy else {f"n0-g{gpu}": "Xid 79"})
            case _:
                continue
        kept = keeper.look(rows.entries(), rows.take_touched(), facts, now)
        assert kept == rows.rebuilt(facts, now)
        assert keeper.look(rows.entries(), (), facts, now) is kept


def test_look_works_out_only_what_was_touched() -> None:
    rows, looked_at = Rows(), list[str]()
    for i in range(100):
        rows.put(workload(f"w{i}"))

    def bars(wanted: Workload, _attempts: Sequence[Attempt]) -> str:
        looked_at.append(wanted.id)
        return ""

    keeper = Keeper(bars)
    before = keeper.look(rows.entries(), rows.take_touched(), FACTS, NOW)
    assert len(looked_at) == 100
    rows.put(workload("w7", gpu_count=1))
    after = keeper.look(rows.entries(), [*rows.take_touched(), "w8"], FACTS, NOW)
    assert looked_at[100:] == ["w7"]
    assert [a is b for a, b in zip(before.nodes, after.nodes, strict=True)] == [True, True]
    assert sum(map(len, after.pending.values())) == 100


def test_queues_are_departments_then_projects_with_quotas_by_pool() -> None:
    department, a, b = queues_of(ORG, {"default": 4.0})
    assert (department.id, department.parent, department.age) == ("'research'", None, 0)
    assert (a.id, a.parent, a.age) == ("a", "'research'", 1)
    unlimited = float("inf")
    assert a.quotas == {
        "default": Quota(
            Amounts(2.0, unlimited, unlimited), Amounts(3.0, unlimited, unlimited), Amounts(1.0, 2.0, 2.0), 5
        )
    }
    assert b.quotas == {}
    assert department.quotas["default"].deserved.gpus == unlimited, "it has all that there is"


UNITS = st.builds(
    lambda name, gpus, department: Project(
        name, name, department, f"runai-{name}", (PoolQuota("1", Amount(float(gpus))),)
    ),
    st.sampled_from("abcd"), st.integers(0, 3), st.sampled_from(["2", "9"]),
)  # fmt: skip


@given(st.lists(st.tuples(st.lists(UNITS, max_size=4), st.booleans(), st.integers(1, 4)), max_size=5))
def test_kept_queues_are_those_that_are_made_anew(
    changes: list[tuple[list[Project], bool, int]],
) -> None:
    """Projects, departments, pools and what there is change, together or each for itself."""
    queues = Queues()
    for projects, has_departments, gpus in changes:
        org = Org(ORG.departments if has_departments else (), tuple(projects), ORG.pools)
        made = queues.of(org, {"default": float(gpus)})
        assert made == queues_of(org, {"default": float(gpus)})
        again = queues.of(Org(org.departments, tuple(projects), org.pools), {"default": float(gpus)})
        assert all(one is other for one, other in zip(made, again, strict=True))


@pytest.mark.parametrize("none", [None, -1.0], ids=["null", "minus-one"])
def test_limit_binds_nobody_when_it_is(none: float | None) -> None:
    project = Project("3", "a", "2", "ns", (PoolQuota("1", Amount(2.0, none)),))
    (queue,) = queues_of(Org(projects=(project,), pools=(POOL,)), {})
    assert queue.quotas["default"].limit.gpus == float("inf")


def test_pools_are_filled_as_they_are_told() -> None:
    spread = replace(POOL, gpu_strategy="spread")
    snapshot = build(Facts(NODES, Org(pools=(spread,))), [])
    assert snapshot.pools == (Pool("default", Strategy.SPREAD, Strategy.BINPACK),)


def test_training_goes_to_the_node_types_of_its_project() -> None:
    project = ORG.projects[1]
    wanted = ask_class(workload(workspace="b"), 1, project=project)
    assert wanted.affinity == ((LabelMatch("run.ai/type", Operator.IN, ("dgx",)),),)
    assert wanted.pools == ("default",)
    assert ask_class(workload(workspace="b", kind="pod"), 1, project=project).affinity == ()
    own = ask_class(workload(workspace="b", affinity=((("zone", "In", ("x",)),),)), 1, project=project)
    assert own.affinity == (
        (LabelMatch("zone", Operator.IN, ("x",)), LabelMatch("run.ai/type", Operator.IN, ("dgx",))),
    )


def running(work: Workload, attempts: Sequence[Attempt], now_ms: int = NOW) -> Any:
    rows = Rows()
    rows.put(work, attempts)
    return rows.rebuilt(FACTS, now_ms).running


def test_what_is_preemptible_is_protected_until_its_guaranteed_time_has_passed() -> None:
    work = workload(is_preemptible=True)
    assert [r.is_protected for r in running(work, [attempt()], NOW + 59_999)] == [True]
    assert [r.is_protected for r in running(work, [attempt()], NOW + 60_000)] == [False]


def test_what_was_evicted_settles_for_a_minute_once_it_is_back() -> None:
    work = workload(is_preemptible=True)
    before = attempt(state=AttemptState.ENDED, reason="Evicted", finished_at_ms=NOW)
    back = replace(attempt(), number=2, placed_at_ms=NOW, started_at_ms=NOW)
    assert [r.was_moved for r in running(work, [back], NOW)] == [False]
    assert [r.was_moved for r in running(work, [before, back], NOW + 59_999)] == [True]
    assert [r.was_moved for r in running(work, [before, back], NOW + 60_000)] == [False]
    twice = [before, replace(before, number=2), replace(back, number=3)]
    assert [r.was_moved for r in running(work, twice, NOW + 119_999)] == [True]
    assert [r.was_moved for r in running(work, twice, NOW + 120_000)] == [False]


def test_what_is_told_to_end_is_leaving() -> None:
    stopped = workload(is_stopped=True)
    assert [r.is_leaving for r in running(workload(), [attempt()])] == [False]
    assert [r.is_leaving for r in running(stopped, [attempt()])] == [True]
    for how, is_moving in (("consolidated", True), ("reclaimed", False)):
        (told,) = running(workload(), [attempt(evicting_at_ms=1, evicted_by=f"{how} for v")])
        assert (told.is_leaving, told.is_moving) == (True, is_moving)


def test_gang_is_stale_when_a_member_has_found_no_place_for_a_minute() -> None:
    work = workload(completions=2, parallelism=2, worker_retries=1)
    lost = attempt(index=1, state=AttemptState.ENDED, reason="Error", exit_code=1, finished_at_ms=NOW)
    due = NOW + 2_000  # its pause after the failure
    assert [r.is_stale for r in running(work, [attempt(), lost], due + 59_999)] == [False]
    assert [r.is_stale for r in running(work, [attempt(), lost], due + 60_000)] == [True]


def test_gang_that_has_lost_its_leader_is_stale_however_many_run_on() -> None:
    work = workload(completions=5, parallelism=5, min_members=2, is_led=True)
    lost = attempt(index=0, state=AttemptState.ENDED, reason=NODE_LOST, finished_at_ms=NOW)
    others = [attempt(index=i) for i in (1, 2, 3, 4)]
    assert {r.is_stale for r in running(work, [lost, *others], NOW + 59_999)} == {False}
    assert {r.is_stale for r in running(work, [lost, *others], NOW + 60_000)} == {True}
    again = attempt(index=0, number=2)
    assert {r.is_stale for r in running(work, [lost, again, *others], NOW + 60_000)} == {False}
    equals = replace(work, spec=replace(work.spec, is_led=False))
    assert {r.is_stale for r in running(equals, [lost, *others], NOW + 60_000)} == {False}


def test_leader_is_asked_for_as_what_the_others_cannot_do_without() -> None:
    work = workload(completions=5, parallelism=5, min_members=2, is_led=True)
    lost = attempt(index=0, state=AttemptState.ENDED, reason=NODE_LOST, finished_at_ms=NOW)
    rows = Rows()
    rows.put(work, [lost, *(attempt(index=i) for i in (1, 2, 3))])
    (wanted, ids), *others = rows.rebuilt(FACTS, NOW).pending.items()
    assert (wanted.is_extra, ids, others) == (False, ("w/0",), [])


def test_replicas_that_start_singly_wait_for_no_other() -> None:
    work = workload(completions=4, parallelism=3, starts_singly=True)
    rows = Rows()
    rows.put(work)
    ((wanted, ids),) = rows.rebuilt(FACTS, NOW).pending.items()
    assert (wanted.members, wanted.is_extra, ids) == (1, False, ("w/0", "w/1", "w/2"))
    rows.put(work, [attempt(index=1)])
    assert list(rows.rebuilt(FACTS, NOW).pending.values()) == [("w/0", "w/2")]
    evicted = attempt(index=0, state=AttemptState.ENDED, reason="Evicted", finished_at_ms=NOW)
    assert {r.is_stale for r in running(work, [evicted, attempt(index=1)], NOW + 10**7)} == {False}
    assert outcome(work, [evicted, attempt(index=1)]) is Outcome.OPEN
    done = [attempt(index=i, state=AttemptState.ENDED, exit_code=0) for i in range(4)]
    assert outcome(work, done[:3]) is Outcome.OPEN
    assert outcome(work, done) is Outcome.SUCCEEDED


def test_members_beyond_the_minimum_are_asked_for_once_the_others_run() -> None:
    work = workload(completions=4, parallelism=4, min_members=2)
    rows = Rows()
    rows.put(work)
    (gang,) = rows.rebuilt(FACTS, NOW).pending.items()
    assert (gang[0].members, gang[0].is_extra, gang[1]) == (2, False, ("w/0",))
    rows.put(work, [attempt(index=0), attempt(index=1)])
    snapshot = rows.rebuilt(FACTS, NOW)
    (extra,) = snapshot.pending.items()
    assert (extra[0].members, extra[0].is_extra, extra[1]) == (1, True, ("w/2", "w/3"))
    assert [r.ask.members for r in snapshot.running] == [2, 2]


@pytest.mark.parametrize(
    ("spec", "attempts", "count"),
    [
        pytest.param({}, [], 0, id="waits"),
        pytest.param({}, [attempt()], 0, id="runs"),
        pytest.param({}, [attempt(evicting_at_ms=1)], 1, id="leaves-and-comes-back"),
        pytest.param({"is_stopped": True}, [attempt()], 0, id="leaves-for-good"),
        pytest.param({"is_stopped": True}, [], 0, id="stopped"),
        pytest.param({"start_at_ms": NOW + 1}, [], 0, id="not-due"),
        pytest.param({"completions": 4, "parallelism": 4, "min_members": 2}, [], 2, id="gang-waits"),
        pytest.param(
            {"completions": 4, "parallelism": 4, "min_members": 2},
            [attempt(index=0), attempt(index=1)], 0, id="gang-runs-and-the-others-wait",
        ),
        pytest.param(
            {"completions": 4, "parallelism": 4, "min_members": 2},
            [attempt(index=0, evicting_at_ms=1), attempt(index=1, evicting_at_ms=1)], 4, id="gang-leaves",
        ),
        pytest.param(
            {"completions": 3, "parallelism": 3, "min_members": 1},
            [attempt(index=0), attempt(index=1, state=AttemptState.ENDED, exit_code=0)], 0,
            id="comes-to-its-end-with-those-it-has",
        ),
        pytest.param({"completions": 9, "parallelism": 3}, [], 0, id="no-more-than-run-at-a-time"),
        pytest.param(
            {"completions": 1, "worker_retries": 3},
            [attempt(state=AttemptState.ENDED, reason="Error", exit_code=1, finished_at_ms=NOW)], 1,
            id="pauses-after-a-failure",
        ),
        pytest.param(
            {"completions": 1}, [attempt(state=AttemptState.ENDED, exit_code=0)], 0, id="has-succeeded"
        ),
    ],
)  # fmt: skip
def test_what_is_wanted_and_neither_runs_nor_waits_is_yet_to_come(
    spec: dict[str, Any], attempts: list[Attempt], count: int
) -> None:
    rows = Rows()
    rows.put(workload(gpu_count=1, is_preemptible=True, **spec), attempts)
    snapshot = rows.rebuilt(FACTS, NOW)
    assert sum(snapshot.to_come.values()) == count
    assert {(c.queue, c.gpu_count, c.members) for c in snapshot.to_come} <= {("a", 1, 1)}


@pytest.mark.parametrize("minimum", [1, 2])
def test_gang_that_leaves_wants_no_more_members_until_it_begins_anew(minimum: int) -> None:
    work = workload(completions=4, parallelism=4, min_members=minimum)
    rows = Rows()
    rows.put(work, [attempt(index=i, evicting_at_ms=NOW) for i in range(minimum)])
    assert rows.rebuilt(FACTS, NOW).pending == {}


SEGMENTS = tuple(
    HostNode(f"n{i}", "default", 8, 8192, (), segment="" if i == 4 else f"s{i // 2}") for i in range(5)
)


@pytest.mark.parametrize(
    ("index", "others", "nodes"),
    [
        pytest.param(1, {0: "n0", 2: "n2", 3: "n3"}, {"n0", "n1"}, id="beside-the-other-of-its-segment"),
        pytest.param(1, {2: "n2", 3: "n3"}, set(), id="anywhere-where-no-other-of-it-is-left"),
        pytest.param(3, {0: "n0", 1: "n1", 2: "n4"}, {"n4"}, id="a-node-without-a-segment-is-its-own"),
    ],
)
def test_worker_that_is_tried_again_stays_in_its_segment(
    index: int, others: dict[int, str], nodes: set[str]
) -> None:
    work = workload(completions=4, parallelism=4, segment_size=2, worker_retries=9)
    attempts = [replace(attempt(index=i), node=node) for i, node in others.items()]
    attempts += [
        attempt(index=i, state=AttemptState.ENDED, exit_code=1, finished_at_ms=0)
        for i in range(4)
        if i not in others
    ]
    found = Found(work.id, 1, 1, Phase.QUEUED, to_doc(work))
    asked = {a.indexes[0]: wanted for a, wanted in work_of(found, attempts, Facts(SEGMENTS), NOW).asks}
    assert asked[index].nodes == nodes


def test_portions_of_a_device_add_up_exactly() -> None:
    rows = Rows()
    for i in range(10):
        held = attempt(f"w{i}", gpu_uuids=("n0-g0",), gpu_portion=0.1)
        rows.put(workload(f"w{i}", gpu_count=1, gpu_portion=0.1), [held])
    (first, _), *_ = (n.gpus for n in rows.rebuilt(FACTS, NOW).nodes)
    assert first.free == 0.0


def test_unhealthy_device_and_unreachable_node_are_shown_as_such() -> None:
    facts = Facts(NODES, unhealthy={"n0-g1": "Xid 79"}, down=frozenset({"n1"}))
    first, second = build(facts, []).nodes
    assert [g.is_healthy for g in first.gpus] == [True, False]
    assert (first.is_ready, second.is_ready) == (True, False)
