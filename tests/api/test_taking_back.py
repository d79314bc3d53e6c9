"""Nodes of a reservation go to its owners; small jobs move where a spread pool leaves no whole node."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from homeport.runtime.drivers.simulated import Rule
from homeport.scheduler.model import EvictedBy
from homeport.server.domain.evictions import MOVED
from homeport.server.services import org
from homeport.server.services.access import ADMIN, Caller
from homeport.server.services.workloads import set_stopped
from homeport.server.testing import assert_world_ok

from .home import Api
from .projects import Shared

FOREVER = Rule(run_for_s=None)
HOUR_S = 3600


def nodes(folder: Path, count: int) -> Path:
    """A seed file with so many nodes of two GPUs, n-0 first."""
    world = folder / "world.yaml"
    lines = [f"  - {{name: n-{i}, gpus: 2xH100-80GB}}\n" for i in range(count)]
    world.write_text("nodes:\n" + "".join(lines))
    return world


async def reserve(api: Api, name: str, **fields: Any) -> None:
    body = {"name": name, "node_group": "default", "nodes": 1, "lasts_s": HOUR_S} | fields
    answer = await api.client.post("/homeport/reservations", json=body)
    assert answer.status_code < 300, answer.text


def places(home: Shared, *jobs: str) -> Mapping[str, str]:
    return {a.node: job for job in jobs for a in home.live(job)}


def test_who_bursts_goes_for_the_owner_and_waits_in_line_again(play: Any, tmp_path: Path) -> None:
    """Neither can be preempted: whoever bursts has agreed to go."""

    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 4)
        await home.project("b", 4)
        await reserve(api, "ra")
        await reserve(api, "rb")
        own = await home.submit("a", "own", 2, reservation="ra")
        await home.becomes(own, "running")
        bursts = await home.submit("a", "bursts", 2, reservation="ra", may_burst=True)
        await home.becomes(bursts, "running")
        assert places(home, own, bursts) == {"n-0": own, "n-1": bursts}
        owner = await home.submit("b", "owner", 2, reservation="rb")
        await home.becomes(owner, "running")
        await home.evicted(bursts)
        await home.waits(bursts, "Unschedulable")
        assert places(home, own, bursts, owner) == {"n-0": own, "n-1": owner}
        (told,) = home.events(bursts, "Evicted")
        first = home.attempts(bursts)[0]
        assert told == (
            f"{first.replica_id} is evicted: node n-1 is reserved for rb, and project b has come for it; "
            f"what cannot be preempted has to go, too, where it bursts to another reservation"
        )
        assert (first.reason, first.evicted_by) == ("Evicted", f"reserved for {owner}")
        assert "evicted: reserved for work of project b" in first.message
        assert home.events(owner, "MakingRoom") == ["work of project a ends to make room for it: reserved"]
        assert not any(owner in e.message for e in home.store.events_of(bursts))
        api.at.clock.advance(10)
        await home.becomes(bursts, "running")  # the owner has ended
        assert places(home, bursts) == {"n-1": bursts}
        home.check()
        await assert_world_ok(api.at.home)

    play(scenario, Rule(workload_id="owner-*", run_for_s=10), FOREVER, seed=nodes(tmp_path, 2))


def test_only_what_can_be_preempted_goes_when_a_reservation_begins_on_its_node(
    play: Any, tmp_path: Path
) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 4)
        await home.project("b", 4)
        begins_s = api.at.clock.now_ms() // 1000 + HOUR_S
        await reserve(api, "r", starts_at=begins_s)
        kept = await home.submit("a", "kept", 1)
        loose = await home.train("a", "loose", 1)
        for job in (kept, loose):
            await home.becomes(job, "running")
        owners = [await home.submit("b", f"owner{i}", 1, reservation="r") for i in range(2)]
        await home.waits(owners[0], "Unschedulable")
        assert home.phase(loose) == "running"
        api.at.clock.advance(HOUR_S + 1)
        home.services.poke()
        await home.becomes(owners[0], "running")
        await home.evicted(loose)
        told = await home.waits(owners[1], "Unschedulable")
        assert "short of 1 free GPU(s)" in told
        assert home.phase(kept) == "running"
        (gone,) = home.attempts(loose)
        assert home.events(loose, "Evicted") == [
            f"{gone.replica_id} is evicted: node n-0 is reserved for r, and project b has come for it"
        ]
        assert "kept for reservation r" in await home.waits(loose, "Unschedulable")

    play(scenario, FOREVER, seed=nodes(tmp_path, 1))


def test_who_bursts_keeps_its_guaranteed_time(play: Any, tmp_path: Path) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        (pool,) = org.list_node_pools(home.services)
        await org.update_node_pool(home.services, pool.id, lambda p: replace(p, min_runtime_s=300), by="ada")
        await home.project("a", 4)
        await reserve(api, "ra")
        await reserve(api, "rb")
        jobs = [await home.submit("a", f"j{i}", 2, reservation="ra", may_burst=True) for i in range(2)]
        for job in jobs:
            await home.becomes(job, "running")
        bursts = places(home, *jobs)["n-1"]
        owner = await home.submit("local", "owner", 2, reservation="rb")
        told = await home.waits(owner, "Unschedulable")
        assert "has its guaranteed runtime until" in told
        assert home.phase(bursts) == "running"
        api.at.clock.advance(301)
        home.services.poke()
        await home.becomes(owner, "running")
        await home.evicted(bursts)

    play(scenario, FOREVER, seed=nodes(tmp_path, 2))


def test_one_small_job_moves_and_all_run_when_a_spread_pool_has_no_whole_node(
    play: Any, tmp_path: Path
) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        (pool,) = org.list_node_pools(home.services)
        await org.update_node_pool(
            home.services, pool.id, lambda p: replace(p, gpu_strategy="spread"), by="ada"
        )
        await home.project("a", 8)
        small = [await home.train("a", f"small{i}") for i in range(4)]
        for job in small:
            await home.becomes(job, "running")
        assert len(places(home, *small)) == 4
        wide = await home.train("a", "wide", 2)
        await home.becomes(wide, "running")
        for job in small:
            await home.becomes(job, "running")
        moved = [job for job in small if len(home.attempts(job)) > 1]
        assert len(moved) == 1
        (told,) = home.events(moved[0], "Evicted")
        node = home.live(wide)[0].node
        assert "consolidated, it can run on " in told
        assert told.endswith(f"{wide} then fits on {node}")
        assert node == home.attempts(moved[0])[0].node != home.live(moved[0])[0].node
        passes = home.loop.passes
        for _ in range(3):
            home.services.poke()
            await api.at.until("a pass", lambda passes=passes: home.loop.passes > passes)
            passes = home.loop.passes
        assert sum(len(home.attempts(job)) for job in (*small, wide)) == 6
        home.check()

    play(scenario, FOREVER, seed=nodes(tmp_path, 4))


def test_a_gang_that_may_burst_has_its_own_node_back_and_the_rest_elsewhere(
    play: Any, tmp_path: Path
) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 2)
        await home.project("b", 4)
        await reserve(api, "ra")
        await reserve(api, "rb")
        begun = await home.submit("a", "begun", 2, reservation="ra", may_burst=True)
        bursts = await home.submit("a", "bursts", 2, reservation="ra", may_burst=True, is_preemptible=True)
        for job in (begun, bursts):
            await home.becomes(job, "running")
        assert places(home, begun, bursts) == {"n-0": begun, "n-1": bursts}
        strict = await home.submit("b", "strict", 2, members=2, reservation="rb")
        await home.waits(strict, "Unschedulable")
        await set_stopped(home.services, Caller("a", ADMIN, ""), begun, stopped=True)
        await home.becomes(begun, "stopped")
        assert home.phase(bursts) == "running"  # its end would not be enough for the one that stays at home
        gang = await home.submit("b", "gang", 2, members=2, reservation="rb", may_burst=True)
        await home.becomes(gang, "running")
        assert {a.node for a in home.live(gang)} == {"n-0", "n-1"}
        assert "node n-1 is reserved for rb" in home.events(bursts, "Evicted")[0]
        home.check()
        await assert_world_ok(api.at.home)

    play(scenario, FOREVER, seed=nodes(tmp_path, 2))


def test_moves_have_one_name_in_the_plan_and_in_the_store() -> None:
    assert EvictedBy.CONSOLIDATION.value == MOVED
