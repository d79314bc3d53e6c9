"""
Jobs from end to end in one process: submitted through the service, placed, run on the simulated
machine, ended, recorded, their containers removed; each write durable before it is acknowledged.
"""

import asyncio
import hashlib
import re
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from homeport.runtime.drivers.simulated import Rule, Span
from homeport.server.app import settle_memory
from homeport.server.domain.workload import TERMINAL, Workload, WorkloadSpec
from homeport.server.services.workloads import create_workload
from homeport.server.store.found import Found
from homeport.server.testing import InProcessHome, open_in_process

from .figures import Figure, percentile, show
from .rows import written_per_second

GPUS = 8
# Jobs and nodes of each row.
SIZES = ((1_000, 10), (1_000, 100), (5_000, 100))
TOGETHER, STEP_S = 1_000, 60.0
SHORTEST_S, LONGEST_S = 60.0, 600.0
GOAL = 5_000.0
ROWS = "SQLite, their rows alone"
CHANCE = re.compile(r"(job-\d{6})-\w{4}(?:(-\d+)-\w{4})?")  # a job's id or a replica's: the ends are random
QUIET_TURNS = 20  # of the event loop: who was woken needs some to say so


@dataclass(slots=True)
class Drained:
    """
    What a run of so many jobs took.

    Args:
        submit_s, run_s: seconds until all were acknowledged, and from there until all had ended.
        pass_s: seconds of each pass.
        rss_mib: of the process at its end. ended: jobs that have. digest: of who ended where, when and how.
    """

    jobs: int
    submit_s: float = 0.0
    run_s: float = 0.0
    pass_s: list[float] = field(default_factory=list[float])
    rss_mib: float = 0.0
    ended: int = 0
    digest: str = ""

    @property
    def per_second(self) -> float:
        return self.jobs / (self.submit_s + self.run_s)


def world_of(nodes: int, seed: int = 7) -> str:
    return f"seed: {seed}\nnodes: [{{name: n, count: {nodes}, gpus: {GPUS}xH100-80GB, memory: 2TiB}}]\n"


def spec_of(number: int) -> WorkloadSpec:
    return WorkloadSpec(
        image="any:1", command=("/bin/sh", "-c", "true"), shape="gpu.h100-80gb", cpu_cores=4.0,
        memory_mib=8192, gpu_count=(1, 1, 2, 1)[number % 4], env=(("EPOCHS", "3"),), is_preemptible=True,
    )  # fmt: skip


async def submit(home: InProcessHome, jobs: int, *, start_at_ms: int | None = None) -> None:
    """So many at a time, in the order of their numbers."""

    def one(number: int) -> Coroutine[Any, Any, Workload]:
        return create_workload(
            home.home.services, workspace="local", name=f"job-{number:06}", kind="job", owner="bench",
            spec=replace(spec_of(number), start_at_ms=start_at_ms),
        )  # fmt: skip

    for first in range(0, jobs, TOGETHER):
        await asyncio.gather(*(one(n) for n in range(first, min(first + TOGETHER, jobs))))


async def drain(folder: Path, jobs: int, nodes: int, *, with_digest: bool = False) -> Drained:
    """
    All of it on a fresh data directory.

    Args:
        with_digest: the jobs then begin at one moment, so that the order in which writes and
            passes meet has no part in what becomes of them.
    """
    seed = folder / "world.yaml"
    seed.write_text(world_of(nodes))
    rules = [Rule(run_for_s=Span(SHORTEST_S, LONGEST_S), start_after_s=2.0)]
    result = Drained(jobs)
    async with open_in_process(folder / "data", rules=rules, seed=seed) as home:
        settle_memory()  # as a server does
        loop = home.home.loop
        original = loop.run_pass

        async def timed() -> float:
            began = time.perf_counter()
            try:
                return await original()
            finally:
                result.pass_s.append(time.perf_counter() - began)

        loop.run_pass = timed
        began = time.perf_counter()
        start_at_ms = home.clock.now_ms() + round(STEP_S * 1000) if with_digest else None
        await submit(home, jobs, start_at_ms=start_at_ms)
        result.submit_s = time.perf_counter() - began
        began = time.perf_counter()
        reads = home.home.services.store.reads
        while True:
            await settled(home)
            if not reads.active(home.clock.now_ms()):
                break
            home.clock.advance(STEP_S)
        result.run_s = time.perf_counter() - began
        result.rss_mib = rss_mib()
        rows = reads.everywhere(archived=False, after=0, size=jobs + 1)
        result.ended = sum(row.phase in TERMINAL for row in rows)
        if with_digest:
            result.digest = digest_of(home, rows)
    return result


async def settled(home: InProcessHome) -> None:
    """Nothing more happens until the clock moves."""
    turns = 0
    while turns < QUIET_TURNS:
        is_idle = home.home.loop.is_idle and not home.home.services.store.queued_writes
        turns = turns + 1 if is_idle else 0
        await asyncio.sleep(0 if is_idle else 0.0005)


def digest_of(home: InProcessHome, rows: Sequence[Found]) -> str:
    """Of who ended where, when and how, and of what was told about it; ids end by chance, so without them."""
    store = home.home.services.store
    instance = f"hp-{store.setting('instance')}-"
    found = hashlib.sha256()
    for row in sorted(rows, key=lambda r: r.workload.name):
        workload = row.workload
        told: list[object] = [
            (a.number, a.node, a.gpu_uuids, a.placed_at_ms, a.started_at_ms, a.finished_at_ms, a.reason)
            for a in store.attempts_of(row.id)
        ]
        for event in store.events_of(row.id):
            message = CHANCE.sub(r"\1\2", event.message.replace(instance, ""))
            told.append((event.reason, message, event.last_ms))
        found.update(f"{workload.name} {row.phase.value} {told}\n".encode())
    return found.hexdigest()


def rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def measure(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Figure]:
    figures: list[Figure] = []
    for jobs, nodes in sizes:
        with tempfile.TemporaryDirectory(prefix="homeport-bench-") as folder:
            done = asyncio.run(drain(Path(folder), jobs, nodes))
            alone = written_per_second(Path(folder) / "data", Path(folder))
        what = f"{jobs:,} jobs x {nodes:,} nodes"
        figures += [
            Figure(f"{what}, end to end", done.per_second, "/s", alone, ROWS, least=GOAL, is_absolute=True),
            Figure(f"{what}, pass, p99", percentile(done.pass_s, 0.99) * 1000, "ms", is_absolute=True),
            Figure(f"{what}, memory", done.rss_mib, "MiB", is_absolute=True),
        ]
    return figures


if __name__ == "__main__":
    show([measure], sys.argv[1:])
