"""Ingresses through the API: what is kept, what is refused, whose a domain is, what the gateway sees."""

from datetime import timedelta
from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Rule
from homeport.server.domain.org import Project
from homeport.server.errors import Conflict
from homeport.server.services import access, ingresses, org, tokens

from .home import Api
from .test_endpoints import create, ready

PATH = "/api/v2/workspaces/local/ingress"
SERVES = Rule(run_for_s=None)


def body(domain: str = "api.example.com", **spec: Any) -> dict[str, Any]:
    return {"metadata": {}, "spec": {"domain_name": domain, **spec}}


def part(name: str, weight: int | None = None) -> dict[str, Any]:
    return {"deployment": name} | ({} if weight is None else {"weight": weight})


async def made(api: Api, *args: Any, **spec: Any) -> dict[str, Any]:
    answer = await api.client.post(PATH, json=body(*args, **spec))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def other_workspace(api: Api, name: str) -> str:
    """Its token."""
    services = api.at.home.services
    await org.create_project(services, Project("", name, "", ""), by="them")
    who = access.Caller("local", access.ADMIN, "")
    return await tokens.create_token(services, who, "them", timedelta(days=1), name)


def table(api: Api) -> dict[str, Any]:
    """What the gateway was shown."""
    return dict(api.at.home.loop.routes)


def test_ingress_comes_back_as_it_was_set_with_honest_status(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await create(api, "a")
        spec = {
            "endpoints": [part("a", 3) | {"load_balance_config": {"least_request": {"choice_count": 2}}}],
            "retelimit_config": {"workspace_tier_ratelimiter": {}},
            "auth_config": {"lepton_workspace_token_auth": {}, "ip_allowlist": ["10.0.0.0/8"]},
            "locality": {"region": "here"},
            "of_the_future": [1, 2],
        }
        shown = await made(api, "API.example.com.", **spec)
        assert shown["spec"] == {"domain_name": "api.example.com", **spec}
        meta = shown["metadata"]
        assert (meta["id"], meta["name"], meta["version"]) == ("api.example.com", "api.example.com", 1)
        assert meta["created_at"] == api.at.clock.now_ms()
        assert shown["status"]["validation_status"] == "active"
        for words in ("DNS is not looked at", "--tls", "api.example.com"):
            assert words in shown["status"]["message"]
        assert (await api.client.get(f"{PATH}/api.example.com")).json() == shown
        assert (await api.client.get(f"{PATH}/Api.Example.Com")).json() == shown
        assert (await api.client.get(PATH)).json() == [shown]

    play(scenario, SERVES)


def test_patch_merges_and_counts_versions(play: Any) -> None:
    async def scenario(api: Api) -> None:
        for name in "ab":
            await create(api, name)
        await made(api, endpoints=[part("a", 1)], locality={"region": "x"})
        at = f"{PATH}/api.example.com"
        api.at.clock.advance(5)
        shown = (await api.client.patch(at, json={"spec": {"endpoints": [part("a", 1), part("b")]}})).json()
        assert shown["spec"]["endpoints"] == [part("a", 1), part("b", 100)]
        assert shown["spec"]["locality"] == {"region": "x"}
        assert shown["metadata"]["version"] == 2
        assert shown["metadata"]["last_modified_at"] == shown["metadata"]["created_at"] + 5000
        again = (await api.client.patch(at, json=shown)).json()
        assert again["metadata"]["version"] == 2
        shown = (await api.client.patch(at, json={"spec": {"locality": None, "endpoints": []}})).json()
        assert shown["spec"] == {"domain_name": "api.example.com", "endpoints": []}
        assert "503 until it has an endpoint" in shown["status"]["message"]
        assert (await api.client.delete(at)).status_code == 200
        assert (await api.client.delete(at)).status_code == 404

    play(scenario, SERVES)


def test_status_says_so_when_no_endpoint_with_a_weight_is_left(play: Any) -> None:
    async def scenario(api: Api) -> None:
        for name in "ab":
            await create(api, name)
        await made(api, endpoints=[part("a", 1), part("b", 0)])

        async def message() -> str:
            shown = (await api.client.get(f"{PATH}/api.example.com")).json()
            assert [shown] == (await api.client.get(PATH)).json()
            return shown["status"]["message"]

        assert "503" not in await message()
        assert (await api.client.delete("/api/v2/workspaces/local/deployments/a")).status_code == 200
        assert "503, since the endpoints that have a weight in it are removed" in await message()

    play(scenario, SERVES)


def test_endpoints_are_added_and_removed_one_by_one(play: Any) -> None:
    async def scenario(api: Api) -> None:
        for name in "ab":
            await create(api, name)
        await made(api)
        at = f"{PATH}/api.example.com/endpoint/deployment"
        for name, weight in (("a", 1), ("b", 2), ("a", 5)):  # the same one again: its weight is set
            answer = await api.client.post(at, json=part(name, weight))
            assert answer.status_code == 201
        assert answer.json()["spec"]["endpoints"] == [part("a", 5), part("b", 2)]
        assert (await api.client.delete(f"{at}/a")).json()["spec"]["endpoints"] == [part("b", 2)]
        gone = await api.client.delete(f"{at}/a")
        assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
        assert (await api.client.delete(f"{at}/b")).json()["spec"].get("endpoints", []) == []

    play(scenario, SERVES)


@pytest.mark.parametrize(
    ("spec", "status", "says"),
    [
        ({"domain_name": ""}, 422, "domain_name"),
        ({"domain_name": "a b"}, 400, "spec.domain_name"),
        ({"domain_name": "127.0.0.1"}, 400, "spec.domain_name"),
        ({"domain_name": "me.lan"}, 400, "a name of this server"),
        ({"domain_name": "x.localhost"}, 400, "Homeport itself"),
        ({"domain_name": "ws-x.xenon.lepton.run"}, 400, "Homeport itself"),
        ({"domain_name": "taken.example"}, 409, "spec.domain_name"),
        ({"domain_name": "TAKEN.example."}, 409, "choose another"),
        ({"domain_name": "d.example", "endpoints": [part("no")]}, 400, "spec.endpoints[0].deployment"),
        ({"domain_name": "d.example", "endpoints": [part("a", -1)]}, 422, "endpoints[0].weight"),
        ({"domain_name": "d.example", "endpoints": [part("a", 0)]}, 400, "every weight is 0"),
        ({"domain_name": "d.example", "endpoints": [part("a"), part("a")]}, 400, "named twice"),
        ({"domain_name": "d.example", "endpoints": [{}]}, 422, "endpoints[0].deployment"),
        ({"domain_name": "d.example", "endpoints": "a"}, 422, "endpoints"),
        (
            {"domain_name": "d.example",
             "endpoints": [part("a") | {"load_balance_config": {"maglev": {}, "least_request": {}}}]},
            400, "name one",
        ),
        ({"domain_name": "d.example", "auth_config": {"ip_allowlist": ["x"]}}, 400, "ip_allowlist[0]"),
        ({"domain_name": "d.example", "traffic_shadowing_config": {"percentage": 5}}, 501, "shadowing"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_by_field(
    play: Any, spec: dict[str, Any], status: int, says: str
) -> None:
    async def scenario(api: Api) -> None:
        await create(api, "a")
        await made(api, "taken.example")
        answer = await api.client.post(PATH, json={"metadata": {}, "spec": spec})
        assert answer.status_code == status, answer.text
        assert says in answer.json()["message"]
        assert len((await api.client.get(PATH)).json()) == 1

    play(scenario, SERVES, allow_host=("me.lan",))


@pytest.mark.parametrize(
    ("patch", "status", "says"),
    [
        ({"spec": {"domain_name": "other.example"}}, 400, "cannot be changed"),
        ({"spec": {"endpoints": [part("no")]}}, 400, "spec.endpoints[0].deployment"),
        ({"spec": {"endpoints": [{"weight": 1}]}}, 400, "spec.endpoints[0].deployment"),
        ({"spec": {"domain_name": None}}, 400, "spec.domain_name"),
        ({"spec": []}, 400, "spec"),
    ],
)
def test_patch_that_cannot_be_is_refused(play: Any, patch: Any, status: int, says: str) -> None:
    async def scenario(api: Api) -> None:
        before = await made(api)
        answer = await api.client.patch(f"{PATH}/api.example.com", json=patch)
        assert answer.status_code == status, answer.text
        assert says in answer.json()["message"]
        assert (await api.client.get(PATH)).json() == [before]

    play(scenario)


def test_domain_is_one_workspaces_and_nobody_elses(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await made(api)
        theirs = {"Authorization": f"Bearer {await other_workspace(api, 'w2')}"}
        there = "/api/v2/workspaces/w2/ingress"
        assert (await api.anybody.get(there, headers=theirs)).json() == []
        clash = await api.anybody.post(there, headers=theirs, json=body())
        assert (clash.status_code, clash.json()["code"]) == (409, "conflict")
        for method, more in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/endpoint/deployment")):
            url = f"{there}/api.example.com{more}"
            answer = await api.anybody.request(method, url, headers=theirs, json=part("a") | {"spec": {}})
            assert answer.status_code == 404, (method, answer.text)
        assert len((await api.client.get(PATH)).json()) == 1
        answer = await api.anybody.post(
            there, headers=theirs, json=body("theirs.example", endpoints=[part("a")])
        )
        assert answer.status_code == 400  # ours is no endpoint of theirs

    play(scenario)


def test_names_that_two_endpoints_would_share_are_found(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await create(api, "b-c")
        services = api.at.home.services
        ingresses.check_host_form(services, "local", "b-c")  # its own name is no clash
        await other_workspace(api, "local-b")
        ingresses.check_host_form(services, "local-b", "d")
        with pytest.raises(Conflict, match=r"another workspace answers at local-b-c\.localhost"):
            ingresses.check_host_form(services, "local-b", "c")

    play(scenario, SERVES)


def test_gateway_is_shown_domains_and_what_becomes_of_their_endpoints(play: Any) -> None:
    async def scenario(api: Api) -> None:
        for name in "ab":
            await create(api, name)
        for name in "ab":
            await ready(api, name)
        await made(
            api, endpoints=[part("a", 80), part("b", 20)], retelimit_config={"workspace_tier_ratelimiter": {}}
        )
        key = "local/@api.example.com"
        route = await api.at.until("the domain is shown", lambda: table(api).get(key))
        assert [(s.key, s.weight) for s in route.shares] == [("local/a", 80), ("local/b", 20)]
        assert route.requests_per_minute == 90
        assert table(api)["local/a"].hosts == ("local-a.localhost", "local-a.xenon.lepton.run")
        await api.client.delete("/api/v2/workspaces/local/deployments/b")
        await api.at.until("its share is gone", lambda: len(table(api)[key].shares) == 1)
        assert (await api.client.get(f"{PATH}/api.example.com")).json()["spec"]["endpoints"][1] == part(
            "b", 20
        )
        # The clients send back what they have read: what is gone may stay in it, and may leave.
        whole = (await api.client.get(f"{PATH}/api.example.com")).json()
        whole["spec"]["endpoints"][0]["weight"] = 7
        assert (await api.client.patch(f"{PATH}/api.example.com", json=whole)).status_code == 200
        await api.client.delete(f"{PATH}/api.example.com")
        await api.at.until("the domain is gone", lambda: key not in table(api))

    play(scenario, SERVES, ingress_rpm=90)


def test_ingress_outlives_its_server(play: Any, tmp_path: Any) -> None:
    async def first(api: Api) -> None:
        await made(api, locality={"region": "x"})

    async def second(api: Api) -> None:
        shown = (await api.client.get(PATH)).json()
        assert shown[0]["spec"] == {"domain_name": "api.example.com", "locality": {"region": "x"}}
        await api.at.until("it is shown again", lambda: "local/@api.example.com" in table(api))

    play(first)
    play(second)
