"""Endpoints and dev pods of the legacy family (`/deployments`), in whose words both families are kept."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ....domain.endpoints import is_ready, serving_of, wanted_replicas
from ....domain.images import check_image
from ....domain.inventory import Shape
from ....domain.workload import Attempt, Phase, Workload, WorkloadSpec
from ....errors import Invalid, NotImplementedYet
from .. import wire
from ..wire_deployments import Deployment, DeploymentSpec, ResourceRequirement
from . import jobs
from .foreign import endpoint_to_wire, metadata_to_wire
from .queue import ENDPOINT_PRIORITY, POD_PRIORITY, standing_of
from .serving import masked, serving_of_endpoint, serving_of_pod
from .unheeded import IGNORED, unheeded

# Spelling as in leptonai 0.47.1, api.v2.types.deployment.LeptonDeploymentState.
PHASES = {
    Phase.QUEUED: "Starting",
    Phase.STARTING: "Starting",
    Phase.READY: "Ready",
    Phase.NOT_READY: "Not Ready",
    Phase.UPDATING: "Updating",
    Phase.SCALING: "Scaling",
    # Not "Stopped": `lep endpoint stop` would take it for done, and the next request would wake it.
    Phase.ZERO: "Not Ready",
    Phase.UNKNOWN: "UNK",
    Phase.STOPPING: "Stopping",
    Phase.STOPPED: "Stopped",
    Phase.DELETING: "Deleting",
    Phase.ARCHIVED: "Deleting",
    Phase.FAILED: "Not Ready",
}
FOLDED = ("Stopping", "Stopped")  # older clients know them only as "Not Ready"
# What these fields ask for is not built yet. Refused rather than ignored: the endpoint would run without it.
UNSERVED = ("storage_attachments", "photon_id", "cserve")
# Without effect on a pod, as leptonai 0.47.1 warns (api.v2.pod.PodAPI._sanity_check_pod_spec).
NOT_OF_PODS = ("auto_scaler", "api_tokens")


def deployment_name(deployment: Deployment) -> str:
    return jobs.checked_name("metadata.name", deployment.metadata.name or deployment.metadata.id or "")


def is_pod(deployment: Deployment) -> bool:
    return bool(deployment.spec.is_pod)


def to_spec(deployment: Deployment, shape: Shape) -> WorkloadSpec:
    spec, kind = deployment.spec, "pod" if is_pod(deployment) else "endpoint"
    raw = deployment.model_dump(exclude_unset=True, by_alias=True)
    for field in UNSERVED:
        if raw["spec"].get(field):
            raise NotImplementedYet(f"spec.{field}")
    container = spec.container or wire.Container()
    if not container.image:
        raise Invalid("spec.container.image", f"a {kind} needs an image")
    check_image("spec.container.image", container.image)
    asked = spec.resource_requirement or ResourceRequirement()
    affinity = asked.affinity or wire.Affinity()
    envs = spec.envs or []
    standing = standing_of(spec.queue_config, POD_PRIORITY if is_pod(deployment) else ENDPOINT_PRIORITY)
    reservation = spec.reservation_config or wire.ReservationConfig()
    replicas = 1 if asked.min_replicas is None else asked.min_replicas
    return WorkloadSpec(
        image=container.image,
        command=tuple(container.command or ()),
        shape=shape.name,
        cpu_cores=shape.cpu_cores,
        memory_mib=shape.memory_mib,
        env=tuple((e.name, e.value or "") for e in envs if e.value_from is None),
        secret_env=tuple(
            (e.name, jobs.secret_of(i, e.value_from)) for i, e in enumerate(envs) if e.value_from
        ),
        mounts=tuple(jobs.mount_to_domain(m) for m in spec.mounts or ()),
        pull_secrets=tuple(spec.image_pull_secrets or ()),
        ports=tuple(jobs.port_to_domain(i, p) for i, p in enumerate(container.ports or ())),
        gpu_count=shape.gpu_count,
        gpu_product=shape.gpu_product,
        mig_profile=shape.mig_profile,
        shm_mib=asked.shared_memory_size or None,
        priority=standing.priority,
        is_preemptible=standing.is_preemptible,
        can_preempt=standing.can_preempt,
        node_groups=tuple(affinity.allowed_dedicated_node_groups or ()),
        nodes=tuple(affinity.allowed_nodes_in_node_group or ()),
        reservation=reservation.reservation_id or None,
        may_burst=bool(reservation.allow_burst_to_other_reservations),
        is_stopped=replicas == 0,
        collects_logs=jobs.collects_logs(spec.log),
        spread=((spec.scheduling_policy and spec.scheduling_policy.replica_spread) or "").lower(),
        is_private=deployment.metadata.visibility == "private",
        serving=serving_of_pod(spec, container, is_stopped=replicas == 0)
        if is_pod(deployment)
        else serving_of_endpoint(spec, container, replicas),
        extras={"spec": masked(raw["spec"]), "metadata": raw["metadata"]}
        | {key: raw[key] for key in ("component",) if raw.get(key)},  # see translate/http_endpoints.py
    )


def warnings_of(spec: DeploymentSpec, known_logins: Collection[str]) -> list[tuple[str, str]]:
    """What of the request has no effect: told as events, not refused."""
    told = [*jobs.warnings_of(spec.image_pull_secrets, known_logins), *unheeded(spec)]
    if spec.is_pod:
        unused = [name for name in NOT_OF_PODS if getattr(spec, name)]
        told += [(IGNORED, f"spec.{name} has no effect on a dev pod") for name in unused]
    return told


def deployment_to_wire(
    workload: Workload,
    phase: Phase,
    attempts: Sequence[Attempt],
    gateway_url: str,
    host_ports: Mapping[tuple[int, str], int],
) -> dict[str, Any]:
    """
    Args:
        host_ports: of the host, by container port and protocol.
    """
    given = metadata_to_wire(workload.spec)
    told, ready = PHASES[phase], sum(is_ready(workload, a) for a in attempts)
    metadata = {
        **given,
        "id": workload.name,
        "name": workload.name,
        "created_at": workload.created_at_ms,
        "version": workload.generation,
        "semantic_version": f"{workload.major}.{workload.minor}",
        "owner": workload.owner,
        "created_by": workload.owner,
        "visibility": given.get("visibility") or "public",
    }
    serving = serving_of(workload)
    has_url = gateway_url and serving.port is not None and serving.is_exposed
    status: dict[str, Any] = {
        "state": "Not Ready" if told in FOLDED else told,
        "phase": told,
        "endpoint": {
            "internal_endpoint": "",
            "external_endpoint": f"{gateway_url}/e/{workload.workspace}/{workload.name}" if has_url else "",
        },
        "ready_replicas": ready,
        "autoscaler_status": {"desired_replicas": wanted_replicas(workload)},
        "container_port_status": [
            {"container_port": port, "protocol": protocol.upper()}
            | ({"host_port": host_ports[port, protocol]} if (port, protocol) in host_ports else {})
            for port, protocol, _ in workload.spec.ports
        ],
    }
    return {"metadata": metadata, "spec": endpoint_to_wire(workload.spec), "status": status}


def deployment_environment(workload: Workload, attempt: Attempt) -> tuple[tuple[str, str], ...]:
    """The variables that every endpoint finds. Source: NVIDIA's page on predefined environment variables."""
    return (
        ("LEPTON_DEPLOYMENT_NAME", workload.name),
        ("LEPTON_PHOTON_NAME", workload.name),
        ("LEPTON_PHOTON_ID", workload.name),
        ("LEPTON_WORKSPACE_ID", workload.workspace),
        ("LEPTON_REPLICA_ID", attempt.replica_id),  # source: `lep endpoint update --help` of 0.47.1
        ("LEPTON_RESOURCE_ACCELERATOR_TYPE", workload.spec.gpu_product or ""),
    )


def environment(workload: Workload, attempt: Attempt) -> tuple[tuple[str, str], ...]:
    of_kind = deployment_environment if workload.spec.serving else jobs.job_environment
    return of_kind(workload, attempt)
