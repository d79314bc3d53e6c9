"""Node groups, nodes and shapes."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....errors import NotFound
from ..context import LeptonContext
from ..translate import nodes as translate
from .deps import Authorized, Context

router = APIRouter()


def groups(ctx: LeptonContext) -> list[dict[str, Any]]:
    names = dict.fromkeys(n.node_group for n in ctx.services.nodes)
    return [
        translate.node_group_to_wire(
            name, [n for n in ctx.services.nodes if n.node_group == name], ctx.created_at_ms
        )
        for name in names
    ]


@router.get("/{ws}/dedicated-node-groups")
async def list_node_groups(_who: Authorized, ctx: Context) -> Response:
    return JSONResponse(groups(ctx))


@router.get("/{ws}/dedicated-node-groups/{group}/nodes")
async def list_nodes(group: str, who: Authorized, ctx: Context, idle: bool = False) -> Response:
    s = ctx.services
    nodes = [n for n in s.nodes if n.node_group == group]
    if not nodes:
        raise NotFound("node group", group)
    live = [a for a in s.store.unarchived_attempts() if a.is_live]
    if idle:
        busy = {a.node for a in live}
        nodes = [n for n in nodes if n.id not in busy]
    return JSONResponse([translate.node_to_wire(n, live, who.workspace, ctx.created_at_ms) for n in nodes])


@router.get("/{ws}/shapes")
async def list_shapes(
    _who: Authorized, ctx: Context, node_groups: str | None = None, purpose: str | None = None
) -> Response:
    """Only jobs are served, so shapes are listed for jobs only."""
    known = list(dict.fromkeys(n.node_group for n in ctx.services.nodes))
    if purpose not in (None, "", "job") or (node_groups and node_groups not in known):
        return JSONResponse([])
    return JSONResponse([translate.shape_to_wire(s, node_groups or known[0]) for s in ctx.services.shapes])
