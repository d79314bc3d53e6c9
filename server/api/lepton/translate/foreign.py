"""What was made through another dialect, as far as a Lepton job or endpoint can say what it is."""

from collections.abc import Mapping
from typing import Any

from ....domain.volumes import LOCAL_DISK
from ....domain.workload import WorkloadSpec


def spec_to_wire(spec: WorkloadSpec) -> dict[str, Any]:
    """As it came, where it came through Lepton."""
    if "spec" in spec.extras:
        return dict(spec.extras["spec"])
    told: dict[str, Any] = {
        "resource_shape": spec.shape,
        "container": {"image": spec.image, "command": [*spec.command, *spec.args]},
        "completions": spec.completions,
        "parallelism": spec.parallelism,
        "max_failure_retry": spec.worker_retries,
        "envs": _variables(spec),
        "mounts": [
            {"from": m.volume, "path": m.path, "mount_path": m.target}
            for m in spec.mounts
            if m.volume == LOCAL_DISK  # its claims have no name in Lepton
        ],
    }
    if spec.ttl_s is not None:
        told["ttl_seconds_after_finished"] = spec.ttl_s
    if spec.node_groups:
        told["affinity"] = {"allowed_dedicated_node_groups": list(spec.node_groups)}
    if spec.is_preemptible or spec.can_preempt:
        told["queue_config"] = {"can_preempt": spec.can_preempt, "can_be_preempted": spec.is_preemptible}
    return told


def _variables(spec: WorkloadSpec) -> list[dict[str, Any]]:
    plain: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in spec.env]
    held = [{"name": name, "value_from": {"secret_name_ref": secret}} for name, secret in spec.secret_env]
    return [*plain, *held]


def endpoint_to_wire(spec: WorkloadSpec) -> dict[str, Any]:
    """The spec of an endpoint of the legacy family, as it came where it came through Lepton."""
    if "spec" in spec.extras:
        return dict(spec.extras["spec"])
    serving = spec.serving
    assert serving is not None, "what does not serve is no endpoint"
    requirement: dict[str, Any] = {"resource_shape": spec.shape, "min_replicas": serving.replicas}
    told: dict[str, Any] = {
        "container": {
            "image": spec.image,
            "command": [*spec.command, *spec.args],
            "ports": [{"container_port": serving.port, "protocol": "TCP"}],
        },
        "resource_requirement": requirement,
        "envs": _variables(spec),
        "api_tokens": [],
        "ingress_timeout_seconds": serving.timeout_s,
    }
    if serving.access.takes_workspace_token:
        told["api_tokens"] = [{"value_from": {"token_name_ref": "WORKSPACE_TOKEN"}}]
    if spec.node_groups:
        requirement["affinity"] = {"allowed_dedicated_node_groups": list(spec.node_groups)}
    if (scaling := serving.scaling) is not None:
        requirement["max_replicas"] = scaling.most
        scaler: dict[str, Any] = {"scale_down": {"no_traffic_timeout": scaling.no_traffic_timeout_s}}
        if scaling.qpm is not None:  # other targets have no name in Lepton
            scaler["target_throughput"] = {"qpm": scaling.qpm, "methods": [], "paths": []}
        told["auto_scaler"] = scaler
    return told


def metadata_to_wire(spec: WorkloadSpec) -> Mapping[str, Any]:
    """What its user said of it, such as labels."""
    return spec.extras.get("metadata", {})
