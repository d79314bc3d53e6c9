"""Projects, departments and node pools, and the labels that put nodes into pools."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from math import fsum
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from ....domain.inventory import HostNode, gpus_held
from ....domain.org import Amount, Department, NodePool, PoolQuota, Project, Rank
from ....domain.reservations import reserved_nodes
from ....domain.times import LONGEST_S
from ....domain.workload import Attempt
from ....errors import Invalid
from ....services import node_notes, org, quotas
from ....services.access import check_runs_server
from ....services.context import Services
from .deps import Bearer, Context

router = APIRouter()
RESOURCES = ("gpu", "cpu", "memory")


class AmountChange(BaseModel):
    """What is not there stays. None: without bounds, or the default weight."""

    deserved: float | None = Field(default=None, ge=0)
    limit: float | None = Field(default=None, ge=0)
    weight: float | None = Field(default=None, ge=0)


class QuotaChange(BaseModel):
    """Of one node pool, in devices, cores and MiB. `rank`: a name of `Rank`."""

    pool: str = "default"
    gpu: AmountChange = AmountChange()
    cpu: AmountChange = AmountChange()
    memory: AmountChange = AmountChange()
    rank: str | None = None


class NewProject(BaseModel):
    name: str
    department: str = "default"
    description: str = ""
    quotas: list[QuotaChange] = []


class NewDepartment(BaseModel):
    name: str
    quotas: list[QuotaChange] = []


class NewPool(BaseModel):
    """`label`: key=value; the pool has the nodes that bear it."""

    name: str
    label: str
    gpu_strategy: str = "binpack"
    cpu_strategy: str = "binpack"
    min_runtime_s: int = Field(default=0, ge=0, le=LONGEST_S)


class Labels(BaseModel):
    """By name; None takes one away."""

    labels: dict[str, str | None]


class Taint(BaseModel):
    """`effect`: NoSchedule, PreferNoSchedule or NoExecute. `value`: None takes it away."""

    key: str
    effect: str
    value: str | None = ""


class Taints(BaseModel):
    taints: list[Taint] = Field(min_length=1)


def quotas_of(services: Services, asked: Sequence[QuotaChange]) -> tuple[PoolQuota, ...]:
    """Of a unit that has none yet."""
    return tuple(changed(org.find_node_pool(services, each.pool).id, (), each) for each in asked)


async def change_quota(services: Services, unit: Department | Project, change: QuotaChange, by: str) -> None:
    pool_id = org.find_node_pool(services, change.pool).id
    await quotas.change_quotas(
        services, unit, lambda there: [changed(pool_id, there, change)], merge=True, by=by
    )


def changed(pool_id: str, there: Sequence[PoolQuota], change: QuotaChange) -> PoolQuota:
    """The quota of that pool as it is to be."""
    quota = next((q for q in there if q.pool == pool_id), PoolQuota(pool_id))
    for resource in RESOURCES:
        before: Amount = getattr(quota, resource)
        asked: AmountChange = getattr(change, resource)
        after = replace(before, **asked.model_dump(exclude_unset=True))
        quota = replace(quota, **{resource: after})
    if change.rank is None:
        return quota
    ranks = {rank.value.lower(): rank for rank in Rank}
    if change.rank.lower() not in ranks:
        raise Invalid("rank", f"{change.rank!r} is none of {', '.join(r.value for r in Rank)}")
    return replace(quota, rank=ranks[change.rank.lower()])


def unit_to_wire(services: Services, unit: Department | Project) -> dict[str, Any]:
    pools = {p.id: p.name for p in org.list_node_pools(services)}
    told = [
        {"pool": pools.get(q.pool, q.pool), "rank": q.rank.value}
        | {resource: asdict(getattr(q, resource)) for resource in RESOURCES}
        for q in unit.quotas
    ]
    return {
        "id": unit.id,
        "name": unit.name,
        "quotas": told,
        "follows_machine": org.follows_machine(services, unit),
    }


def project_to_wire(services: Services, project: Project, taken: float) -> dict[str, Any]:
    return unit_to_wire(services, project) | {
        "department": org.get_department(services, project.department_id).name,
        "namespace": project.namespace,
        "description": project.description,
        "gpus_taken": taken,
    }


def gpus_taken(services: Services) -> dict[str, float]:
    """Devices, and parts of them, that containers hold now; by project."""
    live = services.store.reads.live_attempts()
    devices = {n.id: n.gpus for n in org.nodes_now(services)}
    found = services.store.reads.by_ids(list({a.workload_id for a in live}))
    project_of = {f.id: f.workload.workspace for f in found}
    taken: dict[str, float] = {}
    for attempt in live:
        name = project_of.get(attempt.workload_id, "")
        has = gpus_held(attempt.gpu_uuids, attempt.gpu_portion, devices.get(attempt.node, ()))
        taken[name] = taken.get(name, 0.0) + has
    return taken


def pool_to_wire(services: Services, pool: NodePool) -> dict[str, Any]:
    nodes = [n for n in org.nodes_now(services) if n.node_group == pool.name]
    return {
        "id": pool.id,
        "name": pool.name,
        "label": "" if pool.is_default else f"{pool.label_key}={pool.label_value}",
        "is_default": pool.is_default,
        "gpu_strategy": pool.gpu_strategy,
        "cpu_strategy": pool.cpu_strategy,
        "min_runtime_s": pool.min_runtime_s,
        "nodes": [n.id for n in nodes],
        "gpus": sum(len(n.gpus) for n in nodes),
    }


def nodes_to_wire(services: Services) -> list[dict[str, Any]]:
    """Each with what is known of it now: whether it is reached, who holds it, what is taken, what is ill."""
    down, ill = services.down_nodes(), services.unhealthy()
    reserved = reserved_nodes(services.store.reads.reservations(), services.clock.now_ms())
    here: dict[str, list[Attempt]] = {}
    for attempt in services.store.reads.live_attempts():
        here.setdefault(attempt.node, []).append(attempt)
    return [
        node_to_wire(n)
        | {
            "state": "down" if n.id in down else "ready",
            "reservation": reserved.get(n.id, ""),
            "gpus_taken": _taken(n, here.get(n.id, ())),
            "gpus_ill": sum(gpu.uuid in ill for gpu in n.gpus),
        }
        for n in org.nodes_now(services)
    ]


def _taken(node: HostNode, here: Sequence[Attempt]) -> float:
    """In devices, of which a MIG instance is one."""
    there = {gpu.uuid for gpu in node.gpus}
    return fsum(len(there.intersection(a.gpu_uuids)) * a.gpu_portion for a in here)


def node_to_wire(node: HostNode) -> dict[str, Any]:
    return {
        "id": node.id,
        "pool": node.node_group,
        "labels": dict(node.labels),
        "taints": [{"key": key, "value": value, "effect": effect} for key, value, effect in node.taints],
        "cpu_cores": node.cpu_cores,
        "memory_mib": node.memory_mib,
        "schedulable_cpu_cores": node.cpu_cores * node.overcommit,
        "schedulable_memory_mib": int(node.memory_mib * node.overcommit),
        "gpus": len(node.gpus),
        "gpus_simulated": any(gpu.is_simulated for gpu in node.gpus),
        "simulated": node.is_simulated,
    }


@router.get("/projects")
async def list_projects(ctx: Context, _who: Bearer) -> Response:
    taken = gpus_taken(ctx.services)
    found = org.list_projects(ctx.services)
    return JSONResponse([project_to_wire(ctx.services, p, taken.get(p.name, 0.0)) for p in found])


@router.post("/projects")
async def create_project(new: NewProject, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "make projects")
    department = org.find_department(ctx.services, new.department)
    wanted = quotas_of(ctx.services, new.quotas)
    draft = Project("", new.name, department.id, "", wanted, description=new.description)
    made = await org.create_project(ctx.services, draft, by=who.owner)
    return JSONResponse(project_to_wire(ctx.services, made, 0.0), 201)


@router.post("/projects/{name}/quota")
async def set_project_quota(name: str, change: QuotaChange, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "set quotas")
    project = org.find_project(ctx.services, name)
    await change_quota(ctx.services, project, change, who.owner)
    taken = gpus_taken(ctx.services).get(name, 0.0)
    return JSONResponse(project_to_wire(ctx.services, org.find_project(ctx.services, name), taken))


@router.delete("/projects/{name}")
async def delete_project(name: str, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "remove projects")
    await org.delete_project(ctx.services, org.find_project(ctx.services, name).id)
    return JSONResponse({})


@router.get("/departments")
async def list_departments(ctx: Context, _who: Bearer) -> Response:
    projects = org.list_projects(ctx.services)
    return JSONResponse(
        [
            unit_to_wire(ctx.services, d)
            | {"projects": [p.name for p in projects if p.department_id == d.id]}
            for d in org.list_departments(ctx.services)
        ]
    )


@router.post("/departments")
async def create_department(new: NewDepartment, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "make departments")
    wanted = quotas_of(ctx.services, new.quotas)
    made = await org.create_department(ctx.services, Department("", new.name, wanted), by=who.owner)
    return JSONResponse(unit_to_wire(ctx.services, made) | {"projects": []}, 201)


@router.post("/departments/{name}/quota")
async def set_department_quota(name: str, change: QuotaChange, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "set quotas")
    department = org.find_department(ctx.services, name)
    await change_quota(ctx.services, department, change, who.owner)
    return JSONResponse(unit_to_wire(ctx.services, org.find_department(ctx.services, name)))


@router.delete("/departments/{name}")
async def delete_department(name: str, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "remove departments")
    await org.delete_department(ctx.services, org.find_department(ctx.services, name).id)
    return JSONResponse({})


@router.get("/pools")
async def list_pools(ctx: Context, _who: Bearer) -> Response:
    return JSONResponse([pool_to_wire(ctx.services, p) for p in org.list_node_pools(ctx.services)])


@router.post("/pools")
async def create_pool(new: NewPool, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "make node pools")
    key, _, value = new.label.partition("=")
    draft = NodePool(
        "", new.name, key, value, gpu_strategy=new.gpu_strategy, cpu_strategy=new.cpu_strategy,
        min_runtime_s=new.min_runtime_s,
    )  # fmt: skip
    made = await org.create_node_pool(ctx.services, draft, by=who.owner)
    return JSONResponse(pool_to_wire(ctx.services, made), 201)


@router.delete("/pools/{name}")
async def delete_pool(name: str, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "remove node pools")
    await org.delete_node_pool(ctx.services, org.find_node_pool(ctx.services, name).id)
    return JSONResponse({})


@router.get("/nodes")
async def list_nodes(ctx: Context, _who: Bearer) -> Response:
    return JSONResponse(nodes_to_wire(ctx.services))


@router.post("/nodes/{name}/labels")
async def label_node(name: str, change: Labels, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "label nodes")
    return JSONResponse(node_to_wire(await node_notes.note_node(ctx.services, name, labels=change.labels)))


@router.post("/nodes/{name}/taints")
async def taint_node(name: str, change: Taints, ctx: Context, who: Bearer) -> Response:
    """One key may have several effects, each with its own value."""
    check_runs_server(who, "taint nodes")
    taints = {(t.key, t.effect): t.value for t in change.taints}
    if len(taints) < len(change.taints):
        raise Invalid("taints", "the same key and effect are there twice; name each once")
    return JSONResponse(node_to_wire(await node_notes.note_node(ctx.services, name, taints=taints)))
