"""Queues: who goes first, who may start at all, and what is kept for whom."""

from collections import Counter
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.scheduler.explain import explain
from homeport.scheduler.model import (
    Amounts,
    AskClass,
    Code,
    Gpu,
    Node,
    OverBound,
    Placement,
    Queue,
    Quota,
    Running,
    Unplaced,
)
from homeport.scheduler.plan import plan
from homeport.scheduler.state import State
from tests.unit.asks import ask, job, node, queue, snapshot

KEEP = {"is_preemptible": False}
ORDER = "KAI, proportion/queue_order"


@pytest.mark.parametrize(
    ("gpus", "queues", "jobs", "first"),
    [
        pytest.param(
            2,
            [queue("a", 0), queue("b", 2)],
            [("a1", job("a")), ("b1", job("b")), ("b2", job("b"))],
            "b1 b2 a1",
            id=f"below-its-fair-share-goes-first ({ORDER})",
        ),
        pytest.param(
            4,
            [queue("a", 2), queue("b", 2)],
            [("a1", job("a")), ("a2", job("a")), ("b1", job("b")), ("b2", job("b"))],
            "a1 b1 a2 b2",
            id=f"smaller-dominant-share-goes-next ({ORDER})",
        ),
        pytest.param(
            8,
            [queue("a", 1), queue("b", 4)],
            [("a1", job("a", 2)), ("b1", job("b", 2))],
            "b1 a1",
            id=f"who-stays-within-quota-with-its-next-job ({ORDER})",
        ),
        pytest.param(
            8,
            [queue("a", 0), queue("b", 0, rank=1)],
            [("a1", job("a")), ("b1", job("b"))],
            "b1 a1",
            id=f"the-higher-rank ({ORDER})",
        ),
        pytest.param(
            8,
            [queue("a", 1, age=2), queue("b", 1, age=1)],
            [("a1", job("a")), ("b1", job("b"))],
            "b1 a1",
            id=f"of-equal-queues-the-older ({ORDER})",
        ),
        pytest.param(
            8,
            [queue("a", 8)],
            [("low", job("a")), ("high", job("a", priority=125))],
            "high low",
            id="priority-inside-a-queue (Run:ai, workload priority)",
        ),
        pytest.param(
            8,
            [queue("a", 4), queue("b", 4)],
            [("a1", job("a")), ("b1", job("b", priority=150))],
            "a1 b1",
            id="priority-means-nothing-between-queues (Run:ai, workload priority)",
        ),
        pytest.param(
            8,
            [queue("a", 8)],
            [("more", job("a", is_extra=True)), ("new", job("a", 2))],
            "new more",
            id="those-below-their-minimum-first (KAI, docs/elastic)",
        ),
        pytest.param(
            4,
            [queue("d", 0), queue("e", 4), queue("a", 4, "d"), queue("b", 4, "e")],
            [("a1", job("a")), ("b1", job("b"))],
            "b1 a1",
            id=f"departments-are-compared-before-projects ({ORDER})",
        ),
        pytest.param(
            1,
            [queue("a", 9)],
            [("big", job("a", 2, priority=150)), ("small", job("a"))],
            "big small",
            id="what-cannot-be-placed-is-passed",
        ),
    ],
)
def test_order(gpus: int, queues: list[Queue], jobs: list[tuple[str, AskClass]], first: str) -> None:
    answer = plan(snapshot([node("n", gpus)], jobs, queues=tuple(queues)))
    assert " ".join(answer.order) == first


@pytest.mark.parametrize(
    ("queues", "jobs", "placed", "waits"),
    [
        pytest.param(
            [queue("a", 1)],
            [("1", job("a", **KEEP)), ("2", job("a", **KEEP))],
            "1",
            {"2": Code.OVER_QUOTA},
            id="non-preemptible-beyond-the-quota (Run:ai, NonPreemptibleOverQuota)",
        ),
        pytest.param(
            [queue("a", 1)],
            [("1", job("a")), ("2", job("a")), ("3", job("a"))],
            "1 2 3",
            {},
            id="preemptible-beyond-the-quota-while-there-is-room (Run:ai, over-quota)",
        ),
        pytest.param(
            [queue("a", 1)],
            [("1", job("a", priority=90)), ("2", job("a", **KEEP))],
            "1 2",
            {},
            id="preemptible-work-does-not-use-up-what-is-for-the-other",
        ),
        pytest.param(
            [queue("a", 4, limit=2)],
            [("1", job("a", 2)), ("2", job("a"))],
            "1",
            {"2": Code.OVER_LIMIT},
            id="the-limit-binds-everybody (Run:ai, OverLimit)",
        ),
        pytest.param(
            [queue("d", 1), queue("a", 4, "d")],
            [("1", job("a", 2, **KEEP))],
            "",
            {"1": Code.OVER_QUOTA},
            id="the-department's-quota-too",
        ),
        pytest.param(
            [queue("d", 4, limit=2), queue("a", 4, "d"), queue("b", 4, "d")],
            [("1", job("a", 2)), ("2", job("b", 2))],
            "1",
            {"2": Code.OVER_LIMIT},
            id="the-department's-limit-too",
        ),
        pytest.param(
            [queue("a", 2)],
            [("g", job("a", members=3, **KEEP))],
            "",
            {"g": Code.OVER_QUOTA},
            id="all-members-of-a-gang-count",
        ),
        pytest.param(
            [queue("a", 1)],
            [("1", job("a", 4, gpu_portion=0.25, **KEEP)), ("2", job("a", gpu_portion=0.5, **KEEP))],
            "1",
            {"2": Code.OVER_QUOTA},
            id="four-quarters-count-as-one (KAI, docs/gpu-sharing)",
        ),
        pytest.param(
            [queue("a", 0)],
            [("c", job("a", 0, cpu=1.0, **KEEP))],
            "c",
            {},
            id="cpu-is-not-accounted-for-where-no-quota-is-given",
        ),
        pytest.param(
            [], [("1", job("nobody", **KEEP)), ("2", job("b"))], "1 2", {}, id="no-queues-no-bounds"
        ),
        pytest.param(
            [queue("a", 4)],
            [("1", job("unknown", **KEEP)), ("2", job("unknown"))],
            "2",
            {"1": Code.OVER_QUOTA},
            id="a-queue-that-nobody-made-deserves-nothing",
        ),
    ],
)
def test_quotas_and_limits(
    queues: list[Queue], jobs: list[tuple[str, AskClass]], placed: str, waits: dict[str, Code]
) -> None:
    answer = plan(snapshot([node("n", 4)], jobs, queues=tuple(queues)))
    assert " ".join(sorted(answer.placed)) == placed
    assert {id_: why.code for id_, why in answer.unplaced.items()} == waits


def test_the_refusal_has_the_numbers_when_a_quota_is_used_up() -> None:
    queues = (queue("d", 8), queue("a", 1, "d"))
    answer = plan(snapshot([node("n", 4)], [("1", job("a", 2, **KEEP))], queues=queues))
    sentence = (
        "project a has 0 of its quota of 1 GPU(s) in non-preemptible work in node pool default, "
        "and this asks for 2 more: let it be preempted or have the quota raised"
    )
    over = OverBound("default", Code.OVER_QUOTA, sentence)
    assert answer.unplaced["1"] == Unplaced((sentence,), Code.OVER_QUOTA, (over,))


@pytest.mark.parametrize(
    ("gpus", "remedy"),
    [
        pytest.param(1, "ask for less, end something or have the limit raised", id="fits-once-others-end"),
        pytest.param(3, "ask for less or have the limit raised", id="never-fits"),
    ],
)
def test_nobody_is_told_to_end_something_for_what_would_not_fit_alone(gpus: int, remedy: str) -> None:
    unbound = float("inf")
    quota = Quota(Amounts(0, unbound, unbound), Amounts(2, unbound, unbound))
    there = Running("r", "r", job("a", 2), Placement("n", ("n-g0", "n-g1")))
    queues = (Queue("a", None, {"default": quota}),)
    answer = plan(snapshot([node("n", 4)], [("1", job("a", gpus))], running=(there,), queues=queues))
    assert answer.unplaced["1"].reasons[0].rpartition(": ")[2] == remedy


def full(*leaving: str, owner: str = "a", size: int = 2) -> tuple[Node, tuple[Running, ...]]:
    """A node of so many GPUs, each with a job; those named are leaving."""
    gpus = tuple(Gpu(f"n-g{i}", "H100", free=0.0) for i in range(size))
    running = tuple(
        Running(f"r{i}", f"r{i}", job(owner), Placement("n", (f"n-g{i}",)), is_leaving=f"r{i}" in leaving)
        for i in range(size)
    )
    return Node("n", "default", 8, 8192, gpus), running


def test_what_leaves_is_promised_to_the_first_and_to_nobody_else() -> None:
    there, running = full("r0")
    jobs = [("first", job("b")), ("second", job("b"))]
    answer = plan(snapshot([there], jobs, running=running, queues=(queue("a", 2), queue("b", 2))))
    assert answer.promised == {"first": (Placement("n", ("n-g0",)),)}
    assert answer.placed == {}
    assert answer.unplaced["first"].code is Code.WAITS_FOR_EVICTED
    assert answer.unplaced["second"].code is Code.NO_PLACE


def test_a_free_device_is_kept_for_a_gang_that_waits_for_the_other_one() -> None:
    there, running = full("r0")
    half_free = replace(there, gpus=(there.gpus[0], replace(there.gpus[1], free=1.0)))
    jobs = [("gang", ask(1, members=2, cpu=0.0, priority=100)), ("later", ask(1, cpu=0.0))]
    answer = plan(snapshot([half_free], jobs, running=running[:1]))
    assert set(answer.promised) == {"gang"}
    assert answer.placed == {}


def test_what_a_promise_does_not_need_is_still_given_now() -> None:
    """Two cores are free, six are leaving; four of the eight are promised."""
    leaving = Running("r", "r", ask(cpu=6.0), Placement("n"), is_leaving=True)
    jobs = [("large", ask(cpu=4.0, priority=100)), ("small", ask(cpu=2.0)), ("another", ask(cpu=1.0))]
    answer = plan(snapshot([node("n", cpu=2)], jobs, running=(leaving,)))
    assert set(answer.promised) == {"large", "another"}
    assert set(answer.placed) == {"small"}


def test_what_leaves_still_counts_for_the_limit_until_it_has_gone() -> None:
    there, running = full("r0")
    spare = node("spare", 1)
    queues = (queue("a", 2, limit=2),)
    answer = plan(snapshot([there, spare], [("next", job("a"))], running=running, queues=queues))
    assert answer.placed == {}
    assert answer.unplaced["next"].code is Code.WAITS_FOR_EVICTED


def test_everything_is_as_before_when_it_is_rolled_back() -> None:
    there, running = full()
    queues = (queue("d", 2), queue("a", 2, "d"))
    state = State(snapshot([there, node("m", 1)], [("x", job("a"))], running=running, queues=queues))

    def seen() -> object:
        places = [state.place(job("a", n), with_leaving=w) for n in (1, 2) for w in (False, True)]
        return places, state.shares(), [r.id for r in state.running]

    before = seen()
    mark = state.mark()
    state.release(running[0])
    state.take(job("a"), (Placement("m", ("m-g0",)),), promised=True)
    assert seen() != before
    state.rollback(mark)
    assert seen() == before


def test_explain_tells_each_node_and_each_queue_its_reason() -> None:
    queues = (queue("d", 8), queue("a", 1, "d", limit=1))
    world = snapshot([node("n", 1), node("m", is_ready=False)], [], queues=queues)
    told = explain(job("a", 2, **KEEP), world)
    assert told.verdict is not None
    assert told.verdict.code is Code.OVER_LIMIT
    assert {n.node: n.why for n in told.nodes} == {"n": "short of 1 free GPU(s)", "m": "node not ready"}
    assert [(q.queue, q.code) for q in told.queues] == [("a", Code.OVER_LIMIT), ("d", None)]
    assert told.text[0] == "asks for 2 GPU(s), 0 CPU core(s), 0 MiB memory"
    assert "node m: node not ready" in told.text
    assert "project a in node pool default: has 0 GPU(s), quota 1, fair share 0, limit 1" in told.text
    assert explain(job("a"), world).verdict is None


def test_explain_says_so_when_it_would_not_fit_on_an_empty_machine() -> None:
    taken = Running("x/1", "x", job("a", 2), Placement("n", ("n-g0", "n-g1")))
    full = replace(node("n", 2), gpus=tuple(Gpu(f"n-g{i}", "H100", free=0.0) for i in range(2)))
    world = snapshot([full], [], running=(taken,))
    never = "it would not fit if nothing else ran either: ask for less, or elsewhere"
    assert explain(job("a", 3), world).text[-1] == never
    assert never not in explain(job("a", 2), world).text


def test_explain_says_once_what_many_nodes_say() -> None:
    world = snapshot([node(f"n{i}", 1) for i in range(9)], [], queues=(queue("a", inf),))
    text = explain(job("a", 2, **KEEP), world).text
    assert [line for line in text if line.startswith("node ")] == [
        "node n0, n1, n2, n3, n4, n5 and 3 more: short of 1 free GPU(s)"
    ]
    assert any("quota without bounds" in line and "no limit" in line for line in text)


def test_explain_writes_large_memory_in_full_and_parts_of_a_gpu_to_four_places() -> None:
    quota = Quota(Amounts(1.23456789, inf, 5_000_000), Amounts(inf, inf, 1_234_567))
    told = explain(
        ask(0, queue="a"), snapshot([node("n", 1)], [], queues=(Queue("a", quotas={"default": quota}),))
    )
    mine = [line for line in told.text if line.startswith("project a in")]
    assert "quota 1.2346," in mine[0]
    assert "quota 5000000," in mine[1]
    assert "limit 1234567" in mine[1]


def test_explain_tells_the_limit_of_cpu_and_memory_that_binds() -> None:
    quota = Quota(Amounts(inf, 4, inf), Amounts(inf, inf, 1000))
    queues = (queue("d", inf), Queue("a", "d", {"default": quota}))
    wants = ask(1, queue="a", cpu=2, memory_mib=2000)
    told = explain(wants, snapshot([node("n", 1)], [], queues=queues))
    assert told.verdict is not None
    assert told.verdict.code is Code.OVER_LIMIT
    assert "limit of 1000 MiB of memory" in told.verdict.reasons[0]
    mine = [line for line in told.text if line.startswith("project a in")]
    assert mine == [
        "project a in node pool default: has 0 GPU(s), quota without bounds, fair share 0, no limit",
        "project a in node pool default: has 0 CPU core(s), quota 4, fair share 0, no limit",
        "project a in node pool default: has 0 MiB of memory, quota without bounds, fair share 0, limit 1000",
    ]


DOWN = node("n", 2, is_ready=False)
ILL = replace(node("n", 2), gpus=tuple(replace(g, is_healthy=False) for g in node("n", 2).gpus))


@pytest.mark.parametrize(
    ("there", "wants", "hint"),
    [
        pytest.param(node("n", 1), {}, ": ask for less, or elsewhere", id="too-large"),
        pytest.param(DOWN, {}, ", but will once these are ready again: n", id="its-node-is-down"),
        pytest.param(ILL, {}, ", but will once its GPU(s) are healthy again: 2 are not", id="GPUs-are-ill"),
        pytest.param(
            node("n", 2, reservation="r"), {}, ", but will once nodes are kept for reservations no more",
            id="its-node-is-kept-for-others",
        ),
        pytest.param(
            node("n", 2), {"reservation": "r"}, ": no node is kept for reservation r now",
            id="its-reservation-is-not-in-force",
        ),
    ],
)  # fmt: skip
def test_explain_tells_what_would_help_where_it_would_not_fit_alone(
    there: Node, wants: dict[str, str], hint: str
) -> None:
    text = explain(job("a", 2, **wants), snapshot([there], [])).text
    assert text[-1] == f"it would not fit if nothing else ran either{hint}"


OWNED = st.builds(
    job,
    st.sampled_from("abx"),
    st.integers(0, 3),
    members=st.integers(1, 2),
    priority=st.integers(0, 3),
    is_preemptible=st.booleans(),
    gpu_portion=st.sampled_from([0.5, 1.0]),
    is_extra=st.booleans(),
)
BOUNDS = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 2))


@given(st.lists(OWNED, max_size=12), st.lists(BOUNDS, min_size=3, max_size=3), st.integers(0, 3))
def test_no_queue_exceeds_its_limit_nor_its_quota_with_what_cannot_be_preempted(
    asks: list[AskClass], bounds: list[tuple[int, int, int]], size: int
) -> None:
    """`a` and `b` are below the department `d`; of `x` nobody knows."""
    (d, a, b), parents = bounds, (None, "d", "d")
    queues = tuple(
        queue(name, quota, parent, limit=quota + more, rank=rank)
        for name, (quota, more, rank), parent in zip("dab", (d, a, b), parents, strict=True)
    )
    jobs = [(f"j{i}", wanted) for i, wanted in enumerate(asks)]
    world = snapshot([node("m", size), node("n", 4)], jobs, queues=queues)
    answer = plan(world)
    assert plan(world) == answer
    assert sorted([*answer.placed, *answer.unplaced]) == sorted(name for name, _ in jobs)
    assert sorted(answer.order) == sorted(name for name, _ in jobs)
    held, fixed = Counter[str](), Counter[str]()
    wanted = dict(jobs)
    for name, members in answer.placed.items():
        its = wanted[name]
        amount = sum(len(m.gpu_uuids) * m.gpu_portion for m in members)
        for owner in (its.queue, "d") if its.queue in "ab" else (its.queue,):
            held[owner] += amount  # type: ignore[assignment]
            fixed[owner] += 0 if its.is_preemptible else amount  # type: ignore[assignment]
    for q in queues:
        quota = q.quotas["default"]
        assert held[q.id] <= quota.limit.gpus + 1e-6
        assert fixed[q.id] <= quota.deserved.gpus + 1e-6
    assert fixed["x"] == 0
    shares = {s.queue: s for s in answer.shares}
    assert all(s.allocated.gpus == pytest.approx(held[s.queue]) for s in shares.values())


@given(st.lists(OWNED, max_size=10), st.integers(0, 4))
def test_nothing_that_still_fits_is_left_waiting(asks: list[AskClass], size: int) -> None:
    jobs = [(f"j{i}", wanted) for i, wanted in enumerate(asks)]
    world = snapshot([node("m", size), node("n", 4)], jobs, queues=(queue("a", 4), queue("b", 2)))
    answer = plan(world)
    state = State(replace(world, pending={}))
    wanted = dict(jobs)
    for name, places in answer.placed.items():
        state.take(wanted[name], places)
    for name in answer.unplaced:
        assert isinstance(state.place(wanted[name]), Unplaced)
