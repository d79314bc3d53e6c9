"""Figures under a clock that the test moves: from requests through a real gateway to what is told of them."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlmodel import select

from homeport.runtime.drivers.simulated import Rule
from homeport.server.routing import AccessRecord
from homeport.server.store.tables import MetricRow

from .home import Api, open_api
from .test_endpoints import PATH, body, found, ready

SERVES = Rule(run_for_s=None)
BUSY = Rule(run_for_s=None, gpu_percent=80.0)
MONITORING = f"{PATH}/e/monitoring"


def ask(api: Api, path: str = "/x", *, count: int = 1, status: int = 200, ms: float = 100) -> None:
    """As if the gateway had told of requests that have ended."""
    one = AccessRecord(
        0, "id", "local/e", "r", "127.0.0.1", "GET", f"/e/local/e{path}", status, 3, 5, 0, int(ms * 1000), ""
    )
    api.at.home.metrics.add_records([one] * count)


async def begin(api: Api, **spec: Any) -> None:
    """An endpoint that serves, at the beginning of a minute."""
    assert (await api.client.post(PATH, json=body(**spec))).status_code == 201
    await ready(api)
    api.at.clock.advance(60 - api.at.clock.now_ms() % 60_000 / 1000)


async def rows(api: Api) -> list[MetricRow]:
    return list(api.at.home.services.store.read(lambda s: s.exec(select(MetricRow)).all()))


async def written(api: Api, count: int) -> None:
    def look() -> bool:
        return len(api.at.home.services.store.read(lambda s: s.exec(select(MetricRow)).all())) == count

    await api.at.until(f"{count} minutes written", look)


async def series(api: Api, name: str) -> list[dict[str, Any]]:
    answer = await api.client.get(f"{MONITORING}/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def top(api: Api) -> dict[str, Any]:
    return (await api.client.get("/homeport/top")).json()["workloads"][0]


async def scrape(api: Api) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = await api.client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def sample(told: Mapping[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    wanted = frozenset(labels.items())
    (value,) = [v for (n, having), v in told.items() if n == name and wanted <= having]
    return value


def test_requests_become_rates_and_percentiles_by_path(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await begin(api)
        start_s = api.at.clock.now_ms() // 1000
        ask(api, "/chat?key=secret", count=90, ms=100)
        ask(api, "/chat", count=30, ms=900)
        ask(api, "/health", count=60, ms=1)
        api.at.clock.advance(60)
        await written(api, 1)
        (qps,) = await series(api, "FastAPIQPS")
        assert dict(qps["values"])[start_s] == "3"
        assert dict(qps["values"])[start_s + 60] == "0"
        paths = {
            s["metric"]["name"]: dict(s["values"])[start_s] for s in await series(api, "FastAPIQPSByPath")
        }
        assert paths == {"/chat": "2", "/health": "1"}
        latency = {
            (s["metric"]["handler"], s["metric"]["name"]): float(dict(s["values"])[start_s])
            for s in await series(api, "FastAPILatencyByPath")
        }
        assert latency["/chat", "p50"] == pytest.approx(0.1, rel=0.06)
        assert latency["/chat", "p90"] == pytest.approx(0.9, rel=0.06)
        assert latency["/health", "p99"] == pytest.approx(0.001, rel=0.06)
        names = [s["metric"]["name"] for s in await series(api, "FastAPILatency")]
        assert names == ["p50", "p90", "p95", "p99"]
        assert "secret" not in str([row.doc for row in await rows(api)])

    play(scenario, SERVES)


def test_minute_under_way_is_told_as_well(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await begin(api)
        api.at.clock.advance(10)
        ask(api, count=20)
        (qps,) = await series(api, "FastAPIQPS")
        assert float(qps["values"][-1][1]) == pytest.approx(2.0)
        assert await rows(api) == []

    play(scenario, SERVES)


def test_minutes_are_written_once_each_whatever_is_asked(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await begin(api)
        commits = api.at.home.services.store.commits
        for _ in range(1000):
            ask(api)
        assert api.at.home.services.store.commits == commits
        for number in range(1, 4):
            ask(api, count=5)
            api.at.clock.advance(60)
            await written(api, number)
        told = (await api.client.get("/homeport/metrics/e")).json()["minutes"]
        assert [m["traffic"]["requests"] for m in told] == [1005, 5, 5]
        assert told[0]["traffic"]["latency_ms"]["p50"] == pytest.approx(100, rel=0.06)

    play(scenario, SERVES)


def test_old_minutes_are_forgotten(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await begin(api)
        ask(api)
        api.at.clock.advance(60)
        await written(api, 1)
        api.at.clock.advance(2 * 24 * 3600)
        await written(api, 0)

    play(scenario, SERVES, metrics_days=1)


def test_minute_that_a_restart_cuts_in_two_is_one(tmp_path: Path) -> None:
    async def first() -> None:
        async with open_api(tmp_path / "data", (SERVES,)) as api:
            await begin(api)
            ask(api, count=2)

    async def second() -> list[int]:
        async with open_api(tmp_path / "data", (SERVES,)) as api:
            (before,) = await rows(api)
            api.at.clock.advance((before.at_ms + 60_000 - api.at.clock.now_ms()) / 1000 - 1)
            await asyncio.sleep(0)
            ask(api, count=3)
            api.at.clock.advance(60)
            await api.at.until(
                "written", lambda: api.at.home.metrics.last_minute("local/e").traffic.requests == 3
            )
            told = (await api.client.get("/homeport/metrics/e", params={"since": "1d"})).json()["minutes"]
            return [m["traffic"]["requests"] for m in told]

    asyncio.run(first())
    assert asyncio.run(second()) == [5]


def test_real_requests_reach_the_figures(play: Any) -> None:
    """Through the gateway's own listener: one that finds no replica is an answer as well."""

    async def scenario(api: Api) -> None:
        await begin(api, allow_unauthenticated_access=True)
        status = (await api.client.get(f"{PATH}/e")).json()["status"]
        url = status["endpoint"]["external_endpoint"]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].partition("/")[0]))
        writer.write(b"GET /e/local/e/hello HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert await reader.read()
        writer.close()
        await api.at.until("told", lambda: api.at.home.metrics.last_minute("local/e").traffic.requests == 1)
        told = await scrape(api)
        statuses = {
            dict(having)["status"] for name, having in told if name == "homeport_endpoint_requests_total"
        }
        assert len(statuses) == 1
        assert sample(told, "homeport_endpoint_request_duration_seconds_count", endpoint="e") == 1

    play(scenario, SERVES)


def test_scripted_gpus_are_told_and_marked_as_simulated(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await begin(api, resource_requirement={"resource_shape": "gpu.2xh100-sxm", "min_replicas": 1})
        metrics, workload_id = api.at.home.metrics, found(api, "e").id
        assert metrics.gpu_percent("nobody") is None
        await api.at.until("seen", lambda: api.at.clock.advance(5) or metrics.gpu_percent(workload_id) == 80)
        row = await top(api)
        assert (row["gpu_percent"], row["replicas"]) == (80, {"ready": 1, "wanted": 1})
        assert [gpu["simulated"] for r in row["replica_usage"] for gpu in r["gpus"]] == [True, True]
        told = await scrape(api)
        ratios = [v for (name, having), v in told.items() if name == "homeport_replica_gpu_utilization_ratio"]
        assert ratios == [0.8, 0.8]
        assert not [name for name, _ in told if "temperature" in name]  # nothing is made up
        assert sample(told, "homeport_gpus_taken", simulated="true") == 2
        api.at.clock.advance(60)
        await api.at.until("written", lambda: bool(_rows(api)))
        history = (await api.client.get("/homeport/metrics/e")).json()["minutes"]
        (gpus,) = [r["gpus"] for r in history[0]["replicas"].values()]
        assert [(gpu["percent"], gpu["simulated"]) for gpu in gpus] == [(80, True), (80, True)]

    play(scenario, BUSY)


def _rows(api: Api) -> list[MetricRow]:
    return list(api.at.home.services.store.read(lambda s: s.exec(select(MetricRow)).all()))


def test_nothing_is_pulled_from_replicas_where_the_endpoint_says_so(play: Any) -> None:
    async def scenario(api: Api) -> None:
        gpu = {"resource_shape": "gpu.h100-sxm", "min_replicas": 1}
        await begin(api, resource_requirement=gpu, metrics={"disable_pulling_from_replica": True})
        other = await api.submit("train", resource_shape="gpu.h100-sxm")
        await api.becomes(other["metadata"]["id"], "running")
        metrics = api.at.home.metrics
        await api.at.until(
            "the other is seen",
            lambda: api.at.clock.advance(5) or metrics.gpu_percent(other["metadata"]["id"]) == 80,
        )
        assert metrics.gpu_percent(found(api, "e").id) is None
        ask(api)
        assert (await top(api))["last_minute"]["requests"] == 1  # what the gateway sees stays

    play(scenario, BUSY)


def test_simulated_gpus_without_a_script_tell_nothing(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await begin(api, resource_requirement={"resource_shape": "gpu.h100-sxm", "min_replicas": 1})
        api.at.clock.advance(30)
        await asyncio.sleep(0.05)
        assert api.at.home.metrics.gpu_percent(found(api, "e").id) is None
        assert (await top(api))["gpu_percent"] is None

    play(scenario, SERVES)


def test_scrape_tells_of_the_server_and_its_workloads(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await begin(api)
        await api.becomes((await api.submit())["metadata"]["id"], "running")
        told = await scrape(api)
        assert sample(told, "homeport_workloads", kind="endpoint", phase="ready") == 1
        assert sample(told, "homeport_workloads", kind="job") == 1
        assert sample(told, "homeport_gpus", simulated="true") == 8
        assert sample(told, "homeport_attempts_total") == 2
        assert sample(told, "homeport_attempts_live") == 2
        assert sample(told, "homeport_build_info", runtime="simulated") == 1
        assert sample(told, "homeport_store_commits_total") > 0
        assert sample(told, "homeport_reconcile_pass_seconds_count") > 0
        assert sample(told, "homeport_endpoint_replicas_ready", endpoint="e") == 1
        assert sample(told, "homeport_endpoint_open_requests", endpoint="e") == 0

    play(scenario, SERVES)


@pytest.mark.parametrize("path", ["/metrics", "/homeport/top", "/homeport/metrics/e"])
def test_figures_need_a_token(play: Any, path: str) -> None:
    async def scenario(api: Api) -> None:
        assert (await api.anybody.get(path)).status_code == 401

    play(scenario)


def test_history_of_nobody_is_not_found(play: Any) -> None:
    async def scenario(api: Api) -> None:
        assert (await api.client.get("/homeport/metrics/nobody")).status_code == 404
        assert (await api.client.get(f"{PATH}/nobody/monitoring/FastAPIQPS")).status_code == 404

    play(scenario)
