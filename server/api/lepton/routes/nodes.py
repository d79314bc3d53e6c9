"""Node groups, nodes and shapes."""

import platform
from functools import cache
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....domain.inventory import HostNode, shapes_of
from ....domain.org import NodePool
from ....errors import NotFound
from ....services import org, volumes
from ..context import LeptonContext
from ..translate import nodes as translate
from .deps import Authorized, Context

router = APIRouter()


def pool_of(ctx: LeptonContext, group: str) -> NodePool:
    """A node group is a node pool; its id is the pool's name."""
    found = next((p for p in org.list_node_pools(ctx.services) if p.name == group), None)
    if found is None:
        raise NotFound("node group", group)
    return found


def nodes_of(ctx: LeptonContext, group: str) -> list[HostNode]:
    pool = pool_of(ctx, group)
    return [n for n in org.nodes_now(ctx.services) if n.node_group == pool.name]


def node_group(ctx: LeptonContext, pool: NodePool) -> dict[str, Any]:
    found = [v for v in volumes.list_volumes(ctx.services, pool.name) if v.is_listed]
    return translate.node_group_to_wire(pool, nodes_of(ctx, pool.name), found, ctx.services.down_nodes())


@router.get("/{ws}/dedicated-node-groups")
async def list_node_groups(_who: Authorized, ctx: Context) -> Response:
    return JSONResponse([node_group(ctx, pool) for pool in org.list_node_pools(ctx.services)])


@router.get("/{ws}/dedicated-node-groups/{group}")
async def get_node_group(group: str, _who: Authorized, ctx: Context) -> Response:
    return JSONResponse(node_group(ctx, pool_of(ctx, group)))


@router.get("/{ws}/dedicated-node-groups/{group}/nodes")
async def list_nodes(group: str, who: Authorized, ctx: Context, idle: bool = False) -> Response:
    nodes, live = nodes_of(ctx, group), ctx.services.store.reads.live_attempts()
    if idle:
        busy = {a.node for a in live}
        nodes = [n for n in nodes if n.id not in busy]
    host, known = host_facts(ctx), ctx.services.store.reads.by_ids([a.workload_id for a in live])
    seen = [f for f in known if f.workload.workspace == who.workspace and who.may_see(f)]
    ill = (ctx.services.unhealthy(), ctx.services.down_nodes())
    told = (live, {f.id: f.workload for f in seen}, who.workspace, ctx.created_at_ms, host, *ill)
    return JSONResponse([translate.node_to_wire(n, *told) for n in nodes])


@router.get("/{ws}/dedicated-node-groups/{group}/machines")
async def list_machines(group: str, _who: Authorized, ctx: Context) -> Response:
    nodes, live, host = nodes_of(ctx, group), ctx.services.store.reads.live_attempts(), host_facts(ctx)
    told = (live, ctx.created_at_ms, host, ctx.services.unhealthy(), ctx.services.down_nodes())
    return JSONResponse([translate.machine_to_wire(n, *told) for n in nodes])


def host_facts(ctx: LeptonContext) -> translate.HostFacts:
    total, used = volumes.disk_usage(ctx.services)
    return translate.HostFacts(total, used, os_name(), platform.release(), platform.machine())


@cache
def os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


@router.get("/{ws}/shapes")
async def list_shapes(
    _who: Authorized, ctx: Context, node_groups: str | None = None, purpose: str | None = None
) -> Response:
    """Every kind of workload can have every shape; of one node group, or of all."""
    pools = [pool.name for pool in org.list_node_pools(ctx.services)]
    if purpose not in (None, "", *translate.PURPOSES) or (node_groups and node_groups not in pools):
        return JSONResponse([])
    nodes = org.nodes_now(ctx.services)
    found = {group: shapes_of([n for n in nodes if n.node_group == group]) for group in pools}
    if node_groups:
        shown = [(shape, node_groups) for shape in found[node_groups]]
    else:
        first = {s.name: group for group in reversed(pools) for s in found[group]}
        shown = [(shape, first[shape.name]) for shape in ctx.services.shapes]
    return JSONResponse([translate.shape_to_wire(shape, group) for shape, group in shown])
