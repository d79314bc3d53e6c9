"""The server itself: health, info, coverage."""

from collections import Counter

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from .deps import Bearer, Context

router = APIRouter()


@router.get("/health")
async def get_health(ctx: Context) -> Response:
    """503 only while the store cannot write; trouble with the runtime is a reason, not an outage."""
    trouble = await ctx.services.store.trouble()
    told = [trouble, *ctx.loop.reasons, ctx.plane.trouble]
    reasons = list(dict.fromkeys(reason for reason in told if reason))
    answer = {"status": "degraded" if reasons else "ok", "reasons": reasons}
    return JSONResponse(answer | ({"message": trouble} if trouble else {}), 503 if trouble else 200)


@router.get("/info")
async def get_info(ctx: Context, _who: Bearer) -> Response:
    nodes = [
        {
            "id": n.id,
            "gpus": [{"uuid": g.uuid, "product": g.product, "simulated": g.is_simulated} for g in n.gpus],
        }
        for n in ctx.services.nodes
    ]
    told = {"version": ctx.version, "runtime": ctx.runtime, "gateway": ctx.plane.url, "nodes": nodes}
    return JSONResponse(told)


@router.get("/coverage")
async def get_coverage(ctx: Context) -> Response:
    served = Counter(bool(test) for *_, test in ctx.operations)
    rows = [
        {"area": area, "method": method, "path": path, "test": test}
        for area, method, path, test in ctx.operations
    ]
    return JSONResponse({"lepton": {"served": served[True], "of": len(rows), "operations": rows}})
