"""Dev pods of the new family. The same objects as the pods among the legacy family's deployments."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....services import endpoints, workloads
from ..merge import merge_patch
from ..translate.devpods import devpod_to_legacy, devpod_to_wire
from .deps import Authorized, Context
from .serving import change, create, objects_of, parsed, show_kinds, show_one

router = APIRouter()
ONLY = (endpoints.POD,)


@router.get("/{ws}/devpods")
async def list_devpods(who: Authorized, ctx: Context) -> Response:
    return JSONResponse([devpod_to_wire(shown, ctx.host) for shown in show_kinds(ctx, who, ONLY)])


@router.post("/{ws}/devpods")
async def create_devpod(pod: dict[str, Any], who: Authorized, ctx: Context) -> Response:
    workload, _ = await create(ctx, who, parsed(devpod_to_legacy(pod)))
    return JSONResponse(devpod_to_wire(show_one(ctx, workload), ctx.host), 201)


@router.get("/{ws}/devpods/{name}")
async def get_devpod(name: str, who: Authorized, ctx: Context) -> Response:
    found, _ = endpoints.get_endpoint(ctx.services, who, name, ONLY)
    return JSONResponse(devpod_to_wire(show_one(ctx, found.workload), ctx.host))


@router.patch("/{ws}/devpods/{name}")
async def update_devpod(name: str, patch: dict[str, Any], who: Authorized, ctx: Context) -> Response:
    """Clients stop and start with it; anything else that changes the container begins it anew."""
    objects_of(patch)
    workload = await change(
        ctx, who, name, ONLY,
        lambda kept: devpod_to_legacy(merge_patch(devpod_to_wire(kept, ctx.host), patch)),
        tells_tokens=False,
    )  # fmt: skip
    return JSONResponse(devpod_to_wire(show_one(ctx, workload), ctx.host))


@router.put("/{ws}/devpods/{name}/restart")
async def restart_devpod(name: str, who: Authorized, ctx: Context) -> Response:
    workload = await endpoints.restart_endpoint(ctx.services, who, name, ONLY)
    return JSONResponse(devpod_to_wire(show_one(ctx, workload), ctx.host))


@router.delete("/{ws}/devpods/{name}")
async def delete_devpod(name: str, who: Authorized, ctx: Context) -> Response:
    found, _ = endpoints.get_endpoint(ctx.services, who, name, ONLY)
    await workloads.delete_workload(ctx.services, who, found.id)
    return JSONResponse({})
