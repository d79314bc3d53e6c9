"""Replicas that follow the load, under a clock that the test moves."""

from dataclasses import replace
from typing import Any

from .endpoints import SERVES, endpoint
from .home import Api

QPM = {"target_throughput": {"qpm": 20, "methods": ["GET"], "paths": ["/work", "/v1/*"]}}
SLOW = replace(SERVES, start_after_s=60)


def test_number_follows_the_requests_up_at_once_and_down_after_five_minutes(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(most=3, auto_scaler=QPM)
            await e.ready()
            await e.asked(30, "/elsewhere")
            await e.passes(30)
            assert len(e.live) == 1
            await e.asked(30, "/work")
            await e.asked(15, "/v1/chat")
            await e.passes(5)
            assert e.phase == "scaling"
            await e.ready(3)
            assert e.events("ScaledUp") == [
                "1 -> 3 replicas: 45 requests in the last minute, 20 per replica wanted"
            ]
            await e.passes(280)
            assert len(e.live) == 3
            await e.passes(100)
            await e.until("one", lambda: len(e.live) == 1)
            assert e.events("ScaledDown")[-1].startswith("3 -> 1 replica: 0 requests in the last minute")
            assert e.found.workload.spec.serving.replicas == 1
            assert e.phase == "ready"

    play(scenario, SERVES)


def test_no_fewer_than_asked_for_and_no_more_than_allowed(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(replicas=2, most=3, auto_scaler=QPM)
            await e.ready(2)
            await e.asked(100, "/work")
            await e.passes(5)
            await e.ready(3)
            assert e.events("ScaledUp")[0].endswith("20 per replica wanted, at most 3 replicas")
            await e.passes(420)
            await e.until("two", lambda: len(e.live) == 2)
            assert e.events("ScaledDown")[0].startswith("3 -> 2 replicas")

    play(scenario, SERVES)


def test_replica_that_was_not_ready_yet_is_never_taken_away(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(most=2, auto_scaler=QPM)
            await e.passes(65)
            await e.ready()
            api.at.rules.given = (replace(SERVES, start_after_s=10_000),)  # the next one
            await e.asked(40, "/work")
            await e.passes(5)
            await e.until("two", lambda: len(e.live) == 2)
            await e.passes(900, step_s=30)
            assert len(e.live) == 2
            assert e.events("ScaledDown") == []
            assert e.phase == "scaling"

    play(scenario, SLOW)


def test_number_follows_the_gpus(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            scaler = {"target_gpu_utilization_percentage": 40}
            await e.create(most=2, shape="gpu.h100-sxm", auto_scaler=scaler)
            await e.until("it runs", lambda: e.running)
            await e.passes(60)
            await e.until("two", lambda: len(e.live) == 2)
            assert e.events("ScaledUp") == ["1 -> 2 replicas: GPUs at 80%, 40% wanted"]

    play(scenario, replace(SERVES, gpu_percent=80.0))


def test_nothing_moves_while_the_gpus_cannot_be_read(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            scaler = {"target_gpu_utilization_percentage": 40}
            await e.create(most=3, shape="gpu.h100-sxm", auto_scaler=scaler)
            await e.ready()
            await e.passes(600, step_s=30)
            assert len(e.live) == 1
            assert (e.events("ScaledUp"), e.events("ScaledDown")) == ([], [])

    play(scenario, SERVES)


def test_number_stays_decided_when_something_else_is_changed(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(most=3, auto_scaler=QPM)
            await e.ready()
            await e.asked(60, "/work")
            await e.passes(5)
            await e.ready(3)
            await e.change(api_tokens=[{"value": "t"}])
            await e.passes(10)
            assert len(e.live) == 3
            zeroes = {"target_throughput": {"qpm": 0}, "target_gpu_utilization_percentage": 0}
            await e.change(auto_scaler=zeroes)
            await e.until("what its user wants", lambda: len(e.live) == 1)
            assert e.found.workload.decided_replicas is None

    play(scenario, SERVES)
