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
