"""Wire -> domain and back. The only file that knows both languages."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ...domain.inventory import HostNode, Shape
from ...domain.workload import TERMINAL, Attempt, AttemptState, Phase, Workload, WorkloadSpec, current_run
from ...errors import Invalid, NotImplementedYet
from ...store.tables import EventRow, TokenRow
from . import wire

# Spelling as in leptonai 0.47.1, api.v2.types.job.LeptonJobState.
STATES = {
    Phase.QUEUED: "Queueing",
    Phase.STARTING: "Starting",
    Phase.RUNNING: "Running",
    Phase.COMPLETED: "Completed",
    Phase.FAILED: "Failed",
    Phase.STOPPING: "Stopping",
    Phase.STOPPED: "Stopped",
    Phase.DELETING: "Deleting",
    Phase.ARCHIVED: "Archived",
}
JOB_PRIORITY = 67  # design: a job without a class is mid-4000, 67 on the one scale of 0..150
NAME = re.compile(r"[a-z]([a-z0-9-]{0,34}[a-z0-9])?")  # leptonai 0.47.1, api.v2.job_validation
# What these fields ask for is not built yet. Refused rather than ignored: work would run without it.
UNSERVED = (
    "mounts", "storage_attachments", "max_failure_retry", "max_job_failure_retry", "queue_config",
    "reservation_config", "time_schedule", "segment_config", "intra_job_communication",
)  # fmt: skip


def job_name(job: wire.Job) -> str:
    name = job.metadata.id or job.metadata.name or ""
    if NAME.fullmatch(name) is None:
        raise Invalid(
            "metadata.id",
            f"{name!r} must be at most 36 of a-z, 0-9 and '-', begin with a letter, not end with '-'",
        )
    return name


def to_spec(job: wire.Job, shape: Shape, *, node_groups: Sequence[str]) -> WorkloadSpec:
    spec = job.spec
    if not spec.container.image:
        raise Invalid("spec.container.image", "a job needs an image")
    if max(spec.completions or 1, spec.parallelism or 1) > 1:
        raise NotImplementedYet("jobs of several workers (spec.completions, spec.parallelism)")
    raw = job.model_dump(exclude_unset=True)
    for field in UNSERVED:
        if raw["spec"].get(field):
            raise NotImplementedYet(f"spec.{field}")
    if spec.container.ports:
        raise NotImplementedYet("spec.container.ports")
    env: list[tuple[str, str]] = []
    for variable in spec.envs or []:
        if variable.value_from is not None:
            raise NotImplementedYet("secrets as environment (spec.envs[].value_from)")
        env.append((variable.name, variable.value or ""))
    affinity = spec.affinity or wire.Affinity()
    return WorkloadSpec(
        image=spec.container.image,
        command=tuple(spec.container.command or ()),
        shape=shape.name,
        cpu_cores=shape.cpu_cores,
        memory_mib=shape.memory_mib,
        env=tuple(env),
        gpu_count=shape.gpu_count,
        gpu_product=shape.gpu_product,
        shm_mib=spec.shared_memory_size,
        priority=JOB_PRIORITY,
        node_groups=tuple(node_groups),
        nodes=tuple(affinity.allowed_nodes_in_node_group or ()),
        is_stopped=bool(spec.stopped),
        extras={"spec": raw["spec"], "metadata": raw["metadata"]},
    )


def job_to_wire(workload: Workload, phase: Phase, attempts: Sequence[Attempt]) -> dict[str, Any]:
    run = current_run(workload, attempts)
    spec = {"completions": 1, "parallelism": 1, **workload.spec.extras["spec"]}
    spec["stopped"] = workload.spec.is_stopped
    metadata = {
        **workload.spec.extras["metadata"],
        "id": workload.id,
        "name": workload.name,
        "created_at": workload.created_at_ms,
        "version": workload.generation,
        "owner": workload.owner,
        "created_by": workload.owner,
        "visibility": workload.spec.extras["metadata"].get("visibility") or "public",
    }
    status: dict[str, Any] = {
        "job_name": workload.id,
        "state": STATES[phase],
        "ready": sum(a.state is AttemptState.RUNNING for a in run),
        "active": sum(a.is_live for a in run),
        "succeeded": sum(not a.is_live and a.exit_code == 0 for a in run),
        "failed": sum(not a.is_live and a.exit_code != 0 for a in run),
        "creation_time": workload.created_at_ms,
        "job_history": [],
    }
    ends = [a.finished_at_ms for a in run if a.finished_at_ms is not None]
    if phase in TERMINAL and ends:
        # Later than the creation, or `lep log get` refuses the span.
        status["completion_time"] = max(*ends, workload.created_at_ms + 1)
    return {"metadata": metadata, "spec": spec, "status": status}


def replica_to_wire(attempt: Attempt) -> dict[str, Any]:
    return {
        "id": attempt.replica_id,
        "metadata": {
            "id": attempt.replica_id,
            "name": attempt.replica_id,
            "created_at": attempt.placed_at_ms,
        },
        "status": {"node": {"id": attempt.node, "name": attempt.node}},
    }


def event_to_wire(row: EventRow) -> dict[str, Any]:
    return {
        "type": row.type,
        "reason": row.reason,
        "count": row.count,
        "last_observed_time": datetime.fromtimestamp(row.last_ms / 1000, UTC).isoformat(),
        "message": row.message,
        "regarding": {"kind": "Job", "name": row.workload_id, "message": row.message},
    }


def token_to_wire(row: TokenRow) -> dict[str, Any]:
    return {"masked_value": f"{row.prefix}...{row.suffix}", "expires_at": row.expires_at_ms}


def node_group_to_wire(name: str, nodes: Sequence[HostNode], created_at_ms: int) -> dict[str, Any]:
    products = sorted({g.product for n in nodes for g in n.gpus})
    return {
        "metadata": {"id": name, "name": name, "created_at": created_at_ms},
        "spec": {
            "node_mode": "customer-node",
            "gpu_product": ", ".join(products),
            "desired_nodes": len(nodes),
        },
        "status": {"ready_nodes": len(nodes), "quota_enabled": True},
    }


def node_to_wire(
    node: HostNode, live: Sequence[Attempt], workspace: str, created_at_ms: int
) -> dict[str, Any]:
    here = [a for a in live if a.node == node.id]
    gpu = node.gpus[0] if node.gpus else None
    product = "" if gpu is None else gpu.product + (" (simulated)" if gpu.is_simulated else "")
    resource: dict[str, Any] = {
        "cpu": {"type": "x86_64", "allocated": sum(a.cpu_cores for a in here), "total": node.cpu_cores},
        "memory": {"allocated": sum(a.memory_mib for a in here), "total": node.memory_mib},
        "system": {"cuda_version": node.cuda_version, "cuda_driver_version": node.driver_version},
    }
    if gpu is not None:
        taken = sum(len(a.gpu_uuids) for a in here)
        resource["gpu"] = {"product": product, "allocated": float(taken), "total": float(len(node.gpus))}
    return {
        "metadata": {"id": node.id, "name": node.id, "created_at": created_at_ms},
        "spec": {
            "unschedulable": False, "dedicated_node_group": node.node_group, "hostname": node.id,
            "provider": "homeport", "resource": resource,
        },
        "status": {
            "status": ["Ready", "Healthy"],
            "hostname": node.id,
            "workloads": [
                {
                    "type": "job", "name": a.workload_id, "id": a.workload_id, "replica_id": a.replica_id,
                    "workspace": workspace, "cpu": a.cpu_cores, "memory": a.memory_mib,
                    "gpu_count": len(a.gpu_uuids),
                }
                for a in here
            ],
        },
    }  # fmt: skip


def shape_to_wire(shape: Shape, node_group: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "name": shape.name, "cpu": shape.cpu_cores, "memory_in_mb": shape.memory_mib,
        "listable_in": ["job"], "node_group_id": node_group,
    }  # fmt: skip
    if shape.gpu_count:
        spec |= {
            "accelerator_type": shape.gpu_product, "accelerator_num": float(shape.gpu_count),
            "accelerator_memory_in_mb": shape.gpu_memory_mib,
        }  # fmt: skip
    return {"metadata": {"id": shape.name, "name": shape.name}, "spec": spec}


def workspace_to_wire(
    workspace: str, version: str, num_jobs: int, live: Sequence[Attempt], shapes: Sequence[Shape]
) -> dict[str, Any]:
    """The union of what all client versions need; source: WorkspaceInfo of 0.22.9 to 0.47.1."""
    used = {
        "cpu": float(sum(a.cpu_cores for a in live)),
        "memory": sum(a.memory_mib for a in live),
        "accelerator_num": float(sum(len(a.gpu_uuids) for a in live)),
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
            "num_deployments": 0, "num_jobs": num_jobs, "num_pods": 0, "num_secrets": 0,
            "num_image_pull_secrets": 0, "num_photons": 0,
        },
        "resource_quota": {"limit": used, "used": used},
        "service_quota": {"limit": no_services, "used": no_services},
        # Endpoints and pods are not served yet, so neither family is announced.
        "features": {"enable_new_deployment_api": False, "enable_secure_endpoint_defaults": False},
    }  # fmt: skip


def job_environment(workload: Workload, attempt: Attempt) -> tuple[tuple[str, str], ...]:
    """The variables that every job finds. Source: NVIDIA's page on predefined environment variables."""
    gpu = workload.spec.gpu_product or ""
    index = attempt.replica_id.removeprefix(f"{workload.id}-").partition("-")[0]
    return (
        ("LEPTON_WORKSPACE_ID", workload.workspace),
        ("LEPTON_JOB_NAME", workload.id),
        ("LEPTON_WORKER_ID", attempt.replica_id),
        ("LEPTON_JOB_FAILURE_COUNT", "0"),
        ("LEPTON_JOB_TOTAL_WORKERS", "1"),
        ("LEPTON_JOB_WORKER_INDEX", index),
        ("LEPTON_JOB_SERVICE_PREFIX", workload.id),
        ("LEPTON_JOB_WORKER_PREFIX", "worker"),
        ("LEPTON_JOB_WORKER_HOSTNAME_PREFIX", "worker"),
        ("LEPTON_SUBDOMAIN", f"{workload.id}-job-svc"),
        ("LEPTON_RESOURCE_ACCELERATOR_NUM", str(workload.spec.gpu_count)),
        ("LEPTON_RESOURCE_ACCELERATOR_TYPE", gpu),
        ("LEPTON_VIRTUAL_ENV", "/opt/lepton/venv"),
    )
