"""The server itself: health, info, coverage."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....domain.inventory import NodeGpu
from ...coverage import to_wire
from ..health import health
from .deps import Bearer, Context

router = APIRouter()


@router.get("/health")
async def get_health(ctx: Context) -> Response:
    return await health(ctx.services, ctx.loop, ctx.plane)


@router.get("/info")
async def get_info(ctx: Context, _who: Bearer) -> Response:
    unhealthy = ctx.services.unhealthy()
    nodes = [
        {
            "id": n.id,
            "gpus": [gpu_to_wire(g, unhealthy.get(g.uuid, "")) for g in n.gpus],
        }
        for n in ctx.services.nodes
    ]
    told = {"version": ctx.version, "runtime": ctx.runtime, "gateway": ctx.plane.url, "nodes": nodes}
    return JSONResponse(told)


def gpu_to_wire(gpu: NodeGpu, unhealthy: str) -> dict[str, Any]:
    """`unhealthy`: why it is, "" for a GPU that is well."""
    told: dict[str, Any] = {"uuid": gpu.uuid, "product": gpu.product, "simulated": gpu.is_simulated}
    if gpu.mig_profile:
        told |= {"mig_profile": gpu.mig_profile, "parent_uuid": gpu.parent_uuid}
    return told | {"healthy": not unhealthy} | ({"unhealthy_because": unhealthy} if unhealthy else {})


@router.get("/coverage")
async def get_coverage(ctx: Context) -> Response:
    return JSONResponse(to_wire(ctx.refused))
