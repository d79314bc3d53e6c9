"""Many jobs on many simulated nodes, in this process, to the end of all of them."""

import asyncio
from pathlib import Path

from bench.jobs import Drained, drain

JOBS, NODES = 1_000, 1_000


def run(folder: Path) -> Drained:
    folder.mkdir()
    return asyncio.run(drain(folder, JOBS, NODES, with_digest=True))


def test_all_jobs_end_alike_when_a_world_with_the_same_seed_runs_again(tmp_path: Path) -> None:
    first, second = run(tmp_path / "first"), run(tmp_path / "second")
    assert first.ended == second.ended == JOBS
    assert first.digest == second.digest
