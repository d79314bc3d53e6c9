"""
What is kept of org units and node pools, and told again, and changes nothing: `IGNORED` names it.

The API has no bodies that are closed to further fields, so none is refused at the top of one; below it, where
an unknown field would be lost, it is (`wire.check_parts`). Of workloads the same is told by events.
"""

from collections.abc import Mapping
from typing import Any

IGNORED = "ignoredByHomeport"
# What answers have beside what can be asked for: who sends an answer back asks for nothing by it.
OF_ANSWERS = frozenset({
    IGNORED, "id", "name", "clusterId", "clusterName", "tenantId", "parentId", "parent", "requestedNamespace",
    "effective", "totalResources", "children", "projectsAggregatedResources", "status", "phase",
    "phaseMessage", "isDefault", "networkTopologyName", "createdAt", "createdBy", "updatedAt", "updatedBy",
    "deletedAt", "deletedBy",
})  # fmt: skip
# What Homeport has a use for, and what is so without being asked.
HEEDED = frozenset({"description", "nodeTypes", "requestedNamespace", "minGuaranteedRuntime"})
AS_IT_IS: Mapping[str, Any] = {
    "enforceRunaiScheduler": True,
    "overProvisioningRatio": 1,
    "gpuNetworkAccelerationDetection": "Auto",
}


def to_keep(unknown: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a body has beside the fields of its model."""
    return {name: value for name, value in unknown.items() if name not in OF_ANSWERS}


def ignored_to_wire(kept: Mapping[str, Any]) -> dict[str, list[str]]:
    """`{"ignoredByHomeport": [...]}`: what is kept and asks for something; `{}` where nothing does."""
    found = sorted(
        name
        for name, value in kept.items()
        if name not in HEEDED and (value != AS_IT_IS[name] if name in AS_IT_IS else _asks(value))
    )
    return {IGNORED: found} if found else {}


def _asks(value: Any) -> bool:
    """`{"swapEnabled": false}` asks for nothing."""
    return any(map(_asks, value.values())) if isinstance(value, dict) else bool(value)
