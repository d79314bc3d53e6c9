"""Who waits, in which order and why; who would have to end."""

from datetime import timedelta
from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Rule
from homeport.server.domain.times import utc
from homeport.server.services import access
from homeport.server.services.tokens import create_token

from .home import JOBS, Api
from .projects import Shared

FOREVER = Rule(run_for_s=None)
EIGHT = {"gpus": "8xH100-80GB"}


async def ask(api: Api, path: str) -> Any:
    answer = await api.client.get(f"/homeport/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def full_machine(api: Api) -> tuple[Shared, str, str, str]:
    """`a` has 4 of 4 in what cannot be preempted, `b` 4 of 4, and one more of each waits."""
    home = Shared(api)
    await home.project("a", 4)
    await home.project("b", 4)
    first = await home.submit("a", "first", 4)
    second = await home.train("b", "second", 4)
    for job in (first, second):
        await home.becomes(job, "running")
    over = await home.submit("a", "over", 1)
    await home.waits(over, "NonPreemptibleOverQuota")
    return home, first, second, over


def test_queue_shows_shares_and_who_waits_in_order_with_the_reason(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home, first, _, over = await full_machine(api)
        large = await home.train("b", "large", 4)
        await home.waits(large, "Unschedulable")
        told = await ask(api, "queue")
        shares = {(s["kind"], s["queue"]): s for s in told["shares"] if s["pool"] == "default"}
        mine = shares["project", "a"]
        figures = ("deserved", "allocated", "allocated_non_preemptible", "requested", "limit")
        assert [mine[name]["gpus"] for name in figures] == [4, 4, 4, 5, None]
        assert shares["department", "default"]["allocated"]["gpus"] == 8
        assert (told["count"], sorted(w["workload"] for w in told["waiting"])) == (2, sorted([over, large]))
        assert [w["position"] for w in told["waiting"]] == [1, 2]
        by_id = {w["workload"]: w for w in told["waiting"]}
        assert by_id[over]["code"] == "NonPreemptibleOverQuota"
        assert [e["workload"] for e in by_id[over]["would_have_to_end"]] == [first]

    play(scenario, FOREVER, **EIGHT)


def test_why_tells_what_each_node_and_each_queue_says(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home, _, second, _ = await full_machine(api)
        waits = await home.submit("local", "mine", 2)
        await home.waits(waits, "Unschedulable")
        told = await ask(api, f"why/{waits}")
        assert (told["phase"], told["code"]) == ("queued", "Unschedulable")
        (node,) = told["explanation"]["nodes"]
        assert (node["free_gpus"], "short of 2" in node["why"]) == (0, True)
        queues = {(q["kind"], q["queue"]) for q in told["explanation"]["queues"]}
        assert queues == {("project", "local"), ("department", "default")}
        (ending,) = told["line"]["would_have_to_end"]
        assert ending == {"workload": second, "project": "b", "is_preemptible": True}
        assert home.events(waits, "Unschedulable") == ["; ".join(told["reasons"])]
        assert (await ask(api, f"why/{waits}"))["explanation"]["text"][0].startswith("asks for 2 GPU(s)")

    play(scenario, FOREVER, **EIGHT)


def test_why_of_what_runs_is_its_last_event(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        runs = await home.submit("local", "runs", 1)
        await home.becomes(runs, "running")
        told = await ask(api, f"why/{runs}")
        assert told.keys() == {"id", "phase", "reasons"}
        assert "is running" in told["reasons"][0]

    play(scenario, FOREVER, **EIGHT)


def test_why_names_nobodys_own_members(play: Any) -> None:
    """A gang that lacks a member: its others run for it."""

    async def scenario(api: Api) -> None:
        home = Shared(api)
        await home.project("a", 8)
        other = await home.train("a", "other", 2, priority=150)
        await home.becomes(other, "running")
        gang = await home.train("a", "gang", 2, members=4, min_members=2)
        await home.at.until("three of four run", lambda: len(home.live(gang)) == 3)
        await home.waits(gang, "Unschedulable")
        told = await ask(api, f"why/{gang}")
        assert [e["workload"] for e in told["line"]["would_have_to_end"]] == [other]

    play(scenario, FOREVER, **EIGHT)


def test_name_that_two_projects_have_is_refused_with_both_and_taken_by_its_id(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = Shared(api)
        for project in ("a", "b"):
            await home.project(project, 4)
        one, two = [await home.submit(project, "same") for project in ("a", "b")]
        for path in ("why/same", "logs/same"):
            answer = await api.client.get(f"/homeport/{path}")
            assert answer.status_code == 409
            assert f"{one} of project a, {two} of project b; say which by its id" in answer.json()["message"]
        assert [(await ask(api, f"why/{job}"))["id"] for job in (one, two)] == [one, two]
        admin = access.Caller("local", access.ADMIN, "")
        token = await create_token(home.services, admin, "bob@example.org", timedelta(days=1), "a")
        answer = await api.anybody.get("/homeport/why/same", headers={"Authorization": f"Bearer {token}"})
        assert answer.json()["id"] == one  # the other's is none of theirs
        top = await ask(api, "top")
        assert {(w["id"], w["workspace"]) for w in top["workloads"]} == {(one, "a"), (two, "b")}

    play(scenario, FOREVER, **EIGHT)


def test_why_tells_when_what_waits_for_its_time_begins(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home, hour_ms = Shared(api), 3_600_000
        now = api.at.clock.now_ms()
        later = await home.submit("local", "later", start_at_ms=now + hour_ms)
        assert (await ask(api, f"why/{later}"))["reasons"][-1] == f"it is to start at {utc(now + hour_ms)}"
        body = {"name": "soon", "node_group": "default", "nodes": 1, "lasts_s": 3600}
        at_s = (now + hour_ms) // 1000
        made = await api.client.post("/homeport/reservations", json=body | {"starts_at": at_s})
        assert made.status_code < 300, made.text
        job = await home.submit("local", "reserved", reservation="soon")
        await home.waits(job, "Unschedulable")
        told = await ask(api, f"why/{job}")
        assert told["reasons"][-1] == f"reservation soon begins at {utc(now + hour_ms)}"
        assert "no node is kept for reservation soon now" in told["explanation"]["text"][-1]
        api.at.clock.advance(1800)
        blocker = await home.submit("local", "blocker", 8)
        await home.becomes(blocker, "running")
        api.at.clock.advance(2 * 3600)
        await api.at.until("its time is over", lambda: "not a node" in " ".join(home.loop.refusal(job)))
        told = await ask(api, f"why/{job}")
        assert told["reasons"][-1].startswith(
            f"reservation soon has been over since {utc(now + 2 * hour_ms)}"
        )

    play(scenario, FOREVER, **EIGHT)


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        pytest.param(
            "/homeport/reservations", {"name": "r", "lasts_s": 3600, "starts_at": 253_402_300_000},
            "starts_at: must be before the year 9000", id="reservation-without-end",
        ),
        pytest.param(
            "/homeport/reservations", {"name": "r", "lasts_s": 3600, "starts_at": 0},
            "starts_at: it would have ended at 1970-01-01 01:00:00 UTC", id="reservation-of-the-past",
        ),
        pytest.param(
            "/homeport/pools", {"name": "p", "label": "a=b", "min_runtime_s": 10**12},
            "min_runtime_s: Input should be less", id="runtime-guaranteed-for-ever",
        ),
        pytest.param(
            JOBS,
            {
                "metadata": {"name": "far"},
                "spec": {
                    "resource_shape": "cpu.small", "container": {"image": "any:1", "command": ["true"]},
                    "time_schedule": {"start_at": 253_402_300_800},
                },
            },
            "spec.time_schedule.start_at: must be before the year 9000", id="job-that-never-begins",
        ),
    ],
)  # fmt: skip
def test_time_that_could_not_be_shown_again_is_refused(
    play: Any, path: str, body: dict[str, Any], told: str
) -> None:
    """Else one such row is an error in every list that it is in."""

    async def scenario(api: Api) -> None:
        answer = await api.client.post(path, json=body)
        assert 400 <= answer.status_code < 500, answer.text
        assert told in answer.json()["message"]

    play(scenario)


def test_queue_names_nothing_of_another_workspace_to_who_does_not_run_the_server(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home, _, second, _ = await full_machine(api)
        large = await home.train("b", "large", 4)
        await home.waits(large, "Unschedulable")
        admin = access.Caller("local", access.ADMIN, "")
        token = await create_token(home.services, admin, "bob@example.org", timedelta(days=1), "a")
        headers = {"Authorization": f"Bearer {token}"}
        told = (await api.anybody.get("/homeport/queue", headers=headers)).text
        assert large not in told
        assert second not in told
        assert '"project":"b"' in told

    play(scenario, FOREVER, **EIGHT)
