"""A large job behind which small ones keep arriving."""

import asyncio
from pathlib import Path

from homeport.runtime.drivers.simulated import Rule
from tests.api.home import open_api

TEN_MINUTES_S = 600


def test_large_job_is_kept_places_for_when_it_has_waited_for_ten_minutes(tmp_path: Path) -> None:
    async def scenario() -> None:
        rules = (Rule(run_for_s=1200),)
        async with open_api(tmp_path, rules, gpus="4xH100-80GB") as api:
            first = (await api.submit("first", resource_shape="gpu.h100-sxm"))["metadata"]["id"]
            await api.becomes(first, "running")
            large = (await api.submit("large", resource_shape="gpu.4xh100-sxm"))["metadata"]["id"]
            passing = (await api.submit("passing", resource_shape="gpu.h100-sxm"))["metadata"]["id"]
            await api.becomes(passing, "running")
            api.at.clock.advance(TEN_MINUTES_S)
            late = (await api.submit("late", resource_shape="gpu.h100-sxm"))["metadata"]["id"]

            def kept() -> str:
                told = api.at.home.services.store.events_of(late)
                return next((e.message for e in told if "kept for work of project local" in e.message), "")

            await api.at.until("the late one to be told", kept)
            assert api.phase(late) == "queued"
            api.at.clock.advance(TEN_MINUTES_S)
            await api.becomes(large, "running")
            assert api.phase(late) == "queued"
            api.at.clock.advance(1200)
            await api.becomes(late, "running")

    asyncio.run(scenario())
