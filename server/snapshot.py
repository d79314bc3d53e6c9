"""Nodes and live attempts -> scheduler.Snapshot: the only bridge between the two."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..scheduler.model import AskClass, Gpu, Node, Snapshot
from .domain.inventory import HostNode
from .domain.workload import Attempt, Workload


@dataclass(frozen=True, slots=True)
class Ask:
    """Replicas of one workload that wait for a place: together where there are several."""

    workload: Workload
    indexes: tuple[int, ...]

    @property
    def id(self) -> str:
        return f"{self.workload.id}/{self.indexes[0]}"


@dataclass(frozen=True, slots=True)
class Room:
    """What there is to place on: see `build`."""

    nodes: Sequence[HostNode]
    live: Sequence[Attempt]
    reserved: Mapping[str, str]

    def without(self, attempt: Attempt, ask: Ask) -> Snapshot:
        """As it were if that attempt had ended and nothing but the ask waited."""
        rest = [a for a in self.live if a.key != attempt.key]
        return build(self.nodes, rest, [ask], self.reserved)


def ask_class(workload: Workload, members: int) -> AskClass:
    spec = workload.spec
    return AskClass(
        priority=spec.priority, cpu=spec.cpu_cores, memory_mib=spec.memory_mib, gpu_count=spec.gpu_count,
        gpu_product=spec.gpu_product, members=members, node_groups=frozenset(spec.node_groups),
        nodes=frozenset(spec.nodes), reservation=spec.reservation, may_burst=spec.may_burst,
        spread=workload.id if spec.spread else "", must_spread=spec.spread == "required",
    )  # fmt: skip


def build(
    nodes: Sequence[HostNode],
    live: Iterable[Attempt],
    asks: Iterable[Ask],
    reserved: Mapping[str, str],
) -> Snapshot:
    """
    Args:
        asks: oldest first. CPU and memory are counted with the node's overcommit, GPUs never.
        reserved: node to the reservation in force on it.
    """
    taken: dict[str, list[Attempt]] = {}
    for attempt in live:
        taken.setdefault(attempt.node, []).append(attempt)
    pending: dict[AskClass, list[str]] = {}
    rank: dict[str, int] = {}
    for ask in asks:
        rank[ask.id] = len(rank)
        pending.setdefault(ask_class(ask.workload, len(ask.indexes)), []).append(ask.id)
    classes: Mapping[AskClass, tuple[str, ...]] = {c: tuple(ids) for c, ids in pending.items()}
    return Snapshot(tuple(_free(n, taken.get(n.id, []), reserved.get(n.id)) for n in nodes), classes, rank)


def _free(node: HostNode, attempts: Sequence[Attempt], reservation: str | None) -> Node:
    gpus = {uuid for a in attempts for uuid in a.gpu_uuids}
    return Node(
        name=node.id,
        node_group=node.node_group,
        free_cpu=node.cpu_cores * node.overcommit - sum(a.cpu_cores for a in attempts),
        free_memory_mib=int(node.memory_mib * node.overcommit) - sum(a.memory_mib for a in attempts),
        free_gpus=tuple(Gpu(g.uuid, g.product) for g in node.gpus if g.uuid not in gpus),
        reservation=reservation,
        tenants=frozenset(a.workload_id for a in attempts),
    )
