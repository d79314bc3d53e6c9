"""The part of an endpoint's spec that is about serving: probes, access, scaling, balancing."""

import hashlib
import ipaddress
from dataclasses import replace
from typing import Any

from .....runtime.probes import Probe, ProbeKind, TcpConnect
from ....domain.serving import Access, Scaling, Serving
from ....domain.workload import WorkloadSpec
from ....errors import Invalid
from .. import wire
from ..wire_deployments import ApiToken, AutoScaler, DeploymentSpec, Health, LoadBalance, ResourceRequirement

PORT = 8080  # where photon servers listen; containers name their own
LONGEST_S = 3600  # 0.47.1 drops an item with more from its lists; 0.27.3 sends up to 6000
MASK = "***"
WORKSPACE_TOKEN = "WORKSPACE_TOKEN"
# Source: NVIDIA's page on endpoint health; the delay of the liveness probe can be set.
READINESS = Probe(ProbeKind.READINESS, TcpConnect(PORT), initial_delay_s=5, period_s=5, failures=10)
LIVENESS = Probe(ProbeKind.LIVENESS, TcpConnect(PORT), initial_delay_s=600, period_s=5, failures=12)


def serving_of_endpoint(spec: DeploymentSpec, container: wire.Container, replicas: int) -> Serving:
    health = spec.health or Health()
    port = container.ports[0].container_port if container.ports else PORT
    liveness = replace(LIVENESS, handler=TcpConnect(port))
    if health.liveness and health.liveness.initial_delay_seconds is not None:
        liveness = replace(liveness, initial_delay_s=health.liveness.initial_delay_seconds)
    if health.liveness and health.liveness.tcp:
        liveness = replace(liveness, handler=TcpConnect(health.liveness.tcp.port))
    balancing, choice_count = _balancing(spec.load_balance_config)
    return Serving(
        replicas=replicas,
        scaling=_scaling(spec, replicas),
        port=port,
        readiness=replace(READINESS, handler=TcpConnect(port)),
        liveness=liveness,
        needs_approval=bool(health.readiness and health.readiness.require_approval),
        access=_access(spec),
        timeout_s=min(spec.ingress_timeout_seconds or 300, LONGEST_S),
        pins_replicas=bool(spec.routing_policy and spec.routing_policy.enable_header_based_replica_routing),
        balancing=balancing,
        choice_count=choice_count,
        is_exposed=spec.ingress_enabled is not False,
    )


def serving_of_pod(spec: DeploymentSpec, container: wire.Container, *, is_stopped: bool) -> Serving:
    """Running is ready. The gateway leads to its proxy port, where the workspace token is asked for."""
    proxied = [
        p.container_port for p in container.ports or () if "IngressProxy" in (p.expose_strategies or ())
    ]
    if len(proxied) > 1:
        raise Invalid("spec.container.ports", "at most one port can be an IngressProxy")
    return Serving(
        replicas=0 if is_stopped else 1,
        port=proxied[0] if proxied else None,
        access=Access(takes_workspace_token=True),
        timeout_s=min(spec.ingress_timeout_seconds or LONGEST_S, LONGEST_S),
        is_kept_alive=True,
    )


def _scaling(spec: DeploymentSpec, replicas: int) -> Scaling | None:
    """None where nothing is to move the number. Zeroes are how the clients say "not by this"."""
    most = (spec.resource_requirement or ResourceRequirement()).max_replicas
    if most is not None and most < replicas:
        raise Invalid("spec.resource_requirement.max_replicas", f"{most} is below min_replicas, {replicas}")
    scaler = spec.auto_scaler or AutoScaler()
    throughput = scaler.target_throughput
    idle_s = (scaler.scale_down.no_traffic_timeout if scaler.scale_down else None) or 0
    qpm = (throughput.qpm if throughput else None) or None
    percent = scaler.target_gpu_utilization_percentage or None
    if qpm is not None and percent is not None:
        raise Invalid("spec.auto_scaler", "has two targets; keep target_throughput or the GPU utilization")
    if not (qpm or percent or idle_s):
        return None
    return Scaling(
        most=max(most or replicas, replicas) if qpm or percent else replicas,
        no_traffic_timeout_s=idle_s,
        qpm=qpm,
        methods=tuple(m.upper() for m in (throughput.methods if throughput else None) or ()),
        paths=tuple((throughput.paths if throughput else None) or ()),
        gpu_percent=percent,
    )


def _balancing(config: LoadBalance | None) -> tuple[str, int | None]:
    if config is None:
        return "least_request", None
    if config.maglev is not None and config.least_request is not None:
        raise Invalid("spec.load_balance_config", "has both least_request and maglev; name one")
    if config.maglev is not None:
        return "maglev", None
    return "least_request", config.least_request.choice_count if config.least_request else None


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
    if not all("!" <= c <= "~" for c in value):
        raise Invalid(
            f"spec.tokens[{index}].value",
            "no request could bear it: a header carries the letters, digits and signs of ASCII, without "
            "spaces; `openssl rand -hex 16` prints one that it does",
        )
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


def masked(spec: dict[str, Any]) -> dict[str, Any]:
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
    if spec.get("allow_unauthenticated_access") and not kept.is_public:
        raise Invalid(
            "spec.allow_unauthenticated_access", "cannot be true beside tokens; send api_tokens: []"
        )
    if "api_tokens" in old.extras["spec"]:
        spec["api_tokens"] = old.extras["spec"]["api_tokens"]
    return replace(new, serving=replace(new.serving, access=access), extras={**new.extras, "spec": spec})
