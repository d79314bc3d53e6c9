"""
Endpoints of the new family (`/endpoints`), which are kept in the words of the legacy one.

Source of the pairs: leptonai 0.47.1, api.v2.translation, legacy_to_http_endpoint and
http_endpoint_to_legacy; an endpoint of several components has no legacy form.
"""

from collections.abc import Mapping
from typing import Any, cast

from ....errors import Invalid, NotImplementedYet

Json = dict[str, Any]
# Key of the component -> part of the legacy spec ("" is the spec itself) and its key there.
OF_COMPONENT = {
    **{key: ("container", key) for key in ("image", "command", "ports")},
    **{
        key: ("resource_requirement", key)
        for key in (
            "resource_shape", "min_replicas", "max_replicas", "shared_memory_size", "affinity",
            "host_network",
        )
    },
    **{
        key: ("", key)
        for key in (
            "envs", "mounts", "storage_attachments", "scheduling_policy", "queue_config",
            "reservation_config", "health", "user_security_context",
        )
    },
    "autoscaling": ("", "auto_scaler"),
}  # fmt: skip
# Keys of the spec that are spelt otherwise; all the rest is the same in both families.
RENAMED = {"access_config": "auth_config", "load_balancing": "load_balance_config"}
STATES = {"Not Ready": "NotReady", "UNK": ""}


def endpoint_to_legacy(endpoint: Mapping[str, Any]) -> Json:
    """
    Raises:
        Invalid: no component. NotImplementedYet: several.
    """
    asked, metadata = _object(endpoint, "spec"), _object(endpoint, "metadata")
    if asked.get("is_pod"):
        raise Invalid("spec.is_pod", "an endpoint is no pod; create one below /devpods")
    components = asked.get("components")
    if not isinstance(components, list) or not components:
        raise Invalid("spec.components", "an endpoint needs a component")
    if len(cast(list[Any], components)) > 1:
        raise NotImplementedYet("spec.components with more than one")
    if not isinstance(components[0], dict):
        raise Invalid("spec.components[0]", "must be an object")
    spec: Json = {RENAMED.get(key, key): value for key, value in asked.items() if key != "components"}
    rest: Json = {}
    for key, value in cast(Json, components[0]).items():
        if key not in OF_COMPONENT:
            rest[key] = value
            continue
        part, name = OF_COMPONENT[key]
        (_part(spec, part) if part else spec)[name] = value
    flat = {key: value for key, value in metadata.items() if key != "lepton_metadata"}
    return {"metadata": flat | _object(metadata, "lepton_metadata"), "spec": spec, "component": rest}


def endpoint_to_wire(deployment: Mapping[str, Any], component: Mapping[str, Any]) -> Json:
    """
    Args:
        deployment: as `deployment_to_wire` makes it; its status may be missing.
        component: what the legacy form has no place for.
    """
    spec: Json = dict(deployment["spec"])
    only: Json = {"name": "default", **component}
    for key, (part, name) in OF_COMPONENT.items():
        source = spec.get(part) if part else spec
        if isinstance(source, dict) and name in source:
            only[key] = source[name]
    only.setdefault("min_replicas", 1)
    taken = {name for part, name in OF_COMPONENT.values() if not part} | {"container", "resource_requirement"}
    back = {legacy: key for key, legacy in RENAMED.items()}
    kept = {back.get(key, key): value for key, value in spec.items() if key not in taken}
    made: Json = {
        "metadata": _metadata(deployment["metadata"]),
        "spec": {"components": [only], **kept},
    }
    if status := deployment.get("status"):
        phase = status["phase"]
        made["status"] = {
            "state": STATES.get(phase, phase),
            "ready_replicas": status["ready_replicas"],
            "external_url": status["endpoint"]["external_endpoint"],
            "auto_scaler_status": status["autoscaler_status"],
        }
    return made


OF_LEPTON = ("owner", "created_by", "last_modified_at", "last_modified_by", "visibility")


def _metadata(metadata: Mapping[str, Any]) -> Json:
    lepton = {key: metadata[key] for key in OF_LEPTON if key in metadata}
    own = {key: value for key, value in metadata.items() if key not in OF_LEPTON}
    return own | {"lepton_metadata": lepton}


def _part(spec: Json, part: str) -> Json:
    spec[part] = found = dict(_object(spec, part, "spec."))
    return found


def _object(parent: Mapping[str, Any], key: str, where: str = "") -> Json:
    found = parent.get(key)
    if found is not None and not isinstance(found, dict):
        raise Invalid(f"{where}{key}", "must be an object")
    return cast(Json, found or {})
