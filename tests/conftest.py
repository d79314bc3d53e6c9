"""`home`: a running server, on real containers and again on the process runtime."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.world import World, world

RUNTIMES = [pytest.param("docker", marks=pytest.mark.docker), "process"]


@pytest.fixture(params=RUNTIMES)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[World]:
    with world(tmp_path, request.param) as made:
        made.start()
        yield made
