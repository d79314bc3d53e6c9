"""Where the pods of a submission may be as seen from each other: kept together, or spread."""

import json
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ....domain.workload import Topology
from ....errors import Invalid
from .. import wire_workloads as wire

# Neither dialect has a field for it, so it is asked for as Kubernetes writes it, in an annotation of our own.
SPREAD = "homeport/topologySpreadConstraints"


class _Constraint(BaseModel):
    """Source: Kubernetes, core/v1 TopologySpreadConstraint; whose pods are meant is said by the workload."""

    model_config = ConfigDict(extra="forbid")
    topologyKey: str = Field(min_length=1)
    maxSkew: int = Field(ge=1, le=10_000)
    whenUnsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = "DoNotSchedule"


_constraints: TypeAdapter[list[_Constraint]] = TypeAdapter(list[_Constraint])


def topology_of(asked: wire.PodSpec) -> tuple[Topology, ...]:
    """
    Label, skew (None: together) and whether it is required, of each rule.

    `podAffinity` keeps the pods of one workload together. Source: the help of Run:ai's command line,
    `--required-pod-topology-key`: "nodes that have a label with this key and identical values".

    Raises:
        Invalid: names the field, and what it may say.
    """
    return (*_together(asked.pod_affinity), *_spread(asked))


def _together(affinity: wire.PodAffinity | None) -> Iterator[Topology]:
    if affinity is None or (affinity.type is None and not affinity.key):
        return
    if affinity.type is None:
        raise Invalid("spec.podAffinity.type", "is missing; it is Required or Preferred")
    if not affinity.key:
        raise Invalid("spec.podAffinity.key", "is missing; name the node label by which pods are together")
    yield affinity.key, None, affinity.type == "Required"


def _spread(asked: wire.PodSpec) -> Iterator[Topology]:
    for number, note in enumerate(asked.annotations):
        if note.exclude or note.name != SPREAD:
            continue
        try:
            found = _constraints.validate_python(json.loads(note.value or "[]"), strict=True)
        except (ValidationError, ValueError) as error:
            why = _first(error) if isinstance(error, ValidationError) else str(error)
            raise Invalid(
                f"spec.annotations[{number}].value",
                "is to be a JSON list of topologyKey, maxSkew (1 or more) and whenUnsatisfiable "
                f"(DoNotSchedule or ScheduleAnyway): {why}",
            ) from error
        for one in found:
            yield one.topologyKey, one.maxSkew, one.whenUnsatisfiable == "DoNotSchedule"


def _first(error: ValidationError) -> str:
    one = error.errors()[0]
    return f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
