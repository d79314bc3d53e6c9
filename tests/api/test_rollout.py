"""Updates under a clock that the test moves: who serves meanwhile, what is given up and why."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from homeport.runtime.clock import VirtualClock
from homeport.runtime.drivers.simulated import Rule

from .endpoints import SERVES, Endpoint, endpoint
from .home import Api

BAD = replace(SERVES, image="bad:1", run_for_s=1, exit_code=7)
NEVER = replace(SERVES, image="never:1", start_after_s=10_000)
WHOLE_MACHINE = "gpu.8xh100-sxm"


def image(name: str) -> dict[str, Any]:
    return {"container": {"image": name}}


def images_of(e: Endpoint) -> list[int]:
    """Revisions of what takes requests."""
    return sorted(a.revision for a in e.running if a.ready_at_ms)


def test_old_replicas_go_one_by_one_as_new_ones_come(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(replicas=2)
            await e.ready(2)
            first = e.attempts[0].revision
            await e.change(**image("any:2"))
            second = e.found.workload.first_attempt
            for expected in ([first, second], [second, second]):
                await e.until("one more", lambda: len(e.running) == 3)
                assert e.phase == "updating"
                assert (await e.ask()).status_code == 200
                e.clock.advance(5)
                await e.until("the next", lambda expected=expected: images_of(e) == expected)
            await e.until("done", lambda: e.phase == "ready")
            await e.until("the old have gone", lambda: len(e.live) == 2)
            assert len({a.replica_id for a in e.attempts}) == 4
            assert e.events("RolloutComplete") == ["all replicas (2) are of version 2.0"]
            assert e.events("Recreating") == []
            why = "takes no new requests: replaced by a newer generation"
            assert sorted(e.events("Draining")) == sorted(f"{a.replica_id} {why}" for a in e.attempts[:2])

    play(scenario, SERVES)


def test_request_is_answered_at_each_moment_of_an_update(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create()
            await e.ready()
            await e.change(**image("any:2"))
            for _ in range(20):
                assert (await e.ask()).status_code == 200
                await e.passes(1, step_s=1)
            assert e.phase == "ready"

    play(scenario, SERVES)


def test_single_replica_without_room_for_another_is_made_anew(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(shape=WHOLE_MACHINE)
            await e.ready()
            old = e.live[0]
            await e.change(**image("any:2"))
            await e.until("the new one", lambda: [a.revision for a in e.live] == [2])
            await e.ready()
            (told,) = e.events("Recreating")
            assert told.startswith(f"{old.replica_id} ends before its successor starts: 1 node(s): short of")
            assert e.events("Unschedulable") == []

    play(scenario, SERVES)


def test_old_replica_stays_where_its_end_would_not_help(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create()
            await e.ready()
            job = await api.submit("fills", resource_shape=WHOLE_MACHINE)
            await api.becomes(job["metadata"]["id"], "running")
            await e.change(resource_requirement={"resource_shape": WHOLE_MACHINE})
            await e.until("it waits", lambda: e.events("Unschedulable"))
            await e.passes(30)
            assert images_of(e) == [1]
            assert e.events("Recreating") == []

    play(scenario, SERVES)


@pytest.mark.parametrize(
    ("to", "seconds", "says"),
    [("bad:1", 60, "has ended 3 times: ended with exit code 7"), ("never:1", 600, "within 10 min")],
)
def test_failed_update_stays_with_what_there_was(play: Any, to: str, seconds: int, says: str) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create()
            await e.ready()
            before = e.live[0].key
            await e.change(**image(to))
            await e.passes(seconds - 30, step_s=10)
            if seconds > 60:
                assert e.phase == "updating"
            await e.passes(40, step_s=10)
            await e.until("given up", lambda: e.events("RolloutFailed"))
            assert says in e.events("RolloutFailed")[0]
            await e.until("the old only", lambda: [a.key for a in e.live] == [before])
            assert e.phase == "ready"
            assert (await e.ask()).status_code == 200
            await e.passes(700, step_s=70)
            assert len(e.events("RolloutFailed")) == 1
            # What was given up is asked for still; a restart tries it once more.
            assert e.found.workload.spec.image == to
            assert (await e.change(**image(to))).status_code == 400
            assert (await e.change(**image("any:3"))).status_code == 200
            await e.until("both", lambda: len(e.running) == 2)
            e.clock.advance(5)
            await e.until("all new", lambda: e.phase == "ready")
            assert images_of(e) == [e.found.workload.first_attempt]

    play(scenario, BAD, NEVER, SERVES)


def test_old_replica_that_crashes_after_a_failed_update_comes_back_as_it_was(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(envs=[{"name": "A", "value": "old"}])
            await e.ready()
            await e.change(**image("bad:1"))
            await e.passes(60)
            await e.until("given up", lambda: e.events("RolloutFailed"))
            await e.until("the old only", lambda: len(e.live) == 1)
            driver = api.at.home.driver
            for seen in await driver.list_owned():
                await driver.remove(seen.handle)  # by somebody else
            await e.passes(20)
            await e.until("back", lambda: len(e.running) == 1)
            assert e.running[0].revision == 1
            e.clock.advance(5)
            await e.until("ready", lambda: e.phase == "ready")

    play(scenario, BAD, SERVES)


def test_open_request_is_waited_for_and_then_its_replica_ends(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, behind):
            await e.create()
            await e.ready()
            behind.may_answer.clear()
            asking = asyncio.ensure_future(e.ask())
            await e.until("it is open", lambda: behind.asked == 1)
            await e.change(resource_requirement={"min_replicas": 0})
            await e.until("it drains", lambda: e.events("Draining"))
            await e.passes(25)
            assert len(e.live) == 1
            assert (await e.ask()).status_code == 503
            behind.may_answer.set()
            assert (await asking).status_code == 200
            await e.until("stopped", lambda: e.phase == "stopped")

    play(scenario, SERVES)


def test_open_request_holds_its_replica_for_half_a_minute_at_most(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, behind):
            await e.create()
            await e.ready()
            behind.may_answer.clear()
            asking = asyncio.ensure_future(e.ask())
            await e.until("it is open", lambda: behind.asked == 1)
            await e.change(resource_requirement={"min_replicas": 0})
            await e.until("it drains", lambda: e.events("Draining"))
            await e.passes(40)
            await e.until("stopped", lambda: e.phase == "stopped")
            behind.may_answer.set()
            await asking

    play(scenario, SERVES)


def test_time_without_a_server_is_no_time_without_progress(play: Any) -> None:
    async def begins(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create()
            await e.ready()
            await e.change(**image("never:1"))
            await e.until("it waits", lambda: len(e.live) == 2)
            assert e.found.workload.before[0].replaced_at_ms > START_MS

    async def goes_on(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.until("a new time", lambda: e.found.workload.before[0].replaced_at_ms == START_MS)
            assert e.events("RolloutFailed") == []

    play(begins, NEVER, SERVES)
    play(goes_on, NEVER, SERVES)


START_MS = VirtualClock().now_ms()  # of each server's clock


def test_update_of_what_never_was_ready_replaces_it_at_once(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(**image_with_port(e, "bad:1"))
            await e.until("it has crashed", lambda: len(e.attempts) >= 1)
            await e.change(**image("any:2"))
            await e.until("the new one only", lambda: [a.number >= 2 for a in e.running] == [True])
            e.clock.advance(5)
            await e.until("ready", lambda: e.phase == "ready")

    play(scenario, BAD, SERVES)


def image_with_port(e: Endpoint, name: str) -> dict[str, Any]:
    return {"container": {"image": name, "command": ["serve"], "ports": [{"container_port": e.port}]}}


def test_rule_of_simulated_containers_has_no_address_unless_it_is_given() -> None:
    assert Rule().address == ""
