"""Jobs, their replicas and events."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ....domain.inventory import Shape
from ....domain.workload import TERMINAL, Attempt, AttemptState, Phase, Workload, WorkloadSpec, current_run
from ....errors import Invalid, NotImplementedYet
from ....store.tables import EventRow
from .. import wire

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
