"""Inferences, which are endpoints to Homeport: from a submission or an update to a workload's spec."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .....runtime.probes import Probe, ProbeKind, TcpConnect
from ....domain.serving import EVERYBODY, Access, Serving
from ....domain.workload import WorkloadSpec
from ....errors import Invalid, NotImplementedYet
from .. import wire_inference as wire
from . import spec as common
from .exposures import check_none
from .probes import readiness_of
from .scaling import IGNORED, replicas_of
from .spec import Machine, Wanted

TYPE = "Inference"
PORT = "spec.servingPort"
TIMEOUT_S = 300  # Knative's own for a request
# Knative asks the port of a container that has no probe of its own, and often.
LISTENS_PERIOD_S, LISTENS_FAILURES = 1, 3


@dataclass(frozen=True, slots=True)
class WantedInference:
    """`initial`: replicas to begin with; None: as many as its spec says."""

    wanted: Wanted
    initial: int | None


def to_inference(
    creation: wire.InferenceCreation, raw: Mapping[str, Any], name: str, machine: Machine
) -> WantedInference:
    """
    Raises:
        Invalid: names the field that cannot be. NotImplementedYet: names one that Homeport does not honour.
    """
    asked = creation.spec
    _check_fields(asked)
    check_none(asked)
    port, access = _port(asked.serving_port)
    number = replicas_of(asked.autoscaling)
    base = common.to_spec(TYPE, creation, raw, name, machine)
    serving = Serving(
        replicas=number.least,
        scaling=number.scaling,
        port=port,
        readiness=readiness_of(asked.probes, port) or _listens(port),
        access=access,
        timeout_s=asked.serving_configuration.request_timeout_seconds or TIMEOUT_S,
        is_exposed=not (asked.serving_port and asked.serving_port.cluster_local_access_only),
        ready_within_s=asked.serving_configuration.initialization_timeout_seconds,
    )
    spec = replace(base.spec, serving=serving, ports=_with_port(base.spec, port), worker_retries=0)
    warnings = (*base.warnings, *number.warnings, *_warnings(serving))
    return WantedInference(replace(base, spec=spec, warnings=warnings), number.initial)


def _check_fields(asked: wire.InferenceSpec) -> None:
    for name in wire.JOB_CONTROL:
        field = wire.InferenceSpec.model_fields[name]
        if getattr(asked, name) != field.default:
            raise Invalid(f"spec.{field.alias}", "is no field of an inference; leave it out")


def _port(asked: wire.ServingPort | None) -> tuple[int, Access]:
    if asked is None or asked.container is None:
        raise Invalid(f"{PORT}.container", "is missing; name the port on which the container serves")
    if asked.protocol != "http":
        raise NotImplementedYet(f"{PORT}.protocol: {asked.protocol}")
    return asked.container, _access(asked)


def _access(asked: wire.ServingPort) -> Access:
    users, groups, type_ = asked.authorized_users, asked.authorized_groups, asked.authorization_type
    if groups or type_ == "authorizedGroups":
        raise NotImplementedYet(f"{PORT}.authorizedGroups, for nobody is in a group here")
    if users and type_ in ("public", "authenticatedUsers"):
        raise Invalid(f"{PORT}.authorizedUsers", f"authorizationType is {type_}; use authorizedUsers there")
    match type_:
        case "public":
            return Access()
        case "authenticatedUsers":
            return Access(takes_workspace_token=True, people=(EVERYBODY,))
        case _ if users:
            return Access(people=tuple(dict.fromkeys(users)))
        case _:
            raise Invalid(f"{PORT}.authorizedUsers", "is missing; name who may send requests")


def _listens(port: int) -> Probe:
    return Probe(ProbeKind.READINESS, TcpConnect(port), period_s=LISTENS_PERIOD_S, failures=LISTENS_FAILURES)


def _with_port(spec: WorkloadSpec, port: int) -> tuple[tuple[int, str, int | None], ...]:
    known = {(number, protocol) for number, protocol, _ in spec.ports}
    return spec.ports if (port, "tcp") in known else (*spec.ports, (port, "tcp", None))


def _warnings(serving: Serving) -> list[tuple[str, str]]:
    if serving.is_exposed:
        return []
    why = "no network of a cluster leads to it here, and it has no URL"
    return [(IGNORED, f"{PORT}.clusterLocalAccessOnly: {why}")]


def merged(kept: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """
    The body that an inference is as if it had been made with, after an update.

    Objects are merged, anything else takes the place of what was there. Nothing can be taken away: null
    means "not said", since `from_dict` of the client's models sends it for each field that it was not given.

    Args:
        kept: what it was made with so far: `name`, `projectId`, `clusterId`, `spec`.

    Raises:
        Invalid: it names something that cannot be changed.
    """
    for name in update:
        if name != "spec":
            raise Invalid(name, "cannot be changed; an update has a spec only")
    changes = update.get("spec", {})
    if not isinstance(changes, Mapping):
        raise Invalid("spec", "must be an object")
    for name, value in changes.items():
        if name not in wire.CHANGEABLE and value != kept["spec"].get(name):
            there = ", ".join(wire.CHANGEABLE)
            raise Invalid(f"spec.{name}", f"cannot be changed; there are {there}")
    return {**kept, "spec": _merged(kept["spec"], changes)}


def _merged(kept: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(kept)
    for name, value in changes.items():
        match found.get(name), value:
            case Mapping() as before, Mapping() as change:
                found[name] = _merged(before, change)
            case _:
                found[name] = value
    return found
