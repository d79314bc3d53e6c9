"""What the Lepton dialect tells its users: of requests that it refuses, and of what there is."""

from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Rule
from homeport.runtime.faults import Fault, FaultKind

from .home import JOBS, Api

BASE = "/api/v2/workspaces/local"
TYPE = {"Content-Type": "application/json"}
HOLDS = Rule(run_for_s=None)
CONTAINER = {"image": "any:1", "command": ["true"]}


def legacy(name: str = "web", **spec: Any) -> dict[str, Any]:
    needs = {"container": CONTAINER, "resource_requirement": {"resource_shape": "cpu.small"}}
    return {"metadata": {"name": name}, "spec": needs | spec}


def job(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"id": "x"}, "spec": {"resource_shape": "cpu.small", "container": CONTAINER} | spec}


@pytest.mark.parametrize(
    ("path", "body", "headers", "words"),
    [
        pytest.param("jobs", "{}", {"Content-Type": "application/x-www-form-urlencoded"},
                     "body: comes as application/x-www-form-urlencoded; send it with 'Content-Type: "
                     "application/json'", id="as curl -d sends it"),
        pytest.param("jobs", '{"spec": ', TYPE, "body: is no JSON at character 9: Expecting value", id="cut"),
        pytest.param("jobs", "[]", TYPE, "body: has to be a JSON object", id="a list"),
        pytest.param("jobs", "", TYPE, "body: is missing; send a JSON object", id="nothing"),
        pytest.param("jobs", "{}", TYPE, "metadata: is missing", id="without a field"),
        pytest.param("jobs", '{"metadata": {}, "spec": 5}', TYPE, "spec: must be an object", id="a number"),
        pytest.param("endpoints", "[]", TYPE, "body: has to be a JSON object", id="endpoint"),
        pytest.param("usersecrets", "{}", TYPE, "body: has to be a JSON list", id="one secret"),
    ],
)  # fmt: skip
def test_body_that_cannot_be_read_is_refused_with_the_remedy(
    play: Any, path: str, body: str, headers: dict[str, str], words: str
) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.post(f"{BASE}/{path}", content=body, headers=headers)
        assert (answer.status_code, answer.json()["message"]) == (422, words)

    play(scenario)


BAD_NAME = "spec.envs[1].name: must be letters, digits, '-', '_' and '.', and not begin with a digit"
TWO_SOURCES = {"name": "A", "value": "1", "value_from": {"secret_name_ref": "s"}}
GOOD = {"name": "A", "value": "1"}
NAME_RULE = "must be 1 to 36 of a-z, 0-9 and '-', begin with a letter, not end with '-'"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("jobs", job(envs=[GOOD, {"name": "1A"}]), BAD_NAME),
        ("deployments", legacy(envs=[GOOD, {"name": "A\n"}]), BAD_NAME),
        ("jobs", job(envs=[TWO_SOURCES]), "spec.envs[0]: has both value and value_from; keep one of them"),
        ("jobs", job(mounts=[{"from": "node-local"}]), "spec.mounts[0].mount_path: is missing"),
        ("deployments", legacy("E"), f"metadata.name: 'E' {NAME_RULE}"),
        (
            "jobs", {**job(), "metadata": {"id": "n" * 5000}},
            f"metadata.id: '{'n' * 64}'... (5000 characters) {NAME_RULE}",
        ),
    ],
)  # fmt: skip
def test_refusal_says_where_in_a_list_and_what_is_allowed(
    play: Any, path: str, body: dict[str, Any], words: str
) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.post(f"{BASE}/{path}", json=body)
        assert (answer.status_code // 100, answer.json()["message"]) == (4, words)

    play(scenario)


def test_patch_names_the_item_of_a_list(play: Any) -> None:
    async def scenario(api: Api) -> None:
        assert (await api.client.post(f"{BASE}/deployments", json=legacy())).status_code == 201
        patch = {"spec": {"envs": [GOOD, {"name": "1A"}]}}
        for family in ("deployments", "endpoints"):
            if family == "endpoints":
                patch = {
                    "spec": {"components": [{**CONTAINER, "resource_shape": "cpu.small", **patch["spec"]}]}
                }
            answer = await api.client.patch(f"{BASE}/{family}/web", json=patch)
            assert (answer.status_code, answer.json()["message"]) == (400, BAD_NAME)

    play(scenario, HOLDS)


def test_page_beyond_all_numbers_is_refused(play: Any) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.get(f"{JOBS}?page={10**20}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), answer.text
        assert (await api.client.get(f"{JOBS}?page={2**31 - 1}&page_size=1000")).json() == {"jobs": []}

    play(scenario)


def test_jobs_are_listed_by_sets_of_labels(play: Any) -> None:
    async def scenario(api: Api) -> None:
        for name in ("a", "b", "c"):
            body = {**job(), "metadata": {"id": name, "labels": {"team": name}}}
            assert (await api.client.post(JOBS, json=body)).status_code == 201
        for query, names in (("team in (a,c)", ["c", "a"]), ("team notin (a),team!=b", ["c"])):
            found = await api.client.get(JOBS, params={"query": query})
            assert [j["metadata"]["name"] for j in found.json()] == names

    play(scenario)


def test_archived_job_is_said_to_be_in_the_archive(play: Any) -> None:
    """`lep job get` asks for live ones alone, unless it is told otherwise."""

    async def scenario(api: Api) -> None:
        made = (await api.submit())["metadata"]["id"]
        archived = await api.client.get(f"{JOBS}/{made}?job_query_mode=archive_only")
        assert archived.json()["message"].endswith("; there is one that is not archived")
        await api.client.delete(f"{JOBS}/{made}")
        await api.becomes(made, "archived")
        answer = await api.client.get(f"{JOBS}/{made}?job_query_mode=alive_only")
        assert answer.status_code == 404
        assert "in the archive, which `lep job get --include-archived` shows" in answer.json()["message"]

    play(scenario)


def keep_deleting(api: Api) -> None:
    """Where the engine cannot be asked nothing is decided, so what is being deleted stays so."""
    api.at.faults.add(Fault("down", FaultKind.ENGINE_DOWN))


def test_job_that_is_being_deleted_takes_no_change(play: Any) -> None:
    async def scenario(api: Api) -> None:
        keep_deleting(api)
        made = (await api.submit())["metadata"]["id"]
        assert (await api.client.delete(f"{JOBS}/{made}")).status_code == 200
        for spec in ({"stopped": True}, {"stopped": False}, {"ttl_seconds_after_finished": 5}):
            answer = await api.client.patch(f"{JOBS}/{made}", json={"spec": spec})
            assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), answer.text
            assert f"job {made} is being deleted" in answer.json()["message"]
        assert (await api.client.delete(f"{JOBS}/{made}")).status_code == 200

    play(scenario, HOLDS)


@pytest.mark.parametrize("is_pod", [False, True])
def test_endpoint_that_is_being_deleted_takes_no_change(play: Any, is_pod: bool) -> None:
    family, kind = ("devpods", "pod") if is_pod else ("endpoints", "endpoint")

    async def scenario(api: Api) -> None:
        keep_deleting(api)
        assert (await api.client.post(f"{BASE}/deployments", json=legacy(is_pod=is_pod))).status_code == 201
        assert (await api.client.delete(f"{BASE}/{family}/web")).status_code == 200
        stop = {"spec": {"resource_requirement": {"min_replicas": 0}}}
        for answer in (
            await api.client.patch(f"{BASE}/deployments/web", json=stop),
            await api.client.put(f"{BASE}/deployments/web/restart"),
            await api.client.put(f"{BASE}/{family}/web/restart"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), answer.text
            assert f"{kind} web is being deleted" in answer.json()["message"]
        assert (await api.client.delete(f"{BASE}/{family}/web")).status_code == 200

    play(scenario, HOLDS)


def test_event_says_who_asked_for_a_change(play: Any) -> None:
    async def scenario(api: Api) -> None:
        made = await api.submit()
        path = f"{JOBS}/{made['metadata']['id']}"
        assert (await api.client.patch(path, json={"spec": {"stopped": True}})).status_code == 200
        told = {e["reason"]: e["message"] for e in (await api.client.get(f"{path}/events")).json()}
        assert told["StopRequested"] == f"{made['metadata']['owner']} asked for it"

    play(scenario, HOLDS)


def test_workspace_counts_its_secrets(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async def count() -> int:
            return (await api.client.get(f"{BASE}/workspace")).json()["workloads"]["num_secrets"]

        assert await count() == 0
        items = [{"name": name, "value": "v"} for name in ("A", "B")]
        assert (await api.client.post(f"{BASE}/usersecrets", json=items)).status_code == 201
        assert await count() == 2

    play(scenario)


@pytest.mark.parametrize("purpose", ["job", "deployment", "pod"])
def test_shapes_can_be_had_for_every_kind_of_work(play: Any, purpose: str) -> None:
    async def scenario(api: Api) -> None:
        shown = (await api.client.get(f"{BASE}/shapes?purpose={purpose}")).json()
        assert "cpu.small" in [s["metadata"]["name"] for s in shown]
        assert all(purpose in s["spec"]["listable_in"] for s in shown)  # `lep node resource-shape` looks

    play(scenario)


def test_node_tells_endpoints_and_pods_by_kind_and_name(play: Any) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.submit())["metadata"]["id"]
        for name, is_pod in (("web", False), ("box", True)):
            body = legacy(name, is_pod=is_pod)
            assert (await api.client.post(f"{BASE}/deployments", json=body)).status_code == 201
        live = api.at.home.services.store.reads.live_attempts
        await api.at.until("all are placed", lambda: len(live()) == 3)
        (node,) = (await api.client.get(f"{BASE}/dedicated-node-groups/default/nodes")).json()
        told = {(w["type"], w["name"], w["id"]) for w in node["status"]["workloads"]}
        assert told == {("job", made, made), ("deployment", "web", "web"), ("pod", "box", "box")}

    play(scenario, HOLDS)
