"""
The cluster, node pools and nodes.

Source: `DisplayedCluster`, `Nodepool` and `Node` of runapy 1.224.0.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ....domain.inventory import HostNode
from ....domain.org import NodePool
from ....domain.times import LONGEST_S
from ....errors import Invalid, NotImplementedYet
from ..context import TENANT_ID
from ..wire import NodePoolCreation, NodePoolFields, NodePoolUpdate, PlacementStrategy
from .ignored import ignored_to_wire, to_keep
from .org import KEPT, stamp_to_wire, time_to_wire

CLUSTER_NAME = "local"
# A Go duration, with the days and weeks that the client's own model allows beside it.
DURATION = re.compile(r"(0|\+?((\d+(\.\d+)?)(ns|us|µs|μs|ms|s|m|h|d|w))+)")
SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600,
    "d": 86400, "w": 604800,
}  # fmt: skip


def cluster_to_wire(
    cluster_id: str, name: str, version: str, created_at_ms: int, now_ms: int, base_url: str
) -> dict[str, Any]:
    """It is as alive as the server that answers."""
    return {
        "uuid": cluster_id,
        "tenantId": TENANT_ID,
        "name": name,
        "createdAt": time_to_wire(created_at_ms),
        "updatedAt": time_to_wire(created_at_ms),
        "lastLiveness": time_to_wire(now_ms),
        "domain": base_url,
        "version": version,
        "status": {
            "state": "Connected",
            "conditions": [],
            "operands": {},
            "platform": {},  # a kind of Kubernetes, which there is none of here
        },
    }


# --- node pools


def seconds_of(text: str, field: str) -> int:
    """`5d8h40m` -> 463200. Part of a second counts as a whole one."""
    if DURATION.fullmatch(text) is None:
        raise Invalid(field, f"{text!r} is no duration; write it as 30s, 5m or 1d12h")
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|μs|ms|s|m|h|d|w)", text)
    return -int(-sum(float(number) * SECONDS[unit] for number, unit in parts) // 1)


def _guaranteed_s(text: str, field: str) -> int:
    found = seconds_of(text, field)
    if found > LONGEST_S:
        raise Invalid(field, f"{text!r} is more than {LONGEST_S // 86400} days; write less")
    return found


def duration_of(seconds: int) -> str:
    """As Go writes it, without parts that are none: 5400 -> `1h30m`."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (left, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def pool_to_domain(sent: NodePoolCreation) -> NodePool:
    return change_pool(NodePool("", sent.name), sent, is_whole=True)


def change_pool(before: NodePool, sent: NodePoolUpdate | NodePoolCreation, *, is_whole: bool) -> NodePool:
    """
    Args:
        is_whole: a PUT, where what is not sent goes back to its default; else a PATCH, where it stays.

    Raises:
        NotImplementedYet: it names a network topology.
    """
    if sent.networkTopologyId:
        raise NotImplementedYet("networkTopologyId of a node pool")
    base = before
    if is_whole:
        base = replace(before, gpu_strategy="binpack", cpu_strategy="binpack", min_runtime_s=0)
    config = sent.schedulingConfiguration
    gpu, cpu = _strategies(config.placementStrategy, sent.placementStrategy)
    runtime = config.minGuaranteedRuntime
    known = {} if is_whole else pool_extras(before)
    kept = known | to_keep(sent.unknown()) | _stored(sent)
    return replace(
        base,
        label_key=before.label_key if sent.labelKey is None else sent.labelKey,
        label_value=before.label_value if sent.labelValue is None else sent.labelValue,
        gpu_strategy=gpu or base.gpu_strategy,
        cpu_strategy=cpu or base.cpu_strategy,
        min_runtime_s=(
            base.min_runtime_s
            if runtime is None
            else _guaranteed_s(runtime, "schedulingConfiguration.minGuaranteedRuntime")
        ),
        extras=before.extras | {KEPT: kept | ({"minGuaranteedRuntime": runtime} if runtime else {})},
    )


def _strategies(newer: PlacementStrategy, older: PlacementStrategy) -> tuple[str | None, str | None]:
    """There are two places for it, of which the one in schedulingConfiguration is the newer."""
    return newer.gpu or older.gpu, newer.cpu or older.cpu


def _stored(sent: NodePoolFields) -> dict[str, Any]:
    """What a pool of ours does not act on (rule 17 of the contract), but tells again."""
    names = (
        "overProvisioningRatio", "gpuNetworkAccelerationDetection", "gpuNetworkAccelerationLabelKey",
        "gpuResourceOptimization",
    )  # fmt: skip
    return {name: value for name in names if (value := getattr(sent, name)) is not None}


def pool_extras(pool: NodePool) -> dict[str, Any]:
    kept = pool.extras.get(KEPT)
    return dict(kept) if isinstance(kept, dict) else {}


def pool_phase(names: Sequence[str]) -> str:
    return "Ready" if names else "Empty"


def pool_to_wire(
    pool: NodePool, nodes: Sequence[HostNode], cluster_id: str, cluster_name: str
) -> dict[str, Any]:
    """`nodes`: all, with their pool as `node_group`."""
    mine = [n.id for n in nodes if n.node_group == pool.name]
    kept = pool_extras(pool)
    said = kept.pop("minGuaranteedRuntime", "")
    is_as_said = bool(said) and seconds_of(said, "minGuaranteedRuntime") == pool.min_runtime_s
    strategy = {"gpu": pool.gpu_strategy, "cpu": pool.cpu_strategy}
    asked: dict[str, Any] = {
        "overProvisioningRatio": 1,
        "gpuNetworkAccelerationDetection": "Auto",
        **kept,
        "labelKey": pool.label_key,
        "labelValue": pool.label_value,
        "placementStrategy": strategy,
        "schedulingConfiguration": {
            "placementStrategy": strategy,
            "minGuaranteedRuntime": said if is_as_said else duration_of(pool.min_runtime_s),
        },
    }
    condition = {
        "type": pool_phase(mine), "status": "True", "reason": "Nodes" if mine else "NoNodes",
        "message": f"{len(mine)} node(s)",
    }  # fmt: skip
    return (
        asked
        | ignored_to_wire(kept)
        | {
            "id": pool.id,
            "name": pool.name,
            "tenantId": TENANT_ID,
            "clusterId": cluster_id,
            "clusterName": cluster_name,
            "isDefault": pool.is_default,
            "phase": pool_phase(mine),
            "phaseMessage": "" if mine else "no node has its label",
            "status": {**asked, "nodes": mine, "conditions": [condition]},
            **stamp_to_wire(pool.stamp),
        }
    )


# --- nodes


def node_uuid(cluster_id: str, name: str) -> str:
    """Ids are UUIDs there; ours are names. The same node always gets the same one."""
    return str(uuid.uuid5(uuid.UUID(cluster_id), name))


def gpu_type(node: HostNode) -> str:
    if not node.gpus:
        return ""
    gpu = node.gpus[0]
    return f"{gpu.product} (simulated)" if gpu.is_simulated else gpu.product


def node_status(node: HostNode, down: frozenset[str]) -> str:
    return "NotReady" if node.id in down else "Ready"


def node_to_wire(
    node: HostNode, cluster_id: str, created_at_ms: int, down: frozenset[str], unhealthy: Mapping[str, str]
) -> dict[str, Any]:
    """
    Args:
        down: nodes that cannot be reached. unhealthy: GPUs that get no new work, by UUID, and why.
    """
    status = node_status(node, down)
    ready = {
        "type": "Ready", "reason": "NodeReady" if status == "Ready" else "NodeNotReady",
        "message": "" if status == "Ready" else "it cannot be reached",
    }  # fmt: skip
    sick = [
        {"type": "GpuHealthy", "reason": "GpuUnhealthy", "message": f"{g.uuid}: {unhealthy[g.uuid]}"}
        for g in node.gpus
        if g.uuid in unhealthy
    ]
    told: dict[str, Any] = {
        "id": node_uuid(cluster_id, node.id),
        "name": node.id,
        "clusterUuid": cluster_id,
        "nodePool": node.node_group,
        "status": status,
        "conditions": [ready, *sick],
        "taints": [{"key": key, "value": value, "effect": effect} for key, value, effect in node.taints],
        "createdAt": time_to_wire(created_at_ms),
        "updatedAt": time_to_wire(created_at_ms),
    }
    if node.gpus:
        told["gpuInfo"] = {
            "gpuType": gpu_type(node),
            "gpuCount": len({g.parent_uuid or g.uuid for g in node.gpus}),
        }
    return told
