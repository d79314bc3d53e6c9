"""Departments: what projects are below."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from ....domain.org import Department
from ....services import org
from ....services.org_usage import total
from .. import lists, media
from ..call import Call
from ..lists import Read
from ..registry import Routes
from ..telemetry import org_unit_telemetry
from ..translate import org as translate
from ..wire import DepartmentCreation, DepartmentUpdate, check_fixed, check_parts
from .deps import check_cluster, cluster_id, units, usage
from .resources import patch_resources, put_resources

routes = Routes()
PATH = "/api/v1/org-unit/departments"
ONE = f"{PATH}/{{department_id}}"


def _fields(call: Call) -> Mapping[str, Read[Department]]:
    used, cluster, all_units = usage(call), cluster_id(call), units(call)

    def allocated(department: Department) -> float:
        below = [p.name for p in all_units.projects if p.department_id == department.id]
        return total(used, below).allocated.gpus

    return {
        "name": lambda d: d.name,
        "clusterId": lambda _d: cluster,
        "totalGpuQuota": lambda d: translate.gpu_quota(d.quotas),
        "gpuAllocated": allocated,
        "createdAt": lambda d: lists.at(d.stamp.created_at_ms),
    }


def _to_wire(call: Call, department: Department) -> dict[str, Any]:
    return translate.department_to_wire(department, units(call), usage(call), cluster_id(call))


@routes.get(PATH)
async def list_departments(call: Call) -> Response:
    verbosity = call.query.one_of("verbosity", ("meta", "brief", "verbose"), "verbose")
    page = call.page(units(call).departments, _fields(call), search=("name",))
    found = [_to_wire(call, d) for d in page.items]
    if verbosity == "meta":
        found = [{"id": d["id"], "name": d["name"], "clusterId": d["clusterId"]} for d in found]
    return call.answer(lists.wrap("departments", found, page.next))


@routes.get(f"{PATH}/count")
async def count_departments(call: Call) -> Response:
    return call.answer({"count": len(call.select(units(call).departments, _fields(call), search=("name",)))})


@routes.get(f"{PATH}/telemetry")
async def get_telemetry(call: Call) -> Response:
    told = org_unit_telemetry(call, is_by_department=True)
    return media.telemetry(call.accept, told, has_csv=False)


@routes.post(PATH)
async def create_department(call: Call) -> Response:
    sent = call.read(DepartmentCreation)
    check_parts(sent)
    check_cluster(call, sent.clusterId)
    draft = translate.department_to_domain(sent, units(call).pools)
    made = await org.create_department(call.ctx.services, draft, by=call.who.name)
    return call.answer(_to_wire(call, made))


@routes.get(ONE)
async def get_department(call: Call) -> Response:
    return call.answer(_to_wire(call, _department(call)))


@routes.put(ONE)
async def update_department(call: Call) -> Response:
    sent, before, pools = call.read(DepartmentUpdate), _department(call), units(call).pools
    check_parts(sent)
    fixed = {"id": before.id, "name": before.name, "clusterId": cluster_id(call)}
    check_fixed(sent, fixed, "department")
    after = await org.update_department(
        call.ctx.services, before.id, lambda d: translate.change_department(d, sent, pools), by=call.who.name,
        quotas=translate.quotas_to_domain(sent.resources, pools),
    )  # fmt: skip
    return call.answer(_to_wire(call, after))


@routes.delete(ONE)
async def delete_department(call: Call) -> Response:
    await org.delete_department(call.ctx.services, _department(call).id)
    return call.answer()


@routes.put(f"{ONE}/resources")
async def replace_department_resources(call: Call) -> Response:
    return await put_resources(call, _department(call))


@routes.patch(f"{ONE}/resources")
async def merge_department_resources(call: Call) -> Response:
    return await patch_resources(call, _department(call))


def _department(call: Call) -> Department:
    return org.get_department(call.ctx.services, call.params["department_id"])
