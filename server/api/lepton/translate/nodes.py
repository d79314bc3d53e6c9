"""Node groups, nodes and shapes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from ....domain.inventory import HostNode, Shape, device_part, gpus_held
from ....domain.org import NodePool
from ....domain.volumes import Volume
from ....domain.workload import Attempt, Workload
from .storage import volume_to_wire


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the operating system says of the machine behind a node; the disk is that of the volumes."""

    disk_bytes: int
    disk_used_bytes: int
    os: str
    kernel: str
    architecture: str


def health_word(node: HostNode, unhealthy: Collection[str], down: Collection[str]) -> str:
    """
    `Healthy`, or `Degraded` where some of its GPUs are not, or `Unhealthy` where none is or the node is down:
    the clients take a node with that word for one that cannot be used. Source: contract section 7.
    """
    if node.id in down:
        return "Unhealthy"
    ill = sum(g.uuid in unhealthy for g in node.gpus)
    if not ill:
        return "Healthy"
    return "Degraded" if ill < len(node.gpus) else "Unhealthy"


def is_closed(node: HostNode) -> bool:
    """No workload of this dialect goes there: it has no word for tolerations."""
    return any(effect in ("NoSchedule", "NoExecute") for _, _, effect in node.taints)


PURPOSES = ("job", "deployment", "pod")  # what a shape can be asked for
KINDS = {"endpoint": "deployment"}  # source: NVIDIA's templates, workload_type: job, pod or deployment


def node_group_to_wire(
    pool: NodePool, nodes: Sequence[HostNode], volumes: Sequence[Volume], down: Collection[str]
) -> dict[str, Any]:
    """`down`: nodes that cannot be reached."""
    products = sorted({g.product for n in nodes for g in n.gpus})
    return {
        "metadata": {"id": pool.name, "name": pool.name, "created_at": pool.stamp.created_at_ms},
        "spec": {
            "volumes": [volume_to_wire(v) for v in volumes],
            "enable_object_storage": False,
            "node_mode": "customer-node",
            "gpu_product": ", ".join(products),
            "desired_nodes": len(nodes),
        },
        "status": {"ready_nodes": sum(n.id not in down for n in nodes), "quota_enabled": True},
    }


def gpu_figures(node: HostNode, here: Sequence[Attempt], unhealthy: Collection[str]) -> tuple[float, float]:
    """
    GPUs that are taken and GPUs in all. The clients take the difference for what can be had, so a device that
    is not healthy counts for what is taken of it and no more, and a MIG instance for its part of a device.

    Args:
        here: what lives on the node. unhealthy: GPUs, by UUID.
    """
    taken = {g.uuid: fsum(gpus_held(a.gpu_uuids, a.gpu_portion, (g,)) for a in here) for g in node.gpus}
    total = fsum(taken[g.uuid] if g.uuid in unhealthy else device_part(g) for g in node.gpus)
    return round(fsum(taken.values()), 4), round(total, 4)


def resource_to_wire(
    node: HostNode, live: Sequence[Attempt], host: HostFacts, unhealthy: Collection[str]
) -> dict[str, Any]:
    here = [a for a in live if a.node == node.id]
    products = dict.fromkeys(g.product + (" (simulated)" if g.is_simulated else "") for g in node.gpus)
    resource: dict[str, Any] = {
        "cpu": {
            "type": host.architecture, "allocated": sum(a.cpu_cores for a in here), "total": node.cpu_cores,
        },
        "memory": {"allocated": sum(a.memory_mib for a in here), "total": node.memory_mib},
        "disk": {"total_bytes": host.disk_bytes, "used_bytes": host.disk_used_bytes},
        "system": {
            "os": host.os, "kernel_version": host.kernel, "cuda_version": node.cuda_version,
            "cuda_driver_version": node.driver_version,
        },
    }  # fmt: skip
    if node.gpus:
        taken, total = gpu_figures(node, here, unhealthy)
        resource["gpu"] = {"product": ", ".join(products), "allocated": taken, "total": total}
    return resource


def machine_to_wire(
    node: HostNode,
    live: Sequence[Attempt],
    created_at_ms: int,
    host: HostFacts,
    unhealthy: Collection[str],
    down: Collection[str],
) -> dict[str, Any]:
    """
    A node and its machine are one here; `machine_id` is what the clients match them by.

    Args:
        unhealthy: GPUs, by UUID. down: nodes that cannot be reached.
    """
    return {
        "metadata": {"id": node.id, "name": node.id, "created_at": created_at_ms},
        "status": {
            "machine_id": node.id, "node_name": node.id, "hostname": node.id, "provider": "homeport",
            "status": health_word(node, unhealthy, down),
            "resource": resource_to_wire(node, live, host, unhealthy),
        },
    }  # fmt: skip


def node_to_wire(
    node: HostNode,
    live: Sequence[Attempt],
    shown: Mapping[str, Workload],
    workspace: str,
    created_at_ms: int,
    host: HostFacts,
    unhealthy: Collection[str],
    down: Collection[str],
) -> dict[str, Any]:
    """
    Args:
        live: of everybody, since they all take room. shown: the workloads that may be named, by id.
        unhealthy: GPUs, by UUID. down: nodes that cannot be reached.
    """
    here = [a for a in live if a.node == node.id and a.workload_id in shown]
    return {
        "metadata": {"id": node.id, "name": node.id, "created_at": created_at_ms},
        "spec": {
            "unschedulable": is_closed(node), "dedicated_node_group": node.node_group, "hostname": node.id,
            "machine_id": node.id, "provider": "homeport",
            "resource": resource_to_wire(node, live, host, unhealthy),
        },
        "status": {
            "status": ["NotReady" if node.id in down else "Ready", health_word(node, unhealthy, down)],
            "hostname": node.id,
            "workloads": [
                {
                    **called(shown[a.workload_id]), "replica_id": a.replica_id, "workspace": workspace,
                    "cpu": a.cpu_cores, "memory": a.memory_mib,
                    "gpu_count": round(gpus_held(a.gpu_uuids, a.gpu_portion, node.gpus), 4),
                }
                for a in here
            ],
        },
    }  # fmt: skip


def called(workload: Workload) -> dict[str, str]:
    """Jobs go by their id, endpoints and pods by their name: with these the clients find them."""
    name = workload.id if workload.kind == "job" else workload.name
    return {"type": KINDS.get(workload.kind, workload.kind), "name": name, "id": name}


def shape_to_wire(shape: Shape, node_group: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "name": shape.name, "cpu": shape.cpu_cores, "memory_in_mb": shape.memory_mib,
        "listable_in": list(PURPOSES), "node_group_id": node_group,
    }  # fmt: skip
    if shape.gpu_count:
        spec |= {
            "accelerator_type": shape.gpu_product, "accelerator_num": float(shape.gpu_count),
            "accelerator_memory_in_mb": shape.gpu_memory_mib,
        }  # fmt: skip
    return {"metadata": {"id": shape.name, "name": shape.name}, "spec": spec}
