"""What a restarted server finds: its containers, whatever became of them, and nobody else's."""

import asyncio
import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from homeport.runtime.clock import SystemClock
from homeport.runtime.drivers.process import ProcessDriver
from homeport.runtime.model import ContainerSpec, ContainerState
from homeport.server.crashpoints import CrashPoint, parse_crash_at
from homeport.server.errors import Invalid
from tests.conftest import RUNTIMES
from tests.fault.conftest import MakeHome
from tests.fault.story import MOUNT, docker_events
from tests.sdk import Sdk
from tests.world import World, eventually, world

pytestmark = pytest.mark.root_on_process

WAIT = "echo before; until test -e /story/go; do sleep 0.1; done; echo after"
STAY = "trap 'exit 0' TERM; while true; do sleep 0.1; done"


@pytest.fixture(params=RUNTIMES)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[World]:
    """Of real servers, `python -m homeport serve`."""
    with world(tmp_path, request.param) as made:
        yield made


def reach(home: World, sdk: Sdk, job: str, state: str) -> None:
    eventually(state, lambda: sdk.state(home, job) == state)


def test_container_that_ended_meanwhile_is_adopted_at_once_when_the_server_returns(
    home: World, sdk: Sdk
) -> None:
    home.start()
    began = int(time.time())
    job = sdk.create(home, "adopted", WAIT, mounts=[MOUNT])
    reach(home, sdk, job, "Running")
    home.kill()
    next(home.data_dir.glob("volumes/**/story")).joinpath("go").touch()
    eventually("its end", lambda: has_ended(home, began))
    before = time.monotonic()
    home.start()
    ready_s, ready = time.monotonic() - before, time.monotonic()
    reach(home, sdk, job, "Completed")
    assert time.monotonic() - ready < 5 * ready_s  # no timer had to come round first
    assert sdk.log(home, job) == "before\nafter\n"


def has_ended(home: World, since_s: int) -> bool:
    if home.runtime == "docker":
        return bool(docker_events(home, "die", since_s))
    return any('"exit_code"' in p.read_text() for p in home.data_dir.glob("processes/hp-*/state.json"))


def test_containers_run_on_when_the_server_is_told_to_leave(home: World, sdk: Sdk) -> None:
    home.start()
    job = sdk.create(home, "stays", STAY)
    reach(home, sdk, job, "Running")
    before = home.containers()
    assert home.stop() == 0
    assert home.containers() == before != []


@pytest.mark.docker
def test_containers_of_others_stay_when_a_server_starts(make_home: MakeHome, sdk: Sdk) -> None:
    home = make_home("docker")
    theirs = {"homeport.instance": "other", "homeport.workload": "w", "homeport.replica": "r",
              "homeport.attempt": "1", "homeport.generation": "1"}  # fmt: skip
    container = home.engine.create_container(home.image, "true", labels=theirs)["Id"]
    try:
        home.start()
        job = sdk.create(home, "own", "true")
        reach(home, sdk, job, "Completed")
        eventually("its container is removed", lambda: home.containers() == [])
        assert home.engine.inspect_container(container)["State"]["Status"] == "created"
    finally:
        home.engine.remove_container(container)


@pytest.mark.docker
def test_jobs_stay_on_docker_when_it_does_not_answer_and_the_runtime_is_auto(
    make_home: MakeHome, sdk: Sdk, tmp_path: Path
) -> None:
    home = make_home("docker")
    home.start()
    job = sdk.create(home, "stays", STAY)
    reach(home, sdk, job, "Running")
    before = home.containers()
    home.kill()
    home.start(["--runtime", "auto"], DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    reach(home, sdk, job, "UNK")
    assert home.containers() == before
    home.kill()
    assert "--runtime: jobs of" in said_on_leaving(home, "process")
    home.start(["--runtime", "auto"])
    reach(home, sdk, job, "Running")
    assert home.containers() == before


def said_on_leaving(home: World, runtime: str, **env: str) -> str:
    log = home.data_dir.parent / "left.log"
    argv = ["serve", "--port", "0", "--data-dir", str(home.data_dir), "--runtime", runtime, "--gpus", "none"]
    assert home.spawn(argv, os.environ | env, log).wait(timeout=30) is not None
    return log.read_text()


@pytest.mark.parametrize("text", ["nope:1", "launch.begin:0", "launch.begin:x", "launch.begin:-1", ":1"])
def test_crash_point_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="HOMEPORT_CRASH_AT"):
        parse_crash_at(text)


def test_crash_point_without_a_count_is_the_first() -> None:
    assert parse_crash_at("launch.begin") == (CrashPoint.LAUNCH, 1)
    assert parse_crash_at("launch.begin:3") == (CrashPoint.LAUNCH, 3)


def test_server_leaves_with_a_sentence_when_its_crash_point_is_none(make_home: MakeHome) -> None:
    said = said_on_leaving(make_home("simulated"), "simulated", HOMEPORT_TESTING="1", HOMEPORT_CRASH_AT="x:1")
    assert "HOMEPORT_CRASH_AT: no crash point 'x'; there are pass.pending" in said


def test_log_of_a_command_ends_when_it_is_stopped_after_its_end(tmp_path: Path) -> None:
    """A lock that the driver kept made the command look alive for ever."""

    async def body() -> None:
        driver = ProcessDriver("i", SystemClock(), tmp_path)
        spec = ContainerSpec("i", "w", "r", 1, 1, "any:1", ("echo", "said"))
        handle = await driver.start(spec)
        async for _ in driver.changes():
            if (await driver.list_owned())[0].state is ContainerState.EXITED:
                break
        await driver.stop(handle, grace_s=1)
        async with asyncio.timeout(10):
            told = [entry.data async for batch in driver.logs(handle, follow=True) for entry in batch]
        assert told == [b"said\n"]
        await driver.purge()

    asyncio.run(body())
