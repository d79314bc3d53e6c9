"""Devices, parts of devices and what is left of them: one count in every view."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homeport.runtime.clock import VirtualClock
from homeport.runtime.drivers.simulated import Rule
from homeport.runtime.faults import Fault, FaultKind
from homeport.server.domain.inventory import HostNode, NodeGpu
from homeport.server.domain.workload import Attempt, AttemptState, WorkloadSpec
from homeport.server.reconcile.health import GpuHealth, of_missing
from homeport.server.services.workloads import create_workload
from homeport.server.store.writes import save_attempt
from homeport.server.testing import InProcessHome, open_in_process

from .home import Api, open_api
from .test_gpu_health import lose
from .test_runai_frame import grant

FOREVER = Rule(run_for_s=None)
NODES = "/api/v1/nodes"
PROJECTS = "/api/v1/org-unit/projects"


@asynccontextmanager
async def opened(tmp_path: Path, **flags: object) -> AsyncGenerator["Seen"]:
    async with open_api(tmp_path / "data", (FOREVER,), **flags) as api:
        yield Seen(api, (await grant(api))["accessToken"])


class Seen:
    """`api` speaks Lepton; `ask` Run:ai."""

    def __init__(self, api: Api, token: str) -> None:
        self.api, self.headers = api, {"Authorization": f"Bearer {token}"}

    async def ask(self, path: str, **query: Any) -> Any:
        answer = await self.api.anybody.get(path, headers=self.headers, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def telemetry(self, kind: str) -> float:
        (found,) = (await self.ask(f"{NODES}/telemetry", telemetryType=kind))["values"]
        return float(found["value"])

    async def status(self) -> dict[str, Any]:
        (project,) = (await self.ask(PROJECTS))["projects"]
        return project["status"]["quotaStatus"]

    async def counts(self) -> list[float]:
        names = ("TOTAL_GPUS", "READY_GPUS", "FREE_GPUS", "ALLOCATED_GPUS", "READY_GPU_NODES")
        return [await self.telemetry(name) for name in names]

    async def runs(self, name: str, **spec: Any) -> str:
        made = await self.api.submit(name, **spec)
        await self.api.becomes(made["metadata"]["id"], "running")
        return made["metadata"]["id"]


def test_mig_instance_counts_as_its_slices_in_quota_queue_usage_and_telemetry(tmp_path: Path) -> None:
    """Rule 14 of the contract: a part of a device counts as that part; here 1 + 3 of 7 slices."""

    async def story() -> None:
        async with opened(tmp_path, gpus="1xH100-80GB:3x1g.10gb+1x3g.40gb") as seen:
            (project,) = (await seen.ask(PROJECTS))["projects"]
            assert project["totalResources"]["gpuQuota"] == pytest.approx(6 / 7, abs=1e-4)
            for name, shape in (("small", "1g.10gb"), ("large", "3g.40gb")):
                await seen.runs(name, resource_shape=f"gpu.h100-sxm.{shape}")
            share = pytest.approx(4 / 7, abs=1e-4)
            status = await seen.status()
            assert [status[k]["gpu"] for k in ("allocated", "allocatedNonPreemptible", "requested")] == [
                share, share, share,
            ]  # fmt: skip
            (quota,) = (await seen.api.client.get("/homeport/projects")).json()
            assert quota["gpus_taken"] == share
            queues = (await seen.api.client.get("/homeport/queue")).json()["shares"]
            mine = [q["allocated"]["gpus"] for q in queues if (q["kind"], q["queue"]) == ("project", "local")]
            assert mine == [share]
            per_type = await seen.ask("/api/v1/workloads/telemetry", telemetryType="GPU_ALLOCATION")
            assert float(per_type["values"][0]["value"]) == share
            records = (await seen.ask("/api/v1/workloads"))["workloads"]
            assert sum(r["allocatedResources"]["gpu"] for r in records) == share
            assert sum(r["podsRequestedResources"]["gpu"]["request"] for r in records) == share
            assert await seen.counts() == pytest.approx([6 / 7, 6 / 7, 2 / 7, 4 / 7, 1], abs=1e-4)
            (node,) = (await seen.ask(NODES))["nodes"]
            assert node["gpuInfo"]["gpuCount"] == 1

    asyncio.run(asyncio.wait_for(story(), 60))


def test_who_has_the_whole_of_a_partitioned_device_waits_for_room_and_not_for_a_quota(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, gpus="1xH100-80GB:3x1g.10gb") as seen:
            for name in ("one", "two", "three"):
                await seen.runs(name, resource_shape="gpu.h100-sxm.1g.10gb")
            more = (await seen.api.submit("more", resource_shape="gpu.h100-sxm.1g.10gb"))["metadata"]["id"]
            loop = seen.api.at.home.loop
            await seen.api.at.until("it waits", lambda: loop.waiting(more))
            waiting = loop.waiting(more)
            assert waiting is not None
            assert waiting.code.value == "Unschedulable"

    asyncio.run(asyncio.wait_for(story(), 60))


def test_lost_gpu_and_node_that_is_down_are_neither_ready_nor_free(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, gpus="4xH100-80GB") as seen:
            await seen.runs("busy", resource_shape="gpu.h100-sxm")
            assert await seen.counts() == [4, 4, 3, 1, 1]
            (node,) = seen.api.at.home.services.nodes
            (busy,) = seen.api.at.home.services.store.reads.live_attempts()
            lost = next(g.uuid for g in node.gpus if g.uuid not in busy.gpu_uuids)
            await lose(seen.api, lost)
            assert await seen.counts() == [4, 3, 2, 1, 1]
            assert await seen.telemetry("FULLY_FREE_GPU_NODES") == 0
            seen.api.at.faults.add(Fault("down", FaultKind.NODE_DOWN, node=node.id))
            total, ready, free, _, nodes = await seen.counts()
            assert (total, ready, free, nodes) == (4, 0, 0, 0)

    asyncio.run(asyncio.wait_for(story(), 60))


# --- a restart with other devices


async def restarted(tmp_path: Path, before: str, after: str, story: Any) -> None:
    """`story` sees the second server, in which the containers of the first still run."""
    clock = VirtualClock()
    async with open_in_process(tmp_path, rules=(FOREVER,), clock=clock, keeps=True, gpus=before) as first:
        for name in ("one", "two", "three"):
            await _submit(first, name)
        reads = first.home.services.store.reads
        await first.until("all run", lambda: sum(bool(a.started_at_ms) for a in reads.live_attempts()) == 3)
    async with open_in_process(tmp_path, rules=(FOREVER,), clock=clock, keeps=True, gpus=after) as second:
        await story(second)


async def _submit(at: InProcessHome, name: str) -> None:
    spec = WorkloadSpec("any:1", ("true",), "", 1, 512, gpu_count=1)
    await create_workload(at.home.services, workspace="local", name=name, kind="job", owner="ada", spec=spec)


def test_work_on_devices_that_are_no_more_ends_as_if_they_were_lost_after_a_restart(tmp_path: Path) -> None:
    async def story(at: InProcessHome) -> None:
        store = at.home.services.store
        there = {g.uuid for n in at.home.services.nodes for g in n.gpus}

        def live() -> list[Attempt]:
            return list(store.reads.live_attempts())

        await at.until("only one has its place", lambda: len(live()) == 1)
        assert set(live()[0].gpu_uuids) <= there
        over = [
            f
            for f in store.reads.everywhere(archived=False, after=0, size=9)
            if f.id != live()[0].workload_id
        ]
        assert [f.phase.value for f in over] == ["failed", "failed"]
        for found in over:
            first, *_ = [e for e in store.events_of(found.id) if e.reason == "GPULost"]
            assert (first.type, "any more" in first.message) == ("Warning", True), first.message

    asyncio.run(asyncio.wait_for(restarted(tmp_path, "3xH100-80GB", "1xH100-80GB", story), 60))


def test_health_names_what_lives_on_devices_that_are_no_more_until_it_has_ended(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, gpus="2xH100-80GB") as seen:
            job = await seen.runs("job", resource_shape="gpu.h100-sxm")
            services, loop = seen.api.at.home.services, seen.api.at.home.loop
            (attempt,) = services.store.reads.live_attempts()
            await loop.close()  # nothing is reconciled any more
            fewer = [replace(n, gpus=()) for n in services.nodes]
            health = GpuHealth(services.store, services.clock, None, lambda: None, nodes=fewer)
            health.start()
            try:
                (told,) = await seen.api.at.until("the reason", lambda: health.reasons)
                assert attempt.gpu_uuids[0] in told
                (marked,) = await seen.api.at.until(
                    "the mark", lambda: [a for a in services.store.attempts_of(job) if a.reason]
                )
                assert (marked.reason, marked.is_live) == ("GPULost", True)
                ended = replace(marked, state=AttemptState.ENDED, finished_at_ms=services.clock.now_ms())
                await services.store.write(lambda session: save_attempt(session, ended))
                assert health.reasons == []
            finally:
                await health.close()

    asyncio.run(asyncio.wait_for(story(), 60))


SIMULATED = NodeGpu("GPU-simulated-h100-00", "H100", 81920, True)
REAL = NodeGpu("GPU-4d51", "NVIDIA H100 80GB HBM3", 81559, False)


@pytest.mark.parametrize(("has", "ends"), [("GPU-4d51", []), ("GPU-0000", [True])])
def test_device_of_a_node_that_was_renamed_is_looked_for_on_all(has: str, ends: list[bool]) -> None:
    live = Attempt("r", 1, "job", 0, "old-name", 1, 100, 1, (has,))
    told = of_missing([HostNode("new-name", "default", 8, 1024, (REAL,))], [live])
    assert [bool(notice.ends_because) for notice in told] == ends


@pytest.mark.parametrize(
    ("gpus", "has", "ends"),
    [
        pytest.param((REAL,), "GPU-4d51", None, id="what-is-there-is-left-alone"),
        pytest.param((REAL,), "GPU-0000", True, id="one-real-device-less"),
        pytest.param((SIMULATED,), "GPU-simulated-h100-07", True, id="one-declared-device-less"),
        pytest.param((SIMULATED,), "GPU-0000", False, id="no-real-device-could-be-listed"),
        pytest.param((), "GPU-0000", False, id="none-at-all-could-be-listed"),
        pytest.param((), "GPU-simulated-h100-00", True, id="none-is-declared-any-more"),
    ],
)
def test_work_ends_only_where_its_device_is_known_to_be_no_more(
    gpus: tuple[NodeGpu, ...], has: str, ends: bool | None
) -> None:
    live = Attempt("r", 1, "job", 0, "one", 1, 100, 1, (has,))
    told = of_missing([HostNode("one", "default", 8, 1024, gpus)], [live])
    assert [bool(notice.ends_because) for notice in told] == ([] if ends is None else [ends])


def test_restart_without_any_device_is_told_too(tmp_path: Path) -> None:
    async def story(at: InProcessHome) -> None:
        await at.until("all have ended", lambda: not at.home.services.store.reads.live_attempts())

    asyncio.run(asyncio.wait_for(restarted(tmp_path, "3xH100-80GB", "none", story), 60))
