"""What users, administrators and broken machines may do to a server, as data; and a play of it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

from homeport.runtime.clock import VirtualClock
from homeport.runtime.drivers.simulated import Rule
from homeport.server.domain.org import Amount, PoolQuota
from homeport.server.domain.runs import first_members
from homeport.server.domain.serving import Serving
from homeport.server.domain.workload import TERMINAL, Phase, Workload, WorkloadSpec
from homeport.server.errors import Conflict, NotFound
from homeport.server.invariants import Facts
from homeport.server.services import levers, org, quotas
from homeport.server.services.access import ADMIN, Caller
from homeport.server.services.workloads import create_workload, delete_workload, set_stopped
from homeport.server.testing import InProcessHome, assert_world_ok, open_in_process

NODES, GPUS_EACH = ("n-0", "n-1", "n-2"), 4
WORLD = """
nodes:
  - {name: n, count: 3, gpus: 4xH100-80GB}
projects:
  - {name: a, quotas: {default: {gpu: 4}}}
  - {name: b, quotas: {default: {gpu: 6}}}
"""
RULES = (
    Rule(image="short", run_for_s=5),
    Rule(image="long", run_for_s=2000),
    Rule(image="slow", start_after_s=20, run_for_s=30),
    Rule(image="fails", run_for_s=3, exit_code=1),
    Rule(image="flaky", run_for_s=7, exit_code=1, attempt=1),
    Rule(image="flaky", run_for_s=7),
    Rule(image="oom", run_for_s=4, oom_killed=True),
    Rule(image="refused", refuse="no such command"),
    Rule(image="serves", run_for_s=None, address="127.0.0.1"),
    Rule(image="forever", run_for_s=None),
)
IMAGES = tuple(dict.fromkeys(rule.image for rule in RULES if rule.image != "serves"))
XID = 48  # a memory error that could not be corrected
ME = "ada@example.org"
GPU_MIB = 81_559  # of an H100
SLACK = 1e-6
# Long enough for the longest pause after a failure, for a gang that waits, and for a GPU to heal.
PATIENCE_S, STEP_S = 1200.0, 150.0


@dataclass(frozen=True, slots=True)
class Submit:
    """Args: least: of its workers, those that start together; 0: all of them."""

    project: str = "a"
    image: str = "forever"
    gpus: int = 1
    portion: float = 1.0
    memory_mib: int | None = None
    priority: int = 67
    keeps: bool = False
    takes: bool = False
    workers: int = 1
    least: int = 0
    tasks: int = 0
    retries: int = 0
    runs: int = 0

    def spec(self) -> WorkloadSpec:
        return WorkloadSpec(
            self.image, ("true",), "", 1, 512, gpu_count=self.gpus,
            gpu_portion=self.portion, gpu_memory_mib=self.memory_mib if self.gpus else None,
            priority=self.priority, is_preemptible=not self.keeps, can_preempt=self.takes,
            parallelism=self.workers, completions=max(self.workers, self.tasks),
            min_members=min(self.least, self.workers) or None,
            worker_retries=self.retries, run_retries=self.runs,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Serve:
    project: str = "a"
    replicas: int = 1
    gpus: int = 1
    portion: float = 1.0
    keeps: bool = False

    def spec(self) -> WorkloadSpec:
        return WorkloadSpec(
            "serves", ("serve",), "", 1, 512, gpu_count=self.gpus, gpu_portion=self.portion, priority=150,
            is_preemptible=not self.keeps, serving=Serving(self.replicas, port=8080),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stop:
    which: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    which: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    which: int = 0


@dataclass(frozen=True, slots=True)
class SetQuota:
    project: str = "a"
    gpus: float = 4
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Break:
    """Args: gpu: its place on the node, where it is a GPU that breaks."""

    kind: str = "node-down"
    node: int = 0
    gpu: int = 0


@dataclass(frozen=True, slots=True)
class Mend:
    """All that is broken."""


@dataclass(frozen=True, slots=True)
class Pass:
    seconds: float = 5.0
    steps: int = 1


@dataclass(frozen=True, slots=True)
class Restart:
    """The server; the machine goes on."""


Deed = Submit | Serve | Stop | Start | Delete | SetQuota | Break | Mend | Pass | Restart


class Player:
    """Does one thing after another, and looks at everything after each."""

    def __init__(self, data_dir: Path, seed: Path) -> None:
        self._data_dir, self._seed = data_dir, seed
        self._clock = VirtualClock()
        self._made: list[tuple[str, str]] = []  # project and id
        self._facts: Facts | None = None

    async def play(self, deeds: Sequence[Deed]) -> None:
        left = list(deeds)
        while True:
            at_first = asyncio.all_tasks()
            async with self._open() as at:
                await self._until_restart(at, left)
                is_over = not left
                if is_over:
                    await self._comes_to_rest(at)
            stray = asyncio.all_tasks() - at_first
            assert not stray, f"tasks go on after the server's end: {stray}"
            if is_over:
                return

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[InProcessHome]:
        async with open_in_process(
            self._data_dir, rules=RULES, clock=self._clock, keeps=True, seed=self._seed
        ) as at:
            yield at

    async def _until_restart(self, at: InProcessHome, left: list[Deed]) -> None:
        await at.settle()
        await self._look(at)
        while left:
            deed = left.pop(0)
            if isinstance(deed, Restart):
                return
            try:
                await self._do(at, deed)
            except (Conflict, NotFound):
                continue  # a refusal is an answer: it still stops, or is archived
            await self._look(at)
            await at.settle()
            await self._look(at, is_quiet=True)

    async def _look(self, at: InProcessHome, *, is_quiet: bool = False) -> None:
        self._facts = await assert_world_ok(at.home, before=self._facts, is_quiet=is_quiet)

    async def _do(self, at: InProcessHome, deed: Deed) -> None:
        services, faults = at.home.services, at.home.levers
        match deed:
            case Submit() | Serve():
                name = f"w{len(self._made)}"
                kind = "job" if isinstance(deed, Submit) else "endpoint"
                made = await create_workload(
                    services, workspace=deed.project, name=name, kind=kind, owner=ME, spec=deed.spec()
                )
                self._made.append((deed.project, made.id))
            case Stop(which) | Start(which) | Delete(which):
                if not self._made:
                    return
                project, id_ = self._made[which % len(self._made)]
                who = Caller(project, ADMIN, "")
                if isinstance(deed, Delete):
                    await delete_workload(services, who, id_)
                else:
                    await set_stopped(services, who, id_, stopped=isinstance(deed, Stop))
            case SetQuota(project, gpus, limit):
                (pool,) = org.list_node_pools(services)
                quota = PoolQuota(pool.id, gpu=Amount(gpus, limit))
                unit = org.find_project(services, project)
                await quotas.set_quotas(services, unit, (quota,), merge=False, by=ME)
            case Break(kind, node, gpu):
                place = str(gpu) if kind.startswith("gpu") else ""
                code = XID if kind == "gpu-xid" else 0
                where = "" if kind == "engine-down" else NODES[node]
                levers.add_fault(services, faults, kind=kind, node=where, gpu=place, code=code)
            case Mend():
                levers.clear_faults(services, faults)
            case Pass(seconds, steps):
                for _ in range(steps):
                    at.clock.advance(seconds)
                    await at.settle()
            case Restart():
                raise AssertionError("is done by whoever opens the server")

    async def _comes_to_rest(self, at: InProcessHome) -> None:
        """Nothing is broken any more, and time passes: what fits runs."""
        levers.clear_faults(at.home.services, at.home.levers)
        await at.pass_time(PATIENCE_S, STEP_S)
        await self._look(at, is_quiet=True)
        assert self._facts is not None
        stuck = left_waiting(at, self._facts)
        assert not stuck, "; ".join(stuck)


def left_waiting(at: InProcessHome, facts: Facts) -> list[str]:
    """
    What waits although there is room for it, by a model of its own that is far simpler than the
    scheduler: what is free is enough, and nobody has to end for it.
    """
    free = {(node, uuid): 1.0 for node, uuids in facts.devices.items() for uuid in uuids}
    used, kept = dict[str, float](), dict[str, float]()  # by project: all; what cannot be preempted
    for attempt in (a for a in facts.attempts if a.is_live):
        workload = facts.workloads[attempt.workload_id]
        for uuid in attempt.gpu_uuids:
            free[attempt.node, uuid] -= attempt.gpu_portion
        sums = [used] if workload.spec.is_preemptible else [used, kept]
        for each in sums:
            gpus = len(attempt.gpu_uuids) * attempt.gpu_portion
            each[workload.workspace] = each.get(workload.workspace, 0.0) + gpus
    found: list[str] = []
    for id_, workload in facts.workloads.items():
        spec = workload.spec
        members = _waiting(workload, facts)
        size = spec.gpu_memory_mib / GPU_MIB if spec.gpu_memory_mib else spec.gpu_portion
        gpus = members * spec.gpu_count * size + SLACK
        (quota,) = org.find_project(at.home.services, workload.workspace).quotas
        own = quota.gpu.deserved or 0.0
        limit = inf if quota.gpu.limit is None else quota.gpu.limit
        is_within = used.get(workload.workspace, 0.0) + gpus <= limit + 2 * SLACK
        if not spec.is_preemptible:
            is_within &= kept.get(workload.workspace, 0.0) + gpus <= own + 2 * SLACK
        if members and is_within and _fits(free, spec.gpu_count, size, members):
            why = "; ".join(at.home.loop.refusal(id_)) or "no reason is told"
            found.append(f"{id_} is {facts.phases[id_].value}, and there is room for it: {why}")
    return found


def _waiting(workload: Workload, facts: Facts) -> int:
    """Members that wait for a place together; 0 also where the time of their next try may not have come."""
    spec, attempts, phase = workload.spec, facts.of(workload.id), facts.phases[workload.id]
    if phase in TERMINAL or phase is Phase.PENDING_RETRY:
        return 0
    if any(a.exit_code for a in attempts) or any(a.reason == "FailedToStart" for a in attempts):
        return 0
    live = sum(a.is_live for a in attempts)
    if spec.serving is not None:
        return min(1, spec.serving.replicas - live)
    return 0 if live else first_members(spec)


def _fits(free: dict[tuple[str, str], float], count: int, size: float, members: int) -> bool:
    left = dict(free)
    for _ in range(members):
        for node in NODES:
            room = sorted((v, k) for k, v in left.items() if k[0] == node and v >= size - SLACK)
            if len(room) >= count:
                for _, key in room[:count]:
                    left[key] -= size
                break
        else:
            return False
    return True
