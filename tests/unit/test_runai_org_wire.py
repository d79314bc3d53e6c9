"""Quotas, durations and usage: into our units and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.server.api.runai.translate import nodes, org
from homeport.server.api.runai.wire import NodePoolCreation, Resources
from homeport.server.domain.inventory import HostNode, NodeGpu
from homeport.server.domain.org import Amount, Department, NodePool, Org, PoolQuota, Project, Rank
from homeport.server.domain.workload import Attempt, Workload, WorkloadSpec
from homeport.server.errors import Invalid
from homeport.server.services.org_usage import Sum, add_up, part_of, total

POOLS = (NodePool("1", "default", is_default=True), NodePool("5", "big", "size", "big"))


def quota(**sent: Any) -> PoolQuota:
    (found,) = org.quotas_to_domain([Resources.model_validate(sent)], POOLS)
    return found


def test_quota_is_taken_in_the_units_of_the_wire() -> None:
    found = quota(
        nodePool={"id": "5"}, gpu={"deserved": 2, "limit": 4}, cpu={"deserved": 1500},
        memory={"deserved": 1, "units": "GB"}, priority="very high",
    )  # fmt: skip
    assert (found.pool, found.gpu, found.cpu.deserved) == ("5", Amount(2, 4), 1.5)
    assert found.memory.deserved == pytest.approx(1e9 / 2**20)
    assert found.rank is Rank.VERY_HIGH


def test_quota_that_says_nothing_is_no_gpu_and_no_bounds_on_the_rest() -> None:
    assert quota() == PoolQuota("1")
    assert quota().gpu.deserved == 0


def test_minus_one_is_without_bounds() -> None:
    found = quota(gpu={"deserved": -1, "limit": -1})
    assert found.gpu == Amount(None, None)
    assert org.quotas_to_wire([found], POOLS)[0]["gpu"] == {
        "deserved": -1, "limit": None, "overQuotaWeight": None,
    }  # fmt: skip


@pytest.mark.parametrize("ref", [{"id": "5"}, {"id": 5}, {"name": "big"}])
def test_pool_of_a_quota_is_found_by_id_or_name(ref: dict[str, Any]) -> None:
    assert quota(nodePool=ref).pool == "5"


AMOUNT = st.none() | st.integers(0, 10**6)


@given(
    AMOUNT, AMOUNT, st.none() | st.integers(0, 9), st.sampled_from(["Mib", "MB", "GB"]), st.sampled_from(Rank)
)
def test_quota_comes_back_as_it_was_sent(
    deserved: int | None, limit: int | None, weight: int | None, units: str, rank: Rank
) -> None:
    amount = {"deserved": deserved, "limit": limit, "overQuotaWeight": weight}
    sent = {
        "nodePool": {"id": "5", "name": "big"},
        "gpu": amount | {"deserved": deserved or 0},
        "cpu": amount,
        "memory": amount | {"units": units},
        "priority": rank.value,
    }
    found = org.quotas_to_domain([Resources.model_validate(sent)], POOLS)
    assert org.quotas_to_wire(found, POOLS) == [sent]


def test_patch_keeps_what_it_does_not_name() -> None:
    before = PoolQuota("5", Amount(1, 2, 3), rank=Rank.LOW)
    (after,) = org.quotas_to_domain(
        [Resources.model_validate({"nodePool": {"id": "5"}, "gpu": {"limit": 9}})], POOLS, [before]
    )
    assert (after.gpu, after.rank) == (Amount(1, 9, 3), Rank.LOW)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("30s", 30),
        ("1d12h", 129600),
        ("5d8h40m", 463200),
        ("1.5h", 5400),
        ("1w", 604800),
        ("200ms", 1),
    ],
)
def test_duration_is_read_in_seconds(text: str, seconds: int) -> None:
    assert nodes.seconds_of(text, "f") == seconds


@pytest.mark.parametrize("text", ["", "5", "-1s", "1x", "1 h"])
def test_text_that_is_no_duration_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(Invalid, match=r"^f: "):
        nodes.seconds_of(text, "f")


def test_guaranteed_runtime_whose_end_is_no_date_is_refused_by_its_field() -> None:
    body = {"name": "p", "schedulingConfiguration": {"minGuaranteedRuntime": "99999999999w"}}
    sent = NodePoolCreation.model_validate(body | {"clusterId": "c", "labelKey": "a", "labelValue": "b"})
    with pytest.raises(
        Invalid, match=r"^schedulingConfiguration\.minGuaranteedRuntime: .* more than 3650 days"
    ):
        nodes.pool_to_domain(sent)


@given(st.integers(0, 10**7))
def test_duration_is_written_so_that_it_is_read_again(seconds: int) -> None:
    assert nodes.seconds_of(nodes.duration_of(seconds), "f") == seconds


# --- usage


def workload(name: str, project: str, **spec: Any) -> Workload:
    whole: dict[str, Any] = {
        "image": "x", "command": (), "shape": "", "cpu_cores": 2.0, "memory_mib": 1024, **spec,
    }  # fmt: skip
    return Workload(name, project, name, "job", "me", 0, WorkloadSpec(**whole))


def attempt(of: Workload, index: int, node: str, *gpus: str, portion: float = 1.0) -> Attempt:
    return Attempt(f"{of.id}-{index}", 1, of.id, index, node, 2.0, 1024, 1, gpus, gpu_portion=portion)


GPUS = tuple(NodeGpu(f"g{i}", "H100", 80_000, True) for i in range(4))
NODES = [HostNode("a", "default", 8, 2**15, GPUS), HostNode("b", "big", 8, 2**15, GPUS)]
UNITS = Org(
    (Department("2", "d"),),
    (Project("3", "p", "2", "runai-p", default_pools=("big",)), Project("4", "q", "2", "runai-q")),
    POOLS,
)


def test_usage_is_what_runs_and_what_waits_by_project_and_pool() -> None:
    fixed = workload("fixed", "p", gpu_count=2)
    shared = workload("shared", "p", gpu_count=1, gpu_portion=0.5, is_preemptible=True)
    waits = workload("waits", "p", gpu_count=1, gpu_memory_mib=20_000)
    gang = workload("gang", "q", gpu_count=1, completions=3, parallelism=3)
    live = {
        "fixed": [attempt(fixed, 0, "a", "g0", "g1")],
        "shared": [attempt(shared, 0, "b", "g2", portion=0.5)],
    }
    all_of_them = (fixed, shared, waits, gang)
    usage = add_up(part_of(w, live.get(w.id, []), NODES, UNITS, 0) for w in all_of_them)
    on_default, on_big = usage["p", "default"], usage["p", "big"]
    assert on_default.allocated == on_default.non_preemptible == on_default.requested == Sum(2, 2, 1024)
    assert (on_big.allocated, on_big.non_preemptible) == (Sum(0.5, 2, 1024), Sum())
    assert on_big.requested == Sum(0.75, 4, 2048)  # a quarter of a device waits, in the project's first pool
    assert usage["q", "default"].allocated == Sum()
    assert usage["q", "default"].requested == Sum(3, 6, 3072)
    assert total(usage, ["p", "q"]).allocated.gpus == 2.5


def test_unit_with_one_pool_without_bounds_has_no_sum() -> None:
    told = org.totals_to_wire([PoolQuota("1", Amount(1)), PoolQuota("5", Amount(2), cpu=Amount(3))])
    assert told == {"gpuQuota": 3, "cpuQuota": None, "memoryQuota": None}


def test_elastic_gang_asks_for_all_its_members_whether_they_run_or_wait() -> None:
    """Else a project asks for less once its gang is evicted; the scheduler's shares count all of them."""
    waits = workload("waits", "q", gpu_count=1, completions=5, parallelism=5, min_members=2)
    runs = workload("runs", "q", gpu_count=1, completions=5, parallelism=5, min_members=2)
    live = [attempt(runs, i, "a", f"g{i}") for i in range(2)]
    parts = (part_of(waits, [], NODES, UNITS, 0), part_of(runs, live, NODES, UNITS, 0))
    assert [add_up([p])["q", "default"].requested.gpus for p in parts] == [5, 5]
