"""Bodies that no client of the vendor sends: refused by field, and nothing is spoilt."""

import json
from typing import Any

import pytest

from .home import Api

BASE = "/api/v2/workspaces/local"
LISTS = ("deployments", "endpoints", "devpods")
TYPE = {"Content-Type": "application/json"}


def legacy(**more: Any) -> dict[str, Any]:
    spec = {"container": {"image": "any:1"}, "resource_requirement": {"resource_shape": "cpu.small"}}
    return {"metadata": {"name": "e"}, "spec": spec} | more


def modern(**more: Any) -> dict[str, Any]:
    components = [{"image": "any:1", "resource_shape": "cpu.small"}]
    return {"metadata": {"name": "e"}, "spec": {"components": components} | more}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("deployments", legacy(component="text"), "component"),
        ("deployments", legacy(component=[1]), "component"),
        ("endpoints", modern(container="text"), "spec.container"),
        ("endpoints", modern(resource_requirement=[]), "spec.resource_requirement"),
        ("endpoints", modern(components=[None]), "spec.components[0]"),
        ("endpoints", modern(is_pod=True), "spec.is_pod"),
        ("endpoints", modern(foo=float("inf")), "body"),
        ("endpoints", modern(foo=float("nan")), "body"),
        ("deployments", legacy(foo=1, component={"a": float("-inf")}), "body"),
        ("endpoints", modern(api_tokens=[{"value": "\ud800"}]), "tokens[0].value"),
    ],
)
def test_odd_body_is_refused_by_field(play: Any, path: str, body: dict[str, Any], field: str) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.post(f"{BASE}/{path}", content=json.dumps(body), headers=TYPE)
        assert 400 <= answer.status_code < 500, answer.text
        assert field in answer.text
        for name in LISTS:
            listed = await api.client.get(f"{BASE}/{name}")
            assert (listed.status_code, listed.json()) == (200, []), listed.text

    play(scenario)


@pytest.mark.parametrize("query", ["", "?dryrun=true"])
@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"component": "text"}, "component"),
        ({"spec": {"is_pod": True}}, "spec.is_pod"),
        ({"spec": {"foo": float("inf")}}, "body"),
        ({"spec": {"auto_scaler": {"target_throughput": {"qpm": float("inf")}}}}, "body"),
        ({"spec": {"foo": "\ud800"}}, "body"),
    ],
)
def test_odd_patch_is_refused_by_field(play: Any, patch: dict[str, Any], field: str, query: str) -> None:
    async def scenario(api: Api) -> None:
        assert (await api.client.post(f"{BASE}/deployments", json=legacy())).status_code == 201
        before = (await api.client.get(f"{BASE}/deployments/e")).json()["spec"]
        answer = await api.client.patch(
            f"{BASE}/deployments/e{query}", content=json.dumps(patch), headers=TYPE
        )
        assert 400 <= answer.status_code < 500, answer.text
        assert field in answer.text
        assert (await api.client.get(f"{BASE}/deployments/e")).json()["spec"] == before
        for name in LISTS:
            assert (await api.client.get(f"{BASE}/{name}")).status_code == 200

    play(scenario)


def test_pod_does_not_become_an_endpoint(play: Any) -> None:
    async def scenario(api: Api) -> None:
        spec = {"container": {"image": "any:1"}, "resource_shape": "cpu.small"}
        made = await api.client.post(f"{BASE}/devpods", json={"metadata": {"name": "p"}, "spec": spec})
        assert made.status_code == 201, made.text
        answer = await api.client.patch(f"{BASE}/deployments/p", json={"spec": {"is_pod": False}})
        assert 400 <= answer.status_code < 500, answer.text
        assert "spec.is_pod" in answer.text

    play(scenario)


def job(**more: Any) -> dict[str, Any]:
    spec = {"resource_shape": "cpu.small", "container": {"image": "any:1", "command": ["true"]}}
    return {"metadata": {"id": "j"}, "spec": spec | more}


def sized(**more: Any) -> dict[str, Any]:
    spec = legacy()["spec"]
    return {"metadata": {"name": "e"}, "spec": spec | more}


HUGE = 10**30  # no database has a column for it


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("jobs", job(ttl_seconds_after_finished=HUGE), "spec.ttl_seconds_after_finished"),
        ("jobs", job(max_failure_retry=HUGE), "spec.max_failure_retry"),
        ("jobs", job(max_job_failure_retry=HUGE), "spec.max_job_failure_retry"),
        ("jobs", job(shared_memory_size=HUGE), "spec.shared_memory_size"),
        (
            "deployments",
            sized(auto_scaler={"scale_down": {"no_traffic_timeout": HUGE}}),
            "no_traffic_timeout",
        ),
        ("deployments", sized(health={"liveness": {"initial_delay_seconds": HUGE}}), "initial_delay_seconds"),
        ("deployments", sized(load_balance_config={"least_request": {"choice_count": HUGE}}), "choice_count"),
        ("jobs", job(envs=[{"name": "A", "value": "a\0b"}]), "spec.envs[0].value: must not hold a NUL"),
        (
            "jobs",
            job(container={"image": "any:1", "command": ["sh", "\0"]}),
            "spec.container.command[1]: must not hold a NUL",
        ),
        (
            "deployments",
            sized(envs=[{"name": "A", "value": "\0"}]),
            "spec.envs[0].value: must not hold a NUL",
        ),
    ],
)
def test_work_of_others_goes_on_when_a_value_is_too_much(
    play: Any, path: str, body: dict[str, Any], field: str
) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.post(f"{BASE}/{path}", json=body)
        other = await api.submit("other")
        await api.at.until("the other runs", lambda: api.phase(other["metadata"]["id"]) == "running")
        api.at.clock.advance(2)
        await api.at.until("the other ends", lambda: api.phase(other["metadata"]["id"]) == "completed")
        assert answer.status_code == 422, answer.text
        assert field in answer.text

    play(scenario)


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("jobs", job(privileged=True), ["spec.privileged"]),
        (
            "jobs",
            job(user_security_context={"privileged": True}),
            ["spec.user_security_context.privileged"],
        ),
        ("jobs", job(user_security_context={"privileged": False}), []),
        (
            "jobs",
            job(
                container={
                    "image": "any:1",
                    "ports": [
                        {"container_port": 1, "expose_strategies": ["HostPortMapping"]},
                        {"container_port": 2, "expose_strategies": ["IngressProxy"]},
                    ],
                }
            ),
            ["spec.container.ports[1].expose_strategies"],
        ),
        (
            "deployments",
            sized(user_security_context={"privileged": True}),
            ["spec.user_security_context.privileged"],
        ),
    ],
)
def test_field_without_effect_is_an_event(
    play: Any, path: str, body: dict[str, Any], told: list[str]
) -> None:
    async def scenario(api: Api) -> None:
        made = await api.client.post(f"{BASE}/{path}", json=body)
        assert made.status_code == 201, made.text
        assert made.json()["spec"].items() >= body["spec"].items()
        events = await api.client.get(f"{BASE}/{path}/{made.json()['metadata']['id']}/events")
        ignored = [e["message"] for e in events.json() if e["reason"] == "FieldIgnored"]
        assert [message.split(":")[0].split(" ")[0] for message in ignored] == told

    play(scenario)


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        pytest.param('{"name": "a"}', {"Content-Type": "application/x-www-form-urlencoded"},
                     "body: comes as application/x-www-form-urlencoded; send it with 'Content-Type: "
                     "application/json'", id="as curl -d sends it"),
        pytest.param('{"name": ', TYPE, "body: is no JSON at character 9: Expecting value", id="cut"),
        pytest.param("[]", TYPE, "body: has to be a JSON object", id="a list"),
        pytest.param("", TYPE, "body: is missing", id="nothing"),
        pytest.param("{}", TYPE, "name: Field required", id="without a field"),
    ],
)  # fmt: skip
def test_body_that_is_no_object_is_refused_with_the_remedy(
    play: Any, body: str, headers: dict[str, str], words: str
) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.post("/homeport/projects", content=body, headers=headers)
        assert (answer.status_code, answer.json()["message"]) == (422, words)

    play(scenario)
