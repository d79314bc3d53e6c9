"""`home`: a running server, on real containers and again on the process runtime. `sdk`: a real client."""

import os
import re
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.runai import Runai, open_runai
from tests.sdk import OLDER, VERSIONS, Sdk, open_sdk
from tests.world import World, world


def pytest_runtest_setup(item: pytest.Item) -> None:
    is_process = not {"docker", "simulated"} & set(re.split(r"[\[\]-]", item.name))
    if item.get_closest_marker("root_on_process") and is_process and os.geteuid() != 0:
        pytest.skip("the process runtime gives names to workers, and read-only mounts, only as root")


# A shell that begins the tests in the background has these ignored, and every program they start with them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

RUNTIMES = [pytest.param("docker", marks=pytest.mark.docker), "process"]


@pytest.fixture(params=RUNTIMES)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[World]:
    with world(tmp_path, request.param) as made:
        made.start()
        yield made


@pytest.fixture(params=RUNTIMES)
def legacy_home(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[World]:
    """Its workspace does not announce the new families, so that every client uses `/deployments`."""
    with world(tmp_path, request.param) as made:
        made.start(HOMEPORT_LEPTON_NEW_DEPLOYMENT_API="false")
        yield made


@pytest.fixture
def process_home(tmp_path: Path) -> Generator[World]:
    """For what no runtime can change."""
    with world(tmp_path, "process") as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """One server for a module's tests that leave nothing behind which another would see."""
    with world(tmp_path_factory.mktemp("shared"), "process") as made:
        made.start()
        yield made


@pytest.fixture
def docker_home(tmp_path: Path) -> Generator[World]:
    """For what only a container can show; the test is marked `docker`."""
    with world(tmp_path, "docker") as made:
        made.start()
        yield made


@pytest.fixture(scope="session")
def sdk() -> Generator[Sdk]:
    """leptonai 0.47.1."""
    with open_sdk("0.47.1") as made:
        yield made


@pytest.fixture(scope="session")
def runai() -> Generator[Runai]:
    """runapy 1.224.0."""
    with open_runai() as made:
        yield made


@pytest.fixture(scope="session", params=OLDER)
def older_sdk(request: pytest.FixtureRequest) -> Generator[Sdk]:
    """The clients that are older than `sdk`, each of them."""
    with open_sdk(request.param) as made:
        yield made


@pytest.fixture(scope="session", params=VERSIONS)
def any_sdk(request: pytest.FixtureRequest) -> Generator[Sdk]:
    """Each client."""
    with open_sdk(request.param) as made:
        yield made
