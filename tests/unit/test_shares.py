"""Fair shares: who should have how many GPUs. Tables to be checked by hand, and what always holds."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.scheduler.after import all_shares
from homeport.scheduler.model import (
    Amounts,
    AskClass,
    Gpu,
    Node,
    Placement,
    Queue,
    Quota,
    Running,
    Snapshot,
)
from homeport.scheduler.plan import plan
from homeport.scheduler.shares import Claim, divide
from homeport.scheduler.state import State

RUNAI = "docs.nvidia.com/run-ai, over-quota quick start and 'how the scheduler works'"
KAI = "KAI, docs/fairness and proportion/resource_division"


@pytest.mark.parametrize(
    ("total", "claims", "fair"),
    [
        pytest.param(8, [Claim(4, 2), Claim(4, 4)], [2, 4], id="no-more-than-asked-for"),
        pytest.param(8, [Claim(4, 6), Claim(4, 2)], [6, 2], id=f"what-one-leaves-is-free ({RUNAI})"),
        pytest.param(8, [Claim(4, 8), Claim(4, 8)], [4, 4], id="quotas-first"),
        pytest.param(10, [Claim(2, 10), Claim(2, 10)], [5, 5], id="equal-weights-share-the-rest-equally"),
        pytest.param(
            10, [Claim(1, 10, weight=3), Claim(1, 10, weight=1)], [7, 3], id=f"the-rest-by-weight ({RUNAI})"
        ),
        pytest.param(
            9, [Claim(0, 9, rank=1), Claim(0, 9, rank=0)], [9, 0], id=f"the-higher-rank-takes-all ({KAI})"
        ),
        pytest.param(
            9, [Claim(0, 4, rank=1), Claim(0, 9, rank=0)], [4, 5], id="what-a-rank-leaves-goes-down"
        ),
        pytest.param(
            8, [Claim(2, 8, weight=0), Claim(2, 8, weight=1)], [2, 6], id=f"weight-0-has-its-quota ({KAI})"
        ),
        pytest.param(8, [Claim(2, 8, weight=0)], [2], id="weight-0-gets-nothing-even-where-nobody-else-asks"),
        pytest.param(
            12, [Claim(0, 1), Claim(0, 20), Claim(0, 20)], [1, 6, 5],
            id="repeated-until-nothing-is-left-and-the-odd-one-to-the-oldest",
        ),
        pytest.param(
            10, [Claim(0, 10, weight=1), Claim(0, 10, weight=2), Claim(0, 10, weight=3)], [2, 3, 5],
            id=f"1.67-3.33-5-are-rounded-to-the-largest-remainder ({KAI})",
        ),
        pytest.param(4, [Claim(0, 0.5), Claim(0, 9)], [0.5, 3.5], id="no-part-of-a-device-is-wasted"),
        pytest.param(
            4, [Claim(4, 4), Claim(4, 4)], [4, 4], id=f"quotas-may-promise-more-than-there-is ({KAI})"
        ),
        pytest.param(
            4, [Claim(inf, 3), Claim(inf, 9)], [3, 9], id="without-accounting-everybody-has-what-it-asks-for"
        ),
        pytest.param(0, [Claim(0, 3), Claim(2, 3)], [0, 2], id="nothing-there"),
        pytest.param(5, [], [], id="nobody-there"),
    ],
)  # fmt: skip
def test_divide(total: float, claims: list[Claim], fair: list[float]) -> None:
    assert divide(total, claims, is_whole=True) == pytest.approx(fair)


def test_cpu_is_not_rounded() -> None:
    assert divide(10, [Claim(0, 10, weight=1), Claim(0, 10, weight=2)], is_whole=False) == pytest.approx(
        [10 / 3, 20 / 3]
    )


CLAIMS = st.lists(
    st.builds(
        Claim, st.integers(0, 8).map(float), st.integers(0, 32).map(lambda n: n / 4),
        st.integers(0, 3).map(float), st.integers(0, 2),
    ),
    max_size=6,
)  # fmt: skip


@given(st.integers(0, 24), CLAIMS)
def test_shares_stay_within_what_there_is_and_what_is_asked_for(total: int, claims: list[Claim]) -> None:
    fair = divide(total, claims, is_whole=True)
    assert divide(total, claims, is_whole=True) == fair
    own = [min(c.deserved, c.requested) for c in claims]
    assert sum(fair) <= max(total, sum(own)) + 1e-6
    for share, claim, least in zip(fair, claims, own, strict=True):
        assert least - 1e-6 <= share <= claim.requested + 1e-6
        if claim.weight == 0:
            assert share == pytest.approx(least)


@given(st.integers(0, 24), CLAIMS)
def test_nothing_is_left_over_while_somebody_with_a_weight_wants_more(
    total: int, claims: list[Claim]
) -> None:
    fair = divide(total, claims, is_whole=True)
    wants = any(c.weight > 0 and c.requested > f + 1e-6 for c, f in zip(claims, fair, strict=True))
    assert not wants or sum(fair) >= total - 1e-6


@given(st.integers(0, 24), CLAIMS)
def test_a_lower_rank_gets_no_rest_while_a_higher_one_wants_more(total: int, claims: list[Claim]) -> None:
    fair = divide(total, claims, is_whole=True)
    for high, its in zip(claims, fair, strict=True):
        for low, share in zip(claims, fair, strict=True):
            if low.rank < high.rank and high.weight > 0 and its < high.requested - 1e-6:
                assert share == pytest.approx(min(low.deserved, low.requested))


def cluster(gpus: int) -> tuple[Node, ...]:
    devices = tuple(Gpu(f"g{i:02}", "H100", 81920) for i in range(gpus))
    return (Node("n", "default", 999, 999_999, devices, total_cpu=999, total_memory_mib=999_999),)


def queue(name: str, quota: float, parent: str | None = None, **more: float) -> Queue:
    limit = Amounts(more.get("limit", inf), inf, inf)
    given = Quota(
        Amounts(quota, inf, inf), limit, Amounts(more.get("weight", 1), 1, 1), int(more.get("rank", 0))
    )
    return Queue(name, parent, {"default": given}, age=int(more.get("age", 0)))


def ask(owner: str, gpus: int, **more: object) -> AskClass:
    words = {"priority": 40, "cpu": 0.0, "memory_mib": 0, "is_preemptible": True} | more
    return AskClass(gpu_count=gpus, queue=owner, **words)  # type: ignore[arg-type]


def fair_of(queues: list[Queue], wanted: dict[str, int], gpus: int) -> dict[str, float]:
    pending = {ask(name, 1): tuple(f"{name}-{i}" for i in range(n)) for name, n in wanted.items()}
    rank = {id_: i for i, id_ in enumerate(i for ids in pending.values() for i in ids)}
    state = State(Snapshot(cluster(gpus), pending, rank, queues=tuple(queues)))
    return {q.id: state.share(q.id, "default").fair.gpus for q in queues}


def test_projects_divide_what_their_department_has_when_departments_are_full() -> None:
    """Source: KAI, docs/fairness: shares are divided level by level."""
    queues = [
        queue("red", 4), queue("blue", 4),
        queue("r1", 0, "red"), queue("r2", 0, "red"), queue("b1", 4, "blue"),
    ]  # fmt: skip
    assert fair_of(queues, {"r1": 8, "r2": 8, "b1": 8}, 8) == {"red": 4, "blue": 4, "r1": 2, "r2": 2, "b1": 4}


def test_a_department_asks_for_no_more_than_its_projects_may_use_when_they_have_limits() -> None:
    queues = [queue("red", 0), queue("blue", 0), queue("r", 0, "red", limit=1), queue("b", 0, "blue")]
    assert fair_of(queues, {"r": 8, "b": 8}, 8) == {"red": 1, "blue": 7, "r": 1, "b": 7}


def test_projects_divide_the_pool_when_their_department_has_no_bounds() -> None:
    """So is department `default`. Source: KAI, resource_division: unlimited deserves the total."""
    queues = [queue("all", inf), queue("a", 0, "all"), queue("b", 0, "all")]
    assert fair_of(queues, {"a": 8, "b": 8}, 8) == {"all": 8, "a": 4, "b": 4}
    queues = [queue("all", inf), queue("a", 4, "all"), queue("b", 4, "all")]
    assert fair_of(queues, {"a": 6, "b": 4}, 8) == {"all": 8, "a": 4, "b": 4}


def test_what_runs_counts_as_asked_for_and_what_leaves_does_not() -> None:
    place = Placement("n", ("g00", "g01"))
    stays = Running("s", "s", ask("a", 2), place)
    leaves = Running("l", "l", ask("a", 1), Placement("n", ("g02",)), is_leaving=True)
    node = cluster(4)[0]
    taken = tuple(Gpu(g.uuid, g.product, g.memory_mib, float(g.uuid == "g03")) for g in node.gpus)
    world = Node("n", "default", 999, 999_999, taken, total_cpu=999, total_memory_mib=999_999)
    state = State(Snapshot((world,), {}, {}, (stays, leaves), (queue("a", 1),)))
    share = state.share("a", "default")
    assert (share.requested.gpus, share.allocated.gpus, share.fair.gpus) == (2, 2, 2)


def test_shares_are_told_for_each_queue_and_pool_when_planned() -> None:
    queues = (queue("d", 4), queue("p", 4, "d"))
    answer = plan(Snapshot(cluster(8), {ask("p", 2): ("j",)}, {"j": 0}, queues=queues))
    told = {s.queue: (s.fair.gpus, s.allocated.gpus, s.requested.gpus) for s in answer.shares}
    assert told == {"d": (2, 2, 2), "p": (2, 2, 2)}


def test_queues_that_have_nothing_and_want_nothing_are_shown_with_their_quota_all_the_same() -> None:
    queues = (queue("d", 4), queue("idle", 1, "d"), queue("p", 4, "d"))
    snapshot = Snapshot(cluster(8), {ask("p", 2): ("j",)}, {"j": 0}, queues=queues)
    answer = plan(snapshot)
    assert [s.queue for s in answer.shares] == ["d", "p"]
    told = [
        (s.queue, s.quota.deserved.gpus, s.fair.gpus, s.allocated.gpus) for s in all_shares(snapshot, answer)
    ]
    assert told == [("d", 4, 2, 2), ("idle", 1, 0, 0), ("p", 4, 2, 2)]


def test_unhealthy_devices_and_lost_nodes_are_nobodys_share() -> None:
    ill = Node("a", "default", 1, 1, (Gpu("x", "H100", is_healthy=False), Gpu("y", "H100")))
    lost = Node("b", "default", 1, 1, (Gpu("z", "H100"),), is_ready=False)
    pending = {ask("q", 1): ("1", "2", "3")}
    state = State(Snapshot((ill, lost), pending, {"1": 0, "2": 1, "3": 2}, queues=(queue("q", 0),)))
    assert state.share("q", "default").fair.gpus == 1
