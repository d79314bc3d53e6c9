"""What is private, beside the Lepton lists: Homeport's own routes hide it from all but owner and admins."""

from typing import Any

import httpx
import pytest

from homeport.runtime.drivers.simulated import Rule

from .home import JOBS, Api
from .test_endpoints import PATH, body, live, ready

HOLDS = Rule(run_for_s=None)


async def user(api: Api, owner: str) -> dict[str, str]:
    """The headers that make a request theirs."""
    answer = await api.client.post("/homeport/tokens", json={"owner": owner})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


async def told(api: Api, path: str, headers: dict[str, str]) -> str:
    answer: httpx.Response = await api.client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize(
    ("path", "hers"),
    [
        ("/homeport/workloads", ["hers", "herjob"]),
        ("/homeport/top", ["hers", "herjob"]),
        ("/homeport/billing", ["hers", "herjob"]),
        ("/metrics", ["hers"]),
    ],
)
def test_private_work_is_told_to_its_owner_and_admins_only(play: Any, path: str, hers: list[str]) -> None:
    async def scenario(api: Api) -> None:
        ada, bob = await user(api, "ada@example.org"), await user(api, "bob@example.org")
        hidden = body("hers")
        hidden["metadata"]["visibility"] = "private"
        for made in (hidden, body("ours")):
            assert (await api.client.post(PATH, json=made, headers=ada)).status_code == 201
        job = {
            "metadata": {"id": "herjob", "visibility": "private"},
            "spec": {"resource_shape": "cpu.small", "container": {"image": "any:1", "command": ["true"]}},
        }
        assert (await api.client.post(JOBS, json=job, headers=ada)).status_code == 201
        for name in ("hers", "ours"):
            await api.at.until("it runs", lambda name=name: any(a.started_at_ms for a in live(api, name)))
        reads = api.at.home.services.store.reads
        await api.at.until("the job runs", lambda: len(reads.live_attempts()) == 3)
        api.at.clock.advance(120)
        for headers in (ada, dict(api.client.headers)):
            seen = await told(api, path, headers)
            assert all(name in seen for name in ("ours", *hers)), seen
        seen = await told(api, path, bob)
        assert "ours" in seen
        assert not any(name in seen for name in hers), seen

    play(scenario, HOLDS)


def test_bill_by_owner_has_what_its_reader_may_see(play: Any) -> None:
    async def scenario(api: Api) -> None:
        ada, bob = await user(api, "ada@example.org"), await user(api, "bob@example.org")
        hidden = body("hers")
        hidden["metadata"]["visibility"] = "private"
        assert (await api.client.post(PATH, json=hidden, headers=ada)).status_code == 201
        await ready(api, "hers")
        api.at.clock.advance(120)
        assert "ada@example.org" in await told(api, "/homeport/billing?by=owner", ada)
        assert "ada@example.org" not in await told(api, "/homeport/billing?by=owner", bob)

    play(scenario, HOLDS)


@pytest.mark.parametrize("days", ["1e300", "-1", "0", "NaN", "Infinity", "4000"])
def test_token_for_an_odd_time_is_refused_by_field(play: Any, days: str) -> None:
    async def scenario(api: Api) -> None:
        content = f'{{"owner": "ada@example.org", "days": {days}}}'
        headers = {"Content-Type": "application/json"}
        answer = await api.client.post("/homeport/tokens", content=content, headers=headers)
        assert answer.status_code == 422, answer.text
        assert answer.json()["message"].startswith("days: ")

    play(scenario)


@pytest.mark.parametrize("since", ["999999999w", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_time_beyond_all_times_is_refused_or_clamped(play: Any, since: str) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.get("/homeport/billing", params={"since": since})
        assert answer.status_code in (200, 400), answer.text
        assert "internal" not in answer.text

    play(scenario)


def test_ingress_names_no_endpoint_that_its_maker_may_not_see(play: Any) -> None:
    async def scenario(api: Api) -> None:
        hidden = body("hers")
        hidden["metadata"]["visibility"] = "private"
        assert (await api.client.post(PATH, json=hidden)).status_code == 201
        bob, path = await user(api, "bob@example.org"), "/api/v2/workspaces/local/ingress"
        for name in ("hers", "nobodys"):
            wanted = {"domain_name": "a.example.com", "endpoints": [{"deployment": name}]}
            answer = await api.client.post(path, json={"spec": wanted}, headers=bob)
            assert answer.status_code == 400, answer.text
            assert answer.json()["message"].endswith(f"no endpoint named '{name}'; there is none")

    play(scenario, HOLDS)


def test_endpoint_with_tokens_is_not_opened_beside_them(play: Any) -> None:
    async def scenario(api: Api) -> None:
        made = await api.client.post(PATH, json=body("e", api_tokens=[{"value": "t"}]))
        assert made.status_code == 201
        opened: dict[str, Any] = {"allow_unauthenticated_access": True}
        answer = await api.client.patch(f"{PATH}/e", json={"spec": opened})
        assert (answer.status_code, "beside tokens; send" in answer.text) == (400, True), answer.text
        both = {"spec": opened | {"api_tokens": []}}
        assert (await api.client.patch(f"{PATH}/e", json=both)).status_code == 200

    play(scenario, HOLDS)


def test_private_secret_is_its_owners_and_the_admins_only(play: Any) -> None:
    async def scenario(api: Api) -> None:
        ada, bob = await user(api, "ada@example.org"), await user(api, "bob@example.org")
        base = "/api/v2/workspaces/local"
        items = [
            {"name": "HERS", "value": "v", "visibility": "private"},
            {"name": "OURS", "value": "v", "visibility": "public"},
        ]
        assert (await api.client.post(f"{base}/usersecrets", json=items, headers=ada)).status_code == 201
        for headers, names in ((ada, {"HERS", "OURS"}), (bob, {"OURS"}), ({}, {"HERS", "OURS"})):
            shown = await api.client.get(f"{base}/usersecrets", headers=headers)
            assert {s["name"] for s in shown.json()} == names
            assert set((await api.client.get(f"{base}/secrets", headers=headers)).json()) == names
        hers = [{"name": "A", "value_from": {"secret_name_ref": "HERS"}}]
        spec = {
            "resource_shape": "cpu.small",
            "container": {"image": "any:1", "command": ["true"]},
            "envs": hers,
        }
        for headers, status in ((bob, 400), (ada, 201), ({}, 201)):
            job = {"metadata": {"id": "j"}, "spec": spec}
            assert (await api.client.post(JOBS, json=job, headers=headers)).status_code == status
        assert (await api.client.delete(f"{base}/usersecrets/HERS", headers=bob)).status_code == 404

        # What is in a workload of all stays in it whoever changes it, and nobody else puts it there.
        for name, envs in (("with", hers), ("without", [])):
            made = body(name)
            made["spec"]["envs"] = envs
            assert (await api.client.post(PATH, json=made, headers=ada)).status_code == 201
        patch = {"spec": {"resource_requirement": {"min_replicas": 0}}}
        assert (await api.client.patch(f"{PATH}/with", json=patch, headers=bob)).status_code == 200
        patch = {"spec": {"envs": hers}}
        refused = await api.client.patch(f"{PATH}/without", json=patch, headers=bob)
        assert (refused.status_code, "'HERS'" in refused.json()["message"]) == (400, True)
        assert (await api.client.delete(f"{base}/usersecrets/HERS", headers=ada)).status_code == 200

    play(scenario, HOLDS)
