"""`make_home`: a world whose servers start in a moment, since they die often."""

from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.fault.forks import ForkedWorld, Forks, open_forks
from tests.world import World, world

MakeHome = Callable[[str], World]


@pytest.fixture(scope="session")
def forks() -> Generator[Forks]:
    with open_forks() as made:
        yield made


@pytest.fixture
def make_home(tmp_path: Path, forks: Forks) -> Generator[MakeHome]:
    """Not started yet: a test says with what."""
    with ExitStack() as stack:
        yield lambda runtime: stack.enter_context(world(tmp_path, runtime, partial(ForkedWorld, forks=forks)))
