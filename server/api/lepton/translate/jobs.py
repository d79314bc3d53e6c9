"""Jobs, their replicas and events."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ....domain.images import check_image
from ....domain.inventory import Shape
from ....domain.registries import NO_LOGIN, unknown_login
from ....domain.runs import current_run, failures_of, finished_at_ms, replica_runs
from ....domain.times import check_reach
from ....domain.volumes import MountRequest
from ....domain.workload import TERMINAL, Attempt, AttemptState, Phase, Run, Workload, WorkloadSpec
from ....errors import Invalid, NotImplementedYet
from ....store.tables import EventRow
from .. import wire
from .foreign import metadata_to_wire, spec_to_wire
from .queue import standing_of

# Spelling as in leptonai 0.47.1, api.v2.types.job.LeptonJobState.
STATES = {
    Phase.AWAITING: "Awaiting",
    Phase.QUEUED: "Queueing",
    Phase.STARTING: "Starting",
    Phase.RUNNING: "Running",
    Phase.UNKNOWN: "UNK",
    Phase.PENDING_RETRY: "PendingRetry",
    Phase.RESTARTING: "Restarting",
    Phase.COMPLETED: "Completed",
    Phase.FAILED: "Failed",
    Phase.STOPPING: "Stopping",
    Phase.STOPPED: "Stopped",
    Phase.DELETING: "Deleting",
    Phase.ARCHIVED: "Archived",
}
LOG_LAG_MS = 100  # engines stamp a line when they read it: up to 20 ms after the end were seen
NAME = re.compile(r"[a-z]([a-z0-9-]{0,34}[a-z0-9])?")  # leptonai 0.47.1, api.v2.job_validation
# What these fields ask for is not built yet. Refused rather than ignored: work would run without it.
UNSERVED = ("storage_attachments",)


def job_name(job: wire.Job) -> str:
    return checked_name("metadata.id", job.metadata.id or job.metadata.name or "")


def checked_name(field: str, name: str) -> str:
    if NAME.fullmatch(name) is None:
        shown = repr(name) if len(name) <= 64 else f"{name[:64]!r}... ({len(name)} characters)"
        raise Invalid(
            field, f"{shown} must be 1 to 36 of a-z, 0-9 and '-', begin with a letter, not end with '-'"
        )
    return name


def to_spec(job: wire.Job, shape: Shape, *, node_groups: Sequence[str]) -> WorkloadSpec:
    spec = job.spec
    if not spec.container.image:
        raise Invalid("spec.container.image", "a job needs an image")
    check_image("spec.container.image", spec.container.image)
    raw = job.model_dump(exclude_unset=True, by_alias=True)
    for field in UNSERVED:
        if raw["spec"].get(field):
            raise NotImplementedYet(f"spec.{field}")
    completions, parallelism = spec.completions or 1, spec.parallelism or 1
    if spec.segment_config and completions % spec.segment_config.count_per_segment:
        count = spec.segment_config.count_per_segment
        raise Invalid(
            "spec.segment_config.count_per_segment", f"{completions} workers are no multiple of {count}"
        )
    envs, standing = spec.envs or [], standing_of(spec.queue_config)
    reservation = spec.reservation_config or wire.ReservationConfig()
    start_at = spec.time_schedule.start_at if spec.time_schedule else None
    check_reach("spec.time_schedule.start_at", (start_at or 0) * 1000)
    return WorkloadSpec(
        image=spec.container.image,
        command=tuple(spec.container.command or ()),
        shape=shape.name,
        cpu_cores=shape.cpu_cores,
        memory_mib=shape.memory_mib,
        env=tuple((e.name, e.value or "") for e in envs if e.value_from is None),
        secret_env=tuple((e.name, secret_of(i, e.value_from)) for i, e in enumerate(envs) if e.value_from),
        mounts=tuple(mount_to_domain(m) for m in spec.mounts or ()),
        pull_secrets=tuple(spec.image_pull_secrets or ()),
        ports=tuple(port_to_domain(i, p) for i, p in enumerate(spec.container.ports or ())),
        gpu_count=shape.gpu_count,
        gpu_product=shape.gpu_product,
        mig_profile=shape.mig_profile,
        shm_mib=spec.shared_memory_size or None,
        priority=standing.priority,
        is_preemptible=standing.is_preemptible,
        can_preempt=standing.can_preempt,
        node_groups=tuple(node_groups),
        nodes=tuple((spec.affinity or wire.Affinity()).allowed_nodes_in_node_group or ()),
        reservation=reservation.reservation_id or None,
        may_burst=bool(reservation.allow_burst_to_other_reservations),
        completions=completions,
        parallelism=min(parallelism, completions),
        worker_retries=spec.max_failure_retry or 0,
        run_retries=spec.max_job_failure_retry or 0,
        segment_size=spec.segment_config.count_per_segment if spec.segment_config else 0,
        start_at_ms=None if start_at is None else start_at * 1000,
        ttl_s=spec.ttl_seconds_after_finished,
        is_stopped=bool(spec.stopped),
        collects_logs=collects_logs(spec.log),
        is_private=job.metadata.visibility == "private",
        extras={"spec": raw["spec"], "metadata": raw["metadata"]},
    )


def warnings_of(
    image_pull_secrets: Sequence[str] | None, known_names: Collection[str]
) -> list[tuple[str, str]]:
    """Reason and message for each registry login that there is not: it is no reason to refuse."""
    return [(NO_LOGIN, unknown_login(name)) for name in image_pull_secrets or () if name not in known_names]


def collects_logs(log: wire.Log | None) -> bool:
    return log is None or log.enable_collection is not False


def secret_of(index: int, ref: wire.SecretRef) -> str:
    if not ref.secret_name_ref:
        raise Invalid(f"spec.envs[{index}].value_from", "only secret_name_ref is known")
    return ref.secret_name_ref


def mount_to_domain(mount: wire.Mount) -> MountRequest:
    read_only = bool(mount.mount_options and mount.mount_options.read_only)
    return MountRequest(mount.from_ or "default", mount.path or "/", mount.mount_path, read_only)


def port_to_domain(index: int, port: wire.ContainerPort) -> tuple[int, str, int | None]:
    protocol = (port.protocol or "tcp").lower()
    if protocol not in ("tcp", "udp", "sctp"):
        raise Invalid(f"spec.container.ports[{index}].protocol", f"{port.protocol!r} is not tcp, udp or sctp")
    is_mapped = "HostPortMapping" in (port.expose_strategies or ())
    return port.container_port, protocol, (port.host_port or 0) if is_mapped else None


def with_queue(spec: WorkloadSpec, patch: Mapping[str, Any] | None) -> WorkloadSpec:
    """
    Args:
        patch: fields of `spec.queue_config`; those that are not there stay. None takes all of it away.
    """
    asked = spec_to_wire(spec)
    before: Mapping[str, Any] = asked.pop("queue_config", None) or {}
    merged = None if patch is None else {**before, **patch}
    if merged is not None:
        asked["queue_config"] = merged
    standing = standing_of(None if merged is None else wire.QueueConfig.model_validate(merged))
    return replace(
        spec, priority=standing.priority, is_preemptible=standing.is_preemptible,
        can_preempt=standing.can_preempt, extras={**spec.extras, "spec": asked},
    )  # fmt: skip


def job_to_wire(workload: Workload, phase: Phase, attempts: Sequence[Attempt]) -> dict[str, Any]:
    run = current_run(workload, attempts)
    spec, told = spec_to_wire(workload.spec), metadata_to_wire(workload.spec)
    if "stopped" in spec or workload.spec.is_stopped or workload.generation > 1:
        spec["stopped"] = workload.spec.is_stopped  # absent as long as nobody has spoken of it
    metadata = {
        **told,
        "id": workload.id,
        "name": workload.name,
        "created_at": workload.created_at_ms,
        "version": workload.generation,
        "owner": workload.owner,
        "created_by": workload.owner,
        "visibility": told.get("visibility") or "public",
    }
    status: dict[str, Any] = {
        "job_name": workload.id,
        "state": STATES[phase],
        "ready": sum(a.state is AttemptState.RUNNING for a in run),
        "active": sum(a.is_live for a in run),
        "succeeded": sum(r.has_succeeded for r in replica_runs(workload, attempts)),
        "failed": len(failures_of(run)),
        "creation_time": workload.created_at_ms,
        "job_history": [run_to_wire(workload, r) for r in workload.history],
    }
    ended = finished_at_ms(workload, attempts)
    if phase in TERMINAL and ended is not None:
        # `lep log get` of 0.27.3 and 0.47.1 asks for the lines before it, over more than no time.
        status["completion_time"] = max(ended, workload.created_at_ms) + LOG_LAG_MS
    return {"metadata": metadata, "spec": spec, "status": status}


def run_to_wire(workload: Workload, run: Run) -> dict[str, Any]:
    """`job_name` is what `lep log get --job-history-name` takes."""
    return {
        "job_name": f"{workload.id}-run-{run.number}",
        "state": STATES[run.phase],
        "ready": 0,
        "active": 0,
        "succeeded": run.succeeded,
        "failed": run.failed,
        "creation_time": run.began_at_ms,
        "completion_time": max(run.finished_at_ms, run.began_at_ms) + LOG_LAG_MS,
    }


def replica_to_wire(attempt: Attempt) -> dict[str, Any]:
    return {
        "id": attempt.replica_id,
        "metadata": {
            "id": attempt.replica_id,
            "name": attempt.replica_id,
            "created_at": attempt.placed_at_ms,
            "version": attempt.number,
        },
        "status": {"node": {"id": attempt.node, "name": attempt.node}},
    }


def event_to_wire(row: EventRow, kind: str = "Job", name: str = "") -> dict[str, Any]:
    return {
        "type": row.type,
        "reason": row.reason,
        "count": row.count,
        "last_observed_time": datetime.fromtimestamp(row.last_ms / 1000, UTC).isoformat(),
        "message": row.message,
        "regarding": {"kind": kind, "name": name or row.workload_id, "message": row.message},
    }


def job_environment(workload: Workload, attempt: Attempt) -> tuple[tuple[str, str], ...]:
    """The variables that every job finds. Source: NVIDIA's page on predefined environment variables."""
    spec = workload.spec
    return (
        ("LEPTON_WORKSPACE_ID", workload.workspace),
        ("LEPTON_JOB_NAME", workload.id),
        ("LEPTON_WORKER_ID", attempt.replica_id),
        ("LEPTON_JOB_FAILURE_COUNT", str(workload.runs_failed)),
        ("LEPTON_JOB_TOTAL_WORKERS", str(spec.completions)),
        ("LEPTON_JOB_WORKER_INDEX", str(attempt.index)),
        ("LEPTON_JOB_SERVICE_PREFIX", workload.id),
        ("LEPTON_JOB_WORKER_PREFIX", "worker"),
        ("LEPTON_JOB_WORKER_HOSTNAME_PREFIX", "worker"),
        ("LEPTON_SUBDOMAIN", f"{workload.id}-job-svc"),
        ("LEPTON_RESOURCE_ACCELERATOR_NUM", str(spec.gpu_count)),
        ("LEPTON_RESOURCE_ACCELERATOR_TYPE", spec.gpu_product or ""),
        ("LEPTON_VIRTUAL_ENV", "/opt/lepton/venv"),
    )
