"""Worlds from a seed file, and rules that change while the server runs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Rule
from homeport.server.errors import Invalid
from homeport.server.services import org

from .endpoints import Endpoint
from .home import Api, open_api

RULES = "/homeport/rules"
WORLD = """
seed: 3
nodes:
  - {name: dgx, count: 3, gpus: 8xH100-80GB, pool: training, segment: s1}
  - {name: slice, gpus: "1xH100-80GB:7x1g.10gb"}
pools:
  - {name: training, label: run.ai/type=dgx, min_runtime: 5m, gpu_strategy: spread}
departments:
  - {name: research, quotas: {training: 16}}
projects:
  - name: team-a
    department: research
    quotas: {training: {gpu: {deserved: 8, limit: 12}, rank: High}}
rules:
  - {name: slow, match: {kind: job, name: "slow*", project: local}, pending: 5s, run: 1m}
  - {name: dies, match: {name: "dies*", attempt: 1}, oom: true}
"""


def seeded(tmp_path: Path, text: str = WORLD) -> Path:
    path = tmp_path / "world.yaml"
    path.write_text(text.replace("{training: 16}", "{training: {gpu: 16}}"))
    return path


def test_server_has_the_nodes_pools_projects_and_quotas_of_its_seed_file(play: Any, tmp_path: Path) -> None:
    async def scenario(api: Api) -> None:
        services = api.at.home.services
        nodes = org.nodes_now(services)
        assert [(n.id, n.node_group, len(n.gpus)) for n in nodes] == [
            ("dgx-0", "training", 8), ("dgx-1", "training", 8), ("dgx-2", "training", 8),
            ("slice", "default", 7),
        ]  # fmt: skip
        pool = org.find_node_pool(services, "training")
        assert (pool.label_key, pool.label_value, pool.min_runtime_s, pool.gpu_strategy) == (
            "run.ai/type", "dgx", 300, "spread",
        )  # fmt: skip
        team = org.find_project(services, "team-a")
        (quota,) = team.quotas
        assert (quota.pool, quota.gpu.deserved, quota.gpu.limit, quota.rank.value) == (pool.id, 8, 12, "High")
        assert team.department_id == org.find_department(services, "research").id

    play(scenario, seed=seeded(tmp_path))


def test_second_start_makes_nothing_twice_and_sets_what_the_file_says_now(tmp_path: Path) -> None:
    path = seeded(tmp_path)

    async def start() -> tuple[int, float | None]:
        """How many projects of that name, and the limit of its one quota."""
        async with open_api(tmp_path / "data", (), seed=path) as api:
            named = [p for p in org.list_projects(api.at.home.services) if p.name == "team-a"]
            (quota,) = named[0].quotas
            return len(named), quota.gpu.limit

    assert [asyncio.run(start()) for _ in range(2)] == [(1, 12), (1, 12)]
    path.write_text(path.read_text().replace("limit: 12", "limit: 10"))
    assert asyncio.run(start()) == (1, 10)


def test_rules_of_the_file_decide_what_becomes_of_jobs(play: Any, tmp_path: Path) -> None:
    async def scenario(api: Api) -> None:
        slow = (await api.submit("slow-one"))["metadata"]["id"]
        await api.at.until("its container is there", lambda: api.at.home.loop.observed)
        assert api.phase(slow) == "starting"
        api.at.clock.advance(5)
        await api.becomes(slow, "running")
        api.at.clock.advance(60)
        await api.becomes(slow, "completed")
        dies = (await api.submit("dies-one", max_failure_retry=1))["metadata"]["id"]
        await api.becomes(dies, "running")
        api.at.clock.advance(1)
        await api.becomes(dies, "pending_retry")
        assert api.at.home.services.store.attempts_of(dies)[0].reason == "OOMKilled"
        api.at.clock.advance(2)
        await api.becomes(dies, "running")
        api.at.clock.advance(1)
        await api.becomes(dies, "completed")

    play(scenario, seed=seeded(tmp_path))


def test_rule_that_is_added_holds_for_the_next_and_ends_when_it_is_removed(play: Any) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "fails", "match": {"name": "job"}, "exit_code": 9, "run": 2}
        answer = await api.client.post(RULES, json=body)
        assert (answer.status_code, answer.json()["run"]) == (201, 2)
        assert [r["name"] for r in (await api.client.get(RULES)).json()] == ["fails", "given"]
        made = (await api.submit())["metadata"]["id"]
        await api.becomes(made, "running")
        api.at.clock.advance(2)
        await api.becomes(made, "failed")
        assert (await api.client.delete(f"{RULES}/fails")).status_code == 200
        made = (await api.submit())["metadata"]["id"]
        await api.becomes(made, "running")
        api.at.clock.advance(2)
        await api.becomes(made, "completed")
        refused = await api.client.delete(f"{RULES}/given")
        assert (refused.status_code, "in the seed file" in refused.json()["message"]) == (400, True)
        assert (await api.client.delete(f"{RULES}/none")).status_code == 404
        refused = await api.client.post(RULES, json={"name": "r", "run": "soon"})
        assert (refused.status_code, refused.json()["message"][:4]) == (400, "run:")

    play(scenario, Rule(id="given", run_for_s=2))


def test_endpoint_answers_through_the_gateway_as_its_rule_says(play: Any, tmp_path: Path) -> None:
    rules = """
rules:
  - name: model
    match: {kind: endpoint}
    pending: 3s
    http:
      - {method: POST, path: "/v1/*", status: 201, body: {text: hi}, headers: {X-Model: toy}}
      - {path: /busy, status: 429, body: later}
"""

    async def scenario(api: Api) -> None:
        e = Endpoint(api, 18_090)
        await e.create(replicas=2)
        await e.until("they are there", lambda: len(api.at.home.loop.observed) == 2)
        assert e.phase != "ready"
        api.at.clock.advance(3)
        await e.ready(2)
        answer = await e.gateway.post(f"{e.url}/v1/chat", json={})
        assert (answer.status_code, answer.json(), answer.headers["x-model"]) == (201, {"text": "hi"}, "toy")
        assert (await e.ask("/busy")).status_code == 429
        assert (await e.ask("/else")).status_code == 404
        await e.gateway.aclose()

    play(scenario, seed=seeded(tmp_path, rules))


def test_node_with_the_name_of_this_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.node", lambda: "here")

    async def start() -> None:
        async with open_api(
            tmp_path / "data", (), seed=seeded(tmp_path, "host: true\nnodes: [{name: here}]\n")
        ):
            pass

    with pytest.raises(Invalid, match="'here' is the name of this machine; rename that node"):
        asyncio.run(start())
