"""Projects: who shares the machine. Each is a Lepton workspace of the same name."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from ....domain.org import Project
from ....services import org
from ....services.org_usage import total
from .. import lists, media
from ..call import Call
from ..lists import Read
from ..registry import Routes
from ..telemetry import org_unit_telemetry
from ..translate import org as translate
from ..wire import ProjectCreation, ProjectUpdate, check_fixed, check_parts
from .deps import check_cluster, cluster_id, units, usage
from .resources import patch_resources, put_resources

routes = Routes()
PATH = "/api/v1/org-unit/projects"
ONE = f"{PATH}/{{project_id}}"


def _fields(call: Call) -> Mapping[str, Read[Project]]:
    used, cluster = usage(call), cluster_id(call)
    above = {d.id: d.name for d in units(call).departments}
    return {
        "name": lambda p: p.name,
        "clusterId": lambda _p: cluster,
        "departmentId": lambda p: p.department_id,
        "parentId": lambda p: p.department_id,
        "parentName": lambda p: above.get(p.department_id),
        "phase": lambda _p: "Ready",
        "totalGpuQuota": lambda p: translate.gpu_quota(p.quotas),
        "gpuAllocated": lambda p: total(used, [p.name]).allocated.gpus,
        "createdAt": lambda p: lists.at(p.stamp.created_at_ms),
    }


def _to_wire(call: Call, project: Project) -> dict[str, Any]:
    return translate.project_to_wire(project, units(call), usage(call), cluster_id(call))


@routes.get(PATH)
async def list_projects(call: Call) -> Response:
    page = call.page(units(call).projects, _fields(call), search=("name",))
    return call.answer(lists.wrap("projects", [_to_wire(call, p) for p in page.items], page.next))


@routes.get(f"{PATH}/count")
async def count_projects(call: Call) -> Response:
    found = call.select(units(call).projects, _fields(call), search=("name",))
    return call.answer({"count": len(found)})


@routes.get(f"{PATH}/telemetry")
async def get_telemetry(call: Call) -> Response:
    told = org_unit_telemetry(call, is_by_department=False)
    return media.telemetry(call.accept, told, has_csv=False)


@routes.post(PATH)
async def create_project(call: Call) -> Response:
    sent = call.read(ProjectCreation)
    check_parts(sent)
    check_cluster(call, sent.clusterId)
    draft = translate.project_to_domain(sent, units(call).pools)
    made = await org.create_project(call.ctx.services, draft, by=call.who.name)
    return call.answer(_to_wire(call, made))


@routes.get(ONE)
async def get_project(call: Call) -> Response:
    return call.answer(_to_wire(call, _project(call)))


@routes.put(ONE)
async def update_project(call: Call) -> Response:
    sent, before, pools = call.read(ProjectUpdate), _project(call), units(call).pools
    check_parts(sent)
    fixed = {"parentId": before.department_id, "requestedNamespace": before.namespace}
    check_fixed(
        sent, fixed | {"id": before.id, "name": before.name, "clusterId": cluster_id(call)}, "project"
    )
    after = await org.update_project(
        call.ctx.services, before.id, lambda p: translate.change_project(p, sent, pools), by=call.who.name,
        quotas=translate.quotas_to_domain(sent.resources, pools),
    )  # fmt: skip
    return call.answer(_to_wire(call, after))


@routes.delete(ONE)
async def delete_project(call: Call) -> Response:
    await org.delete_project(call.ctx.services, _project(call).id)
    return call.answer()


@routes.put(f"{ONE}/resources")
async def replace_project_resources(call: Call) -> Response:
    return await put_resources(call, _project(call))


@routes.patch(f"{ONE}/resources")
async def merge_project_resources(call: Call) -> Response:
    return await patch_resources(call, _project(call))


def _project(call: Call) -> Project:
    return org.get_project(call.ctx.services, call.params["project_id"])
