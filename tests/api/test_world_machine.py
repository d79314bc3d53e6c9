"""Users, administrators and a failing machine do random things to a server; what must hold, holds."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .world_play import (
    IMAGES,
    WORLD,
    Break,
    Deed,
    Delete,
    Mend,
    Pass,
    Player,
    Restart,
    Serve,
    SetQuota,
    Start,
    Stop,
    Submit,
)

PROJECTS = st.sampled_from(["a", "b"])
WHICH = st.integers(0, 9)
SIZES = st.sampled_from([0.25, 0.5, 0.3])
# More of those that stay, or there is seldom a crowd.
JOB_IMAGES = st.sampled_from([*IMAGES, "forever", "forever", "forever", "long", "long"])
JOBS = st.builds(
    Submit, PROJECTS, JOB_IMAGES, st.sampled_from([0, 1, 2, 3, 4, 4]),
    priority=st.sampled_from([25, 67, 125]), keeps=st.booleans(), takes=st.booleans(),
    retries=st.integers(0, 2), runs=st.integers(0, 1),
)  # fmt: skip
PARTS = st.one_of(
    st.builds(Submit, PROJECTS, gpus=st.integers(1, 2), portion=SIZES, keeps=st.booleans()),
    st.builds(Submit, PROJECTS, gpus=st.just(1), memory_mib=st.sampled_from([10_000, 40_000])),
)
GANGS = st.builds(
    Submit, PROJECTS, JOB_IMAGES, st.sampled_from([0, 1, 1, 2, 3]), workers=st.integers(2, 4),
    priority=st.sampled_from([25, 67, 125]),
    least=st.integers(0, 3), tasks=st.sampled_from([0, 0, 5]), keeps=st.booleans(), takes=st.booleans(),
    retries=st.integers(0, 1), runs=st.integers(0, 1),
)  # fmt: skip
ENDPOINTS = st.builds(
    Serve, PROJECTS, st.integers(1, 2), st.integers(0, 2), st.sampled_from([1.0, 1.0, 0.5]), st.booleans()
)
FAULTS = st.builds(
    Break, st.sampled_from(["node-down", "node-down", "gpu-lost", "gpu-xid", "engine-down"]),
    st.integers(0, 2), st.integers(0, 3),
)  # fmt: skip
QUOTAS = st.builds(
    SetQuota, PROJECTS, st.sampled_from([0, 2, 4, 8, 12]), st.sampled_from([None, None, 6.0, 12.0])
)
TIMES = st.sampled_from([Pass(1), Pass(5, 3), Pass(30, 2), Pass(61, 2), Pass(600, 6), Pass(3600)])
CROWD: st.SearchStrategy[list[Deed]] = st.lists(st.one_of(JOBS, JOBS, GANGS, PARTS), min_size=3, max_size=8)
DEEDS: st.SearchStrategy[Deed] = st.one_of(
    JOBS, JOBS, JOBS, PARTS, GANGS, ENDPOINTS, st.builds(Stop, WHICH), st.builds(Start, WHICH),
    st.builds(Delete, WHICH), QUOTAS, FAULTS, st.just(Mend()), TIMES, TIMES, st.just(Restart()),
)  # fmt: skip


def play(deeds: Sequence[Deed]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        seed = Path(folder) / "world.yaml"
        seed.write_text(WORLD)
        player = Player(Path(folder) / "data", seed)
        asyncio.run(asyncio.wait_for(player.play(deeds), 100))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CROWD, st.lists(DEEDS, min_size=1, max_size=12))
def test_world_is_whole_and_comes_to_rest_whatever_happens(crowd: list[Deed], deeds: list[Deed]) -> None:
    play([*crowd, *deeds])


FOUND: dict[str, list[Deed]] = {
    "endpoint-of-a-project-that-nobody-has-a-token-of-is-led-to": [Serve("a"), Pass(5)],
}


@pytest.mark.parametrize("deeds", [pytest.param(deeds, id=name) for name, deeds in FOUND.items()])
def test_world_is_whole_when_what_broke_it_once_happens_again(deeds: list[Deed]) -> None:
    play(deeds)
