"""Bodies and queries that no client of Run:ai's sends: refused by field, never an error of ours."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from .home import Api
from .test_runai_frame import CLUSTERS, TOKEN, grant

Play = Callable[..., None]
TRAININGS = "/api/v1/workloads/trainings"
DEEP = '{"a":' * 900 + "1" + "}" * 900
AFFINITY = "spec.nodeAffinityRequired.nodeSelectorTerms[0].matchExpressions[0].values"


def greater_than(value: str) -> dict[str, Any]:
    match = {"key": "run.ai/speed", "operator": "Gt", "values": [value]}
    return {"nodeAffinityRequired": {"nodeSelectorTerms": [{"matchExpressions": [match]}]}}


async def sign_in(api: Api) -> str:
    """The cluster's id; from now on `anybody` has a token of Run:ai's."""
    api.anybody.headers["Authorization"] = f"Bearer {(await grant(api))['accessToken']}"
    return (await api.anybody.get(CLUSTERS)).json()[0]["uuid"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"compute": {"cpuMemoryRequest": "9" * 400}}, "spec.compute.cpuMemoryRequest"),
        ({"compute": {"gpuRequestType": "memory", "gpuMemoryRequest": f"{'9' * 400}Gi"}},
         "spec.compute.gpuMemoryRequest"),
        (greater_than("²"), AFFINITY),
        (greater_than("--5"), AFFINITY),
        (greater_than("9" * 5000), AFFINITY),
        ({"backoffLimit": 10**30}, "spec.backoffLimit"),
        ({"terminationGracePeriodSeconds": 10**30}, "spec.terminationGracePeriodSeconds"),
        ({"autoDeletionTimeAfterCompletionSeconds": 10**30}, "spec.autoDeletionTimeAfterCompletionSeconds"),
        ({"environmentVariables": [{"name": "A\nB", "value": "c"}]}, "spec.environmentVariables[0]"),
        ({"workingDir": "/a\0b"}, "spec.workingDir"),
    ],
)  # fmt: skip
def test_odd_training_is_refused_by_field(play: Play, spec: dict[str, Any], field: str) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "t", "projectId": "3", "clusterId": await sign_in(api)}
        answer = await api.anybody.post(TRAININGS, json=body | {"spec": {"image": "any:1"} | spec})
        assert (answer.status_code, answer.json()["code"]) == (400, 400), answer.text
        assert answer.json()["message"].startswith(f"{field}: ")
        assert (await api.anybody.get("/api/v1/workloads")).json() == {"workloads": []}

    play(scenario)


@pytest.mark.parametrize("path", [TRAININGS, "/api/v1/org-unit/projects", TOKEN])
def test_body_that_is_nested_without_end_is_refused(play: Play, path: str) -> None:
    async def scenario(api: Api) -> None:
        await sign_in(api)
        answer = await api.anybody.post(path, content=DEEP)
        assert answer.status_code == 400, answer.text
        assert "nested too deeply" in answer.json()["message"]

    play(scenario)


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_time_beyond_all_times_is_refused(play: Play, end: str) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "t", "projectId": "3", "clusterId": await sign_in(api), "spec": {"image": "any:1"}}
        made = (await api.anybody.post(TRAININGS, json=body)).json()["workloadId"]
        query = {"metricType": "GPU_UTILIZATION", "start": "2026-01-01T00:00:00Z", "end": end}
        answer = await api.anybody.get(f"/api/v1/workloads/{made}/metrics", params=query)
        assert answer.status_code == 400, answer.text
        assert answer.json()["message"].startswith("end: ")

    play(scenario)


def test_refusal_quotes_only_the_beginning_of_what_came(play: Play) -> None:
    async def scenario(api: Api) -> None:
        long = "a" * 100_000
        body = {"name": long, "projectId": "3", "clusterId": await sign_in(api), "spec": {"image": "any:1"}}
        for answer in (
            await api.anybody.post(TRAININGS, json=body),
            await api.anybody.post("/api/v2/token", content=json.dumps({"grant_type": long})),
        ):
            assert answer.status_code == 400
            assert len(answer.content) < 5000

    play(scenario)
