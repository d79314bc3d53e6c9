"""Nodes and live attempts -> scheduler.Snapshot: the only bridge between the two."""

from collections.abc import Iterable, Mapping, Sequence

from ..scheduler.model import AskClass, Gpu, Node, Snapshot
from .domain.inventory import HostNode
from .domain.workload import Attempt, Workload, WorkloadSpec


def ask_class(spec: WorkloadSpec) -> AskClass:
    return AskClass(
        priority=spec.priority, cpu=spec.cpu_cores, memory_mib=spec.memory_mib, gpu_count=spec.gpu_count,
        gpu_product=spec.gpu_product, node_groups=frozenset(spec.node_groups), nodes=frozenset(spec.nodes),
    )  # fmt: skip


def build(nodes: Sequence[HostNode], live: Iterable[Attempt], queued: Iterable[Workload]) -> Snapshot:
    """`queued` oldest first. CPU and memory are counted with the node's overcommit, GPUs never."""
    taken: dict[str, list[Attempt]] = {}
    for attempt in live:
        taken.setdefault(attempt.node, []).append(attempt)
    pending: dict[AskClass, list[str]] = {}
    rank: dict[str, int] = {}
    for workload in queued:
        rank[workload.id] = len(rank)
        pending.setdefault(ask_class(workload.spec), []).append(workload.id)
    classes: Mapping[AskClass, tuple[str, ...]] = {c: tuple(ids) for c, ids in pending.items()}
    return Snapshot(tuple(_free(n, taken.get(n.id, [])) for n in nodes), classes, rank)


def _free(node: HostNode, attempts: Sequence[Attempt]) -> Node:
    gpus = {uuid for a in attempts for uuid in a.gpu_uuids}
    return Node(
        name=node.id,
        node_group=node.node_group,
        free_cpu=node.cpu_cores * node.overcommit - sum(a.cpu_cores for a in attempts),
        free_memory_mib=int(node.memory_mib * node.overcommit) - sum(a.memory_mib for a in attempts),
        free_gpus=tuple(Gpu(g.uuid, g.product) for g in node.gpus if g.uuid not in gpus),
    )
