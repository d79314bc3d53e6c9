"""
Dev pods of the new family (`/devpods`), which are kept in the words of the legacy one.

Source of the pairs: leptonai 0.47.1, api.v2.translation, legacy_to_http_devpod and http_devpod_to_legacy.
"""

from collections.abc import Mapping
from typing import Any

from ....errors import Invalid

Json = dict[str, Any]
OF_RESOURCES = ("resource_shape", "shared_memory_size", "affinity", "host_network")
STATES = {"Not Ready": "NotReady", "UNK": ""}


def devpod_to_legacy(pod: Mapping[str, Any]) -> Json:
    spec, metadata = pod.get("spec") or {}, pod.get("metadata") or {}
    for name, found in (("spec", spec), ("metadata", metadata)):
        if not isinstance(found, dict):
            raise Invalid(name, "must be an object")
    is_stopped = spec.get("stopped")
    if is_stopped is not None and not isinstance(is_stopped, bool):
        raise Invalid("spec.stopped", "must be true or false")
    resources = {key: spec[key] for key in OF_RESOURCES if key in spec}
    rest = {key: value for key, value in spec.items() if key not in (*OF_RESOURCES, "stopped")}
    return {
        "metadata": dict(metadata),
        "spec": {
            **rest,
            "is_pod": True,
            "resource_requirement": {**resources, "min_replicas": 0 if is_stopped else 1},
        },
    }


def devpod_to_wire(deployment: Mapping[str, Any], public_ip: str) -> Json:
    """
    Args:
        deployment: as `deployment_to_wire` makes it; its status may be missing.
        public_ip: where the host ports are.
    """
    spec: Json = dict(deployment["spec"])
    resources: Json = spec.pop("resource_requirement", None) or {}
    spec.pop("is_pod", None)
    kept = {key: resources[key] for key in OF_RESOURCES if key in resources}
    made: Json = {
        "metadata": dict(deployment["metadata"]),
        "spec": {**spec, **kept, "stopped": resources.get("min_replicas") == 0},
    }
    if status := deployment.get("status"):
        ports = [
            {"container_port": p["container_port"], "host_port": p["host_port"]}
            for p in status["container_port_status"]
            if "host_port" in p
        ]
        phase = status["phase"]
        made["status"] = {
            "state": STATES.get(phase, phase),
            "public_ip": public_ip,
            "external_url": status["endpoint"]["external_endpoint"],
            "port_statuses": ports,
        }
    return made
