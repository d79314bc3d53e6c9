"""Things that break on purpose: nodes, GPUs, images, the engine; and the clock that goes with it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from homeport.runtime.drivers.simulated import Rule
from homeport.server.domain.times import LATEST_MS
from homeport.server.domain.workload import Attempt
from homeport.server.services import access
from homeport.server.services.tokens import create_token

from .home import Api

FOREVER = Rule(run_for_s=None)
TWO = "nodes:\n  - {name: a, gpus: 2xH100-80GB}\n  - {name: b, gpus: 2xH100-80GB}\n"
FAULTS, RULES, CLOCK = "/homeport/faults", "/homeport/rules", "/homeport/clock"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    path = tmp_path / "two.yaml"
    path.write_text(TWO)
    return path


def attempts(api: Api, job_id: str) -> list[Attempt]:
    return list(api.at.home.services.store.attempts_of(job_id))


def events(api: Api, job_id: str) -> list[tuple[str, str]]:
    return [(e.reason, e.message) for e in api.at.home.services.store.events_of(job_id)]


async def add(api: Api, **body: Any) -> str:
    answer = await api.client.post(FAULTS, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def running_on(api: Api, job_id: str, number: int = 1) -> str:
    """The node of its n-th attempt, once that runs."""

    def look() -> list[str]:
        return [a.node for a in attempts(api, job_id) if a.number == number and a.state.value == "running"]

    return (await api.at.until(f"attempt {number} of {job_id} runs", look))[0]


# -- nodes


def test_list_of_nodes_tells_what_is_taken_down_and_ill(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.submit(resource_shape="gpu.2xh100-sxm"))["metadata"]["id"]
        node = await running_on(api, made)
        other = {"a": "b", "b": "a"}[node]
        await add(api, kind="node-down", node=other)
        await add(api, kind="gpu-lost", node=other, gpu=1)
        await api.at.until("it is known", lambda: api.at.home.services.unhealthy())
        rows = {row["id"]: row for row in (await api.client.get("/homeport/nodes")).json()}
        told = [[rows[n][key] for key in ("state", "gpus_taken", "gpus", "gpus_ill")] for n in (node, other)]
        assert told == [["ready", 2, 2, 0], ["down", 0, 2, 1]]

    play(scenario, FOREVER, seed=two)


def test_job_starts_elsewhere_at_no_cost_of_a_retry_when_its_node_goes_down(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.submit(resource_shape="gpu.2xh100-sxm"))["metadata"]["id"]
        first = await running_on(api, made)
        await add(api, kind="node-down", node=first)
        second = await running_on(api, made, 2)
        assert second != first
        lost = attempts(api, made)[0]
        assert (lost.state.value, lost.reason, lost.exit_code) == ("ended", "NodeLost", None)
        assert ("NodeLost", f"its node {first} is down") in events(api, made)
        status = (await api.job(made))["status"]
        assert (status["state"], status["failed"]) == ("Running", 0)

    play(scenario, FOREVER, seed=two)


def test_nothing_is_placed_on_a_node_that_is_down_until_it_is_back(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        ids = [await add(api, kind="node-down", node=node) for node in ("a", "b")]
        made = (await api.submit())["metadata"]["id"]
        await api.at.until("it waits", lambda: any(r == "Unschedulable" for r, _ in events(api, made)))
        assert attempts(api, made) == []
        answer = await api.client.delete(f"{FAULTS}/{ids[1]}")
        assert [f["id"] for f in answer.json()] == [ids[1]]
        assert await running_on(api, made) == "b"

    play(scenario, FOREVER, seed=two)


def test_node_that_is_down_is_shown_as_such_to_everybody_until_it_is_back(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        async def told() -> tuple[dict[str, list[str]], dict[str, str], list[str]]:
            group = "/api/v2/workspaces/local/dedicated-node-groups/default"
            nodes = (await api.client.get(f"{group}/nodes")).json()
            machines = (await api.client.get(f"{group}/machines")).json()
            return (
                {n["metadata"]["id"]: n["status"]["status"] for n in nodes},
                {m["metadata"]["id"]: m["status"]["status"] for m in machines},
                (await api.client.get("/homeport/health")).json()["reasons"],
            )

        well = ({"a": ["Ready", "Healthy"], "b": ["Ready", "Healthy"]}, {"a": "Healthy", "b": "Healthy"}, [])
        assert await told() == well
        await add(api, kind="node-down", node="a")
        nodes, machines, reasons = await told()
        assert nodes == {"a": ["NotReady", "Unhealthy"], "b": ["Ready", "Healthy"]}
        assert machines == {"a": "Unhealthy", "b": "Healthy"}
        assert reasons == ["node a cannot be reached"]
        assert (await api.client.delete(FAULTS)).status_code == 200
        assert await told() == well

    play(scenario, FOREVER, seed=two)


def test_old_container_is_ended_when_its_node_comes_back(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.submit())["metadata"]["id"]
        await add(api, kind="node-down", node=await running_on(api, made))
        await running_on(api, made, 2)
        assert len(await api.at.home.driver.list_owned()) == 2
        assert (await api.client.delete(FAULTS)).status_code == 200

        def names() -> list[int]:
            return [o.attempt for o in api.at.home.loop.observed]

        await api.at.until("only the second is left", lambda: names() == [2])
        assert [a.state.value for a in attempts(api, made)] == ["ended", "running"]

    play(scenario, FOREVER, seed=two)


def test_gang_begins_anew_together_when_a_member_loses_its_node(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        made = (
            await api.submit(
                resource_shape="gpu.h100-sxm", completions=2, parallelism=2, intra_job_communication=True
            )
        )["metadata"]["id"]
        first = await running_on(api, made)
        await api.at.until("both", lambda: sum(a.state.value == "running" for a in attempts(api, made)) == 2)
        await add(api, kind="node-down", node=first)

        def live() -> list[Attempt]:
            return [a for a in attempts(api, made) if a.is_live and a.state.value == "running"]

        await api.at.until(
            "both again", lambda: len(live()) == 2 and all(a.node != first and a.number > 1 for a in live())
        )

    play(scenario, FOREVER, seed=two)


def test_workload_that_is_deleted_while_its_node_is_down_is_gone(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.submit())["metadata"]["id"]
        node = await running_on(api, made)
        for other in ("a", "b"):
            await add(api, kind="node-down", node=other)
        assert node
        await api.client.delete(f"/api/v2/workspaces/local/jobs/{made}")
        await api.becomes(made, "archived")
        await api.client.delete(FAULTS)
        await api.at.until("nothing is left", lambda: not api.at.home.loop.observed)

    play(scenario, FOREVER, seed=two)


# -- images and the engine


def test_image_that_cannot_be_pulled_is_told_and_pulled_once_the_fault_is_over(play: Any) -> None:
    async def scenario(api: Api) -> None:
        fault = await add(api, kind="image-pull", image="any:*", message="toomanyrequests")
        made = (await api.submit())["metadata"]["id"]

        def told() -> bool:
            return any(r == "ImagePullBackOff" and "toomanyrequests" in m for r, m in events(api, made))

        await api.at.until("the pull has failed", told)
        await api.client.delete(f"{FAULTS}/{fault}")
        api.at.clock.advance(10)
        await running_on(api, made)

    play(scenario, FOREVER)


def test_engine_that_hangs_is_trouble_that_health_tells_and_nothing_is_replaced(play: Any) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.submit())["metadata"]["id"]
        await running_on(api, made)
        await add(api, kind="engine-hang")
        await api.at.until("trouble", lambda: _advance_until(api, lambda: bool(api.at.home.loop.reasons)))
        told = (await api.anybody.get("/homeport/health")).json()
        assert told["status"] == "degraded"
        assert "does not answer" in told["reasons"][0]
        await api.client.delete(FAULTS)
        await api.at.until("well", lambda: _advance_until(api, lambda: not api.at.home.loop.reasons))
        assert [a.number for a in attempts(api, made)] == [1]

    play(scenario, FOREVER)


def _advance_until(api: Api, is_there: Any) -> bool:
    if is_there():
        return True
    api.at.clock.advance(1)
    return False


# -- GPUs


def test_gpu_fault_is_a_reading_of_that_gpu_until_it_is_cleared(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        fault = await add(api, kind="gpu-xid", node="b", gpu=1, code=79, message="fell off the bus")
        uuid = api.at.home.services.nodes[1].gpus[1].uuid
        told = (await api.client.get(FAULTS)).json()
        assert told == [
            {
                "id": fault, "kind": "gpu-xid", "node": "b", "gpu": uuid, "message": "fell off the bus",
                "code": 79, "added_at_ms": api.at.clock.now_ms(),
            }
        ]  # fmt: skip
        assert api.at.faults.gpu_readings()[uuid].xids == (79,)
        await api.client.delete(f"{FAULTS}/{fault}")
        assert api.at.faults.gpu_readings() == {}

    play(scenario, seed=two)


# -- refusals


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param({"kind": "flood"}, "kind: 'flood' is none of node-down", id="kind"),
        pytest.param({"kind": "node-down", "node": "c"}, "node: no node named 'c'; there is a, b", id="node"),
        pytest.param({"kind": "gpu-lost", "node": "a", "gpu": 2}, "gpu: a has 2 GPU(s)", id="place"),
        pytest.param({"kind": "gpu-lost", "gpu": "0"}, "node: is missing", id="no-node"),
        pytest.param(
            {"kind": "gpu-lost", "node": "a", "gpu": "GPU-x"}, "gpu: no GPU 'GPU-x' on a", id="uuid"
        ),
        pytest.param({"kind": "gpu-xid", "node": "a", "gpu": 0}, "code: is missing", id="code"),
        pytest.param({"kind": "image-pull"}, "image: is missing", id="image"),
        pytest.param({"kind": "node-down", "node": "a", "gpu": 0}, "gpu: says nothing", id="odd"),
    ],
)
def test_fault_that_cannot_be_is_refused_with_its_field(play: Any, two: Path, body: Any, told: str) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.post(FAULTS, json=body)
        assert (answer.status_code, answer.json()["message"][: len(told)]) == (400, told)

    play(scenario, seed=two)


def test_truth_value_is_no_place_of_a_gpu(play: Any, two: Path) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.post(FAULTS, json={"kind": "gpu-lost", "node": "a", "gpu": True})
        assert (answer.status_code, answer.json()["message"][:4]) == (422, "gpu.")

    play(scenario, seed=two)


@pytest.mark.parametrize("path", [FAULTS, RULES, CLOCK])
def test_levers_need_a_token(play: Any, path: str) -> None:
    async def scenario(api: Api) -> None:
        answers: list[httpx.Response] = [await api.anybody.get(path), await api.anybody.post(path, json={})]
        assert [a.status_code for a in answers] == [401, 401]

    play(scenario)


def test_unknown_fault_is_not_found_and_those_in_force_are_named(play: Any) -> None:
    async def scenario(api: Api) -> None:
        there = await add(api, kind="engine-down")
        answer = await api.client.delete(f"{FAULTS}/x")
        assert (answer.status_code, there in answer.json()["message"]) == (404, True)

    play(scenario)


# -- the clock


def test_clock_is_advanced_and_set_through_the_api(play: Any) -> None:
    async def scenario(api: Api) -> None:
        before = (await api.client.get(CLOCK)).json()
        assert before["is_frozen"]
        after = (await api.client.post(CLOCK, json={"action": "advance", "by": "1h"})).json()
        assert after["now_ms"] == before["now_ms"] + 3_600_000
        later = after["now_ms"] + 5
        assert (await api.client.post(CLOCK, json={"action": "set", "to_ms": later})).json()[
            "now_ms"
        ] == later
        refused = await api.client.post(CLOCK, json={"action": "set", "to_ms": 5})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid")

    play(scenario)


@pytest.mark.parametrize(
    ("move", "field"),
    [
        pytest.param({"action": "set", "to_ms": 253_402_300_799_000}, "to_ms", id="set"),
        pytest.param({"action": "advance", "by": "2d"}, "by", id="advance"),
    ],
)
def test_clock_is_not_moved_to_where_times_are_no_dates_any_more(
    play: Any, move: dict[str, Any], field: str
) -> None:
    """It never runs backwards, so nothing that is written with a date could be read again."""

    async def scenario(api: Api) -> None:
        near_ms = LATEST_MS - 86_400_000
        api.at.clock.set_ms(near_ms)
        services = api.at.home.services
        admin = access.Caller("local", access.ADMIN, "")
        token = await create_token(services, admin, access.ADMIN, timedelta(days=30), "local")
        refused = await api.anybody.post(CLOCK, json=move, headers={"Authorization": f"Bearer {token}"})
        assert refused.status_code == 400, refused.text
        assert refused.json()["message"] == f"{field}: must be before the year 9000"
        assert api.at.clock.now_ms() == near_ms

    play(scenario)


def test_steps_let_one_thing_follow_from_another_within_one_advance(play: Any) -> None:
    """Three runs of ten seconds within a minute; in one leap only the first would end."""

    async def scenario(api: Api) -> None:
        whole = {"resource_shape": "gpu.8xh100-sxm"}
        ids = [(await api.submit(f"j{n}", **whole))["metadata"]["id"] for n in range(3)]
        await running_on(api, ids[0])
        await api.client.post(CLOCK, json={"action": "advance", "by": 60, "step": 1})
        ends = sorted(attempts(api, job)[0].finished_at_ms or 0 for job in ids)
        assert [round((end - ends[0]) / 10_000) for end in ends] == [0, 1, 2]

    play(scenario, Rule(run_for_s=10))
