"""Inferences: submit, view, update, delete. To Homeport they are endpoints, as those made with `lep`."""

from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from ....domain.serving import Access
from ....domain.workload import Workload, WorkloadSpec
from ....errors import Conflict, NotImplementedYet
from ....services import endpoints, exposures
from .. import errors, ids
from .. import wire_inference as wire
from ..call import Call
from ..registry import Routes
from ..translate import inference as translate
from ..translate import revisions
from ..translate.seen import Seen
from ..translate.spec import Machine
from ..translate.workloads import view
from . import looking
from .acting import act
from .reaching import UNKNOWN
from .submitting import check, name_of, project_of, shown, stamped

routes = Routes()
TYPE = translate.TYPE
PATH = "/api/v1/workloads/inferences"
ONE = f"{PATH}/{{workload_id}}"
# Its name is its own among what lives in its project, whatever it is: the same page would lead to both.
SOLE_AMONG = (*endpoints.BOTH, "job")
OF_REVISIONS = (revisions.KEY, "revision")


@routes.post(PATH)
async def create(call: Call) -> Response:
    creation = call.read(wire.InferenceCreation)
    project, name = project_of(call, creation), name_of(creation)
    asked = translate.to_inference(creation, call.body, name, _machine(call))
    warnings = [*check(call, project, asked.wanted), *_strangers(call, project.name, asked.wanted.spec)]
    workload = await endpoints.create_endpoint(
        call.ctx.services, workspace=project.name, name=name, owner=call.who.name,
        spec=stamped(asked.wanted.spec, project), warnings=warnings, sole_among=SOLE_AMONG,
        decided_replicas=asked.initial,
    )  # fmt: skip
    return call.answer(view(shown(call, workload)))


@routes.get(ONE)
async def get(call: Call) -> Response:
    return call.answer(view(looking.find(call, (TYPE,))))


@routes.delete(ONE)
async def delete(call: Call) -> Response:
    return call.accepted(await act(call, looking.find(call, (TYPE,)), "delete"))


@routes.patch(ONE)
async def update(call: Call) -> Response:
    """What it changes makes a new revision. What changes nothing is taken, and makes none."""
    seen = looking.find(call, (TYPE,))
    workload, services = seen.workload, call.ctx.services
    if workload.is_deleting or workload.archived_at_ms is not None:
        raise Conflict(f"{TYPE} {workload.name} is deleted; submit it again")
    if not seen.own:
        raise NotImplementedYet(f"to update what was made as a Lepton {workload.kind}")
    told: list[tuple[str, str]] = []

    def make(old: WorkloadSpec) -> WorkloadSpec:
        spec, warnings = _updated(call, seen, old)
        told[:] = warnings
        return spec

    if make(workload.spec) == workload.spec:
        return call.answer(view(seen))

    def stamp(before: Workload, after: Workload) -> Workload:
        return revisions.stamped(before, after, services.clock.now_ms())

    who = looking.caller(call, workload.workspace)
    changed = await endpoints.change_endpoint(
        services, who, workload.name, make, kinds=(endpoints.KIND,), stamp=stamp, warnings=told
    )
    return call.answer(view(shown(call, changed)))


def _updated(call: Call, seen: Seen, old: WorkloadSpec) -> tuple[WorkloadSpec, list[tuple[str, str]]]:
    """The spec that it is to have, and events about what of it has no effect."""
    own = old.extras[ids.KEY]
    kept = {
        "name": own["requestedName"],
        "projectId": seen.project.id,
        "clusterId": seen.where.cluster_id,
        "spec": own["spec"],
    }
    body = call.body if isinstance(call.body, dict) else {}
    raw = translate.merged(kept, body)
    asked = translate.to_inference(_read(raw), raw, seen.workload.name, _machine(call))
    warnings = check(call, seen.project, asked.wanted, kept_secrets=old.secret_names)
    spec = stamped(asked.wanted.spec, seen.project)
    earlier = {key: own[key] for key in OF_REVISIONS if key in own}
    return replace(spec, extras={**spec.extras, ids.KEY: {**spec.extras[ids.KEY], **earlier}}), warnings


def _strangers(call: Call, project: str, spec: WorkloadSpec) -> list[tuple[str, str]]:
    access = spec.serving.access if spec.serving is not None else Access()
    if access.takes_workspace_token or not access.people:
        return []
    unknown = exposures.unknown_people(call.ctx.services, project, access.people)
    field = f"{translate.PORT}.authorizedUsers"
    return [
        (UNKNOWN, f"{field}: nobody here is named {person!r} yet, and so nobody is let in by that name")
        for person in unknown
    ]


def _read(raw: dict[str, Any]) -> wire.InferenceCreation:
    try:
        return wire.InferenceCreation.model_validate(raw)
    except ValidationError as error:
        raise errors.invalid(error) from error


def _machine(call: Call) -> Machine:
    where = looking.where(call)
    return Machine(where.nodes, where.shapes)
