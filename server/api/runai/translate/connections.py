"""Where what a workload serves is reached, and how an endpoint serves, in Run:ai's words."""

from typing import Any

from ....domain.serving import Access, Serving
from .seen import Seen

SERVING = "serving"
CONNECTION = "ServingPort"  # source: InternalConnectionType, runapy 1.224.0


def urls_of(seen: Seen) -> list[str]:
    """Of the gateway, which answers 503 there while no replica is ready. What is deleted has none."""
    serving, workload = seen.spec.serving, seen.workload
    if serving is None or serving.port is None or not serving.is_exposed or not seen.where.gateway_url:
        return []
    if workload.is_deleting or workload.archived_at_ms is not None:
        return []
    return [f"{seen.where.gateway_url}/e/{workload.workspace}/{workload.name}"]


def connections_of(seen: Seen) -> list[dict[str, Any]]:
    """Source of the fields: `Connection1`, runapy 1.224.0."""
    serving = seen.spec.serving
    if serving is None:
        return []
    told: dict[str, Any] = {
        "name": SERVING,
        "toolType": SERVING,
        "connectionType": CONNECTION,
        "authorizationType": authorization_of(serving.access),
        "containerPort": serving.port,
    }
    if serving.access.people and not serving.access.takes_workspace_token:
        told["authorizedUsers"] = list(serving.access.people)
    return [told | {"url": url} for url in urls_of(seen)]


def authorization_of(access: Access) -> str:
    """Tokens of an endpoint's own, which Lepton has, are somebody's to give away."""
    if access.is_public:
        return "public"
    return "authenticatedUsers" if access.takes_workspace_token else "authorizedUsersOrGroups"


def served_as(serving: Serving) -> dict[str, Any]:
    """An endpoint made through Lepton, as far as a submission could have said it."""
    scaling = serving.scaling
    return {
        "servingPort": {
            "container": serving.port,
            "protocol": "http",
            "authorizationType": authorization_of(serving.access),
        }
        | ({} if serving.is_exposed else {"clusterLocalAccessOnly": True}),
        "autoscaling": {
            "minReplicas": 0 if scaling is not None and scaling.no_traffic_timeout_s else serving.replicas,
            "maxReplicas": max(serving.replicas, scaling.most if scaling is not None else 1),
        },
        "servingConfiguration": {"requestTimeoutSeconds": serving.timeout_s},
    }
