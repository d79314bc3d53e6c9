"""The bill under a clock that the test moves: exact, and there after an archive and a restart."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from homeport.runtime.drivers.simulated import Rule
from homeport.server.domain.workload import AttemptState
from homeport.server.errors import Invalid
from homeport.server.store.documents import to_doc
from homeport.server.store.tables import AttemptRow

from .home import JOBS, Api, open_api
from .test_endpoints import PATH as ENDPOINTS
from .test_endpoints import body, live

PRICES = "cpu.small=0.06,gpu.h100-sxm=3"
HOLDS = Rule(run_for_s=None)


async def bill(api: Api, **query: str) -> dict[str, Any]:
    answer = await api.client.get("/homeport/billing", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def cost(api: Api, **query: str) -> Decimal:
    return Decimal((await bill(api, **query))["total"]["cost"])


async def start_on_the_minute(api: Api) -> None:
    api.at.clock.advance(60 - api.at.clock.now_ms() % 60_000 / 1000)


def test_cost_is_price_times_hours_times_replicas(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await start_on_the_minute(api)
        job = await api.submit("train", resource_shape="gpu.2xh100-sxm", completions=3, parallelism=3)
        await api.becomes(job["metadata"]["id"], "running")
        api.at.clock.advance(90 * 60)
        told = await bill(api)
        assert (told["has_prices"], told["by"]) == (True, "workload")
        # Three replicas of twice the price of one GPU, an hour and a half.
        assert told["total"] == {"name": "total", "minutes": 270, "hours": "4.500000", "cost": "27.000000"}
        assert [line["name"] for line in told["lines"]] == [job["metadata"]["id"]]
        assert [line["name"] for line in (await bill(api, by="shape"))["lines"]] == ["gpu.2xh100-sxm"]
        assert [line["name"] for line in (await bill(api, by="owner"))["lines"]] == ["admin@homeport.local"]

    play(scenario, HOLDS, prices=PRICES)


def test_stopped_endpoint_costs_nothing_and_windows_add_up(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await start_on_the_minute(api)
        await api.client.post(ENDPOINTS, json=body(replicas=2))
        await api.at.until("running", lambda: sum(bool(a.started_at_ms) for a in live(api, "e")) == 2)
        api.at.clock.advance(30 * 60)
        stop = {"spec": {"resource_requirement": {"min_replicas": 0}}}
        assert (await api.client.patch(f"{ENDPOINTS}/e", json=stop)).status_code == 200
        await drain(api)
        whole = await cost(api)
        assert whole == Decimal("0.06")  # two replicas, half an hour
        api.at.clock.advance(5 * 3600)
        assert await cost(api) == whole
        assert await cost(api, since="1h") == 0
        parts = [await cost(api, since="8h", until="310m"), await cost(api, since="310m")]
        assert sum(parts) == whole
        assert all(parts)

    play(scenario, HOLDS, prices=PRICES)


async def drain(api: Api) -> None:
    """Whatever time a replica is given to end its requests, it has none."""
    for _ in range(3):
        await asyncio.sleep(0.05)
        if not live(api, "e"):
            return
    await api.at.until("ended", lambda: not live(api, "e"))


def test_change_of_shape_is_paid_as_it_was(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await start_on_the_minute(api)
        await api.client.post(ENDPOINTS, json=body())
        await api.at.until("running", lambda: any(a.started_at_ms for a in live(api, "e")))
        assert [a.shape for a in live(api, "e")] == ["cpu.small"]
        api.at.clock.advance(60 * 60)
        bigger = {"spec": {"resource_requirement": {"resource_shape": "cpu.medium", "min_replicas": 1}}}
        assert (await api.client.patch(f"{ENDPOINTS}/e", json=bigger)).status_code == 200
        told = {line["name"]: line["cost"] for line in (await bill(api, by="shape"))["lines"]}
        assert told["cpu.small"] == "0.060000"

    play(scenario, HOLDS, prices=PRICES)


def test_bill_outlives_archive_and_restart(tmp_path: Path) -> None:
    async def first() -> tuple[str, dict[str, Any]]:
        async with open_api(tmp_path / "data", (Rule(run_for_s=600),), prices=PRICES) as api:
            job = (await api.submit())["metadata"]["id"]
            await api.becomes(job, "running")
            api.at.clock.advance(600)
            await api.becomes(job, "completed")
            assert (await api.client.delete(f"{JOBS}/{job}")).status_code == 200
            await api.becomes(job, "archived")
            return job, await bill(api)

    async def second() -> dict[str, Any]:
        async with open_api(tmp_path / "data", prices=PRICES) as api:
            api.at.clock.advance(24 * 3600)  # it began anew, at the same time as before
            return await bill(api)

    job, before = asyncio.run(first())
    assert [line["name"] for line in before["lines"]] == [job]
    assert before["lines"][0]["minutes"] in (10, 11)  # the clock of the tests begins within a minute
    assert asyncio.run(second())["lines"] == before["lines"]


def test_without_prices_hours_are_told_all_the_same(play: Any) -> None:
    async def scenario(api: Api) -> None:
        job = (await api.submit())["metadata"]["id"]
        await api.becomes(job, "running")
        api.at.clock.advance(3600)
        told = await bill(api)
        assert told["has_prices"] is False
        assert (told["total"]["cost"], told["total"]["minutes"] >= 60) == ("0.000000", True)

    play(scenario, HOLDS)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"by": "colour"}, "by"),
        ({"since": "soon"}, "since"),
        ({"until": "soon"}, "until"),
        ({"since": "1h", "until": "2h"}, "until"),
    ],
)
def test_bill_that_cannot_be_made_names_its_field(play: Any, query: dict[str, str], field: str) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.get("/homeport/billing", params=query)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
        assert answer.json()["message"].startswith(f"{field}: ")

    play(scenario)


def test_bill_needs_a_token(play: Any) -> None:
    async def scenario(api: Api) -> None:
        assert (await api.anybody.get("/homeport/billing")).status_code == 401

    play(scenario)


def test_price_of_an_unknown_shape_stops_the_start(tmp_path: Path) -> None:
    async def start() -> None:
        async with open_api(tmp_path / "data", prices="gpu.h100=3"):
            pass

    with pytest.raises(
        Invalid, match=r"HOMEPORT_PRICES: no shape named 'gpu.h100'; did you mean gpu.h100-sxm"
    ):
        asyncio.run(start())


def test_thousands_of_attempts_are_billed_in_pages(play: Any) -> None:
    async def scenario(api: Api) -> None:
        job = (await api.submit())["metadata"]["id"]
        await api.becomes(job, "running")
        store = api.at.home.services.store
        (one,) = store.attempts_of(job)

        def fill(session: Session) -> None:
            for minute in range(4500):
                ended = replace(
                    one, replica_id=f"{job}-{minute:04}-x", state=AttemptState.ENDED,
                    placed_at_ms=minute * 60_000, finished_at_ms=(minute + 1) * 60_000,
                )  # fmt: skip
                session.add(
                    AttemptRow(
                        replica_id=ended.replica_id, number=1, workload_id=job, is_live=False,
                        doc=to_doc(ended),
                    )
                )  # fmt: skip

        await store.write(fill)
        assert (await bill(api, until="1970-01-02"))["total"]["minutes"] == 24 * 60
        assert (await bill(api, until="1971-01-01"))["total"]["minutes"] == 4500

    play(scenario, HOLDS)
