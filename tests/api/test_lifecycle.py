"""A job's life under a clock that the test moves: start times, retries, time to live, queues."""

from typing import Any

from homeport.runtime.drivers.simulated import Rule

from .home import JOBS, Api

FOREVER = Rule(run_for_s=None)
FAILS = Rule(exit_code=3)


async def ends(api: Api, job_id: str) -> list[int]:
    """The attempts' exit codes so far, oldest first."""
    found = api.at.home.services.store.attempts_of(job_id)
    return [a.exit_code for a in found if a.exit_code is not None]


def attempts(api: Api, job_id: str) -> int:
    return len(api.at.home.services.store.attempts_of(job_id))


def test_job_completes_when_its_time_has_passed(play: Any) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.submit())["metadata"]["id"]
        await api.becomes(made, "running")
        api.at.clock.advance(60)
        await api.becomes(made, "completed")
        status = (await api.job(made))["status"]
        assert (status["state"], status["succeeded"], status["active"]) == ("Completed", 1, 0)

    play(scenario, Rule(run_for_s=60))


def test_job_waits_for_its_start_time(play: Any) -> None:
    async def scenario(api: Api) -> None:
        at_s = api.at.clock.now_ms() // 1000 + 3600
        made = await api.submit(queue_config=None, time_schedule={"start_at": at_s})
        job_id = made["metadata"]["id"]
        await api.becomes(job_id, "awaiting")
        api.at.clock.advance(3599)
        await api.becomes(job_id, "awaiting")
        api.at.clock.advance(1)
        await api.becomes(job_id, "running")

    play(scenario, FOREVER)


def test_worker_is_tried_again_with_growing_pauses(play: Any) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.submit(max_failure_retry=3))["metadata"]["id"]
        for number, pause_s in enumerate((2, 4, 8), start=1):
            await api.becomes(made, "running" if number == 1 else api.phase(made))
            await api.at.until("an attempt", lambda number=number: attempts(api, made) == number)
            await api.becomes(made, "running")
            api.at.clock.advance(1)  # it ends
            await api.becomes(made, "pending_retry")
            api.at.clock.advance(pause_s - 0.5)
            await api.becomes(made, "pending_retry")
            assert attempts(api, made) == number
            api.at.clock.advance(0.5)
        await api.at.until("the last attempt", lambda: attempts(api, made) == 4)
        await api.becomes(made, "running")
        api.at.clock.advance(1)
        await api.becomes(made, "failed")
        assert await ends(api, made) == [3, 3, 3, 3]

    play(scenario, FAILS)


def test_job_begins_anew_and_keeps_its_history(play: Any) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.submit(max_job_failure_retry=1))["metadata"]["id"]
        await api.becomes(made, "running")
        api.at.clock.advance(1)
        await api.becomes(made, "pending_retry")
        api.at.clock.advance(2)
        await api.becomes(made, "running")
        assert len((await api.job(made))["status"]["job_history"]) == 1
        api.at.clock.advance(1)
        await api.becomes(made, "failed")
        assert len((await api.job(made))["status"]["job_history"]) == 1

    play(scenario, FAILS)


def test_ended_job_goes_to_the_archive_after_its_time_to_live(play: Any) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.submit(ttl_seconds_after_finished=100))["metadata"]["id"]
        await api.becomes(made, "running")
        api.at.clock.advance(1)
        await api.becomes(made, "completed")
        api.at.clock.advance(99)
        await api.becomes(made, "completed")
        api.at.clock.advance(1)
        await api.becomes(made, "archived")
        assert (await api.client.get(JOBS)).json() == []

    play(scenario)


def test_gpus_of_an_ended_job_go_to_the_next_in_line(play: Any) -> None:
    async def scenario(api: Api) -> None:
        shape = "gpu.8xh100-sxm"
        first = (await api.submit("first", resource_shape=shape))["metadata"]["id"]
        await api.becomes(first, "running")
        second = (await api.submit("second", resource_shape=shape))["metadata"]["id"]
        await api.at.until("its refusal", lambda: second in api.at.home.loop.unplaced)
        await api.becomes(second, "queued")
        told = (await api.client.get(f"/homeport/why/{second}")).json()
        assert "8" in " ".join(told["reasons"])
        small = (await api.submit("small"))["metadata"]["id"]
        await api.becomes(small, "running")  # what fits is not held up by what does not
        api.at.clock.advance(10)
        await api.becomes(second, "running")

    play(scenario, Rule(workload_id="small-*", run_for_s=None), Rule(run_for_s=10))


def test_hundred_jobs_are_all_seen_by_pages_and_filters(play: Any) -> None:
    async def scenario(api: Api) -> None:
        made = [(await api.submit(f"j{i:03}"))["metadata"]["id"] for i in range(100)]
        for job_id in made:
            await api.becomes(job_id, "running")
        assert {j["metadata"]["id"] for j in (await api.client.get(JOBS)).json()} == set(made)
        few = (await api.client.get(JOBS, params={"status": "Completed"})).json()
        assert few == []
        named = (await api.client.get(JOBS, params={"q": "j042"})).json()
        assert [j["metadata"]["name"] for j in named] == ["j042"]

    play(scenario, FOREVER, gpus="none", overcommit=200)


def test_text_that_cannot_be_kept_is_refused_before_it_breaks_a_list(play: Any) -> None:
    async def scenario(api: Api) -> None:
        for value in ('"\\ud800"', "NaN", "[" * 300 + "]" * 300):
            text = '{"metadata": {"id": "bad"}, "spec": {"resource_shape": "cpu.small", '
            text += '"container": {"image": "a:1"}, "extra": ' + value + "}}"
            answer = await api.client.post(JOBS, content=text, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 422), (value[:10], answer.text)
        await api.submit("good")
        assert len((await api.client.get(JOBS)).json()) == 1

    play(scenario)


def test_page_of_more_than_is_remembered_is_whole(play: Any, monkeypatch: Any) -> None:
    from homeport.server.api.lepton import rendered

    async def scenario(api: Api) -> None:
        monkeypatch.setattr(rendered, "MOST_BYTES", 2000)
        made = [(await api.submit(f"j{i}"))["metadata"]["id"] for i in range(10)]
        pages = [
            (await api.client.get(JOBS, params={"page": page, "page_size": 4})).json()["jobs"]
            for page in (1, 2, 3, 4)
        ]
        assert [j["metadata"]["id"] for page in pages for j in page] == made[::-1]

    play(scenario, FOREVER, gpus="none", overcommit=200)
