"""What an endpoint is asked, and how long it takes: the last hour by the minute."""

from collections.abc import Mapping

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....domain.metrics import Minute
from ....services import endpoints
from ....services.access import Caller
from ..context import LeptonContext
from ..translate import monitoring
from .deps import Authorized, Context

router = APIRouter()


def _hour(ctx: LeptonContext, who: Caller, name: str) -> tuple[Mapping[int, Minute], int, int]:
    """The minutes, when the first of them begins, and now."""
    found, _ = endpoints.get_endpoint(ctx.services, who, name)
    now = ctx.services.clock.now_ms()
    since = monitoring.first_ms(now, found.workload.created_at_ms)
    return ctx.metrics.history(found.id, f"{who.workspace}/{name}", since), since, now


@router.get("/{ws}/deployments/{name}/monitoring/FastAPIQPS")
async def get_qps(name: str, who: Authorized, ctx: Context) -> Response:
    return JSONResponse(monitoring.qps_to_wire(*_hour(ctx, who, name)))


@router.get("/{ws}/deployments/{name}/monitoring/FastAPIQPSByPath")
async def get_qps_by_path(name: str, who: Authorized, ctx: Context) -> Response:
    return JSONResponse(monitoring.qps_by_path_to_wire(*_hour(ctx, who, name)))


@router.get("/{ws}/deployments/{name}/monitoring/FastAPILatency")
async def get_latency(name: str, who: Authorized, ctx: Context) -> Response:
    minutes, _, _ = _hour(ctx, who, name)
    return JSONResponse(monitoring.latency_to_wire(minutes))


@router.get("/{ws}/deployments/{name}/monitoring/FastAPILatencyByPath")
async def get_latency_by_path(name: str, who: Authorized, ctx: Context) -> Response:
    minutes, _, _ = _hour(ctx, who, name)
    return JSONResponse(monitoring.latency_by_path_to_wire(minutes))
