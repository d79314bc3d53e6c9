"""Docker gone or hung: the API answers, health says why, and nothing is started twice when it returns."""

import statistics
import time
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.fault.conftest import MakeHome
from tests.fault.story import COMMAND, MOUNT, docker_events, marks
from tests.relay import Relay
from tests.sdk import Sdk
from tests.world import World, eventually

pytestmark = pytest.mark.docker
UNTIL_TOLD = "echo first; until test -e /story/go; do sleep 0.1; done; echo last"
SLOWER = 20  # so many times as long may a request take while the engine hangs; to wait for it is a thousand


@pytest.fixture
def relay(tmp_path: Path) -> Generator[Relay]:
    with Relay(tmp_path / "engine.sock") as made:
        yield made


class Bench:
    """A server whose engine is behind the relay, and a job of it."""

    def __init__(self, home: World, sdk: Sdk, relay: Relay) -> None:
        self.home, self.sdk, self.relay = home, sdk, relay
        self.began = int(time.time())
        home.start(DOCKER_HOST=relay.url)

    def create(self) -> str:
        return self.sdk.create(self.home, "once", COMMAND, mounts=[MOUNT])

    def reach(self, job: str, state: str) -> None:
        eventually(state, lambda: self.sdk.state(self.home, job) == state)

    def be_degraded(self) -> None:
        reasons = eventually("a reason", lambda: self.home.health()[1])
        assert self.home.health()[0] == 200
        assert "Docker does not answer" in reasons[0]

    def check_ran_once(self) -> None:
        eventually("nothing to complain of", lambda: self.home.health() == (200, []))
        assert len(self.home.containers()) == 1
        assert len(docker_events(self.home, "start", self.began)) == 1
        eventually("its mark", lambda: marks(self.home) == "run\n")


@pytest.fixture
def make_bench(make_home: MakeHome, sdk: Sdk, relay: Relay) -> Callable[[], Bench]:
    return lambda: Bench(make_home("docker"), sdk, relay)


def test_job_waits_and_runs_once_when_docker_was_gone_at_the_start(
    make_bench: Callable[[], Bench], relay: Relay
) -> None:
    bench = make_bench()
    bench.be_degraded()
    job = bench.create()
    assert bench.sdk.state(bench.home, job) == "Queueing"
    relay.open()
    bench.reach(job, "Running")
    bench.check_ran_once()


def be_gone(relay: Relay) -> Callable[[], None]:
    relay.close()
    return relay.open


def be_hung(relay: Relay) -> Callable[[], None]:
    relay.hang()
    return relay.resume


@pytest.mark.parametrize("fail", [be_gone, be_hung])
def test_running_job_is_unknown_and_goes_on_when_docker_fails_and_comes_back(
    make_bench: Callable[[], Bench], relay: Relay, fail: Callable[[Relay], Callable[[], None]]
) -> None:
    relay.open()
    bench = make_bench()
    job = bench.create()
    bench.reach(job, "Running")
    before = bench.home.containers()
    come_back = fail(relay)
    # An idle server looks by itself every 30 s; that is too late.
    eventually("UNK", lambda: bench.sdk.state(bench.home, job) == "UNK", within_s=25)
    bench.be_degraded()
    come_back()
    bench.reach(job, "Running")
    assert bench.home.containers() == before
    bench.check_ran_once()
    bench.sdk.run(bench.home, "client.job.update(job, spec={'spec': {'stopped': True}})", job=job)
    bench.reach(job, "Stopped")
    assert bench.sdk.log(bench.home, job) == "first\nlast\n"


def test_job_that_ends_is_completed_when_docker_was_gone_meanwhile(
    make_bench: Callable[[], Bench], relay: Relay
) -> None:
    relay.open()
    bench = make_bench()
    job = bench.sdk.create(bench.home, "ends", UNTIL_TOLD, mounts=[MOUNT])
    bench.reach(job, "Running")
    relay.close()
    bench.reach(job, "UNK")
    next(bench.home.data_dir.glob("volumes/**/story")).joinpath("go").touch()
    eventually("its end", lambda: docker_events(bench.home, "die", bench.began))
    relay.open()
    bench.reach(job, "Completed")
    assert bench.sdk.log(bench.home, job) == "first\nlast\n"
    assert len(docker_events(bench.home, "start", bench.began)) == 1


@pytest.mark.parametrize("request_", [b"/containers/create", b"/start HTTP"], ids=["create", "start"])
def test_api_answers_and_job_runs_once_when_docker_hangs_in_a_launch(
    make_bench: Callable[[], Bench], relay: Relay, request_: bytes
) -> None:
    relay.open()
    bench = make_bench()
    before = answer_s(bench.home)
    relay.hang_at(request_)
    job = bench.create()
    relay.wait_until_hung()
    second = bench.create()
    bench.be_degraded()
    assert answer_s(bench.home) < SLOWER * before
    assert bench.sdk.state(bench.home, job) == "Starting"
    assert bench.sdk.state(bench.home, second) == "Queueing"
    bench.sdk.run(bench.home, "client.job.delete(job)", job=second)
    relay.resume()
    bench.reach(job, "Running")
    bench.reach(second, "Archived")
    bench.check_ran_once()


def test_one_container_runs_when_the_server_dies_between_create_and_start(
    make_bench: Callable[[], Bench], relay: Relay
) -> None:
    relay.open()
    bench = make_bench()
    relay.hang_at(b"/start HTTP")
    job = bench.create()
    relay.wait_until_hung()
    bench.home.kill()
    relay.close()
    assert len(docker_events(bench.home, "create", bench.began)) == 1
    assert docker_events(bench.home, "start", bench.began) == []
    bench.home.start()
    bench.reach(job, "Running")
    bench.check_ran_once()


def answer_s(home: World) -> float:
    """The slowest of most of the answers to what reads, in seconds."""
    headers = {"Authorization": f"Bearer {home.values['LEPTON_WORKSPACE_TOKEN']}"}
    taken: list[float] = []
    for _ in range(60):
        began = time.monotonic()
        for path in ("/jobs", "/workspace"):
            request = urllib.request.Request(home.values["LEPTON_WORKSPACE_URL"] + path, headers=headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
        taken.append(time.monotonic() - began)
    return statistics.quantiles(taken, n=10)[-1]
