"""Projects as workspaces, node pools as node groups, and places in the queue."""

from collections.abc import Mapping
from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Rule

from .home import JOBS, Api

HOLDS = Rule(run_for_s=None)
WHOLE = "gpu.h100-sxm"  # all of a machine with one GPU


async def sent(api: Api, method: str, path: str, body: object = None, token: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = await api.client.request(method, path, json=body, headers=headers)
    return answer.status_code, answer.json()


async def workspace(api: Api, name: str, **quota: Any) -> str:
    """Makes a project; a token for its workspace."""
    quotas = [{"gpu": quota}] if quota else []
    status, _ = await sent(api, "POST", "/homeport/projects", {"name": name, "quotas": quotas})
    assert status == 201
    body = {"owner": "ada@example.org", "workspace": name}
    status, made = await sent(api, "POST", "/homeport/tokens", body)
    assert status == 201
    return made["token"]


def job(name: str, shape: str = "cpu.small", **spec: Any) -> Mapping[str, Any]:
    container = {"image": "any:1", "command": ["true"]}
    return {"metadata": {"id": name}, "spec": {"resource_shape": shape, "container": container, **spec}}


def test_project_is_a_workspace_with_tokens_of_its_own(play: Any) -> None:
    async def scenario(api: Api) -> None:
        team = await workspace(api, "team")
        jobs = "/api/v2/workspaces/team/jobs"
        assert (await sent(api, "GET", jobs, token=team)) == (200, [])
        status, made = await sent(api, "POST", jobs, job("own"), team)
        assert (status, made["metadata"]["owner"]) == (201, "ada@example.org")
        assert [j["metadata"]["name"] for j in (await sent(api, "GET", jobs, token=team))[1]] == ["own"]
        assert (await sent(api, "GET", JOBS))[1] == []
        for path, token in ((jobs, ""), (JOBS, team), ("/api/v2/workspaces/none/jobs", team)):
            status, told = await sent(api, "GET", path, token=token)
            assert (status, told["code"]) == (404, "not_found")

    play(scenario, HOLDS)


def test_workspaces_own_admin_decides_nothing_for_the_server(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await workspace(api, "team")
        body = {"owner": "admin@homeport.local", "workspace": "team"}
        _, made = await sent(api, "POST", "/homeport/tokens", body)
        for method, path, body in (
            ("POST", "/homeport/projects", {"name": "more"}),
            ("POST", "/homeport/projects/team/quota", {"gpu": {"deserved": 8}}),
            ("DELETE", "/homeport/projects/team", None),
            ("POST", "/homeport/departments", {"name": "more"}),
            ("POST", "/homeport/pools", {"name": "more", "label": "a=b"}),
            ("POST", "/homeport/tokens", {"owner": "me", "workspace": "local"}),
            ("POST", "/homeport/faults", {"kind": "engine-down"}),
            ("DELETE", "/homeport/faults", None),
            ("POST", "/homeport/rules", {"name": "mine"}),
            ("DELETE", "/homeport/rules/mine", None),
            ("POST", "/homeport/clock", {"action": "advance", "by": "1h"}),
            ("POST", "/homeport/reservations", {"name": "all", "lasts_s": 3600}),
            ("DELETE", "/homeport/reservations/all", None),
        ):
            status, told = await sent(api, method, path, body, made["token"])
            assert (status, told["code"]) == (403, "forbidden"), path
        assert len((await sent(api, "GET", "/homeport/projects"))[1]) == 2

    play(scenario)


def test_removed_project_takes_its_tokens_with_it(play: Any) -> None:
    async def scenario(api: Api) -> None:
        team = await workspace(api, "team")
        jobs = "/api/v2/workspaces/team/jobs"
        _, made = await sent(api, "POST", jobs, job("own"), team)
        status, told = await sent(api, "DELETE", "/homeport/projects/team")
        assert (status, told["code"]) == (409, "conflict")
        assert made["metadata"]["id"] in told["message"]
        reads, own = api.at.home.services.store.reads, made["metadata"]["id"]
        await sent(api, "DELETE", f"{jobs}/{own}", token=team)
        await api.at.until("archived", lambda: (f := reads.get("team", own)) and f.phase.value == "archived")
        assert (await sent(api, "DELETE", "/homeport/projects/team"))[0] == 200
        assert (await sent(api, "GET", jobs, token=team))[0] == 401
        status, told = await sent(api, "POST", "/homeport/tokens", {"owner": "a", "workspace": "team"})
        assert (status, told["message"]) == (404, "no project named 'team'; there is local")

    play(scenario, HOLDS)


def test_whoever_runs_the_server_sees_the_work_of_all_projects_and_others_only_their_own(play: Any) -> None:
    async def scenario(api: Api) -> None:
        team = await workspace(api, "team")
        _, theirs = await sent(api, "POST", "/api/v2/workspaces/team/jobs", job("theirs"), team)
        ours = (await api.submit("ours"))["metadata"]["id"]

        async def listed(token: str | None = None) -> set[tuple[str, str]]:
            _, rows = await sent(api, "GET", "/homeport/workloads", None, token)
            return {(row["id"], row["workspace"]) for row in rows}

        own = theirs["metadata"]["id"]
        assert await listed() == {(own, "team"), (ours, "local")}
        assert await listed(team) == {(own, "team")}
        assert (await api.client.get("/homeport/logs/theirs")).status_code == 200
        status, told = await sent(api, "GET", "/homeport/logs/ours", None, team)
        assert (status, told["message"]) == (404, "no workload named 'ours'")

    play(scenario, HOLDS)


def test_quota_changes_only_in_what_is_named(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await workspace(api, "team", deserved=2, limit=4)
        path = "/homeport/projects/team/quota"
        _, told = await sent(api, "POST", path, {"gpu": {"limit": None}, "rank": "very high"})
        (quota,) = told["quotas"]
        assert quota["gpu"] == {"deserved": 2.0, "limit": None, "weight": None}
        assert (quota["pool"], quota["rank"], told["follows_machine"]) == ("default", "Very high", False)
        for body, words in (
            ({"pool": "none"}, "no node pool named 'none'; there is default"),
            ({"rank": "best"}, "rank: 'best' is none of Very low"),
            ({"gpu": {"deserved": -1}}, "gpu.deserved"),
        ):
            status, told = await sent(api, "POST", path, body)
            assert status >= 400
            assert words in told["message"]

    play(scenario)


def test_node_group_is_a_pool_with_the_nodes_that_bear_its_label(play: Any) -> None:
    async def scenario(api: Api) -> None:
        groups = "/api/v2/workspaces/local/dedicated-node-groups"
        (only,) = (await sent(api, "GET", groups))[1]
        assert (only["metadata"]["id"], only["status"]["quota_enabled"]) == ("default", True)
        await sent(api, "POST", "/homeport/pools", {"name": "quick", "label": "speed=fast"})
        listed = (await sent(api, "GET", groups))[1]
        assert [(g["metadata"]["id"], g["status"]["ready_nodes"]) for g in listed] == [
            ("default", 1), ("quick", 0),
        ]  # fmt: skip
        wanted = {"allowed_dedicated_node_groups": ["quick"]}
        status, waits = await sent(api, "POST", JOBS, job("waits", affinity=wanted))
        assert status == 201
        status, refused = await sent(api, "DELETE", "/homeport/pools/quick")
        assert (status, waits["metadata"]["id"] in refused["message"]) == (409, True)
        (node,) = (await sent(api, "GET", "/homeport/nodes"))[1]
        labels = {"labels": {"speed": "fast"}}
        status, told = await sent(api, "POST", f"/homeport/nodes/{node['id']}/labels", labels)
        assert (status, told["pool"]) == (200, "quick")
        await api.becomes(waits["metadata"]["id"], "running")
        (there,) = (await sent(api, "GET", f"{groups}/quick/nodes"))[1]
        assert there["spec"]["dedicated_node_group"] == "quick"
        assert (await sent(api, "GET", f"{groups}/default/nodes"))[1] == []
        assert (await sent(api, "DELETE", "/homeport/pools/quick"))[0] == 409
        assert (await sent(api, "GET", f"{groups}/none"))[0] == 404

    play(scenario, HOLDS)


def test_label_that_is_not_there_is_not_taken_away_in_silence(play: Any) -> None:
    async def scenario(api: Api) -> None:
        (node,) = (await sent(api, "GET", "/homeport/nodes"))[1]
        labels = f"/homeport/nodes/{node['id']}/labels"
        assert (await sent(api, "POST", labels, {"labels": {"speed": "fast"}}))[0] == 200
        assert (await sent(api, "POST", labels, {"labels": {"speed": None}}))[0] == 200
        status, told = await sent(api, "POST", labels, {"labels": {"speed": None}})
        assert (status, told["message"]) == (409, f"node {node['id']} has no label speed to take away")

    play(scenario)


def test_pool_that_several_ask_for_is_not_removed_and_they_are_named(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await sent(api, "POST", "/homeport/pools", {"name": "quick", "label": "speed=fast"})
        wanted = {"allowed_dedicated_node_groups": ["quick"]}
        ids = [
            (await sent(api, "POST", JOBS, job(name, affinity=wanted)))[1]["metadata"]["id"]
            for name in ("one", "two")
        ]
        status, told = await sent(api, "DELETE", "/homeport/pools/quick")
        assert status == 409
        assert told["message"].startswith("node pool quick is asked for by ")
        assert all(i in told["message"] for i in ids)

    play(scenario)


def test_node_names_only_the_work_of_the_workspace_that_asks(play: Any) -> None:
    async def scenario(api: Api) -> None:
        team = await workspace(api, "team")
        _, made = await sent(api, "POST", "/api/v2/workspaces/team/jobs", job("own"), team)
        reads, own = api.at.home.services.store.reads, made["metadata"]["id"]
        await api.at.until("it runs", lambda: (f := reads.get("team", own)) and f.phase.value == "running")
        for token, name, expected in ((team, "team", [own]), ("", "local", [])):
            path = f"/api/v2/workspaces/{name}/dedicated-node-groups/default/nodes"
            (node,) = (await sent(api, "GET", path, token=token))[1]
            assert [w["name"] for w in node["status"]["workloads"]] == expected
            assert node["spec"]["resource"]["cpu"]["allocated"] == 1

    play(scenario, HOLDS)


@pytest.mark.parametrize(
    ("config", "standing"),
    [
        (None, (67, False, False)),
        ({}, (67, False, False)),
        ({"priority_class": "low-1000", "can_be_preempted": True}, (17, True, False)),
        ({"priority_class": "high-9000", "can_preempt": True}, (150, False, True)),
        ({"can_preempt": True}, (67, False, True)),
    ],
    ids=["nothing", "empty", "low and preemptible", "high and preempts", "without a class"],
)
def test_job_stands_in_the_queue_as_it_asks(play: Any, config: Any, standing: Any) -> None:
    async def scenario(api: Api) -> None:
        made = await api.submit(queue_config=config)
        found = api.at.home.services.store.get_workload("local", made["metadata"]["id"])
        assert found is not None
        spec = found.spec
        assert (spec.priority, spec.is_preemptible, spec.can_preempt) == standing
        assert made["spec"]["queue_config"] == config

    play(scenario)


@pytest.mark.parametrize(
    ("is_pod", "config", "standing"),
    [
        (False, None, (150, False, False)),
        (True, None, (125, False, False)),
        (False, {"priority_class": "mid-5000", "can_be_preempted": True}, (83, True, False)),
        (True, {"can_preempt": True}, (67, False, True)),
    ],
    ids=["endpoint", "pod", "endpoint that can be preempted", "pod that preempts"],
)
def test_endpoint_stands_in_the_queue_as_it_asks(play: Any, is_pod: bool, config: Any, standing: Any) -> None:
    async def scenario(api: Api) -> None:
        container = {"image": "any:1", "command": ["true"], "ports": [{"container_port": 8080}]}
        spec = {
            "container": container, "is_pod": is_pod,
            "resource_requirement": {"resource_shape": "cpu.small", "min_replicas": 1},
            "queue_config": config,
        }  # fmt: skip
        path = "/api/v2/workspaces/local/deployments"
        status, _ = await sent(api, "POST", path, {"metadata": {"name": "ep"}, "spec": spec})
        assert status == 201
        (found,) = api.at.home.services.store.reads.page("local", "pod" if is_pod else "endpoint", size=9)
        spec = found.workload.spec
        assert (spec.priority, spec.is_preemptible, spec.can_preempt) == standing

    play(scenario)


def test_job_that_waits_goes_before_older_ones_when_its_class_is_raised(play: Any) -> None:
    async def scenario(api: Api) -> None:
        holder = (await api.submit("holder", resource_shape=WHOLE))["metadata"]["id"]
        await api.becomes(holder, "running")
        older, newer = [
            (await api.submit(name, resource_shape=WHOLE))["metadata"]["id"] for name in ("older", "newer")
        ]
        patch = {"spec": {"queue_config": {"priority_class": "high-7000"}}}
        status, told = await sent(api, "PATCH", f"{JOBS}/{newer}", patch)
        assert (status, told["spec"]["queue_config"]) == (200, {"priority_class": "high-7000"})
        assert "stopped" not in told["spec"] or told["spec"]["stopped"] is False
        more = {"spec": {"queue_config": {"can_be_preempted": True}}}
        _, told = await sent(api, "PATCH", f"{JOBS}/{newer}", more)
        assert told["spec"]["queue_config"] == {"priority_class": "high-7000", "can_be_preempted": True}
        await api.client.delete(f"{JOBS}/{holder}")
        await api.becomes(newer, "running")
        assert api.phase(older) == "queued"
        status, told = await sent(api, "PATCH", f"{JOBS}/{newer}", patch)
        assert status == 200, "it has that class already"
        lower = {"spec": {"queue_config": {"priority_class": "low-1000"}}}
        status, told = await sent(api, "PATCH", f"{JOBS}/{newer}", lower)
        assert (status, told["code"]) == (409, "conflict")
        assert "is running; queue_config can change only while it waits" in told["message"]
        assert (await sent(api, "PATCH", f"{JOBS}/{older}", {"spec": {"queue_config": None}}))[0] == 200

    play(scenario, HOLDS, gpus="1xH100-80GB")


def test_workspace_without_a_gpu_of_its_own_waits_for_what_cannot_be_preempted(play: Any) -> None:
    async def scenario(api: Api) -> None:
        team = await workspace(api, "team")
        path, reads = "/api/v2/workspaces/team/jobs", api.at.home.services.store.reads
        _, kept = await sent(api, "POST", path, job("kept", WHOLE), team)
        can = {"can_be_preempted": True}
        _, loose = await sent(api, "POST", path, job("loose", WHOLE, queue_config=can), team)

        def phase(made: Any) -> str:
            found = reads.get("team", made["metadata"]["id"])
            return found.phase.value if found else ""

        await api.at.until("the one that can be preempted runs", lambda: phase(loose) == "running")
        assert phase(kept) == "queued"
        await sent(api, "POST", "/homeport/projects/team/quota", {"gpu": {"deserved": 1}})
        await api.at.until("the other has its quota", lambda: phase(kept) == "running")
        listed = {p["name"]: p["gpus_taken"] for p in (await sent(api, "GET", "/homeport/projects"))[1]}
        assert listed == {"local": 0.0, "team": 2.0}

    play(scenario, HOLDS, gpus="2xH100-80GB")
