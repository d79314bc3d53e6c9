"""What users, administrators and broken machines may do to a server, as data; and a play of it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from homeport.runtime.clock import VirtualClock
from homeport.runtime.drivers.simulated import Rule
from homeport.server.domain.org import Amount, PoolQuota
from homeport.server.domain.runs import first_members
from homeport.server.domain.serving import Serving
from homeport.server.domain.workload import TERMINAL, Phase, WorkloadSpec
from homeport.server.errors import Conflict, NotFound
from homeport.server.invariants import Facts
from homeport.server.services import levers, org
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
ME = "ada@example.org"
# Long enough for the longest pause after a failure, for a gang that waits, and for a GPU to heal.
PATIENCE_S, STEP_S = 1200.0, 60.0


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
    """Args: gpu: its place on the node; what has none breaks the whole node."""

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
                await org.set_quotas(services, unit, (quota,), merge=False, by=ME)
            case Break(kind, node, gpu):
                place = {} if kind == "node-down" else {"gpu": str(gpu)}
                code = {"code": 48} if kind == "gpu-xid" else {}
                levers.add_fault(services, faults, kind=kind, node=NODES[node], **place, **code)
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
    What waits although there is room for it; a model of its own, far simpler than the scheduler.
    Others need not end for it: what is free is enough.
    """
    org_now = org.get_org(at.home.services)
    free = {(node, uuid): 1.0 for node, uuids in facts.devices.items() for uuid in uuids}
    used: dict[str, float] = {}  # by project: what cannot be preempted
    all_used: dict[str, float] = {}
    for attempt in (a for a in facts.attempts if a.is_live):
        workload = facts.workloads[attempt.workload_id]
        for uuid in attempt.gpu_uuids:
            free[attempt.node, uuid] -= attempt.gpu_portion
        gpus = len(attempt.gpu_uuids) * attempt.gpu_portion
        all_used[workload.workspace] = all_used.get(workload.workspace, 0.0) + gpus
        if not workload.spec.is_preemptible:
            used[workload.workspace] = used.get(workload.workspace, 0.0) + gpus
    found: list[str] = []
    for id_, workload in facts.workloads.items():
        phase, spec = facts.phases[id_], workload.spec
        if phase in TERMINAL or phase in (Phase.PENDING_RETRY, Phase.ZERO):
            continue
        attempts = facts.of(id_)
        if any(a.is_live for a in attempts) and spec.serving is None:
            continue
        live = {a.index for a in attempts if a.is_live}
        members = first_members(spec) if spec.serving is None else spec.serving.replicas - len(live)
        crashed = [a for a in attempts if not a.is_live and a.exit_code not in (0, None)]
        if not members or crashed:
            continue  # it may wait for its next try
        size = spec.gpu_memory_mib / 81_559 if spec.gpu_memory_mib else spec.gpu_portion
        wants = members if spec.serving is None else 1
        gpus = wants * spec.gpu_count * size
        project = next(p for p in org_now.projects if p.name == workload.workspace)
        (quota,) = project.quotas
        if not spec.is_preemptible and used.get(project.name, 0.0) + gpus > quota.gpu.deserved + 1e-6:
            continue
        limit = quota.gpu.limit
        if limit is not None and all_used.get(project.name, 0.0) + gpus > limit + 1e-6:
            continue
        if _fits(free, spec.gpu_count, size, wants):
            why = at.home.loop.refusal(id_)
            found.append(f"{id_} is {phase.value}, and there is room for it: {'; '.join(why) or 'no reason'}")
    return found


def _fits(free: dict[tuple[str, str], float], count: int, size: float, members: int) -> bool:
    left = dict(free)
    for _ in range(members):
        for node in NODES:
            room = sorted((v, k) for k, v in left.items() if k[0] == node and v >= size - 1e-6)
            if len(room) >= count:
                for _, key in room[:count]:
                    left[key] -= size
                break
        else:
            return False
    return True
