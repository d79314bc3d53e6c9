"""
Ways to the ports of what runs to an end: URLs of the gateway, and ports of the host.

Source: contract, sections 7 and 11; runapy 1.224.0, `ExposedUrl`, `Port`, `AuthorizationType`, `Connection1`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ....domain.exposures import (
    GatewayNames,
    check_apart,
    check_host,
    check_path,
    default_path,
    read_url,
)
from ....domain.serving import Access, Exposure
from ....domain.workload import WorkloadSpec
from ....errors import Invalid, NotImplementedYet
from .. import wire_exposures as wire
from ..wire_workloads import Creation, DistributedCreation, PodSpec
from .probes import readiness_of
from .seen import Seen

URLS, PORTS = "exposedUrls", "ports"
TOOL = "custom"  # of what names none
EXTERNAL_URL = "ExternalUrl"  # source: InternalConnectionType
PUBLISHED = ("NodePort", "LoadBalancer")
# What the published examples write into their commands, such as `--NotebookApp.base_url=...`.
EXPANDED = ("RUNAI_PROJECT", "RUNAI_JOB_NAME")
IGNORED = "FieldIgnored"


@dataclass(frozen=True, slots=True)
class Reach:
    """
    Args:
        chosen: those of `exposures` whose address was asked for, each with the path of its field.
        numbered: ports of the host that were asked for by number, with their protocol and field.
        people: who is named, each with the path of the field.
    """

    spec: WorkloadSpec
    chosen: Sequence[tuple[Exposure, str]] = ()
    numbered: Sequence[tuple[int, str, str]] = ()
    people: Sequence[tuple[str, str]] = ()
    warnings: Sequence[tuple[str, str]] = ()


def ways_of(creation: Creation, asked: PodSpec) -> tuple[PodSpec, str]:
    """
    The part of a submission that says how its first pod is reached, and its name: of a distributed
    workload that is the master's, where it says anything of it.

    Args:
        asked: its `spec`.

    Raises:
        NotImplementedYet: so do the workers.
    """
    master = creation.master_spec if isinstance(creation, DistributedCreation) else None
    if master is None or not (master.exposed_urls or master.ports):
        return asked, "spec"
    for mine, workers, field in (
        (master.exposed_urls, asked.exposed_urls, URLS),
        (master.ports, asked.ports, PORTS),
    ):
        if workers and mine != workers:
            raise NotImplementedYet(f"masterSpec.{field} that differs from spec.{field}")
    return asked.model_copy(update={"exposed_urls": master.exposed_urls, "ports": master.ports}), "masterSpec"


def reached(
    spec: WorkloadSpec,
    creation: Creation,
    asked: PodSpec,
    project: str,
    name: str,
    gateway: GatewayNames,
    projects: Collection[str],
) -> Reach:
    """
    The spec of a training, a workspace or a distributed workload, with the ways to it.

    Args:
        asked: the `spec` of `creation`. projects: names of all.

    Raises:
        Invalid: names the field that cannot be. NotImplementedYet: names one that Homeport does not honour.
    """
    asked, within = ways_of(creation, asked)
    urls = [(u, f"{within}.{URLS}[{i}]") for i, u in enumerate(asked.exposed_urls) if not u.exclude]
    exposures = [_exposure(u, field, is_first=i == 0, project=project, name=name, gateway=gateway)
                 for i, (u, field) in enumerate(urls)]  # fmt: skip
    fields = [f"{field}.url" for _, field in urls]
    check_apart(exposures, fields)
    chosen = [(e, f) for (u, _), e, f in zip(urls, exposures, fields, strict=True) if u.url]
    for exposure, field in chosen:
        if exposure.host:
            check_host(exposure.host, field, projects)
        else:
            check_path(exposure.path, field, default_path(project, name, 0, is_first=True), projects)
    ports, numbered = _ports(asked.ports, f"{within}.{PORTS}")
    first = next((e.port for e in exposures), None)
    found = replace(
        spec,
        exposures=tuple(exposures),
        readiness=readiness_of(asked.probes, first),
        ports=ports,
        keeps_host_ports=any(host is not None for _, _, host in ports),
        expands=EXPANDED,
    )
    people = [(p, f"{field}.authorizedUsers") for (_, field), e in zip(urls, exposures, strict=True)
              for p in (e.access.people if e.access else ())]  # fmt: skip
    return Reach(found, chosen, numbered, people, [w for u, field in urls for w in _ignored(u, field)])


def check_none(asked: PodSpec) -> None:
    """
    For what serves, which has its own port and URL.

    Raises:
        NotImplementedYet: it asks for more of them.
    """
    if any(not u.exclude for u in asked.exposed_urls):
        raise NotImplementedYet(f"spec.{URLS} of an inference, which has a servingPort")
    for i, port in enumerate(asked.ports):
        if port.service_type in PUBLISHED and not port.exclude:
            raise NotImplementedYet(f"spec.{PORTS}[{i}].serviceType: {port.service_type} of an inference")


def _exposure(
    asked: wire.ExposedUrl, field: str, *, is_first: bool, project: str, name: str, gateway: GatewayNames
) -> Exposure:
    if asked.container is None:
        raise Invalid(f"{field}.container", "is missing; name the port on which the container listens")
    access = _access(asked, field)
    if asked.url:
        host, path = read_url(asked.url, f"{field}.url", gateway)
        return Exposure(asked.container, host, path, access)
    path = default_path(project, name, asked.container, is_first=is_first)
    return Exposure(asked.container, "", path, access)


def _access(asked: wire.ExposedUrl, field: str) -> Access | None:
    """
    What is named beside `authorizationType` and does not belong to it is ignored, and where that is missing
    it follows from what is named. Source: runapy 1.224.0, `AuthorizationType`.
    """
    users, groups, type_ = asked.authorized_users, asked.authorized_groups, asked.authorization_type
    if type_ is None and users and groups:
        raise Invalid(f"{field}.authorizedGroups", "cannot stand beside authorizedUsers; leave one out")
    match type_ or ("authorizedUsers" if users else "authorizedGroups" if groups else None):
        case None:
            return None
        case "authenticatedUsers":
            return Access(takes_workspace_token=True)
        case "authorizedUsers" if users:
            return Access(people=tuple(dict.fromkeys(users)))
        case "authorizedUsers":
            raise Invalid(f"{field}.authorizedUsers", "is missing; name who may use the URL")
        case _:
            raise NotImplementedYet(f"{field}.authorizedGroups, for nobody is in a group here")


def _ignored(asked: wire.ExposedUrl, field: str) -> list[tuple[str, str]]:
    type_ = asked.authorization_type
    given = {"authorizedUsers": asked.authorized_users, "authorizedGroups": asked.authorized_groups}
    if type_ is None:
        return []
    names = [name for name, value in given.items() if value and name != type_]
    return [(IGNORED, f"{field}.{n} has no effect beside authorizationType {type_}") for n in names]


Ports = tuple[tuple[int, str, int | None], ...]


def _ports(asked: Sequence[wire.ContainerPort], where: str) -> tuple[Ports, list[tuple[int, str, str]]]:
    """Those that are published on the host, 0 for any number of it."""
    found: dict[int, int] = {}
    numbered: list[tuple[int, str, str]] = []
    for i, port in enumerate(asked):
        field = f"{where}[{i}]"
        if port.exclude:
            continue
        if port.container is None:
            raise Invalid(f"{field}.container", "is missing; name the port on which the container listens")
        if port.service_type not in PUBLISHED:
            if port.external is not None:
                raise Invalid(f"{field}.external", f"is for {' and '.join(PUBLISHED)}; leave it out")
            continue
        if port.container in found:
            raise Invalid(f"{field}.container", f"{port.container} is published already; name it once")
        found[port.container] = port.external or 0
        if port.external is not None:
            if port.external in [number for number, _, _ in numbered]:
                raise Invalid(f"{field}.external", f"{port.external} is named twice; each needs its own")
            numbered.append((port.external, "tcp", f"{field}.external"))
    return tuple((container, "tcp", host) for container, host in found.items()), numbered


# --- back


def exposed_urls(seen: Seen) -> list[str]:
    """In full, and through the gateway. What is deleted has none."""
    if seen.is_gone or not seen.where.gateway_url:
        return []
    gateway = GatewayNames(seen.where.gateway_url)
    return [gateway.of(exposure) for exposure in seen.spec.exposures]


def exposed_connections(seen: Seen) -> list[dict[str, Any]]:
    """URLs first, then ports of the host; one that has no number yet tells no address."""
    spec = seen.spec
    if seen.is_gone or not seen.own or not (spec.exposures or spec.keeps_host_ports):
        return []
    parts = (seen.own["spec"], seen.own.get("masterSpec", {}))
    sent = {k: next((part[k] for part in parts if part.get(k)), []) for k in (URLS, PORTS)}
    asked = PodSpec.model_validate(sent)
    urls = [u for u in asked.exposed_urls if not u.exclude]
    told: list[dict[str, Any]] = []
    for one, exposure, url in zip(urls, spec.exposures, exposed_urls(seen), strict=True):
        authorization = _authorization(exposure.access, is_local=seen.where.is_local)
        more: dict[str, Any] = {"url": url, "authorizationType": authorization}
        if exposure.access is not None and exposure.access.people:
            more["authorizedUsers"] = list(exposure.access.people)
        told.append(_connection(one, EXTERNAL_URL) | more)
    for port in asked.ports:
        if port.exclude or port.service_type not in PUBLISHED:
            continue
        number = seen.host_ports.get((port.container or 0, "tcp"))
        address = {} if number is None else {"url": f"{seen.where.host}:{number}"}
        told.append(_connection(port, port.service_type) | address | {"authorizationType": "public"})
    return told


def _connection(asked: wire.ExposedUrl | wire.ContainerPort, kind: str) -> dict[str, Any]:
    return {
        "name": asked.tool_name or asked.name or f"port-{asked.container}",
        "toolType": asked.tool_type or TOOL,
        "connectionType": kind,
        "containerPort": asked.container,
    }


def _authorization(access: Access | None, *, is_local: bool) -> str:
    """As `Connection1` calls them."""
    if access is None:
        return "public" if is_local else "authenticatedUsers"
    return "authenticatedUsers" if access.takes_workspace_token else "authorizedUsersOrGroups"
