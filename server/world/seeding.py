"""What a seed file says of node pools, departments and projects, brought into the store."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ..domain.org import Department, NodePool, PoolQuota, Project
from ..errors import NotFound
from ..services import org, quotas
from ..services.context import Services
from .file import PoolBody, QuotaBody, UnitBody, World

SEEDED_BY = "seed file"
Unit = TypeVar("Unit", Department, Project, NodePool)


async def seed_org(services: Services, world: World) -> None:
    """
    Makes what is missing, and sets pools and quotas as the file has them, at each start. What it does not
    name stays as it is.

    Raises:
        Invalid: a name, a label or an amount that cannot be. NotFound: a department that nobody named.
    """
    for body in world.pools:
        await _seed_pool(services, body)
    pools = {p.name: p.id for p in org.list_node_pools(services)}
    for body in world.departments:
        department = _named(org.list_departments(services), body.name)
        if department is None:
            department = await org.create_department(services, Department("", body.name), by=SEEDED_BY)
        await _set_quotas(services, department, body, pools)
    for body in world.projects:
        department = org.find_department(services, body.department)
        project = _named(org.list_projects(services), body.name)
        if project is None:
            draft = Project("", body.name, department.id, "")
            project = await org.create_project(services, draft, by=SEEDED_BY)
        elif project.department_id != department.id:
            raise NotFound("project", body.name, among=f"{body.name} in another department; name that one")
        await _set_quotas(services, project, body, pools)


async def _seed_pool(services: Services, body: PoolBody) -> None:
    key, value = ("", "") if body.name == "default" else body.label_pair
    wanted = NodePool(
        "", body.name, key, value, gpu_strategy=body.gpu_strategy, cpu_strategy=body.cpu_strategy,
        min_runtime_s=int(body.min_runtime),
    )  # fmt: skip
    before = _named(org.list_node_pools(services), body.name)
    if before is None:
        await org.create_node_pool(services, wanted, by=SEEDED_BY)
        return
    after = replace(
        before, label_key=key, label_value=value, gpu_strategy=wanted.gpu_strategy,
        cpu_strategy=wanted.cpu_strategy, min_runtime_s=wanted.min_runtime_s,
    )  # fmt: skip
    if after != before:
        await org.update_node_pool(services, before.id, lambda _: after, by=SEEDED_BY)


async def _set_quotas(
    services: Services, unit: Department | Project, body: UnitBody, pools: Mapping[str, str]
) -> None:
    wanted = [_quota(pools[name], quota) for name, quota in body.quotas.items()]
    known = {q.pool: q for q in unit.quotas}
    if any(known.get(quota.pool) != quota for quota in wanted):
        await quotas.set_quotas(services, unit, wanted, merge=True, by=SEEDED_BY)


def _quota(pool_id: str, body: QuotaBody) -> PoolQuota:
    return PoolQuota(pool_id, body.gpu.to_amount(), body.cpu.to_amount(), body.memory.to_amount(), body.rank)


def _named(units: Sequence[Unit], name: str) -> Unit | None:
    return next((unit for unit in units if unit.name == name), None)
