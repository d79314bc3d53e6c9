"""The server itself: health, info, coverage."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....domain.inventory import NodeGpu
from ...coverage import to_wire
from .deps import AdminContext, Bearer, Context

router = APIRouter()


@router.get("/health")
async def get_health(ctx: Context) -> Response:
    """503 only while the store cannot write; trouble with the runtime is a reason, not an outage."""
    trouble = await ctx.services.store.trouble()
    down = [f"node {name} cannot be reached" for name in sorted(ctx.services.down_nodes())]
    told = [trouble, *ctx.loop.reasons, *down, *_gpu_reasons(ctx), ctx.plane.trouble]
    reasons = list(dict.fromkeys(reason for reason in told if reason))
    answer = {"status": "degraded" if reasons else "ok", "reasons": reasons}
    return JSONResponse(answer | ({"message": trouble} if trouble else {}), 503 if trouble else 200)


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


def _gpu_reasons(ctx: AdminContext) -> Sequence[str]:
    gpus = ctx.loop.machine.gpus
    return gpus.reasons if gpus is not None else ()


def gpu_to_wire(gpu: NodeGpu, unhealthy: str) -> dict[str, Any]:
    """`unhealthy`: why it is, "" for a GPU that is well."""
    told: dict[str, Any] = {"uuid": gpu.uuid, "product": gpu.product, "simulated": gpu.is_simulated}
    if gpu.mig_profile:
        told |= {"mig_profile": gpu.mig_profile, "parent_uuid": gpu.parent_uuid}
    return told | {"healthy": not unhealthy} | ({"unhealthy_because": unhealthy} if unhealthy else {})


@router.get("/coverage")
async def get_coverage(ctx: Context) -> Response:
    return JSONResponse(to_wire(ctx.refused))
