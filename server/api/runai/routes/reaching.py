"""What a submission says of the ways to its ports, checked against what there is."""

from collections.abc import Callable
from dataclasses import replace

from sqlmodel import Session

from ....domain.org import Project
from ....domain.workload import WorkloadSpec
from ....services import exposures, org
from .. import wire_workloads as wire
from ..call import Call
from ..translate import exposures as translate
from ..translate.exposures import Reach
from ..translate.spec import pod_of

UNKNOWN = "UnknownUser"  # the reason of an event


def reached(call: Call, project: Project, name: str, creation: wire.Creation, spec: WorkloadSpec) -> Reach:
    """
    Raises:
        Invalid, NotImplementedYet: name the field.
    """
    services = call.ctx.services
    projects = {p.name for p in org.list_projects(services)}
    asked = pod_of(creation)
    found = translate.reached(spec, creation, asked, project.name, name, call.ctx.gateway, projects)
    unknown = set(exposures.unknown_people(services, project.name, [p for p, _ in found.people]))
    told = [
        (UNKNOWN, f"{field}: nobody here is named {person!r} yet, and so nobody is let in by that name")
        for person, field in found.people
        if person in unknown
    ]
    return replace(found, warnings=[*found.warnings, *told])


def claims_of(call: Call, reach: Reach) -> Callable[[Session], None]:
    chosen, fields = [e for e, _ in reach.chosen], [field for _, field in reach.chosen]
    return exposures.claims(call.ctx.services, chosen, fields, reach.numbered)
