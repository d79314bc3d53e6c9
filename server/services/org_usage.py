"""What each project has and asks for, per node pool: from live attempts and from what waits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum

from ..domain.inventory import HostNode, gpus_held, profile_part
from ..domain.lifecycle import next_try_ms, wanted_replicas
from ..domain.org import Org
from ..domain.pools import default_pool
from ..domain.workload import Attempt, Workload
from . import org
from .context import Services


@dataclass(frozen=True, slots=True)
class Sum:
    """GPUs in devices (half of one is 0.5, a MIG instance its slices of 7), CPU in cores, memory in MiB."""

    gpus: float = 0.0
    cpu: float = 0.0
    memory_mib: float = 0.0

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(
            round(self.gpus + other.gpus, 6), round(self.cpu + other.cpu, 6),
            self.memory_mib + other.memory_mib,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Usage:
    """`requested` is what is allocated and what waits for a place."""

    allocated: Sum = Sum()
    non_preemptible: Sum = Sum()
    requested: Sum = Sum()

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.allocated + other.allocated, self.non_preemptible + other.non_preemptible,
            self.requested + other.requested,
        )  # fmt: skip


# By name of the project and name of the node pool; who has and wants nothing is not in it.
UsageByQueue = Mapping[tuple[str, str], Usage]


def total(usage: UsageByQueue, projects: Iterable[str], pool: str | None = None) -> Usage:
    """Of these projects, in one pool or in all."""
    wanted = frozenset(projects)
    found = (u for (p, n), u in usage.items() if p in wanted and pool in (None, n))
    return sum(found, Usage())


@dataclass(frozen=True, slots=True)
class Part:
    """
    What one workload has and wants, by pool.

    Args:
        is_timed: it may change by time alone.
    """

    revision: int
    project: str
    pools: tuple[tuple[str, Usage], ...]
    is_timed: bool = False


@dataclass(slots=True)
class _Kept:
    """Of each workload as it was seen last, so that only those that have changed are looked at again."""

    commits: int = -1
    units: Org | None = None
    nodes: Sequence[HostNode] = ()
    parts: dict[str, Part] = field(default_factory=dict[str, Part])
    usage: UsageByQueue = field(default_factory=dict[tuple[str, str], Usage])


def usage_now(services: Services) -> UsageByQueue:
    """As of the last commit."""
    kept = services.memo.setdefault(_Kept, _Kept())
    assert isinstance(kept, _Kept)
    reads, now = services.store.reads, services.clock.now_ms()
    units, nodes = org.get_org(services), org.nodes_now(services)
    if kept.units is not units or kept.nodes is not nodes:
        kept.units, kept.nodes, kept.commits = units, nodes, -1
        kept.parts.clear()
    if kept.commits != services.store.commits or any(p.is_timed for p in kept.parts.values()):
        kept.commits = services.store.commits
        active = reads.active(now)
        known = kept.parts
        stale = [
            f for f in active
            if (part := known.get(f.id)) is None or part.revision != f.revision or part.is_timed
        ]  # fmt: skip
        attempts = reads.attempts([f.id for f in stale])
        made = {f.id: part_of(f.workload, attempts[f.id], nodes, units, now, f.revision) for f in stale}
        kept.parts = {f.id: made.get(f.id) or known[f.id] for f in active}
        kept.usage = add_up(kept.parts.values())
    return kept.usage


def add_up(parts: Iterable[Part]) -> UsageByQueue:
    found: dict[tuple[str, str], list[Usage]] = {}
    for part in parts:
        for pool, usage in part.pools:
            found.setdefault((part.project, pool), []).append(usage)
    return {key: _sum(usages) for key, usages in found.items()}


def _sum(usages: Sequence[Usage]) -> Usage:
    def each(sums: Sequence[Sum]) -> Sum:
        return Sum(
            round(fsum(s.gpus for s in sums), 6), round(fsum(s.cpu for s in sums), 6),
            fsum(s.memory_mib for s in sums),
        )  # fmt: skip

    return Usage(
        each([u.allocated for u in usages]), each([u.non_preemptible for u in usages]),
        each([u.requested for u in usages]),
    )  # fmt: skip


def part_of(
    workload: Workload,
    attempts: Sequence[Attempt],
    nodes: Sequence[HostNode],
    units: Org,
    now_ms: int,
    revision: int = 0,
) -> Part:
    """
    Args:
        attempts: of this workload. nodes: with their pool as `node_group`.
    """
    found: list[tuple[str, Usage]] = []
    fallback = default_pool(units).name
    for attempt in attempts:
        if attempt.is_live:
            node = next((n for n in nodes if n.id == attempt.node), None)
            pool = node.node_group if node else fallback
            gpus = gpus_held(attempt.gpu_uuids, attempt.gpu_portion, node.gpus if node else ())
            has = Sum(gpus, attempt.cpu_cores, attempt.memory_mib)
            found.append((pool, Usage(has, Sum() if workload.spec.is_preemptible else has, has)))
    # As the scheduler counts: members beyond a gang's minimum are wanted before it runs, too.
    waiting = wanted_replicas(workload, attempts) - sum(a.is_live for a in attempts)
    if waiting > 0:
        project = next((p for p in units.in_effect or units.projects if p.name == workload.workspace), None)
        order = workload.spec.node_groups or (project.default_pools if project else ())
        pool = next(iter(order), fallback)
        gpu_mib = next((n.gpus[0].memory_mib for n in nodes if n.node_group == pool and n.gpus), 0)
        each = _asked(workload, gpu_mib)
        asked = Sum(each.gpus * waiting, each.cpu * waiting, each.memory_mib * waiting)
        found.append((pool, Usage(requested=asked)))
    is_timed = next_try_ms(workload, attempts, now_ms) is not None
    return Part(revision, workload.workspace, tuple(found), is_timed)


def _asked(workload: Workload, gpu_memory_mib: int) -> Sum:
    """`gpu_memory_mib`: of one device of its pool, of which memory that is asked for is a portion."""
    spec = workload.spec
    portion = spec.gpu_portion * profile_part(spec.mig_profile)
    if spec.gpu_memory_mib is not None and gpu_memory_mib:
        portion = spec.gpu_memory_mib / gpu_memory_mib
    return Sum(spec.gpu_count * portion, spec.cpu_cores, spec.memory_mib)
