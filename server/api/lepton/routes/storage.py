"""Volumes of a node group, and who may mount what of them."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....services import volumes
from .. import wire_storage as wire
from ..translate import storage as translate
from .deps import Authorized, Context
from .nodes import node_group, pool_of

router = APIRouter()


@router.post("/{ws}/dedicated-node-groups/{group}/volumes")
async def add_volume(group: str, volume: wire.Volume, _who: Authorized, ctx: Context) -> Response:
    await volumes.create_volume(ctx.services, translate.volume_to_domain(group, volume))
    return JSONResponse(node_group(ctx, pool_of(ctx, group)), 201)


@router.delete("/{ws}/dedicated-node-groups/{group}/volumes/{volume}")
async def delete_volume(group: str, volume: str, _who: Authorized, ctx: Context) -> Response:
    await volumes.delete_volume(ctx.services, group, volume)
    return JSONResponse(node_group(ctx, pool_of(ctx, group)))


@router.get("/{ws}/storage-permission/{volume}")
async def list_permissions(volume: str, nodegroup_id: str, _who: Authorized, ctx: Context) -> Response:
    rules = volumes.list_permissions(ctx.services, nodegroup_id, volume)
    return JSONResponse([translate.permission_to_wire(r) for r in rules])


@router.post("/{ws}/storage-permission/{volume}")
async def set_permission(
    volume: str, permission: wire.StoragePermission, _who: Authorized, ctx: Context
) -> Response:
    rule = translate.permission_to_domain(volume, permission)
    await volumes.set_permission(ctx.services, rule)
    return JSONResponse(translate.permission_to_wire(rule), 201)


# The rule for `/` comes without a prefix, since slashes at the end of a path are cleaned away.
@router.delete("/{ws}/storage-permission/{volume}")
@router.delete("/{ws}/storage-permission/{volume}/{prefix:path}")
async def delete_permission(
    volume: str, nodegroup_id: str, _who: Authorized, ctx: Context, prefix: str = ""
) -> Response:
    await volumes.delete_permission(ctx.services, nodegroup_id, volume, f"/{prefix}")
    return JSONResponse({})
