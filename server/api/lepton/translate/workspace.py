"""The workspace and its tokens."""

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any

from ....domain.inventory import HostNode, Shape, device_part, gpus_held
from ....domain.workload import Attempt
from ....store.reads import Token


def token_to_wire(row: Token) -> dict[str, Any]:
    return {"masked_value": f"{row.prefix}...{row.suffix}", "expires_at": row.expires_at_ms}


def workspace_to_wire(
    workspace: str,
    version: str,
    counts: Mapping[str, int],
    live: Sequence[Attempt],
    nodes: Sequence[HostNode],
    shapes: Sequence[Shape],
    *,
    has_new_families: bool,
    is_secure_by_default: bool,
) -> dict[str, Any]:
    """The union of what all client versions need; source: WorkspaceInfo of 0.22.9 to 0.47.1."""
    gpus = {n.id: n.gpus for n in nodes}
    used = {
        "cpu": float(sum(a.cpu_cores for a in live)),
        "memory": sum(a.memory_mib for a in live),
        "accelerator_num": round(
            fsum(gpus_held(a.gpu_uuids, a.gpu_portion, gpus.get(a.node, ())) for a in live), 4
        ),
    }
    limit = {
        "cpu": float(sum(n.cpu_cores * n.overcommit for n in nodes)),
        "memory": sum(int(n.memory_mib * n.overcommit) for n in nodes),
        "accelerator_num": round(fsum(device_part(g) for n in nodes for g in n.gpus), 4),
    }
    no_services = {"kv_store_num": 0, "queue_num": 0}
    return {
        "build_time": "",
        "git_commit": version,
        "workspace_name": workspace,
        "workspace_tier": "local",
        "workspace_state": "normal",
        "supported_shapes": {
            s.name: {"cpu": s.cpu_cores, "memory": s.memory_mib, "accelerator_num": float(s.gpu_count)}
            for s in shapes
        },
        "workspace_disk_usage_bytes": 0,
        "workloads": {
            "num_deployments": counts.get("endpoint", 0), "num_jobs": counts.get("job", 0),
            "num_pods": counts.get("pod", 0), "num_secrets": counts.get("secret", 0),
            "num_image_pull_secrets": counts.get("registry", 0), "num_photons": 0,
        },
        "resource_quota": {"limit": limit, "used": used},
        "service_quota": {"limit": no_services, "used": no_services},
        "features": {
            "enable_new_deployment_api": has_new_families,
            "enable_secure_endpoint_defaults": is_secure_by_default,
        },
    }  # fmt: skip
