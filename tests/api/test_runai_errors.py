"""Every refusal of the Run:ai dialect is {"code": <status>, "message", "details"}, and JSON."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from homeport.server.api.runai.ids import of_word

from .home import Api
from .test_runai_frame import grant

Play = Callable[..., None]
UNITS = "/api/v1/org-unit"
PROJECTS = f"{UNITS}/projects"
POOLS = "/api/v1/node-pools"
LIMIT = "trainingJobTimeLimitSeconds"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "details", "says"),
    [
        ("GET", "/api/v1/nothing", None, 404, "not_found", "/api/v1/nothing"),
        ("GET", "/v1/k8s/nothing", None, 404, "not_found", "/v1/k8s/nothing"),
        ("GET", "/api/v2/nothing", None, 404, "not_found", "coverage"),
        ("PATCH", PROJECTS, {}, 405, "method_not_allowed", "GET, POST"),
        ("HEAD", PROJECTS, None, 405, "", ""),
        ("GET", "/api/v1/users", None, 501, "not_implemented", "GET /api/v1/users"),
        ("POST", "/api/v1/clusters", {"name": "x"}, 501, "not_implemented", "clusters"),
        ("GET", f"{PROJECTS}/99", None, 404, "not_found", "'99'"),
        ("GET", f"{PROJECTS}?limit=9999", None, 400, "invalid", "limit"),
        ("GET", f"{PROJECTS}?filterBy=avgGpuAllocation24h>=1", None, 501, "not_implemented", "avgGpu"),
        ("GET", "/api/v1/clusters/other", None, 404, "not_found", "other"),
        ("POST", PROJECTS, "{", 400, "invalid", "body"),
        ("POST", PROJECTS, "[]", 400, "invalid", "body: must be a JSON object"),
        ("POST", PROJECTS, {}, 400, "invalid", "resources"),
        ("POST", PROJECTS, {"name": 1, "clusterId": "x", "resources": []}, 400, "invalid", "name"),
        ("POST", PROJECTS, {"name": "a", "clusterId": "x", "resources": [{"gpu": {"deserved": "many"}}]}, 400,
         "invalid", "resources[0].gpu.deserved"),
        ("PUT", f"{PROJECTS}/3/resources", [{"memory": {"units": "TB"}}], 400, "invalid",
         "resources[0].memory.units"),
        ("PUT", f"{PROJECTS}/3/resources", [{"priority": 3}], 400, "invalid", "resources[0].priority"),
        ("DELETE", f"{PROJECTS}/3", None, 409, "conflict", "local"),
        ("DELETE", f"{UNITS}/departments/2", None, 409, "conflict", "default"),
        ("DELETE", f"{POOLS}/1", None, 409, "conflict", "default"),
        ("POST", POOLS, {"name": "a", "labelKey": "k", "labelValue": "v", "clusterId": "x"}, 400,
         "invalid", "clusterId"),
        ("PATCH", f"{POOLS}/1", {"networkTopologyId": "x"}, 501, "not_implemented", "networkTop"),
        ("PATCH", f"{POOLS}/1", {"schedulingConfiguration": {"minGuaranteedRuntime": "soon"}}, 400,
         "invalid", "schedulingConfiguration.minGuaranteedRuntime"),
        ("PATCH", f"{POOLS}/1", {"overProvisioningRatio": 6}, 400, "invalid", "overProvisioningRatio"),
        ("PATCH", f"{PROJECTS}/3/resources", {"gpu": {"limit": 1}}, 400, "invalid", "body: must be a list"),
        ("PATCH", f"{PROJECTS}/3/resources", [{"gpus": 2}], 400, "invalid", "resources[0].gpus: "),
        ("PATCH", f"{PROJECTS}/3/resources", [{"gpu": {"overQuotaWeight": -1}}], 400, "invalid",
         "resources[0].gpu.overQuotaWeight"),
        ("PATCH", f"{PROJECTS}/3/resources", [{"nodePool": {"id": "1", "name": "big"}}], 400, "invalid",
         "resources[0].nodePool.name: node pool 1 is 'default'"),
        ("PUT", f"{PROJECTS}/3", {"resources": [], "parentId": "99"}, 400, "invalid", "parentId: "),
        ("PUT", f"{PROJECTS}/3", {"resources": [], "schedulingRules": {"nope": 5}}, 400, "invalid",
         "schedulingRules.nope: there is no such field"),
        ("PUT", f"{UNITS}/departments/2", {"resources": [], "name": "other"}, 400, "invalid", "name: "),
        ("PATCH", f"{POOLS}/1", {"name": "other"}, 400, "invalid", "name: a node pool keeps it"),
        ("PATCH", f"{POOLS}/1", {"schedulingConfiguration": {"minRuntime": "5m"}}, 400, "invalid",
         "schedulingConfiguration.minRuntime"),
        ("GET", "/api/v1/workloads?filterBy=completedAt>=garbage", None, 400, "invalid",
         "completedAt: 'garbage' must be a time"),
        ("GET", "/api/v1/workloads/pods?filterBy=deletedAt==x", None, 400, "invalid", "deletedAt"),
        ("GET", "/api/v1/workloads?filterBy=allocatedGPU>=many", None, 400, "invalid", "must be a number"),
        ("GET", f"{POOLS}/count?filterBy=swapEnabled==yes", None, 400, "invalid", "true or false"),
        ("GET", "/api/v1/workload-types/Training", None, 404, "not_found",
         f"{of_word('type', 'Training')} (Training), "),
        ("GET", "/api/v1/workload-categories/Train", None, 404, "not_found", "(Train)"),
        ("GET", "/api/v1/nodes/telemetry", None, 400, "invalid", "telemetryType: is missing"),
        ("GET", "/api/v1/nodes/telemetry?telemetryType=USED_CPU_CORES", None, 501, "not_implemented", "USED"),
        ("GET", f"{PROJECTS}/telemetry?telemetryType=X", None, 400, "invalid", "telemetryType"),
    ],
)  # fmt: skip
def test_refusal_has_the_vendors_shape_and_says_why(
    play: Play, method: str, path: str, body: Any, status: int, details: str, says: str
) -> None:
    async def scenario(api: Api) -> None:
        token = (await grant(api))["accessToken"]
        content = body if isinstance(body, str) else None if body is None else json.dumps(body)
        answer = await api.anybody.request(
            method, path, content=content, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        if method != "HEAD":
            told = answer.json()
            assert set(told) == {"code", "message", "details"}
            assert (told["code"], told["details"]) == (status, details)
            assert says in told["message"]

    play(scenario)


def test_request_without_a_token_is_told_where_one_comes_from(play: Play) -> None:
    async def scenario(api: Api) -> None:
        for path in ("/api/v1/clusters", "/api/v1/users"):  # also where nothing is served
            answer = await api.anybody.get(path)
            assert (answer.status_code, answer.json()["code"]) == (401, 401)
            assert "POST /api/v1/token" in answer.json()["message"]

    play(scenario)


@pytest.mark.parametrize(
    ("body", "details", "says"),
    [
        ("", "invalid_request", "grantType: is missing"),
        ("{}", "invalid_request", "grantType: is missing"),
        ('{"grantType": "magic"}', "unsupported_grant_type", "'magic'"),
        ('{"grantType": "app_token"}', "invalid_request", "AppId: is missing"),
        ('{"grantType": "app_token", "AppId": 3, "AppSecret": "x"}', "invalid_request", "AppId: is missing"),
        ('{"grantType": "app_token", "AppId": "homeport"}', "invalid_request", "AppSecret: is missing"),
        ('{"grantType": "app_token", "AppId": "homeport", "AppSecret": "x"}', "invalid_client",
         "no application"),
        ('{"grantType": "refresh_token", "refreshToken": "a.b.c"}', "invalid_grant", "refreshToken"),
        ("nonsense", "invalid", "body"),
        ("[1]", "invalid", "body"),
    ],
)  # fmt: skip
def test_token_that_cannot_be_given_is_a_400_in_words(play: Play, body: str, details: str, says: str) -> None:
    """Never a 401 or a 5xx, which the client would try again, and then hide."""

    async def scenario(api: Api) -> None:
        for path in ("/api/v1/token", "/api/v2/token"):
            answer = await api.anybody.post(path, content=body)
            assert (answer.status_code, answer.json()["code"]) == (400, 400)
            assert answer.json()["details"] == details
            assert says.split(":")[-1].strip().lower() in answer.json()["message"].lower()

    play(scenario)


def test_body_that_is_too_large_is_refused(play: Play) -> None:
    async def scenario(api: Api) -> None:
        token = (await grant(api))["accessToken"]
        answer = await api.anybody.post(
            PROJECTS, content=b" " * (17 * 2**20), headers={"Authorization": f"Bearer {token}"}
        )
        assert (answer.status_code, answer.json()["code"], answer.json()["details"]) == (
            413,
            413,
            "too_large",
        )

    play(scenario)


@pytest.mark.parametrize("unit", [f"{PROJECTS}/3", f"{UNITS}/departments/2"])
def test_failed_change_leaves_everything_as_it_was(play: Play, unit: str) -> None:
    """A PUT of a project or a department changes quotas and the rest: both or none."""

    async def scenario(api: Api) -> None:
        bearer = {"Authorization": f"Bearer {(await grant(api))['accessToken']}"}
        before = (await api.anybody.get(unit, headers=bearer)).json()
        for change in (
            {"resources": [{"nodePool": {"id": "99"}}], "description": "new"},
            {"resources": [{"gpu": {"deserved": 1}}], "defaultNodePools": ["none"]},
            {"resources": [{"gpu": {"deserved": 1e10}}], "description": "new"},
            {"resources": [{"cpu": {"overQuotaWeight": 1e10}}], "schedulingRules": {LIMIT: 60}},
        ):
            answer = await api.anybody.put(unit, json=change, headers=bearer)
            assert answer.status_code == 400
            assert (await api.anybody.get(unit, headers=bearer)).json() == before

    play(scenario)


@pytest.mark.parametrize("is_removed_first", [False, True])
def test_change_is_made_whole_or_not_at_all_while_its_node_pool_is_removed(
    play: Play, is_removed_first: bool
) -> None:
    async def scenario(api: Api) -> None:
        bearer = {"Authorization": f"Bearer {(await grant(api))['accessToken']}"}
        cluster = (await api.anybody.get("/api/v1/clusters", headers=bearer)).json()[0]["uuid"]
        body = {"name": "fast", "clusterId": cluster, "labelKey": "speed", "labelValue": "fast"}
        made = await api.anybody.post(POOLS, json=body, headers=bearer)
        assert made.status_code < 300, made.text
        before = (await api.anybody.get(f"{PROJECTS}/3", headers=bearer)).json()
        wanted = {"resources": [{"nodePool": {"name": "fast"}, "gpu": {"deserved": 1}}], "description": "new"}
        calls = [
            api.anybody.put(f"{PROJECTS}/3", json=wanted, headers=bearer),
            api.anybody.delete(f"{POOLS}/{made.json()['id']}", headers=bearer),
        ]
        put, removed = await asyncio.gather(*(reversed(calls) if is_removed_first else calls))
        if is_removed_first:
            put, removed = removed, put
        assert removed.status_code < 300, removed.text
        after = (await api.anybody.get(f"{PROJECTS}/3", headers=bearer)).json()
        if put.status_code == 200:  # its quota went with the pool
            assert (after["description"], after["resources"]) == ("new", [])
        else:
            assert "node pool" in put.json()["message"]
            assert after["description"] == before["description"]
            assert after["updatedAt"] == before["updatedAt"]

    play(scenario)


def test_change_of_quotas_and_the_rest_is_one_write(play: Play) -> None:
    """Nobody sees one without the other, and a server that is killed leaves both or none."""

    async def scenario(api: Api) -> None:
        bearer = {"Authorization": f"Bearer {(await grant(api))['accessToken']}"}
        for unit in (f"{PROJECTS}/3", f"{UNITS}/departments/2"):
            change = {"resources": [{"gpu": {"deserved": 1}}], "schedulingRules": {LIMIT: 60}}
            commits = api.at.home.services.store.commits
            answer = await api.anybody.put(unit, json=change, headers=bearer)
            assert (answer.status_code, api.at.home.services.store.commits - commits) == (200, 1)
            told = answer.json()
            assert told["schedulingRules"] == {LIMIT: 60}
            assert [q["gpu"]["deserved"] for q in told["resources"]] == [1]
            answer = await api.anybody.put(unit, json={"resources": []}, headers=bearer)
            assert (answer.json()["schedulingRules"], answer.json()["resources"]) == ({}, [])

    play(scenario)
