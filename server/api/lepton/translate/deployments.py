"""Endpoints of the legacy family (`/deployments`)."""

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from .....runtime.probes import Probe, ProbeKind, TcpConnect
from ....domain.endpoints import is_ready, serving_of
from ....domain.inventory import Shape
from ....domain.runs import current_run
from ....domain.serving import Access, Serving
from ....domain.workload import Attempt, AttemptState, Phase, Workload, WorkloadSpec
from ....errors import Invalid, NotImplementedYet
from .. import wire
from ..wire_deployments import ApiToken, Deployment, DeploymentSpec, Health, ResourceRequirement
from . import jobs

# Spelling as in leptonai 0.47.1, api.v2.types.deployment.LeptonDeploymentState.
PHASES = {
    Phase.QUEUED: "Starting",
    Phase.STARTING: "Starting",
    Phase.READY: "Ready",
    Phase.NOT_READY: "Not Ready",
    Phase.UNKNOWN: "UNK",
    Phase.STOPPING: "Stopping",
    Phase.STOPPED: "Stopped",
    Phase.DELETING: "Deleting",
    Phase.ARCHIVED: "Deleting",
}
FOLDED = ("Stopping", "Stopped")  # older clients know them only as "Not Ready"
PRIORITY = 150  # design: endpoints without a class come first
PORT = 8080  # where photon servers listen; containers name their own
LONGEST_S = 3600  # 0.47.1 drops an item with more from its lists; 0.27.3 sends up to 6000
MASK = "***"
WORKSPACE_TOKEN = "WORKSPACE_TOKEN"
# Source: NVIDIA's page on endpoint health; the delay of the liveness probe can be set.
READINESS = Probe(ProbeKind.READINESS, TcpConnect(PORT), initial_delay_s=5, period_s=5, failures=10)
LIVENESS = Probe(ProbeKind.LIVENESS, TcpConnect(PORT), initial_delay_s=600, period_s=5, failures=12)
# What these fields ask for is not built yet. Refused rather than ignored: the endpoint would run without it.
UNSERVED = ("storage_attachments", "photon_id", "cserve", "load_balance_config", "user_security_context")


def deployment_name(deployment: Deployment) -> str:
    name = deployment.metadata.name or deployment.metadata.id or ""
    return jobs.job_name(wire.Job(metadata=wire.JobMetadata(name=name), spec=wire.JobSpec()))


def to_spec(deployment: Deployment, shape: Shape) -> WorkloadSpec:
    spec = deployment.spec
    raw = deployment.model_dump(exclude_unset=True, by_alias=True)
    for field in UNSERVED:
        if raw["spec"].get(field):
            raise NotImplementedYet(f"spec.{field}")
    if spec.is_pod:
        raise NotImplementedYet("spec.is_pod")
    container = spec.container or wire.Container()
    if not container.image:
        raise Invalid("spec.container.image", "an endpoint needs an image")
    asked = spec.resource_requirement or ResourceRequirement()
    affinity = asked.affinity or wire.Affinity()
    envs = spec.envs or []
    reservation = spec.reservation_config or wire.ReservationConfig()
    replicas = 1 if asked.min_replicas is None else asked.min_replicas
    _check_scaling(spec, replicas)
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
        ports=tuple(jobs.port_to_domain(i, p) for i, p in enumerate(container.ports or ())),
        gpu_count=shape.gpu_count,
        gpu_product=shape.gpu_product,
        shm_mib=asked.shared_memory_size or None,
        priority=jobs.priority_of(spec.queue_config, PRIORITY),
        node_groups=tuple(affinity.allowed_dedicated_node_groups or ()),
        nodes=tuple(affinity.allowed_nodes_in_node_group or ()),
        reservation=reservation.reservation_id or None,
        may_burst=bool(reservation.allow_burst_to_other_reservations),
        is_stopped=replicas == 0,
        serving=_serving(spec, container, replicas),
        extras={"spec": _masked(raw["spec"]), "metadata": raw["metadata"]},
    )


def _check_scaling(spec: DeploymentSpec, replicas: int) -> None:
    scaler, most = spec.auto_scaler, (spec.resource_requirement or ResourceRequirement()).max_replicas
    if scaler and (scaler.target_gpu_utilization_percentage or (scaler.target_throughput or None)):
        qpm = scaler.target_throughput.qpm if scaler.target_throughput else 0
        if qpm or scaler.target_gpu_utilization_percentage:
            raise NotImplementedYet("spec.auto_scaler with a target")
    if most is not None and most < replicas:
        raise Invalid("spec.resource_requirement.max_replicas", f"{most} is below min_replicas, {replicas}")


def warnings_of(spec: DeploymentSpec) -> list[tuple[str, str]]:
    """What `lep` asks for unasked is told about, not refused: it sends an idle time with every endpoint."""
    told = jobs.warnings_of(spec.image_pull_secrets)
    if spec.auto_scaler and spec.auto_scaler.scale_down and spec.auto_scaler.scale_down.no_traffic_timeout:
        idle_s = spec.auto_scaler.scale_down.no_traffic_timeout
        message = f"scaling to zero is not served yet: it stays up after {idle_s} s without traffic"
        told.append(("NoTrafficTimeoutIgnored", message))
    return told


def _serving(spec: DeploymentSpec, container: wire.Container, replicas: int) -> Serving:
    health = spec.health or Health()
    port = container.ports[0].container_port if container.ports else PORT
    liveness = replace(LIVENESS, handler=TcpConnect(port))
    if health.liveness and health.liveness.initial_delay_seconds is not None:
        liveness = replace(liveness, initial_delay_s=health.liveness.initial_delay_seconds)
    if health.liveness and health.liveness.tcp:
        liveness = replace(liveness, handler=TcpConnect(health.liveness.tcp.port))
    return Serving(
        replicas=replicas,
        port=port,
        readiness=replace(READINESS, handler=TcpConnect(port)),
        liveness=liveness,
        needs_approval=bool(health.readiness and health.readiness.require_approval),
        access=_access(spec),
        timeout_s=min(spec.ingress_timeout_seconds or 300, LONGEST_S),
        pins_replicas=bool(spec.routing_policy and spec.routing_policy.enable_header_based_replica_routing),
    )


def _access(spec: DeploymentSpec) -> Access:
    tokens = spec.api_tokens or []
    allowed = spec.auth_config.ip_allowlist if spec.auth_config else None
    if tokens and spec.allow_unauthenticated_access:
        raise Invalid("spec.allow_unauthenticated_access", "cannot be true beside tokens")
    return Access(
        tokens=tuple(_hash(i, t.value) for i, t in enumerate(tokens) if t.value_from is None),
        takes_workspace_token=any(_is_workspace_token(i, t) for i, t in enumerate(tokens)),
        addresses=tuple(_network(i, a) for i, a in enumerate(allowed or ())),
    )


def _hash(index: int, value: str | None) -> str:
    if not value or value == MASK:
        raise Invalid(f"spec.tokens[{index}].value", "a token is needed, not its mask")
    return hashlib.sha256(value.encode()).hexdigest()


def _is_workspace_token(index: int, token: ApiToken) -> bool:
    if token.value_from is None:
        return False
    if token.value_from.token_name_ref != WORKSPACE_TOKEN:
        raise Invalid(f"spec.tokens[{index}].value_from", f"only {WORKSPACE_TOKEN} can be referred to")
    return True


def _network(index: int, text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        raise Invalid(f"spec.auth_config.ip_allowlist[{index}]", str(error)) from error


def _masked(spec: dict[str, Any]) -> dict[str, Any]:
    """Tokens are kept as hashes; what is given back has a mask in their place."""
    if not spec.get("api_tokens"):
        return spec
    tokens = [t if t.get("value") is None else {**t, "value": MASK} for t in spec["api_tokens"]]
    return {**spec, "api_tokens": tokens}


def with_tokens_of(new: WorkloadSpec, old: WorkloadSpec) -> WorkloadSpec:
    """For a change that says nothing about tokens."""
    assert new.serving is not None
    assert old.serving is not None
    kept = old.serving.access
    access = replace(new.serving.access, tokens=kept.tokens, takes_workspace_token=kept.takes_workspace_token)
    spec = dict(new.extras["spec"])
    if "api_tokens" in old.extras["spec"]:
        spec["api_tokens"] = old.extras["spec"]["api_tokens"]
    return replace(new, serving=replace(new.serving, access=access), extras={**new.extras, "spec": spec})


def deployment_to_wire(
    workload: Workload, phase: Phase, attempts: Sequence[Attempt], gateway_url: str
) -> dict[str, Any]:
    told, ready = PHASES[phase], sum(is_ready(workload, a) for a in attempts)
    metadata = {
        **workload.spec.extras["metadata"],
        "id": workload.name,
        "name": workload.name,
        "created_at": workload.created_at_ms,
        "version": workload.generation,
        "semantic_version": f"{workload.major}.{workload.minor}",
        "owner": workload.owner,
        "created_by": workload.owner,
        "visibility": workload.spec.extras["metadata"].get("visibility") or "public",
    }
    status: dict[str, Any] = {
        "state": "Not Ready" if told in FOLDED else told,
        "phase": told,
        "endpoint": {
            "internal_endpoint": "",
            "external_endpoint": f"{gateway_url}/e/{workload.workspace}/{workload.name}"
            if gateway_url
            else "",
        },
        "ready_replicas": ready,
        "autoscaler_status": {"desired_replicas": serving_of(workload).replicas},
        "container_port_status": [
            {"container_port": port, "protocol": protocol.upper()}
            for port, protocol, _ in workload.spec.ports
        ],
    }
    return {"metadata": metadata, "spec": workload.spec.extras["spec"], "status": status}


def replica_to_wire(workload: Workload, attempt: Attempt) -> dict[str, Any]:
    made = jobs.replica_to_wire(attempt)
    made["metadata"]["semantic_version"] = f"{workload.major}.{workload.minor}"
    return made


def readiness_to_wire(
    workload: Workload, attempts: Sequence[Attempt], refusal: Sequence[str]
) -> dict[str, Any]:
    """Never an empty inner list: the CLI reads its first item."""
    newest = {a.replica_id: a for a in current_run(workload, attempts)}
    if not newest and serving_of(workload).replicas and not workload.is_deleting:
        issue = _issue("NoCapacity", "; ".join(refusal) or "it waits for its turn", workload.created_at_ms)
        return {f"{workload.id}-0-{workload.id[-4:]}": [issue]}
    return {name: [_readiness(workload, attempt)] for name, attempt in newest.items()}


def _readiness(workload: Workload, attempt: Attempt) -> dict[str, str]:
    since_ms = attempt.finished_at_ms or attempt.started_at_ms or attempt.placed_at_ms
    if is_ready(workload, attempt):
        return _issue("Ready", "it takes requests", since_ms)
    if workload.is_deleting:
        return _issue("Deleting", "it was removed", since_ms)
    if not attempt.is_live:
        reason = "ConfigError" if attempt.started_at_ms is None else "SystemError"
        return _issue(reason, attempt.message, since_ms)
    if attempt.state is AttemptState.PLACED:
        return _issue("InProgress", "its container is being started", since_ms)
    probe = serving_of(workload).readiness
    if probe is None or (attempt.readiness is not None and attempt.readiness.is_passing):
        message = f"`homeport approve {workload.name} {attempt.replica_id}` lets it take requests"
        return _issue("RequireReadinessApproval", message, since_ms)
    return _issue("InProgress", f"port {probe.handler.port} does not accept connections yet", since_ms)


def _issue(reason: str, message: str, at_ms: int) -> dict[str, str]:
    at = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
    return {"reason": reason, "message": message, "creationTimestamp": at}


def terminations_to_wire(attempts: Sequence[Attempt]) -> dict[str, list[dict[str, Any]]]:
    """Ends of containers by replica; times in seconds."""
    ends: dict[str, list[dict[str, Any]]] = {}
    for attempt in attempts:
        if attempt.is_live or attempt.started_at_ms is None:
            continue
        ends.setdefault(attempt.replica_id, []).append(
            {
                "started_at": attempt.started_at_ms // 1000,
                "finished_at": (attempt.finished_at_ms or attempt.started_at_ms) // 1000,
                "exit_code": attempt.exit_code if attempt.exit_code is not None else -1,
                "reason": attempt.reason,
                "message": attempt.message,
            }
        )
    return ends


def deployment_environment(workload: Workload, _attempt: Attempt) -> tuple[tuple[str, str], ...]:
    """The variables that every endpoint finds. Source: NVIDIA's page on predefined environment variables."""
    return (
        ("LEPTON_DEPLOYMENT_NAME", workload.name),
        ("LEPTON_PHOTON_NAME", workload.name),
        ("LEPTON_PHOTON_ID", workload.name),
        ("LEPTON_WORKSPACE_ID", workload.workspace),
        ("LEPTON_RESOURCE_ACCELERATOR_TYPE", workload.spec.gpu_product or ""),
    )


def environment(workload: Workload, attempt: Attempt) -> tuple[tuple[str, str], ...]:
    of_kind = deployment_environment if workload.spec.serving else jobs.job_environment
    return of_kind(workload, attempt)
