"""
Workloads as lists and typed views show them.

Source of the fields: the models of runapy 1.224.0 (`WorkloadDetailed`, `Training1`, `DistributedWorkload`).
"""

from collections.abc import Mapping
from typing import Any

from .....scheduler.model import Unplaced
from ..context import TENANT_ID
from ..lists import Read, at
from . import phases
from .connections import connections_of, served_as, urls_of
from .exposures import exposed_connections, exposed_urls
from .org import time_to_wire
from .priorities import name_of
from .seen import Seen, allocated, arguments_of, asked, command_of, pods_asked

SOURCE, LEPTON = "Control-plane", "Other"
SUSPENDED = ("Training", "Workspace", "Distributed")  # types that can be
FIELDS: Mapping[str, Read[Seen]] = {
    "type": lambda s: s.type,
    "name": lambda s: s.workload.name,
    "clusterId": lambda s: s.where.cluster_id,
    "projectId": lambda s: s.project.id,
    "projectName": lambda s: s.project.name,
    "departmentId": lambda s: s.department.id,
    "departmentName": lambda s: s.department.name,
    "createdAt": lambda s: at(s.workload.created_at_ms),
    "deletedAt": lambda s: at(s.workload.archived_at_ms),
    "submittedBy": lambda s: s.workload.owner,
    "phase": lambda s: s.phase,
    "completedAt": lambda s: at(s.completed_ms),
    "nodepool": lambda s: s.pools or list(s.asked_pools),
    "distributedFramework": lambda s: s.framework,
    "allocatedGPU": lambda s: s.gpus,
    "idleGpus": lambda s: _idle(s),
    "idleAllocatedGpus": lambda s: s.gpus if s.idle else 0.0,
    "phaseUpdatedAt": lambda s: at(s.phase_since_ms),
    "category": lambda s: s.category,
    "totalPendingTimeSeconds": lambda s: s.pending_s,
    "totalRunningTimeSeconds": lambda s: s.running_s,
    "guaranteedRuntimeEndsAt": lambda s: at(s.guaranteed_until_ms),
    "priority": lambda s: s.spec.priority,
    "priorityClassName": lambda s: _priority_name(s),
}
SEARCHED = ("name", "type", "projectName", "departmentName", "submittedBy", "phase")


def record(seen: Seen) -> dict[str, Any]:
    """One of the generic list; what has no value is left out, but for what clients may rely on."""
    workload, spec = seen.workload, seen.spec
    pods = pods_asked(seen)
    told: dict[str, Any] = {
        "tenantId": TENANT_ID,
        "id": seen.id,
        "name": workload.name,
        "type": seen.type,
        "category": seen.category,
        "source": SOURCE if seen.own else LEPTON,
        "clusterId": seen.where.cluster_id,
        **_unit(seen),
        "namespace": seen.project.namespace,
        "submittedBy": workload.owner,
        "createdAt": time_to_wire(workload.created_at_ms),
        "updatedAt": time_to_wire(seen.phase_since_ms),
        "deletedAt": _time(workload.archived_at_ms),
        "completedAt": _time(seen.completed_ms),
        **_phase(seen),
        "priority": spec.priority,
        "priorityClassName": _priority_name(seen),
        "preemptible": spec.is_preemptible,
        "workloadRequestedResources": asked(seen, pods["number"]),
        "podsRequestedResources": asked(seen),
        "allocatedResources": allocated(seen.attempts, seen.where),
        "requestedPods": pods,
        "runningPods": len(seen.running),
        "requestedNodePools": list(seen.asked_pools),
        "currentNodePools": seen.pools,
        "images": list(dict.fromkeys((spec.image, *((spec.first.image,) if spec.first else ())))),
        "childrenIds": [],
        "urls": [*urls_of(seen), *exposed_urls(seen)],
        "externalConnections": [*connections_of(seen), *exposed_connections(seen)],
        "datasources": [],
        "environments": [],
        "distributedFramework": seen.framework,
        "command": command_of(spec),
        "arguments": arguments_of(spec),
        "environmentVariables": dict(spec.env),
        "idleGpus": _idle(seen),
        "idleAllocatedGpus": seen.gpus if seen.idle else 0,
        "totalPendingTimeSeconds": seen.pending_s,
        "totalRunningTimeSeconds": seen.running_s,
        "guaranteedRuntimeEndsAt": _time(seen.guaranteed_until_ms),
        "actionsSupport": {
            "delete": not seen.is_gone,
            "suspend": seen.type in SUSPENDED and not seen.is_gone,
        },
    }
    always = ("deletedAt",)
    return {k: v for k, v in told.items() if v is not None or k in always}


def view(seen: Seen) -> dict[str, Any]:
    """Of one type: what it was made with, and how far it is."""
    workload = seen.workload
    told = {
        "name": workload.name,
        "requestedName": seen.own.get("requestedName", workload.name),
        "workloadId": seen.id,
        "projectId": seen.project.id,
        "departmentId": seen.department.id,
        "clusterId": seen.where.cluster_id,
        "createdBy": workload.owner,
        "createdAt": time_to_wire(workload.created_at_ms),
        "deletedAt": _time(workload.archived_at_ms),
        "desiredPhase": phases.desired_phase(workload),
        "actualPhase": seen.phase,
        "spec": seen.own.get("spec") if seen.own else spec_of(seen),
    }
    told |= {k: seen.own[k] for k in ("masterSpec", "masterSpecSameAsWorker") if k in seen.own}
    return told


def spec_of(seen: Seen) -> dict[str, Any]:
    """What was made through Lepton, as far as a submission could have said it."""
    spec = seen.spec
    compute: dict[str, Any] = {
        "cpuCoreRequest": spec.cpu_cores,
        "cpuMemoryRequest": f"{spec.memory_mib}Mi",
        "gpuDevicesRequest": spec.gpu_count,
    }
    if spec.gpu_count and spec.gpu_portion < 1:
        compute |= {"gpuRequestType": "portion", "gpuPortionRequest": spec.gpu_portion}
    told: dict[str, Any] = {
        "image": spec.image,
        "command": command_of(spec),
        "environmentVariables": [{"name": name, "value": value} for name, value in spec.env]
        + [{"name": name, "secret": {"name": held, "key": "value"}} for name, held in spec.secret_env],
        "compute": compute,
        "category": seen.category,
        "priorityClass": _priority_name(seen),
        "preemptibility": "preemptible" if spec.is_preemptible else "non-preemptible",
        "nodePools": list(spec.node_groups) or None,
        **(served_as(spec.serving) if spec.serving is not None and seen.type == "Inference" else {}),
        "backoffLimit": spec.worker_retries if spec.serving is None else None,
        "autoDeletionTimeAfterCompletionSeconds": spec.ttl_s,
    }
    if seen.type == "Distributed":
        told["numWorkers"] = spec.parallelism
    elif spec.serving is None and spec.completions > 1:
        told |= {"completions": spec.completions, "parallelism": spec.parallelism}
    return {k: v for k, v in told.items() if v is not None}


def _phase(seen: Seen) -> dict[str, Any]:
    """How far it is, and what it waits for."""
    phase, since = seen.phase, time_to_wire(seen.phase_since_ms)
    waiting = seen.waiting if phases.is_waiting(phase) else None
    told: dict[str, Any] = {
        "phase": phase,
        "phaseUpdatedAt": since,
        "phaseReason": phases.reason_of(waiting),
        "phaseMessage": phases.message_of(phase, waiting, seen.attempts),
        "k8sPhase": phases.k8s_phase(phase, has_pods=bool(seen.live)),
        "k8sPhaseUpdatedAt": since,
        "conditions": _conditions(seen),
    }
    if waiting is not None and (messages := _scheduling_messages(waiting)):
        told["pendingSchedulingMessages"] = messages
    return told


def _scheduling_messages(waiting: Unplaced) -> list[dict[str, str]]:
    """
    What quotas and limits say, each in its node pool. Nothing else: the client's model of these messages
    (`PendingSchedulingMessage`) knows no other reasons; `phaseMessage` has them all.
    """
    return [
        {"nodePool": o.pool, "phaseReason": phases.REASONS[o.code], "reason": phases.in_words(o.reason)}
        for o in waiting.over
    ]


def _unit(seen: Seen) -> dict[str, str]:
    return {
        "projectId": seen.project.id,
        "projectName": seen.project.name,
        "departmentId": seen.department.id,
        "departmentName": seen.department.name,
    }


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else time_to_wire(at_ms)


def _priority_name(seen: Seen) -> str:
    return seen.own.get("spec", {}).get("priorityClass") or name_of(seen.spec.priority)


def _idle(seen: Seen) -> int:
    return len({u for a in seen.live for u in a.gpu_uuids}) if seen.idle else 0


def _conditions(seen: Seen) -> list[dict[str, str]]:
    """As Kubernetes has them: that it has its place, and that it is ready."""
    has_place = bool(seen.live) or seen.phase in phases.ENDED
    since = time_to_wire(seen.phase_since_ms)
    placed = {"type": "PodScheduled", "status": str(has_place), "lastTransitionTime": since}
    if seen.waiting is not None and not has_place:
        placed |= {
            "reason": seen.waiting.code.value,
            "message": phases.in_words("; ".join(seen.waiting.reasons)),
        }
    ready = {"type": "Ready", "status": str(seen.phase == "Running"), "lastTransitionTime": since}
    return [placed, ready]
