"""Without traffic to zero, and back by a request; under a clock that the test moves."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from homeport.runtime.model import ContainerState
from homeport.server.data_plane import DataPlane

from .endpoints import SERVES, Endpoint, endpoint
from .home import Api

IDLE = {"scale_down": {"no_traffic_timeout": 60}}


async def is_at_zero(e: Endpoint) -> None:
    await e.until("zero", lambda: e.phase == "zero")


async def at_zero(e: Endpoint) -> None:
    await e.create(auto_scaler=IDLE)
    await e.ready()
    await e.passes(70)
    await is_at_zero(e)


def leases(api: Api) -> int:
    return sum(len(a.gpu_uuids) for a in api.at.home.services.store.reads.live_attempts())


def test_gpus_are_free_after_the_time_without_a_request(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(auto_scaler=IDLE, shape="gpu.h100-sxm")
            await e.ready()
            await e.passes(50)
            await e.asked(1)
            await e.passes(50)
            assert (e.phase, leases(api)) == ("ready", 1)
            await e.passes(20)
            await is_at_zero(e)
            assert (leases(api), e.live) == (0, [])
            assert e.events("ScaledToZero") == ["1 -> 0 replicas: no request for 60 s, 60 s is the limit"]
            told = (await api.client.get("/api/v2/workspaces/local/deployments/e")).json()
            assert (told["status"]["ready_replicas"], told["status"]["phase"]) == (0, "Not Ready")
            assert told["spec"]["resource_requirement"]["min_replicas"] == 1

    play(scenario, SERVES)


def test_open_request_is_traffic_however_long_it_takes(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, behind):
            await e.create(auto_scaler=IDLE, ingress_timeout_seconds=3600)
            await e.ready()
            behind.may_answer.clear()
            asking = asyncio.ensure_future(e.ask())
            await e.until("it is open", lambda: behind.asked == 1)
            await e.passes(200, step_s=10)
            assert e.phase == "ready"
            behind.may_answer.set()
            assert (await asking).status_code == 200
            await e.passes(55)
            assert e.phase == "ready"
            await e.passes(10)
            await is_at_zero(e)

    play(scenario, SERVES)


def test_all_who_wait_are_answered_after_one_wake(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, behind):
            await at_zero(e)
            asking = [asyncio.ensure_future(e.ask()) for _ in range(50)]
            await e.until("it starts", lambda: len(e.attempts) == 2)
            late = asyncio.ensure_future(e.ask())  # comes while it starts, or just after
            answers = await asyncio.gather(*asking, late)
            assert {a.status_code for a in answers} == {200}
            assert e.events("Waking") == ["0 -> 1 replica: a request waits for it"]
            assert len(e.attempts) == 2
            assert behind.asked == 51
            await e.until("awake", lambda: e.events("Woken"))
            await e.passes(70)
            await is_at_zero(e)  # and asleep again

    play(scenario, SERVES)


def test_request_that_wakes_does_not_wait_for_the_probes_delay(play: Any) -> None:
    """The first start waits for it, as the kubelet would; nobody asks yet."""

    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await at_zero(e)
            began = e.clock.now_ms()
            assert (await e.ask()).status_code == 200
            assert e.clock.now_ms() == began

    play(scenario, SERVES)


def test_waiting_goes_on_when_the_first_replica_dies_on_its_way(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await at_zero(e)
            asking = asyncio.ensure_future(e.ask())
            await e.until("it starts", lambda: e.running)
            driver = api.at.home.driver
            for seen in await driver.list_owned():
                await driver.remove(seen.handle)
            while len(e.attempts) < 3:
                await e.passes(1, step_s=1)
            # The gateway's time to connect runs on this clock too, so it goes on only where a probe that was
            # under way ran out of time with the last step, and waits for its next turn.
            while not (await asyncio.wait({asking}, timeout=1))[0]:
                await e.passes(1, step_s=1)
            assert asking.result().status_code == 200

    play(scenario, SERVES)


def test_request_that_waits_too_long_is_told_when_to_come_again(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await at_zero(e)
            api.at.rules.given = (replace(SERVES, start_after_s=10_000),)
            asking = asyncio.ensure_future(e.ask())
            await e.until("it starts", lambda: e.live)
            await e.passes(310, step_s=10)
            answer = await asking
            assert answer.status_code == 503
            assert "retry-after" in answer.headers

    play(scenario, SERVES)


def test_endpoint_that_its_user_stopped_is_not_woken(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await at_zero(e)
            await e.change(resource_requirement={"min_replicas": 0})
            await e.until("stopped", lambda: e.phase == "stopped")
            await e.passes(1, step_s=1)
            answer = await e.ask()
            assert answer.status_code == 503
            assert "retry-after" not in answer.headers
            await e.passes(10)
            assert (e.live, e.events("Waking")) == ([], [])
            assert (e.found.workload.spec.is_stopped, e.found.workload.decided_replicas) == (True, 0)
            await e.change(resource_requirement={"min_replicas": 1})
            await e.ready()

    play(scenario, SERVES)


@pytest.mark.parametrize("how", ["restart", "same", "number"])
def test_where_no_request_wakes_its_user_does(play: Any, how: str) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await at_zero(e)
            answer = await e.ask()
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            assert answer.json()["code"] == "asleep"
            await e.passes(10)
            assert e.live == []
            number = 2 if how == "number" else 1
            if how == "restart":
                done = await api.client.put("/api/v2/workspaces/local/deployments/e/restart")
            else:
                done = await e.change(resource_requirement={"min_replicas": number})
            assert done.status_code == 200
            await e.ready(number)

    play(scenario, SERVES, wake_on_request=False)


def test_nothing_goes_to_zero_at_once_when_server_and_gateway_begin_anew(play: Any) -> None:
    async def first(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(auto_scaler=IDLE)
            await e.ready()

    async def second(api: Api) -> None:
        async with endpoint(api) as (e, _):
            e.clock.advance(3600)  # its containers have gone with the process
            await e.until("it runs again", lambda: e.running)
            e.clock.advance(5)
            await e.until("ready", lambda: e.phase == "ready")
            await e.passes(55)
            assert e.phase == "ready"
            await e.passes(10)
            await is_at_zero(e)

    play(first, SERVES)
    play(second, SERVES)


def test_what_never_was_ready_does_not_go_to_zero(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(auto_scaler=IDLE)
            await e.passes(600, step_s=30)
            assert e.events("ScaledToZero") == []
            assert len(e.live) == 1

    play(scenario, replace(SERVES, start_after_s=10_000))


async def states(api: Api) -> list[ContainerState]:
    return [o.state for o in await api.at.home.driver.list_owned()]


def test_warm_zero_keeps_containers_and_gpus_and_wakes_at_once(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, behind):
            await e.create(auto_scaler=IDLE, shape="gpu.h100-sxm")
            await e.ready()
            before = [a.key for a in e.live]
            for _ in range(3):
                await e.passes(70)
                await is_at_zero(e)
                await e.passes(1, step_s=1)
                assert await states(api) == [ContainerState.PAUSED]
                assert leases(api) == 1
                assert (await e.ask()).status_code == 200  # with the clock standing still
                assert await states(api) == [ContainerState.RUNNING]
                await e.until("ready", lambda: e.phase == "ready")
            assert [a.key for a in e.attempts] == before
            assert behind.asked == 3

    play(scenario, SERVES, warm_zero=True)


def test_warm_endpoint_that_a_request_wakes_stays_up_where_its_counters_come_late(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway tells of a wake at once, and of what it counts now and then."""

    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, behind):
            await at_zero(e)
            await e.passes(1, step_s=1)
            told = api.at.home.loop.machine.traffic.source.counters()
            late = {key: replace(counted) for key, counted in told.items()}
            monkeypatch.setattr(DataPlane, "counters", lambda _: late)
            assert (await e.ask()).status_code == 200
            await e.until("ready", lambda: e.phase == "ready")
            await e.passes(50)
            assert (e.phase, len(e.events("ScaledToZero")), behind.asked) == ("ready", 1, 1)
            await e.passes(20)
            await is_at_zero(e)

    play(scenario, SERVES, warm_zero=True)


def test_warm_endpoint_is_stopped_removed_and_updated_as_any(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await at_zero(e)
            await e.passes(1, step_s=1)
            assert await states(api) == [ContainerState.PAUSED]
            await e.change(envs=[{"name": "A", "value": "b"}])
            await e.until("the old one has gone", lambda: e.live == [])
            assert e.phase == "zero"
            assert (await e.ask()).status_code == 200
            await e.passes(70)
            await is_at_zero(e)
            await e.change(resource_requirement={"min_replicas": 0})
            await e.until("stopped", lambda: e.phase == "stopped" and not e.live)
            await e.until("removed", lambda: e.phase == "stopped")
            await e.passes(2, step_s=1)
            assert await states(api) == []

    play(scenario, SERVES, warm_zero=True)
