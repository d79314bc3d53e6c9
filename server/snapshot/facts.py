"""What the snapshot is made from beside workloads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import fsum

from ...scheduler.model import Effect, Gpu, Node, Taint
from ..domain.inventory import HostNode, device_part
from ..domain.org import Org, Project
from ..domain.workload import Attempt


@dataclass(frozen=True)
class Facts:
    """
    Args:
        nodes: with the pool that each is in as its `node_group`.
        org: without projects everybody has a queue without bounds.
        reserved: node to the reservation in force on it.
        unhealthy: devices that nobody is given now, by UUID, and why.
        down: nodes that cannot be reached.
    """

    nodes: Sequence[HostNode]
    org: Org = field(default_factory=Org)
    reserved: Mapping[str, str] = field(default_factory=dict[str, str])
    unhealthy: Mapping[str, str] = field(default_factory=dict[str, str])
    down: frozenset[str] = frozenset()

    def project(self, workspace: str) -> Project | None:
        return self._projects.get(workspace)

    @cached_property
    def _projects(self) -> Mapping[str, Project]:
        return {p.name: p for p in reversed(self.org.in_effect or self.org.projects)}

    def capacity(self) -> dict[str, float]:
        """GPUs by pool, as quotas count them."""
        parts: dict[str, list[float]] = {}
        for node in self.nodes:
            parts.setdefault(node.node_group, []).extend(map(device_part, node.gpus))
        return {pool: fsum(each) for pool, each in parts.items()}  # exact, as the quota of the whole machine

    def min_runtime_ms(self, node: str) -> int:
        """That preemptible work on that node has before it may be evicted."""
        return self._min_runtimes_ms.get(node, 0)

    @cached_property
    def _min_runtimes_ms(self) -> Mapping[str, int]:
        """Of the nodes in pools that have one."""
        by_pool = {p.name: p.min_runtime_s * 1000 for p in self.org.pools if p.min_runtime_s}
        if not by_pool:
            return {}
        return {n.id: by_pool[n.node_group] for n in self.nodes if n.node_group in by_pool}


def capacity_of(node: HostNode) -> tuple[float, int]:
    """Cores and MiB that may be taken of it: with its overcommit."""
    return node.cpu_cores * node.overcommit, int(node.memory_mib * node.overcommit)


def node_now(node: HostNode, attempts: Iterable[Attempt], facts: Facts) -> Node:
    """The node with what its live attempts leave of it. CPU and memory have its overcommit, GPUs never."""
    cpu, memory_mib = capacity_of(node)
    here = list(attempts)
    taken: dict[str, list[float]] = {}
    for attempt in here:
        for uuid in attempt.gpu_uuids:
            taken.setdefault(uuid, []).append(attempt.gpu_portion)
    return Node(
        name=node.id,
        node_group=node.node_group,
        free_cpu=cpu - fsum(a.cpu_cores for a in here),  # exact, in whatever order they come
        free_memory_mib=memory_mib - sum(a.memory_mib for a in here),
        gpus=tuple(
            Gpu(
                g.uuid, g.product, g.memory_mib,
                free_portion(fsum(taken[g.uuid])) if g.uuid in taken else 1.0,
                g.uuid not in facts.unhealthy, g.mig_profile,
            )
            for g in node.gpus
        ),
        is_ready=node.id not in facts.down,
        reservation=facts.reserved.get(node.id),
        tenants=frozenset(a.workload_id for a in here),
        total_cpu=cpu,
        total_memory_mib=memory_mib,
        labels=frozenset(node.labels),
        taints=frozenset(Taint(key, value, Effect(effect)) for key, value, effect in node.taints),
        segment=node.segment,
    )  # fmt: skip


def free_portion(taken: float) -> float:
    """Sums of tenths are not exact: what is left of them is no room."""
    return max(0.0, round(1.0 - taken, 6))
