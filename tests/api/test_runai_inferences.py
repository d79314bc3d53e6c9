"""Inferences as no client of Run:ai's sends them, and how they scale under a clock that the test moves."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from .endpoints import SERVES, Backend, Endpoint, backend
from .home import Api
from .test_runai_odd_bodies import sign_in

Play = Callable[..., None]
PATH = "/api/v1/workloads/inferences"
PORT = {"servingPort": {"container": 8000}}


async def body_of(api: Api, spec: dict[str, Any], name: str = "e") -> dict[str, Any]:
    return {
        "name": name,
        "projectId": "3",
        "clusterId": await sign_in(api),
        "spec": {"image": "any:1"} | spec,
    }


def scaled(**scaling: Any) -> dict[str, Any]:
    return PORT | {"autoscaling": scaling}


@pytest.mark.parametrize(
    ("spec", "status", "field"),
    [
        ({}, 400, "spec.servingPort.container"),
        ({"servingPort": {"container": 0}}, 400, "spec.servingPort.container"),
        ({"servingPort": {"container": 80, "protocol": "tcp"}}, 400, "spec.servingPort.protocol"),
        ({"servingPort": {"container": 80, "protocol": "grpc"}}, 501, "spec.servingPort.protocol: grpc"),
        ({"servingPort": {"container": 80, "authorizationType": "none"}}, 400,
         "spec.servingPort.authorizationType"),
        ({"servingPort": {"container": 80, "authorizationType": "authorizedGroups"}}, 501,
         "spec.servingPort.authorizedGroups"),
        ({"servingPort": {"container": 80, "authorizationType": "authorizedUsers"}}, 400,
         "spec.servingPort.authorizedUsers"),
        ({"servingPort": {"container": 80, "authorizedUsers": ["a"]}}, 400,
         "spec.servingPort.authorizedUsers"),
        (scaled(minReplicas=2, maxReplicas=1), 400, "spec.autoscaling.maxReplicas"),
        (scaled(minReplicas=1, maxReplicas=2), 400, "spec.autoscaling.metric"),
        (scaled(minReplicas=0, maxReplicas=2), 400, "spec.autoscaling.metric"),
        (scaled(maxReplicas=2, metric="throughput"), 400, "spec.autoscaling.metricThreshold"),
        (scaled(metricThreshold=5), 400, "spec.autoscaling.metricThreshold"),
        (scaled(maxReplicas=2, metric="my metric", metricThreshold=5), 400, "spec.autoscaling.metric"),
        (scaled(maxReplicas=2, metric="my_metric", metricThreshold=5), 501,
         "spec.autoscaling.metric: my_metric"),
        (scaled(minReplicas=0, maxReplicas=2, metric="latency", metricThreshold=5), 400,
         "spec.autoscaling.metric"),
        (scaled(initialReplicas=2), 400, "spec.autoscaling.initialReplicas"),
        (scaled(minReplicas=0, activationReplicas=2), 400, "spec.autoscaling.activationReplicas"),
        (scaled(scaleToZeroRetentionSeconds=5), 400, "spec.autoscaling.scaleToZeroRetentionSeconds"),
        (scaled(minReplicas=0, scaleToZeroRetentionSeconds=3601), 400,
         "spec.autoscaling.scaleToZeroRetentionSeconds"),
        (scaled(concurrencyHardLimit=1), 501, "spec.autoscaling.concurrencyHardLimit"),
        (PORT | {"servingConfiguration": {"requestTimeoutSeconds": 0}}, 400,
         "spec.servingConfiguration.requestTimeoutSeconds"),
        (PORT | {"backoffLimit": 1}, 400, "spec.backoffLimit"),
        (PORT | {"terminateAfterPreemption": True}, 400, "spec.terminateAfterPreemption"),
        (PORT | {"probes": {"readiness": {}}}, 400, "spec.probes.readiness.handler.httpGet"),
        (PORT | {"probes": {"readiness": {"handler": {"httpGet": {"scheme": "HTTPS"}}}}}, 501,
         "spec.probes.readiness.handler.httpGet.scheme: HTTPS"),
    ],
)  # fmt: skip
def test_odd_inference_is_refused_by_field(play: Play, spec: dict[str, Any], status: int, field: str) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.anybody.post(PATH, json=await body_of(api, spec))
        assert (answer.status_code, answer.json()["code"]) == (status, status), answer.text
        assert field in answer.json()["message"]
        assert (await api.anybody.get("/api/v1/workloads")).json() == {"workloads": []}

    play(scenario)


@pytest.mark.parametrize(
    ("update", "field"),
    [
        ({"spec": {"servingPort": {"container": 81}}}, "spec.servingPort: cannot be changed"),
        ({"spec": {"labels": [{"name": "a", "value": "b"}]}}, "spec.labels: cannot be changed"),
        ({"name": "other"}, "name: cannot be changed"),
        ({"spec": []}, "spec: must be an object"),
        ({"spec": {"autoscaling": {"maxReplicas": 0}}}, "spec.autoscaling.maxReplicas"),
        ({"spec": {"image": 5}}, "spec.image"),
    ],
)
def test_odd_update_is_refused_by_field(play: Play, update: dict[str, Any], field: str) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.anybody.post(PATH, json=await body_of(api, PORT))).json()
        one = f"{PATH}/{made['workloadId']}"
        answer = await api.anybody.patch(one, json=update)
        assert (answer.status_code, answer.json()["message"].startswith(field)) == (400, True), answer.text
        assert (await api.anybody.get(one)).json()["spec"] == made["spec"]

    play(scenario)


def test_update_keeps_what_it_does_not_name(play: Play) -> None:
    async def scenario(api: Api) -> None:
        spec = PORT | {"command": "serve", "compute": {"cpuCoreRequest": 0.2, "cpuMemoryRequest": "100M"}}
        made = (await api.anybody.post(PATH, json=await body_of(api, spec))).json()
        update = {"image": "any:2", "command": None, "compute": {"cpuCoreRequest": 0.3}}
        told = await api.anybody.patch(f"{PATH}/{made['workloadId']}", json={"spec": update})
        assert told.status_code == 202, told.text
        compute = {"cpuCoreRequest": 0.3, "cpuMemoryRequest": "100M"}
        assert told.json()["spec"] == spec | {"image": "any:2", "compute": compute}

    play(scenario)


def test_what_has_no_effect_is_told_in_events(play: Play) -> None:
    async def scenario(api: Api) -> None:
        spec = {
            "servingPort": {"container": 8000, "clusterLocalAccessOnly": True},
            "autoscaling": {"initializationTimeoutSeconds": 5, "activationReplicas": 1},
        }
        made = (await api.anybody.post(PATH, json=await body_of(api, spec))).json()["workloadId"]
        events = (await api.anybody.get(f"/api/v1/workloads/{made}/events")).json()["events"]
        told = " ".join(e["message"] for e in events if e["reason"] == "FieldIgnored")
        for field in ("clusterLocalAccessOnly", "initializationTimeoutSeconds", "activationReplicas"):
            assert field in told
        record = (await api.anybody.get(f"/api/v1/workloads/{made}")).json()
        assert (record["urls"], record["externalConnections"]) == ([], [])

    play(scenario)


class Inference(Endpoint):
    """Named `e`, made through Run:ai and looked at in the core."""

    async def make(self, **spec: Any) -> None:
        self.api.anybody.headers.pop("Authorization", None)
        whole = {"servingPort": {"container": self.port}} | spec
        answer = await self.api.anybody.post(PATH, json=await body_of(self.api, whole))
        assert answer.status_code == 202, answer.text
        record = await self.api.anybody.get(f"/api/v1/workloads/{answer.json()['workloadId']}")
        (self.url,) = record.json()["urls"]

    async def ready(self, number: int = 1) -> None:
        await self.until(f"{number} run", lambda: len(self.running) == number)
        await self.passes(2, step_s=1)
        await self.until("ready", lambda: self.phase == "ready")
        await self.passes(0.001, step_s=0.001)


def serving(play: Play, scenario: Callable[[Inference, Backend], Any]) -> None:
    async def whole(api: Api) -> None:
        async with backend() as behind:
            made = Inference(api, behind.port)
            try:
                await scenario(made, behind)
            finally:
                await made.gateway.aclose()

    play(whole, SERVES)


def wanted(e: Inference) -> int | None:
    return e.found.workload.decided_replicas


def test_throughput_above_its_threshold_brings_replicas_and_calm_takes_them(play: Play) -> None:
    async def scenario(e: Inference, _: Backend) -> None:
        scaling = {"maxReplicas": 3, "metric": "throughput", "metricThreshold": 1}
        await e.make(autoscaling=scaling | {"metricThresholdPercentage": 10, "scaleDownDelaySeconds": 120})
        await e.ready()
        await e.asked(11)  # of a minute; 6 per replica are 10 % of one in a second
        await e.passes(5)
        await e.until("two are wanted", lambda: wanted(e) == 2)
        await e.ready(2)
        await e.passes(100)
        assert wanted(e) == 2
        await e.passes(100)
        assert (wanted(e), e.phase) == (1, "ready")

    serving(play, scenario)


def test_open_requests_above_their_threshold_bring_replicas(play: Play) -> None:
    async def scenario(e: Inference, behind: Backend) -> None:
        scaling = {"maxReplicas": 4, "metric": "concurrency", "metricThreshold": 2}
        await e.make(autoscaling=scaling | {"metricThresholdPercentage": 100})
        await e.ready()
        behind.may_answer.clear()
        asking = [asyncio.ensure_future(e.ask()) for _ in range(5)]
        await e.until("all are open", lambda: behind.asked == 5)
        await e.passes(5)
        await e.until("three are wanted", lambda: wanted(e) == 3)
        assert e.events("ScaledUp") == ["1 -> 3 replicas: 5 requests at a time, 2 per replica wanted"]
        behind.may_answer.set()
        assert {a.status_code for a in await asyncio.gather(*asking)} == {200}

    serving(play, scenario)


def test_slow_answers_bring_replicas(play: Play) -> None:
    async def scenario(e: Inference, behind: Backend) -> None:
        await e.make(autoscaling={"maxReplicas": 2, "metric": "latency", "metricThreshold": 1000})
        await e.ready()
        behind.may_answer.clear()
        asking = asyncio.ensure_future(e.ask())
        await e.until("it is open", lambda: behind.asked == 1)
        await e.passes(10)
        assert wanted(e) is None
        behind.may_answer.set()
        assert (await asking).status_code == 200
        await e.passes(5)
        await e.until("two are wanted", lambda: wanted(e) == 2)

    serving(play, scenario)


def test_wake_brings_as_many_as_it_says(play: Play) -> None:
    async def scenario(e: Inference, _: Backend) -> None:
        scaling = {"minReplicas": 0, "maxReplicas": 3, "metric": "concurrency", "metricThreshold": 5}
        await e.make(autoscaling=scaling | {"initialReplicas": 0, "activationReplicas": 2})
        await e.until("zero", lambda: e.phase == "zero")
        assert e.attempts == []
        await e.passes(0.001, step_s=0.001)  # the gateway knows too
        asking: asyncio.Future[httpx.Response] = asyncio.ensure_future(e.ask())
        await e.until("two start", lambda: len(e.attempts) == 2)
        await e.passes(3, step_s=1)
        assert (await asking).status_code == 200
        await e.passes(70)
        await e.until("zero again", lambda: e.phase == "zero")

    serving(play, scenario)
