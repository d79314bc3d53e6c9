"""What a PATCH changes of a job, what it may not, and that a refusal changes nothing."""

from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Rule

from .home import JOBS, Api
from .test_privacy import user

FOREVER, FAILS = Rule(run_for_s=None), Rule(exit_code=1)


async def patched(api: Api, job: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    answer = await api.client.patch(f"{JOBS}/{job}", json=body, headers=headers)
    return answer.status_code, answer.json()


def test_labels_are_merged_and_found_and_nothing_starts_anew(play: Any) -> None:
    async def scenario(api: Api) -> None:
        job = (await api.submit())["metadata"]["id"]
        await api.becomes(job, "running")
        store = api.at.home.services.store
        before = store.attempts_of(job)
        for labels in ({"team": "a", "stage": "x"}, {"stage": None, "run": "7"}):
            status, told = await patched(api, job, {"metadata": {"labels": labels}})
            assert status == 200, told
        assert told["metadata"]["labels"] == {"team": "a", "run": "7"}
        found = (await api.client.get(f"{JOBS}?query=team=a,run=7")).json()
        assert [one["metadata"]["id"] for one in found] == [job]
        api.at.clock.advance(60)
        await api.at.until("it runs on", lambda: api.phase(job) == "running")
        assert store.attempts_of(job) == before

    play(scenario, FOREVER)


def test_time_to_live_of_what_has_ended_is_the_new_one(play: Any) -> None:
    async def scenario(api: Api) -> None:
        job = (await api.submit(ttl_seconds_after_finished=1_000_000))["metadata"]["id"]
        await api.becomes(job, "running")
        api.at.clock.advance(2)
        await api.becomes(job, "completed")
        body = {"spec": {"ttl_seconds_after_finished": 30}}
        status, told = await patched(api, job, body)
        assert (status, told["spec"]["ttl_seconds_after_finished"]) == (200, 30)
        api.at.clock.advance(31)
        await api.becomes(job, "archived")
        status, told = await patched(api, job, body)
        assert (status, told["code"]) == (404, "not_found")

    play(scenario)


def test_retries_given_while_it_runs_are_taken(play: Any) -> None:
    async def scenario(api: Api) -> None:
        job = (await api.submit(max_failure_retry=1))["metadata"]["id"]
        assert (await patched(api, job, {"spec": {"max_failure_retry": 2}}))[0] == 200
        await api.at.until("its end", lambda: api.phase(job) == "failed" or bool(api.at.clock.advance(30)))
        assert len(api.at.home.services.store.attempts_of(job)) == 3
        status, told = await patched(api, job, {"spec": {"max_failure_retry": 9}})
        assert (status, told["message"]) == (
            409,
            f"{job} is failed; its retries can change only until it ends",
        )

    play(scenario, FAILS)


def test_owner_hides_a_job_and_nobody_else_may(play: Any) -> None:
    async def scenario(api: Api) -> None:
        ada, bob = await user(api, "ada@example.org"), await user(api, "bob@example.org")
        spec = {"resource_shape": "cpu.small", "container": {"image": "any:1", "command": ["true"]}}
        body = {"metadata": {"id": "hers"}, "spec": spec}
        job = (await api.client.post(JOBS, json=body, headers=ada)).json()["metadata"]["id"]
        hidden = {"metadata": {"visibility": "private"}}
        status, told = await patched(api, job, hidden, bob)
        assert (status, "ada@example.org" in told["message"]) == (403, True)
        assert (await patched(api, job, hidden, ada))[1]["metadata"]["visibility"] == "private"
        assert (await api.client.get(f"{JOBS}/{job}", headers=bob)).status_code == 404
        assert (await patched(api, job, {"metadata": {"visibility": None}}, ada))[0] == 200
        assert (await api.client.get(f"{JOBS}/{job}", headers=bob)).status_code == 200

    play(scenario, FOREVER)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"spec": {"container": {"image": "other:1"}}}, 400, "spec.container: cannot change once"),
        ({"spec": {"resource_shape": "cpu.large", "stopped": True}}, 400, "spec.resource_shape: "),
        ({"spec": {"completions": 2}}, 400, "spec.completions: "),
        ({"spec": {"envs": [{"name": "A", "value": "b"}]}}, 400, "spec.envs: "),
        ({"spec": {"container": {"command": [5]}}}, 400, "spec.container.command[0]: "),
        ({"spec": {"no_such_field": 1}}, 400, "spec.no_such_field: "),
        ({"metadata": {"name": "else"}}, 400, "metadata.name: cannot change"),
        ({"metadata": {"owner": "me"}}, 400, "metadata.owner: "),
        ({"spec": {"ttl_seconds_after_finished": -1}}, 422, "ttl_seconds_after_finished"),
        ({"metadata": {"visibility": "secret"}}, 422, "visibility"),
        ({"metadata": {"labels": {"a": 1}}}, 422, "labels"),
        ({"spec": {}}, 400, "no valid field to update"),
        ({"spec": {"stopped": None}}, 400, "no valid field to update"),
        ({"spec": {"completions": 1, "mounts": []}}, 400, "no valid field to update"),
    ],
)
def test_what_is_fixed_is_refused_by_name_and_nothing_changes(
    play: Any, body: dict[str, Any], status: int, word: str
) -> None:
    async def scenario(api: Api) -> None:
        job = (await api.submit())["metadata"]["id"]
        await api.becomes(job, "running")
        before = await api.job(job)
        got, told = await patched(api, job, body)
        assert (got, word in told["message"]) == (status, True), told
        assert await api.job(job) == before

    play(scenario, FOREVER)


def test_one_refusal_of_several_changes_leaves_all_as_it_was(play: Any) -> None:
    async def scenario(api: Api) -> None:
        job = (await api.submit())["metadata"]["id"]
        await api.becomes(job, "running")
        before = await api.job(job)
        spec = {"queue_config": {"priority_class": "high-9000"}, "stopped": True}
        status, told = await patched(api, job, {"metadata": {"labels": {"a": "b"}}, "spec": spec})
        assert (status, "only while it waits" in told["message"]) == (409, True)
        assert await api.job(job) == before

    play(scenario, FOREVER)
