"""Who makes room for whom, and what becomes of them: the server's part of reclaim and preemption."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlmodel import Session

from homeport.runtime.drivers.simulated import Rule
from homeport.server.domain.org import Rules
from homeport.server.domain.serving import Serving
from homeport.server.domain.times import utc
from homeport.server.domain.workload import Attempt
from homeport.server.services import org
from homeport.server.services.access import ADMIN, Caller
from homeport.server.services.workloads import set_stopped
from homeport.server.store.leases import free_leases
from homeport.server.store.writes import save_attempt

from .home import Api
from .projects import Shared

FOREVER = Rule(run_for_s=None)
EIGHT = {"gpus": "8xH100-80GB"}


def test_project_gets_its_quota_back_from_one_that_is_beyond_its_own(play: Any) -> None:
    """Run:ai's over-quota quick start, doubled: the job of 2 GPUs is evicted, the one of 4 stays."""

    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 4)
        await home.project("b", 4)
        large = await home.train("a", "large", 4)
        small = await home.train("a", "small", 2)
        own = await home.train("b", "own", 2)
        for job in (large, small, own):
            await home.becomes(job, "running")
        asker = await home.train("b", "asker", 2)
        await home.becomes(asker, "running")
        await home.evicted(small)
        await home.waits(small, "Unschedulable")
        assert [home.phase(j) for j in (large, small, own)] == ["running", "queued", "running"]
        (told,) = home.events(small, "Evicted")
        assert "reclaimed for project b" in told
        told = home.events(asker, "MakingRoom")[0]  # to all who may read of the asker
        assert "work of project a ends to make room for it" in told
        assert small not in told
        assert not any(asker in e.message for e in home.store.events_of(small))
        assert asker not in home.attempts(small)[0].message
        await set_stopped(home.services, Caller("b", ADMIN, ""), asker, stopped=True)
        await home.becomes(small, "running")
        assert [a.number for a in home.attempts(small)] == [1, 2]
        home.check()

    play(scenario, FOREVER, **EIGHT)


def test_higher_priority_takes_the_place_of_lower_within_a_project(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 8)
        low = await home.train("a", "low", 8, priority=25)
        await home.becomes(low, "running")
        urgent = await home.submit("a", "urgent", 4, priority=125, can_preempt=True)
        await home.becomes(urgent, "running")
        await home.evicted(low)
        assert f"preempted by {urgent}, whose priority" in home.events(low, "Evicted")[0]
        assert home.attempts(low)[0].evicted_by == f"preempted for {urgent}"
        assert home.attempts(low)[0].reason == "Evicted"
        await home.becomes(low, "queued")
        home.check()

    play(scenario, FOREVER, **EIGHT)


def test_nobody_is_preempted_by_what_may_not(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 8)
        low = await home.train("a", "low", 8, priority=25)
        await home.becomes(low, "running")
        polite = await home.submit("a", "polite", 4, priority=125)
        await home.waits(polite, "Unschedulable")
        assert home.phase(low) == "running"
        assert not home.events(low, "Evicted")

    play(scenario, FOREVER, **EIGHT)


def test_what_cannot_be_preempted_waits_with_the_reason_when_it_is_over_quota(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 2)
        first = await home.submit("a", "first", 2)
        await home.becomes(first, "running")
        second = await home.submit("a", "second", 1)
        told = await home.waits(second, "NonPreemptibleOverQuota")
        assert "2" in told
        assert home.events(second, "NonPreemptibleOverQuota") == [told]
        beyond = await home.train("a", "beyond", 2)  # what can be preempted may go beyond the quota
        await home.becomes(beyond, "running")

    play(scenario, FOREVER, **EIGHT)


def test_limit_binds_also_what_can_be_preempted(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 1, limit=2)
        first = await home.train("a", "first", 2)
        await home.becomes(first, "running")
        second = await home.train("a", "second", 1)
        await home.waits(second, "OverLimit")
        api.at.clock.advance(10)
        await home.becomes(second, "running")

    play(scenario, Rule(workload_id="first-*", run_for_s=10), FOREVER, **EIGHT)


def test_two_halves_share_a_device_and_a_third_goes_elsewhere(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 2)
        jobs = [await home.train("a", f"half{i}", 1, gpu_portion=0.5) for i in range(3)]
        for job in jobs:
            await home.becomes(job, "running")
        one, two, three = (home.live(job)[0] for job in jobs)
        assert one.gpu_uuids == two.gpu_uuids != three.gpu_uuids
        assert [a.gpu_portion for a in (one, two, three)] == [0.5, 0.5, 0.5]
        home.check()

    play(scenario, FOREVER, **EIGHT)


def test_memory_of_a_device_is_a_portion_of_it(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 2)
        job = await home.train("a", "memory", 1, gpu_memory_mib=20 * 1024)
        await home.becomes(job, "running")
        assert 0.2 < home.live(job)[0].gpu_portion < 0.3

    play(scenario, FOREVER, **EIGHT)


def test_gang_holds_nothing_while_a_member_has_no_place(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 8)
        first = await home.train("a", "first", 6)
        await home.becomes(first, "running")
        gang = await home.train("a", "gang", 2, members=2)
        await home.waits(gang, "Unschedulable")
        assert home.attempts(gang) == []
        small = await home.train("a", "small", 2)
        await home.becomes(small, "running")  # what fits is not held up
        api.at.clock.advance(10)
        await home.becomes(gang, "running")
        assert len(home.live(gang)) == 2

    play(scenario, Rule(workload_id="first-*", run_for_s=10), FOREVER, **EIGHT)


def test_evicted_gang_waits_as_a_gang_and_begins_anew(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 2)
        await home.project("b", 6)
        gang = await home.train("a", "gang", 2, members=4)
        await home.becomes(gang, "running")
        asker = await home.train("b", "asker", 2)
        await home.becomes(asker, "running")
        await home.evicted(gang, times=4)
        await home.becomes(gang, "queued")
        assert home.events(gang, "Requeued")
        api.at.clock.advance(10)
        await home.becomes(gang, "running")
        assert sorted(a.index for a in home.live(gang)) == [0, 1, 2, 3]
        assert {a.number for a in home.live(gang)} == {2}
        assert home.workload(gang).runs_failed == 0

    play(scenario, Rule(workload_id="asker-*", run_for_s=10), FOREVER, **EIGHT)


def test_elastic_gang_loses_members_beyond_its_minimum_one_by_one_and_gets_them_back(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 4)
        await home.project("b", 4)
        gang = await home.train("a", "gang", 2, members=4, min_members=2)
        await api.at.until("all members", lambda: len(home.live(gang)) == 4)
        asker = await home.train("b", "asker", 2)
        await home.becomes(asker, "running")
        assert sorted(a.index for a in home.live(gang)) == [0, 1, 2]
        assert home.phase(gang) == "running"
        api.at.clock.advance(10)
        await api.at.until("the member is back", lambda: len(home.live(gang)) == 4)

    play(scenario, Rule(workload_id="asker-*", run_for_s=10), FOREVER, **EIGHT)


def test_evicted_job_has_failed_when_it_is_to_end_then(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 0)
        await home.project("b", 8)
        job = await home.train("a", "once", 8, ends_when_evicted=True)
        await home.becomes(job, "running")
        await home.train("b", "asker", 8)
        await home.becomes(job, "failed")

    play(scenario, FOREVER, **EIGHT)


def test_nothing_is_evicted_before_its_guaranteed_time_has_passed(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        (pool,) = org.list_node_pools(home.services)
        await org.update_node_pool(home.services, pool.id, lambda p: replace(p, min_runtime_s=300), by="ada")
        await home.project("a", 0)
        await home.project("b", 8)
        job = await home.train("a", "long", 8)
        await home.becomes(job, "running")
        ends_at = home.live(job)[0].started_at_ms + 300_000
        asker = await home.train("b", "asker", 8)
        told = await home.waits(asker, "Unschedulable")
        assert told.endswith(f"what would make room for it has its guaranteed runtime until {utc(ends_at)}")
        assert home.events(asker, "Unschedulable") == [told]
        large = await home.train("b", "large", 9)
        assert "guaranteed" not in await home.waits(large, "Unschedulable")
        api.at.clock.advance(299)
        assert [home.phase(j) for j in (job, asker)] == ["running", "queued"]
        api.at.clock.advance(1)
        home.services.poke()
        await home.becomes(asker, "running")

    play(scenario, FOREVER, **EIGHT)


def test_replica_of_an_endpoint_makes_room_and_comes_back(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 0)
        await home.project("b", 8)
        serving = Serving(replicas=1, port=80)
        endpoint = await home.train("a", "endpoint", 8, kind="endpoint", serving=serving)
        await home.becomes(endpoint, "ready")
        asker = await home.train("b", "asker", 8)
        await home.becomes(asker, "running")
        await home.evicted(endpoint)
        api.at.clock.advance(10)
        await home.becomes(endpoint, "ready")

    play(scenario, Rule(workload_id="asker-*", run_for_s=10), FOREVER, **EIGHT)


# -- rules of a project --------------------------------------------------------


def test_training_is_stopped_after_the_time_that_its_project_allows(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 8, rules=Rules(training_time_limit_s=3600))
        training = await home.train("a", "training")
        workspace = await home.submit("a", "notebook", category="Build")
        await home.becomes(training, "running")
        await home.becomes(workspace, "running")
        api.at.clock.advance(3599)
        assert home.phase(training) == "running"
        api.at.clock.advance(1)
        await home.becomes(training, "stopped")
        assert home.phase(workspace) == "running"
        (told,) = home.events(training, "TimeLimit")
        assert "for 3600 s, which is trainingJobTimeLimitSeconds of project a" in told
        assert home.attempts(training)[0].message.endswith(f"stopped by a rule: {told}")
        body = (await api.client.get(f"/homeport/why/{training}")).json()
        assert told in body["reasons"][-1]
        await set_stopped(home.services, Caller("a", ADMIN, ""), training, stopped=False)
        await home.becomes(training, "running")
        await set_stopped(home.services, Caller("a", ADMIN, ""), training, stopped=True)
        await home.becomes(training, "stopped")
        assert home.attempts(training)[1].message.endswith("stopped by request")

    play(scenario, FOREVER, **EIGHT)


def test_workspace_is_stopped_when_its_gpus_have_been_idle_for_too_long(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 8, rules=Rules(interactive_max_idle_s=600))
        idle = await home.submit("a", "idle", category="Build")
        busy = await home.submit("a", "busy", category="Build")
        for job in (idle, busy):
            await home.becomes(job, "running")
        began_ms = api.at.clock.now_ms()
        while home.phase(idle) != "stopped" and api.at.clock.now_ms() < began_ms + 3_600_000:
            passes = home.loop.passes
            api.at.clock.advance(5)
            home.services.poke()
            await api.at.until("a pass", lambda passes=passes: home.loop.passes > passes)
        await home.becomes(idle, "stopped")
        assert 600_000 <= api.at.clock.now_ms() - began_ms < 700_000
        assert home.phase(busy) == "running"
        assert "idle" in home.events(idle, "IdleLimit")[0]

    play(
        scenario, Rule(workload_id="idle-*", run_for_s=None, gpu_percent=0),
        Rule(run_for_s=None, gpu_percent=90), **EIGHT,
    )  # fmt: skip


def test_idle_workspace_that_can_be_preempted_makes_room_and_waits_in_line_again(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 8, rules=Rules(interactive_preempt_idle_s=60))
        idle = await home.train("a", "idle", 8, category="Build")
        await home.becomes(idle, "running")
        waits = await home.submit("a", "waits", 8, priority=150)
        await home.waits(waits, "Unschedulable")
        for _ in range(60):
            passes = home.loop.passes
            api.at.clock.advance(5)
            home.services.poke()
            await api.at.until("a pass", lambda passes=passes: home.loop.passes > passes)
            if home.phase(waits) == "running":
                break
        await home.becomes(waits, "running")
        await home.evicted(idle)
        await home.becomes(idle, "queued")
        assert home.attempts(idle)[0].evicted_by == f"idle for {waits}"
        assert "interactiveJobPreemptIdleDurationSeconds of project a" in home.events(idle, "IdleLimit")[0]
        assert home.events(waits, "MakingRoom") == [f"{idle} ends to make room for it: idle"]

    play(scenario, Rule(run_for_s=None, gpu_percent=0), **EIGHT)


def test_idle_workspace_stays_while_nobody_waits_for_what_it_has(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 8, rules=Rules(interactive_preempt_idle_s=60))
        idle = await home.train("a", "idle", 4, category="Build", priority=100)
        kept = await home.train("a", "kept", 4, category="Build", priority=100)
        larger = await home.submit("a", "larger", 9)  # its end would not help this one
        for job in (idle, kept):
            await home.becomes(job, "running")
        for _ in range(60):
            passes = home.loop.passes
            api.at.clock.advance(5)
            home.services.poke()
            await api.at.until("a pass", lambda passes=passes: home.loop.passes > passes)
        assert [home.phase(j) for j in (idle, kept, larger)] == ["running", "running", "queued"]
        assert not home.events(idle, "IdleLimit")
        waits = await home.submit("a", "waits", 4)  # is younger, and of lower priority than those
        await home.becomes(waits, "running")
        (gone,) = [j for j in (idle, kept) if home.live(j)[:1] == [] or home.live(j)[0].evicting_at_ms]
        await home.becomes(gone, "queued")
        for _ in range(60):  # what stays has been idle as well, but nobody waits except what was idle
            passes = home.loop.passes
            api.at.clock.advance(5)
            home.services.poke()
            await api.at.until("a pass", lambda passes=passes: home.loop.passes > passes)
        assert [len(home.attempts(j)) for j in (idle, kept)] == [1, 1]
        assert home.phase(gone) == "queued"

    play(scenario, Rule(run_for_s=None, gpu_percent=0), **EIGHT)


# -- a device that two believe to have -----------------------------------------


def test_later_of_two_that_have_the_same_device_is_ended_and_nobody_else_gets_it(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 8)
        first = await home.submit("a", "first")
        second = await home.submit("a", "second")
        for job in (first, second):
            await home.becomes(job, "running")
        (uuid,) = home.live(first)[0].gpu_uuids

        def damage(session: Session) -> None:
            """As a store that was put back from a copy: both rows name the device, and one has a lease."""
            claimed: Attempt = home.live(second)[0]
            free_leases(session.connection().connection.dbapi_connection, claimed)  # type: ignore[arg-type]
            save_attempt(session, replace(claimed, gpu_uuids=(uuid,), placed_at_ms=claimed.placed_at_ms + 1))

        await home.store.write(damage)
        home.services.poke()
        await home.evicted(second)
        for job in (first, second):
            (told,) = home.events(job, "DoubleClaim")
            assert uuid in told
            assert home.live(first)[0].replica_id in told
        await home.becomes(second, "running")
        assert home.phase(first) == "running"
        assert home.live(second)[0].gpu_uuids != (uuid,)
        home.check()

    play(scenario, FOREVER, **EIGHT)


def test_what_is_left_of_a_gang_ends_once_and_waits_whole_when_a_member_finds_no_place(
    play: Any, tmp_path: Path
) -> None:
    """Its members, asked for one by one, would have run and been ended without end."""

    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 6)
        gang = await home.train("a", "gang", 2, members=3)
        await home.becomes(gang, "running")
        answer = await api.client.post("/homeport/faults", json={"kind": "node-down", "node": "small"})
        fault = answer.json()["id"]
        await api.at.until("a member is lost", lambda: len(home.live(gang)) == 2)
        api.at.clock.advance(61)
        await api.at.until("it begins anew", lambda: home.events(gang, "Requeued"))
        await home.waits(gang, "Unschedulable")
        assert (home.live(gang), len(home.attempts(gang))) == ([], 3)
        assert (await api.client.delete(f"/homeport/faults/{fault}")).status_code < 300
        await api.at.until("all of it runs again", lambda: len(home.live(gang)) == 3)

    world = tmp_path / "world.yaml"
    world.write_text("nodes:\n  - {name: large, gpus: 4xH100-80GB}\n  - {name: small, gpus: 2xH100-80GB}\n")
    play(scenario, FOREVER, seed=world)
