"""What the Lepton lists say of GPUs is what can be allocated."""

from typing import Any

from homeport.runtime.drivers.simulated import Rule
from homeport.runtime.faults import Fault, FaultKind

from .home import Api
from .test_gpu_health import NODES, SHAPE, attempts, break_gpu, gpus, is_unhealthy, lose, running

FOREVER = Rule(run_for_s=None)
MIG = "1xH100-80GB,1xH100-80GB:7x1g.10gb"
WORKSPACE = "/api/v2/workspaces/local/workspace"


async def figures(api: Api) -> tuple[float, float]:
    """GPUs that are taken and GPUs in all, the same in both lists."""
    (node,) = (await api.client.get(f"{NODES}/nodes")).json()
    (machine,) = (await api.client.get(f"{NODES}/machines")).json()
    told = node["spec"]["resource"]["gpu"]
    assert machine["status"]["resource"]["gpu"] == told
    return told["allocated"], told["total"]


def test_gpu_that_gets_no_new_work_is_not_shown_as_free(play: Any) -> None:
    async def scenario(api: Api) -> None:
        assert await figures(api) == (0, 4)
        job = await running(api, "job")
        (held,) = attempts(api, job)[0].gpu_uuids
        free = [u for u in gpus(api) if u != held]
        await lose(api, free[0])
        assert await figures(api) == (1, 3)
        break_gpu(api, held, FaultKind.GPU_XID, 48)  # what runs on it goes on
        await is_unhealthy(api, held, "GPUXid")
        assert await figures(api) == (1, 3)
        for name in ("a", "b"):  # exactly as many as were shown fit
            await running(api, name)
        assert await figures(api) == (3, 3)
        waits = (await api.submit("waits", resource_shape=SHAPE))["metadata"]["id"]
        await api.at.until("why it waits", lambda: api.at.home.loop.refusal(waits))

    play(scenario, FOREVER, gpus="4xH100-80GB")


def test_instances_count_for_their_part_of_a_gpu(play: Any) -> None:
    async def scenario(api: Api) -> None:
        assert await figures(api) == (0, 2)
        await running(api, "part", resource_shape=f"{SHAPE}.1g.10gb")
        assert await figures(api) == (0.1429, 2)
        await running(api, "whole")
        assert await figures(api) == (1.1429, 2)
        quota = (await api.client.get(WORKSPACE)).json()["resource_quota"]
        assert [quota[part]["accelerator_num"] for part in ("used", "limit")] == [1.1429, 2]
        (node,) = (await api.client.get(f"{NODES}/nodes")).json()
        assert sorted(w["gpu_count"] for w in node["status"]["workloads"]) == [0.1429, 1]
        (parent,) = {g.parent_uuid for g in api.at.home.services.nodes[0].gpus if g.parent_uuid}
        break_gpu(api, parent, FaultKind.GPU_XID, 48)
        await api.at.until("it is ill", lambda: len(api.at.home.services.unhealthy()) == 7)
        assert await figures(api) == (1.1429, 1.1429)

    play(scenario, FOREVER, gpus=MIG)


def test_node_that_takes_no_work_is_neither_ready_nor_schedulable(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async def told() -> tuple[int, bool]:
            group = (await api.client.get(NODES)).json()
            (node,) = (await api.client.get(f"{NODES}/nodes")).json()
            return group["status"]["ready_nodes"], node["spec"]["unschedulable"]

        node = api.at.home.services.nodes[0].id
        assert await told() == (1, False)
        for value, effect, closed in (("x", "PreferNoSchedule", False), ("x", "NoSchedule", True)):
            body = {"taints": [{"key": "team", "value": value, "effect": effect}]}
            answer = await api.client.post(f"/homeport/nodes/{node}/taints", json=body)
            assert answer.status_code == 200, answer.text
            assert await told() == (1, closed)
        api.at.faults.add(Fault("f", FaultKind.NODE_DOWN, node=node))
        await api.at.until("it is down", lambda: node in api.at.home.services.down_nodes())
        assert await told() == (0, True)

    play(scenario, FOREVER, gpus="2xH100-80GB")
