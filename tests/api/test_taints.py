"""Nodes that people taint with `NoExecute`: what runs there leaves, and comes back where it may."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Rule
from homeport.server.domain.serving import Serving
from homeport.server.domain.workload import Toleration

from .home import Api, open_api
from .projects import Shared

FOREVER = Rule(run_for_s=None)
TAINT = "drain=now:NoExecute"
TOLERATED: tuple[Toleration, ...] = (("drain", "now", "NoExecute"),)
FOR_30_S: tuple[Toleration, ...] = (("drain", None, "NoExecute", 30),)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Nodes a and b, of 2 GPUs each."""
    world = tmp_path / "world.yaml"
    world.write_text("nodes:\n  - {name: a, gpus: 2xH100-80GB}\n  - {name: b, gpus: 2xH100-80GB}\n")
    return world


async def taint(api: Api, node: str, value: str | None = "now") -> None:
    body = {"taints": [{"key": "drain", "value": value, "effect": "NoExecute"}]}
    answer = await api.client.post(f"/homeport/nodes/{node}/taints", json=body)
    assert answer.status_code == 200, answer.text


def on(home: Shared, workload_id: str) -> list[str]:
    return sorted(a.node for a in home.live(workload_id))


async def why(api: Api, workload_id: str) -> list[str]:
    answer = await api.client.get(f"/homeport/why/{workload_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()["reasons"]


async def running(home: Shared, name: str, gpus: int = 2, **spec: Any) -> str:
    """Its id. Nothing of it can be preempted, and project local has all GPUs."""
    made = await home.submit("local", name, gpus, **spec)
    await home.becomes(made, "ready" if spec.get("serving") else "running")
    return made


def test_work_leaves_the_tainted_node_and_runs_elsewhere_and_tolerated_work_stays(
    play: Any, two: Path
) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        stays = await running(home, "stays", 1, nodes=("b",), tolerations=TOLERATED)
        goes = await running(home, "goes", 1, nodes=("b",))
        moves = await running(home, "moves", 1)
        assert on(home, moves) == ["a"]
        await taint(api, "a")
        await home.evicted(moves)
        await home.waits(moves, "Unschedulable")  # b is full
        (told,) = home.events(moves, "Evicted")
        assert f"node a has the taint {TAINT}, which is not tolerated" in told
        assert "homeport node untaint a drain:NoExecute" in told
        await taint(api, "a", None)
        await home.becomes(moves, "running")
        await taint(api, "b")
        await home.evicted(goes)
        refused = await home.waits(goes, "Unschedulable")
        assert f"has the taint {TAINT}, which is not tolerated" in refused
        assert any("homeport node untaint b drain:NoExecute" in line for line in await why(api, goes))
        assert (home.phase(stays), len(home.attempts(stays))) == ("running", 1)
        assert (on(home, moves), home.attempts(moves)[0].reason) == (["a"], "Evicted")
        assert home.attempts(goes)[0].message.endswith(f"evicted: the taint {TAINT} of node b")
        await taint(api, "b", None)
        await home.becomes(goes, "running")
        assert not any("untaint" in line for line in await why(api, goes))
        assert home.workload(goes).runs_failed == 0
        home.check()

    play(scenario, FOREVER, seed=two)


def test_evicted_work_keeps_its_place_in_line(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        first = await running(home, "first", nodes=("b",))
        later = await home.submit("local", "later", 2, nodes=("b",))
        await home.waits(later, "Unschedulable")
        await taint(api, "b")
        await home.evicted(first)
        await home.becomes(first, "queued")
        await taint(api, "b", None)
        await home.becomes(first, "running")
        assert home.phase(later) == "queued"

    play(scenario, FOREVER, seed=two)


def test_work_that_is_to_end_when_preempted_waits_all_the_same(play: Any, two: Path) -> None:
    """Nobody has preempted it."""

    async def scenario(api: Api) -> None:
        home = Shared(api)
        job = await running(home, "once", nodes=("b",), is_preemptible=True, ends_when_evicted=True)
        await taint(api, "b")
        await home.evicted(job)
        await home.becomes(job, "queued")

    play(scenario, FOREVER, seed=two)


def test_tolerated_seconds_go_on_over_a_restart_and_stop_when_the_taint_goes(
    tmp_path: Path, two: Path
) -> None:
    async def scenario() -> None:
        async with open_api(tmp_path / "data", (FOREVER,), seed=two, keeps=True) as api:
            home = Shared(api)
            job = await running(home, "job", tolerations=FOR_30_S, nodes=("b",))
            other = await running(home, "other", tolerations=FOR_30_S, nodes=("a",))
            await taint(api, "b")
            await taint(api, "a")
            await taint(api, "b")  # the same once more begins nothing anew
            api.at.clock.advance(20)
            await taint(api, "b")
            await taint(api, "a", None)
            await api.at.settle()
            clock = api.at.clock
        async with open_api(tmp_path / "data", (FOREVER,), seed=two, keeps=True, clock=clock) as api:
            home = Shared(api)
            await api.at.settle()
            assert len(home.attempts(job)) == 1
            api.at.clock.advance(9)
            await api.at.settle()
            assert len(home.attempts(job)) == 1
            api.at.clock.advance(1)
            await home.evicted(job)
            assert "tolerated for 30 s only" in home.events(job, "Evicted")[0]
            assert len(home.attempts(other)) == 1

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_gang_leaves_whole_and_begins_anew_where_there_is_room_for_all(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        gang = await running(home, "gang", 1, members=3)
        assert on(home, gang) in (["a", "a", "b"], ["a", "b", "b"])
        await taint(api, "b")
        await home.evicted(gang, times=3)
        await home.waits(gang, "Unschedulable")
        assert home.events(gang, "Requeued")
        assert home.live(gang) == []
        await taint(api, "b", None)
        await home.becomes(gang, "running")
        assert {a.number for a in home.live(gang)} == {2}
        home.check()

    play(scenario, FOREVER, seed=two)


def test_member_beyond_the_minimum_leaves_alone(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        gang = await running(home, "gang", 1, members=4, min_members=1)
        await api.at.until("all members", lambda: on(home, gang) == ["a", "a", "b", "b"])
        await taint(api, "b")
        await home.evicted(gang, times=2)
        assert (on(home, gang), home.phase(gang)) == (["a", "a"], "running")
        await taint(api, "b", None)
        await api.at.until("they are back", lambda: on(home, gang) == ["a", "a", "b", "b"])

    play(scenario, FOREVER, seed=two)


def test_replica_of_an_endpoint_goes_elsewhere_and_the_others_serve_on(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        serving = Serving(replicas=2, port=80)
        endpoint = await running(home, "e", 1, kind="endpoint", serving=serving, spread="preferred")
        assert on(home, endpoint) == ["a", "b"]
        await taint(api, "b")
        await home.evicted(endpoint)
        await api.at.until("both on a", lambda: on(home, endpoint) == ["a", "a"])
        await home.becomes(endpoint, "ready")
        assert sum(a.reason == "Evicted" for a in home.attempts(endpoint)) == 1

    play(scenario, FOREVER, seed=two)


def test_work_on_a_node_that_is_down_is_lost_and_not_evicted(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        job = await running(home, "job", nodes=("b",))
        answer = await api.client.post("/homeport/faults", json={"kind": "node-down", "node": "b"})
        assert answer.status_code < 300
        await taint(api, "b")
        await home.becomes(job, "queued")
        assert [a.reason for a in home.attempts(job)] == ["NodeLost"]
        assert not home.events(job, "Evicted")

    play(scenario, FOREVER, seed=two)
