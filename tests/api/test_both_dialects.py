"""One set of workloads behind both dialects, in process: what each shows of what the other made."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from homeport.server.services import org
from homeport.server.services.access import ADMIN, Caller
from homeport.server.services.billing import get_bill

from .home import JOBS, Api, open_api


@asynccontextmanager
async def opened(tmp_path: Path, **flags: Any) -> AsyncGenerator["Both"]:
    async with open_api(tmp_path, gpus="8xH100-80GB", **flags) as api:
        named, secret = api.at.application
        ask = {"grantType": "client_credentials", "clientId": named, "clientSecret": secret}
        answer = await api.anybody.post("/api/v1/token", json=ask)
        assert answer.status_code == 200, answer.text
        api.anybody.headers["Authorization"] = f"Bearer {answer.json()['accessToken']}"
        yield Both(api)


class Both:
    """`api.client` speaks Lepton, the rest Run:ai."""

    def __init__(self, api: Api) -> None:
        self.api, services = api, api.at.home.services
        self.base = {
            "projectId": org.find_project(services, "local").id,
            "clusterId": org.get_cluster_id(services),
        }

    async def ask(self, method: str, path: str, status: int = 200, body: Any = None) -> Any:
        answer = await self.api.anybody.request(method, f"/api/v1/workloads{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def train(self, name: str, status: int = 202, **spec: Any) -> Any:
        body = {"name": name, "spec": {"image": "any:1", "command": "serve"} | spec} | self.base
        return await self.ask("POST", "/trainings", status, body)

    async def phase(self, workload: str) -> str:
        return (await self.ask("GET", f"/{workload}"))["phase"]

    async def becomes(self, workload: str, phase: str) -> None:
        end = asyncio.get_running_loop().time() + 20
        while (seen := await self.phase(workload)) != phase:
            assert asyncio.get_running_loop().time() < end, f"{workload} is {seen}, not {phase}"
            await self.api.at.clock.rest(0)


def test_training_is_a_job_with_the_same_command_and_state(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as both:
            made = await both.train("ours", args="--fast", compute={"gpuDevicesRequest": 2})
            (job,) = (await both.api.client.get(JOBS)).json()
            assert job["metadata"]["name"] == made["name"] == "ours"
            assert job["spec"]["container"] == {"image": "any:1", "command": ["serve", "--fast"]}
            assert job["spec"]["resource_shape"] == "gpu.2xh100-sxm"
            selected = await both.api.client.get(JOBS, params={"query": "team=vision"})
            assert selected.json() == []

    asyncio.run(story())


def test_job_is_charged_to_the_project_that_its_workspace_is(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as both:
            job = await both.api.submit(resource_shape="gpu.4xh100-sxm")
            await both.api.becomes(job["metadata"]["id"], "running")
            (record,) = (await both.ask("GET", ""))["workloads"]
            assert (record["projectName"], record["allocatedResources"]["gpu"]) == ("local", 4)
            assert record["workloadRequestedResources"]["gpu"] == {"request": 4.0}
            assert (record["source"], record["submittedBy"]) == ("Other", job["metadata"]["owner"])

    asyncio.run(story())


def test_pod_and_endpoint_of_lepton_are_a_workspace_and_an_inference(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as both:
            for name, is_pod in (("shell", True), ("chat", False)):
                spec = {
                    "is_pod": is_pod, "container": {"image": "any:1", "ports": [{"container_port": 8080}]},
                    "resource_requirement": {"resource_shape": "cpu.small", "min_replicas": 1},
                }  # fmt: skip
                path = JOBS.replace("/jobs", "/deployments")
                answer = await both.api.client.post(path, json={"metadata": {"name": name}, "spec": spec})
                assert answer.status_code in (200, 201), answer.text
            found = {w["name"]: w for w in (await both.ask("GET", ""))["workloads"]}
            told = {name: (w["type"], w["category"], w["priorityClassName"]) for name, w in found.items()}
            assert told == {
                "shell": ("Workspace", "Build", "high"),
                "chat": ("Inference", "Deploy", "very-high"),
            }
            await both.ask("POST", f"/workspaces/{found['shell']['id']}/suspend", 501)
            await both.ask("DELETE", f"/workspaces/{found['shell']['id']}", 202)

    asyncio.run(story())


def test_workload_is_found_by_its_id_in_whatever_project_and_after_its_end(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as both:
            made = [await both.train(f"w-{i}") for i in range(3)]
            assert len({m["workloadId"] for m in made}) == 3
            for one in made:
                await both.ask("DELETE", f"/trainings/{one['workloadId']}", 202)
                await both.becomes(one["workloadId"], "Deleting")
            later = await both.train("w-0")
            assert (await both.ask("GET", f"/{later['workloadId']}"))["name"] == "w-0"
            assert (await both.ask("GET", f"/{made[0]['workloadId']}"))["name"] == "w-0"
            assert later["workloadId"] != made[0]["workloadId"]

    asyncio.run(story())


def test_page_with_and_without_a_filter_is_the_same(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as both:
            for i in range(5):
                await both.train(f"w-{i}", nodePools=["default"])
            plain = await both.ask("GET", "?limit=2&offset=1")
            worked_out = await both.ask("GET", "?limit=2&offset=1&filterBy=name=^w-")
            names = [[w["name"] for w in page["workloads"]] for page in (plain, worked_out)]
            assert names == [["w-1", "w-2"]] * 2
            assert plain["next"] == worked_out["next"] == 3
            exact = await both.ask("GET", "?filterBy=name==w-3,projectName==local")
            assert [w["name"] for w in exact["workloads"]] == ["w-3"]

    asyncio.run(story())


def test_training_that_is_to_go_after_its_end_goes_then(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as both:
            made = await both.train("short", command="true", autoDeletionTimeAfterCompletionSeconds=60)
            await both.becomes(made["workloadId"], "Running")
            await both.ask("POST", f"/trainings/{made['workloadId']}/suspend", 202)
            await both.becomes(made["workloadId"], "Stopped")
            both.api.at.clock.advance(120)
            assert len((await both.ask("GET", ""))["workloads"]) == 1  # it was suspended, it has not ended

    asyncio.run(story())


def test_time_of_running_is_counted_by_the_servers_own_clock(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as both:
            made = await both.train("long")
            await both.becomes(made["workloadId"], "Running")
            both.api.at.clock.advance(90)
            record = await both.ask("GET", f"/{made['workloadId']}")
            assert (record["totalRunningTimeSeconds"], record["totalPendingTimeSeconds"]) == (90, 0)

    asyncio.run(story())


def test_part_of_a_gpu_pays_its_part_of_the_price(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as both:
            services, who = both.api.at.home.services, Caller("local", ADMIN, "")
            made = await both.train("half", compute={"gpuPortionRequest": 0.5})
            await both.becomes(made["workloadId"], "Running")
            both.api.at.clock.advance(3600)
            bill = await get_bill(services, {"gpu.h100-sxm": Decimal(2)}, who, by="shape")
            (line,) = bill.lines
            assert (line.name, line.cost) == ("gpu.h100-sxm", round(Decimal(line.minutes) / 60, 6))

    asyncio.run(story())
