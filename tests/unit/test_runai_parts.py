"""Run:ai's fields that had no effect, or were named wrongly: the pure parts."""

from typing import Any

import pytest

from homeport.scheduler.model import Code, Unplaced
from homeport.scheduler.needs import slice_part
from homeport.server.api.runai import quirks
from homeport.server.api.runai.translate import org, workloads
from homeport.server.api.runai.translate.compute import resources_of
from homeport.server.api.runai.translate.events import event_to_wire
from homeport.server.api.runai.translate.spec import to_spec
from homeport.server.api.runai.translate.where import where_of
from homeport.server.api.runai.wire import Resources
from homeport.server.api.runai.wire_workloads import Compute, DistributedCreation
from homeport.server.domain.inventory import NodeGpu, device_part
from homeport.server.domain.org import Amount, NodePool, Org, PoolQuota
from homeport.server.domain.pools import whole_machine
from homeport.server.errors import Invalid
from homeport.server.store.tables import EventRow
from tests.unit.test_runai_specs import MACHINE, NODES, SHAPES, WHERE, attempt, ended, seen, spec

POOLS = (NodePool("1", "default", is_default=True), NodePool("5", "big", "size", "big"))


@pytest.mark.parametrize("profile", ["", *(f"{slices}g.10gb" for slices in range(1, 8))])
def test_part_of_a_device_is_the_same_in_quotas_and_in_plans(profile: str) -> None:
    gpu = NodeGpu("MIG-1", "H100", 10240, True, profile)
    assert device_part(gpu) == (slice_part(profile) if profile else 1.0)


def test_quota_of_the_whole_machine_is_what_its_devices_count_for() -> None:
    (node,) = NODES
    parts = [NodeGpu(f"MIG-{i}", "H100", 10240, True, "1g.10gb", "GPU-9") for i in range(7)]
    nodes = [node, type(node)("mig", "big", 8, 1024, tuple(parts[:4]))]
    assert [q.gpu.deserved for q in whole_machine(nodes, POOLS)] == [8.0, pytest.approx(4 / 7)]


# --- quotas


def patched(before: PoolQuota, **sent: Any) -> PoolQuota:
    entry = {"nodePool": {"id": before.pool}} | sent
    (meant,) = quirks.without_empty_nulls([entry])
    (after,) = org.quotas_to_domain([Resources.model_validate(meant)], POOLS, [before])
    return after


BEFORE = PoolQuota("5", Amount(1, 2, 3), Amount(4, 8), Amount(512, 1024))


@pytest.mark.parametrize(
    ("sent", "gpu"),
    [
        pytest.param({"limit": None}, Amount(1, None, 3), id="null-takes-the-limit-away"),
        pytest.param({"limit": -1}, Amount(1, None, 3), id="so-does-minus-one"),
        pytest.param({"deserved": 2, "limit": None}, Amount(2, None, 3), id="beside-another-field"),
        pytest.param({"overQuotaWeight": None}, Amount(1, 2, None), id="weight-is-the-default-again"),
        pytest.param({"deserved": None}, Amount(0, 2, 3), id="gpus-of-its-own-are-none-by-default"),
        pytest.param(
            {"deserved": 2, "limit": None, "overQuotaWeight": None}, Amount(2, 2, 3),
            id="all-three-come-from-the-client-s-from-dict-and-say-nothing",
        ),
    ],
)  # fmt: skip
def test_null_of_a_quota_is_its_default(sent: dict[str, Any], gpu: Amount) -> None:
    after = patched(BEFORE, gpu=sent)
    assert (after.gpu, after.cpu, after.memory) == (gpu, BEFORE.cpu, BEFORE.memory)


def test_null_of_a_cpu_or_memory_quota_is_without_bounds() -> None:
    after = patched(BEFORE, cpu={"deserved": None}, memory={"limit": None, "units": None}, gpu=None)
    assert (after.gpu, after.cpu, after.memory) == (BEFORE.gpu, Amount(None, 8), Amount(512, None))


@pytest.mark.parametrize(
    ("ref", "field"),
    [
        ({"id": "5", "name": "default"}, "nodePool.name"),
        ({"id": "9"}, "nodePool.id"),
        ({"name": "x"}, "nodePool.name"),
    ],
)
def test_pool_that_is_named_wrongly_is_refused_by_the_field_that_names_it(
    ref: dict[str, str], field: str
) -> None:
    with pytest.raises(Invalid, match=rf"^resources\[0\]\.{field}: .*big"):
        org.quotas_to_domain([Resources.model_validate({"nodePool": ref})], POOLS)


# --- submissions


def test_request_beyond_every_node_is_refused_as_the_request() -> None:
    with pytest.raises(Invalid, match=r"^spec\.compute\.cpuCoreRequest: 100000 is more than .* 16;"):
        resources_of(Compute(cpu_core_request=100_000), NODES, SHAPES)
    with pytest.raises(Invalid, match=r"^spec\.compute\.cpuCoreLimit: 1 is less than"):
        resources_of(Compute(cpu_core_request=2, cpu_core_limit=1), NODES, SHAPES)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"slotsPerWorker": 4}, ["spec.slotsPerWorker is for MPI only, and has no effect"]),
        ({"sshAuthMountPath": "/keys"}, ["spec.sshAuthMountPath is for MPI only, and has no effect"]),
        ({"cleanPodPolicy": "Running"}, ["spec.cleanPodPolicy Running has no effect: no container stays"]),
        ({"slotsPerWorker": 1, "sshAuthMountPath": "/root/.ssh", "cleanPodPolicy": "All"}, []),
    ],
    ids=["slots", "keys", "clean-up", "what-the-client-sends-by-itself"],
)
def test_field_that_only_mpi_reads_is_told_by_an_event(fields: dict[str, Any], told: list[str]) -> None:
    body: dict[str, Any] = {"name": "work", "projectId": "3", "clusterId": "c"}
    body |= {"spec": {"image": "any:1", "numWorkers": 2, "distributedFramework": "PyTorch"} | fields}
    wanted = to_spec("Distributed", DistributedCreation.model_validate(body), body, "work", MACHINE)
    assert [reason for reason, _ in wanted.warnings] == ["FieldIgnored"] * len(told)
    assert all(m.startswith(t) for (_, m), t in zip(wanted.warnings, told, strict=True)), wanted.warnings


# --- what is shown


def test_node_group_is_a_node_pool_in_all_that_is_told() -> None:
    why = Unplaced(("2 node(s): not in node group big",), Code.NO_PLACE)
    told = workloads.record(seen(spec(), waiting=why))
    texts = [told["phaseMessage"], told["conditions"][0]["message"]]
    assert texts == ["2 node(s): not in node pool big"] * 2
    row = EventRow(
        seq=1, workload_id="w", type="Warning", reason="NoRoom", message=why.reasons[0], count=1, last_ms=1
    )
    assert event_to_wire(row, seen(spec()))["message"] == "2 node(s): not in node pool big"


def test_message_of_what_runs_is_empty_whatever_it_had_before() -> None:
    trouble = "cannot pull any:1"
    assert workloads.record(seen(spec(), attempt(message=trouble)))["phaseMessage"] == ""
    evicted = ended(1, code=143, reason="Evicted", message="evicted: reclaimed")
    elastic = spec("Distributed", numWorkers=2, minReplicas=1, maxReplicas=2)
    running = seen(elastic, attempt(0), attempt(2), evicted)
    assert (running.phase, workloads.record(running)["phaseMessage"]) == ("Running", "")
    starting = attempt(state="placed", started_at_ms=None, message=trouble)
    assert workloads.record(seen(spec(), starting))["phaseMessage"] == trouble


def test_guaranteed_time_ends_for_preemptible_work_in_a_pool_that_has_one() -> None:
    where = where_of(
        "c", Org(pools=(NodePool("1", "default", is_default=True, min_runtime_s=60),)), NODES, SHAPES
    )
    one = seen(spec(), attempt(gpu_uuids=("GPU-0",)))

    def until(of: Any, place: Any) -> int | None:
        return type(of)(of.workload, of.state, of.attempts, place, of.now_ms).guaranteed_until_ms

    assert until(one, where) == 1_020_000 + 60_000
    assert until(one, WHERE) is None, "its pool guarantees nothing"
    assert until(seen(spec("Workspace"), attempt()), where) is None, "it is never evicted"
    assert until(seen(spec(), ended()), where) is None, "it runs no more"
