"""
What is so now, as numbers by group: `{type, timestamp, values: [{value, groups: [{key, value, name}]}]}`.

Source: `TelemetryResponse` of runapy 1.224.0; a value is a string there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from ...domain.inventory import HostNode, NodeGpu, device_part, gpus_held
from ...domain.org import Department, NodePool, PoolQuota, Project
from ...domain.workload import Attempt
from ...errors import Invalid, NotImplementedYet
from ...services import org, org_usage
from ...services.org_usage import Sum, Usage
from .call import Call
from .translate.nodes import CLUSTER_NAME
from .translate.org import MIB, MILLI, plain, time_to_wire

MOST_GROUPS = 2
QUOTAS = ("GPU_QUOTA", "CPU_QUOTA", "MEMORY_QUOTA")
ALLOCATIONS = ("GPU_ALLOCATION", "CPU_ALLOCATION", "MEMORY_ALLOCATION")
NON_PREEMPTIBLE = tuple(f"{name}_NON_PREEMPTIBLE" for name in ALLOCATIONS)


@dataclass(frozen=True, slots=True)
class Group:
    """`key`: as `groupBy` has it. `name`: for people, where it differs from the value."""

    key: str
    value: str
    name: str = ""


def answer(call: Call, kind: str, cells: Iterable[tuple[Sequence[Group], float]]) -> dict[str, Any]:
    """
    Args:
        cells: each with the groups it belongs to; those of the same groups are added up.
    """
    sums: dict[tuple[Group, ...], float] = {}
    for groups, value in cells:
        sums[tuple(groups)] = sums.get(tuple(groups), 0.0) + value
    if not sums and not call.query.items("groupBy"):
        sums[()] = 0.0
    return {
        "type": kind,
        "timestamp": time_to_wire(call.ctx.services.clock.now_ms()),
        "values": [
            {"value": f"{plain(value):g}" if value < 1e6 else str(plain(value))}
            | ({"groups": [_group(g) for g in groups]} if groups else {})
            for groups, value in sums.items()
        ],
    }


def _group(group: Group) -> dict[str, str]:
    told = {"key": group.key, "value": group.value}
    return told | ({"name": group.name} if group.name else {})


def kind_and_groups(call: Call, kinds: Sequence[str], groups: Sequence[str]) -> tuple[str, list[str]]:
    """`telemetryType` and `groupBy` of a request."""
    kind = call.query.one_of("telemetryType", kinds)
    if not kind:
        raise Invalid("telemetryType", f"is missing; it is one of {', '.join(kinds)}")
    wanted = call.query.some_of("groupBy", groups)
    if len(wanted) > MOST_GROUPS:
        raise Invalid("groupBy", f"names {len(wanted)} groups; at most {MOST_GROUPS} are possible")
    return kind, wanted


# --- org units


def org_unit_telemetry(call: Call, *, is_by_department: bool) -> dict[str, Any]:
    """Quotas and allocations; those of a department are its own quota, and what its projects have."""
    services = call.ctx.services
    possible = ("CLUSTER_ID",) if is_by_department else ("ClusterId", "NodepoolId", "ParentId")
    kind, groups = kind_and_groups(call, (*QUOTAS, *ALLOCATIONS, *NON_PREEMPTIBLE), possible)
    all_units, used, cluster = (
        org.get_org(services),
        org_usage.usage_now(services),
        org.get_cluster_id(services),
    )
    if call.query.text("clusterId", cluster) != cluster:
        return answer(call, kind, [])
    pools = [p for p in all_units.pools if _is_asked_for(call, p)]
    above = {d.id: d.name for d in all_units.departments}
    wanted = call.query.text("departmentId")
    projects = [p for p in all_units.projects if wanted in ("", p.department_id)]

    def labels(pool: NodePool, department_id: str) -> list[Group]:
        known = {
            "CLUSTER_ID": Group("CLUSTER_ID", cluster, CLUSTER_NAME),
            "ClusterId": Group("ClusterId", cluster, CLUSTER_NAME),
            "NodepoolId": Group("NodepoolId", pool.id, pool.name),
            "ParentId": Group("ParentId", department_id, above.get(department_id, "")),
        }  # fmt: skip
        return [known[name] for name in groups]

    cells: list[tuple[Sequence[Group], float]] = []
    units: list[Department | Project] = [*projects]
    if kind in QUOTAS and is_by_department:
        units = [d for d in all_units.departments if wanted in ("", d.id)]
    for pool in pools:
        for unit in units:
            parent = unit.department_id if isinstance(unit, Project) else unit.id
            if kind in QUOTAS:
                value = sum(_quota(kind, q) for q in unit.quotas if q.pool == pool.id)
            else:
                value = _allocation(kind, used.get((unit.name, pool.name), Usage()))
            cells.append((labels(pool, parent), value))
    return answer(call, kind, cells)


def _is_asked_for(call: Call, pool: NodePool) -> bool:
    named, by_id = call.query.text("nodepoolName"), call.query.text("nodepoolId")
    return named in ("", pool.name) and by_id in ("", pool.id)


def _quota(kind: str, quota: PoolQuota) -> float:
    """What is without bounds adds nothing: it is no amount that was promised."""
    amount = {"GPU_QUOTA": quota.gpu, "CPU_QUOTA": quota.cpu, "MEMORY_QUOTA": quota.memory}[kind]
    return _in_units(kind, amount.deserved or 0.0)


def _allocation(kind: str, usage: Usage) -> float:
    found: Sum = usage.non_preemptible if kind in NON_PREEMPTIBLE else usage.allocated
    resource = kind.split("_")[0]
    return _in_units(kind, {"GPU": found.gpus, "CPU": found.cpu, "MEMORY": found.memory_mib}[resource])


def _in_units(kind: str, value: float) -> float:
    """GPUs, millicores and MB, as quotas have them."""
    factor = {"GPU": 1.0, "CPU": MILLI, "MEMORY": MIB / 1e6}[kind.split("_")[0]]
    return value * factor


# --- nodes


@dataclass(frozen=True, slots=True)
class NodeNow:
    """
    Args:
        node: `well` are those of its devices that new work may be given, none of a node that is down.
        here: what lives on it.
    """

    node: HostNode
    here: Sequence[Attempt]
    well: Sequence[NodeGpu]

    @property
    def free(self) -> list[NodeGpu]:
        taken = {u for a in self.here for u in a.gpu_uuids}
        return [g for g in self.well if g.uuid not in taken]

    @property
    def gpus_taken(self) -> float:
        return sum(gpus_held(a.gpu_uuids, a.gpu_portion, self.node.gpus) for a in self.here)


def _parts(gpus: Iterable[NodeGpu]) -> float:
    return fsum(device_part(g) for g in gpus)


NodeValue = Callable[[NodeNow], float]
NODE_VALUES: Mapping[str, NodeValue] = {
    "TOTAL_GPU_NODES": lambda n: float(bool(n.node.gpus)),
    "READY_GPU_NODES": lambda n: float(bool(n.well)),
    "TOTAL_GPUS": lambda n: _parts(n.node.gpus),
    "READY_GPUS": lambda n: _parts(n.well),
    "FREE_GPUS": lambda n: _parts(n.free),
    "ALLOCATED_GPUS": lambda n: n.gpus_taken,
    "FULLY_FREE_GPU_NODES": lambda n: float(bool(n.well) and not any(a.gpu_uuids for a in n.here)),
    "TOTAL_CPU_CORES": lambda n: n.node.cpu_cores,
    "ALLOCATED_CPU_CORES": lambda n: sum(a.cpu_cores for a in n.here),
    "TOTAL_GPU_MEMORY_BYTES": lambda n: float(sum(g.memory_mib for g in n.node.gpus) * MIB),
    "TOTAL_CPU_MEMORY_BYTES": lambda n: float(n.node.memory_mib * MIB),
    "ALLOCATED_CPU_MEMORY_BYTES": lambda n: float(sum(a.memory_mib for a in n.here) * MIB),
}
NOT_MEASURED = ("IDLE_ALLOCATED_GPUS", "USED_CPU_CORES", "USED_GPU_MEMORY_BYTES", "USED_CPU_MEMORY_BYTES")


def node_telemetry(call: Call) -> dict[str, Any]:
    services = call.ctx.services
    possible = ("ClusterId", "Nodepool", "Node")
    kind, groups = kind_and_groups(call, (*NODE_VALUES, *NOT_MEASURED), possible)
    if kind in NOT_MEASURED:
        raise NotImplementedYet(f"telemetryType {kind}")
    cluster = org.get_cluster_id(services)
    if call.query.text("clusterId", cluster) != cluster:
        return answer(call, kind, [])
    pool = call.query.text("nodepoolName")
    by_node: dict[str, list[Attempt]] = {}
    for attempt in services.store.reads.live_attempts():
        by_node.setdefault(attempt.node, []).append(attempt)

    def labels(node: HostNode) -> list[Group]:
        known = {
            "ClusterId": (cluster, CLUSTER_NAME),
            "Nodepool": (node.node_group, ""),
            "Node": (node.id, ""),
        }
        return [Group(name, *known[name]) for name in groups]

    down, ill = call.ctx.down(), services.unhealthy()
    value = NODE_VALUES[kind]
    cells: list[tuple[Sequence[Group], float]] = []
    for node in org.nodes_now(services):
        if pool in ("", node.node_group):
            well = () if node.id in down else [g for g in node.gpus if g.uuid not in ill]
            cells.append((labels(node), value(NodeNow(node, by_node.get(node.id, ()), well))))
    return answer(call, kind, cells)
