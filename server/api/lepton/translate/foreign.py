"""Jobs that were made through another dialect, as far as a Lepton job can say what they are."""

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
        "envs": [{"name": name, "value": value} for name, value in spec.env]
        + [{"name": name, "value_from": {"secret_name_ref": held}} for name, held in spec.secret_env],
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


def metadata_to_wire(spec: WorkloadSpec) -> Mapping[str, Any]:
    """What its user said of it, such as labels."""
    return spec.extras.get("metadata", {})
