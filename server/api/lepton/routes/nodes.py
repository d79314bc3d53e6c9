"""Node groups, nodes and shapes."""

import platform
from functools import cache
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....domain.inventory import HostNode
from ....errors import NotFound
from ....services import volumes
from ..context import LeptonContext
from ..translate import nodes as translate
from .deps import Authorized, Context

router = APIRouter()


def node_group(ctx: LeptonContext, name: str) -> dict[str, Any]:
    found = [v for v in volumes.list_volumes(ctx.services, name) if v.is_listed]
    return translate.node_group_to_wire(name, nodes_of(ctx, name), found, ctx.created_at_ms)


def nodes_of(ctx: LeptonContext, group: str) -> list[HostNode]:
    """A node group's id is its name."""
    nodes = [n for n in ctx.services.nodes if n.node_group == group]
    if not nodes:
        raise NotFound("node group", group)
    return nodes


@router.get("/{ws}/dedicated-node-groups")
async def list_node_groups(_who: Authorized, ctx: Context) -> Response:
    names = dict.fromkeys(n.node_group for n in ctx.services.nodes)
    return JSONResponse([node_group(ctx, name) for name in names])


@router.get("/{ws}/dedicated-node-groups/{group}")
async def get_node_group(group: str, _who: Authorized, ctx: Context) -> Response:
    return JSONResponse(node_group(ctx, group))


@router.get("/{ws}/dedicated-node-groups/{group}/nodes")
async def list_nodes(group: str, who: Authorized, ctx: Context, idle: bool = False) -> Response:
    nodes, live = nodes_of(ctx, group), ctx.services.store.reads.live_attempts()
    if idle:
        busy = {a.node for a in live}
        nodes = [n for n in nodes if n.id not in busy]
    host = host_facts(ctx)
    return JSONResponse(
        [translate.node_to_wire(n, live, who.workspace, ctx.created_at_ms, host) for n in nodes]
    )


@router.get("/{ws}/dedicated-node-groups/{group}/machines")
async def list_machines(group: str, _who: Authorized, ctx: Context) -> Response:
    nodes, live, host = nodes_of(ctx, group), ctx.services.store.reads.live_attempts(), host_facts(ctx)
    return JSONResponse([translate.machine_to_wire(n, live, ctx.created_at_ms, host) for n in nodes])


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
    """For jobs and endpoints, since nothing else is served yet."""
    known = list(dict.fromkeys(n.node_group for n in ctx.services.nodes))
    if purpose not in (None, "", *translate.PURPOSES) or (node_groups and node_groups not in known):
        return JSONResponse([])
    return JSONResponse([translate.shape_to_wire(s, node_groups or known[0]) for s in ctx.services.shapes])
