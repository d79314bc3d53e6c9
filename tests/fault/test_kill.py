"""kill -9 of the server between two durable steps: nothing acknowledged is lost, nothing runs twice."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.conftest import RUNTIMES
from tests.world import World, eventually, world


@pytest.fixture(params=RUNTIMES)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[World]:
    with world(tmp_path, request.param) as made:
        yield made


# The first is the kill between a POST's answer and the next pass of the loop.
@pytest.mark.parametrize(
    "point",
    [
        "pass.pending:1",
        "placement.committed:1",
        "launch.begin:1",
        "launch.started:1",
        "observation.committed:1",
    ],
)
def test_job_runs_exactly_once_when_the_server_is_killed(home: World, point: str) -> None:
    home.start(HOMEPORT_TESTING="1", HOMEPORT_CRASH_AT=point)
    home.login()
    marker = home.data_dir.parent / "runs"
    job = home.create(
        "once", f"echo run >> {marker}; echo alive; trap 'exit 0' TERM; while true; do sleep 0.1; done"
    )
    assert home.server is not None
    home.server.wait(timeout=30)
    home.start()
    home.login()
    eventually("Running", lambda: home.state(job) == "Running")
    assert len(home.containers()) == 1
    if home.runtime == "process":
        eventually("its mark", marker.exists)
        assert marker.read_text() == "run\n"


def test_running_container_is_adopted_and_its_end_is_seen(home: World) -> None:
    home.start()
    home.login()
    job = home.create("adopted", "echo before; sleep 15; echo after; exit 0")
    eventually("Running", lambda: home.state(job) == "Running")
    before = home.containers()
    home.kill()
    home.start()
    home.login()
    assert home.containers() in (before, [])
    eventually("Completed", lambda: home.state(job) == "Completed")
    log = home.lep("job", "log", "-i", job)
    assert "before" in log
    assert "after" in log


def test_sigterm_leaves_containers_running(home: World) -> None:
    home.start()
    home.login()
    job = home.create("stays", "trap 'exit 0' TERM; while true; do sleep 0.1; done")
    eventually("Running", lambda: home.state(job) == "Running")
    before = home.containers()
    assert home.stop() == 0
    assert home.containers() == before
