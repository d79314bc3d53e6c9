"""
What clients send about org units, node pools and clusters. Unknown fields are kept and given back.

Source: the models of runapy 1.224.0; nulls are gone before (see `quirks`), so that a field is there or not.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ...errors import Invalid

MOST = 1e9
Amount = Annotated[float, Field(ge=-1, le=MOST, allow_inf_nan=False)]  # -1: unlimited
Weight = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]
Seconds = Annotated[int, Field(ge=1, le=2**31 - 1)]


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Id = Annotated[str, BeforeValidator(_as_text)]  # the SDK's own examples send numbers, too


class Wire(BaseModel):
    model_config = ConfigDict(extra="allow")

    def unknown(self) -> dict[str, Any]:
        """What came that we know nothing of."""
        return dict(self.model_extra or {})

    def strange(self, within: str = "") -> Iterator[tuple[str, str]]:
        """
        The path of each field below that is unknown and asks for something, with the names there are.

        What is unknown of the whole is kept and given back; what is unknown of a part would be lost.
        """
        for name in type(self).model_fields:
            value = getattr(self, name)
            parts = enumerate(value) if isinstance(value, list) else [(None, value)]
            for index, part in parts:
                if isinstance(part, Wire):
                    path = f"{within}{name}" + ("" if index is None else f"[{index}]")
                    known = ", ".join(type(part).model_fields)
                    yield from ((f"{path}.{field}", known) for field, v in part.unknown().items() if v)
                    yield from part.strange(f"{path}.")


def check_parts(sent: Wire) -> None:
    """
    Raises:
        Invalid: a part of it has a field that would have no effect.
    """
    for path, known in sent.strange():
        raise Invalid(path, f"there is no such field here; there are {known}")


def check_fixed(sent: Wire, fixed: Mapping[str, str], kind: str) -> None:
    """
    What cannot be changed may be sent as it is.

    Args:
        fixed: what each such field is.

    Raises:
        Invalid: one of them is to be something else.
    """
    for name, value in fixed.items():
        wanted = sent.unknown().get(name)
        if wanted is not None and str(wanted) != value:
            raise Invalid(name, f"a {kind} keeps it, and this one has {value!r}; leave it out")


class PoolRef(Wire):
    id: Id = ""
    name: str = ""


class Resource(Wire):
    deserved: Amount | None = None
    limit: Amount | None = None
    overQuotaWeight: Weight | None = None


class MemoryResource(Resource):
    units: Literal["Mib", "MB", "GB"] | None = None


class Resources(Wire):
    """Of one node pool; the default pool where none is named."""

    nodePool: PoolRef = PoolRef()
    gpu: Resource = Resource()
    cpu: Resource = Resource()
    memory: MemoryResource = MemoryResource()
    priority: str | None = None


class ResourceList(Wire):
    """Quotas, where they are all that is sent."""

    resources: list[Resources]


class SchedulingRules(Wire):
    interactiveJobTimeLimitSeconds: Seconds | None = None
    interactiveJobMaxIdleDurationSeconds: Seconds | None = None
    interactiveJobPreemptIdleDurationSeconds: Seconds | None = None
    trainingJobTimeLimitSeconds: Seconds | None = None
    trainingJobMaxIdleDurationSeconds: Seconds | None = None


class NodeTypes(Wire):
    training: list[str] = []
    workspace: list[str] = []
    names: dict[str, str] = {}


class UnitUpdate(Wire):
    """What a department and a project have in common."""

    description: str = ""
    schedulingRules: SchedulingRules = SchedulingRules()
    defaultNodePools: list[str] = []
    nodeTypes: NodeTypes = NodeTypes()
    resources: list[Resources]


class DepartmentUpdate(UnitUpdate):
    pass


class ProjectUpdate(UnitUpdate):
    enforceRunaiScheduler: bool = True


class DepartmentCreation(DepartmentUpdate):
    name: str
    clusterId: str


class ProjectCreation(ProjectUpdate):
    name: str
    clusterId: str
    parentId: Id = ""
    requestedNamespace: str = ""


Strategy = Literal["binpack", "spread"]


class PlacementStrategy(Wire):
    gpu: Strategy | None = None
    cpu: Strategy | None = None


class SchedulingConfiguration(Wire):
    placementStrategy: PlacementStrategy = PlacementStrategy()
    minGuaranteedRuntime: str | None = None


class NodePoolFields(Wire):
    overProvisioningRatio: Annotated[int, Field(ge=1, le=5)] | None = None
    placementStrategy: PlacementStrategy = PlacementStrategy()
    schedulingConfiguration: SchedulingConfiguration = SchedulingConfiguration()
    gpuNetworkAccelerationDetection: Literal["Auto", "Use", "DontUse"] | None = None
    gpuNetworkAccelerationLabelKey: str | None = None
    gpuResourceOptimization: dict[str, Any] | None = None
    networkTopologyId: str | None = None


class NodePoolUpdate(NodePoolFields):
    labelKey: str | None = None
    labelValue: str | None = None


class NodePoolCreation(NodePoolFields):
    name: Annotated[str, Field(min_length=1)]
    labelKey: Annotated[str, Field(min_length=1)]
    labelValue: Annotated[str, Field(min_length=1)]
    clusterId: str
