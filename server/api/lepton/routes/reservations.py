"""Reservations, as the clients list them; /homeport/reservations makes them."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....services import reservations
from ..translate import reservations as translate
from .deps import Authorized, Context

router = APIRouter()


@router.get("/{ws}/dedicated-node-groups/{group}/reservations")
async def list_reservations(group: str, _who: Authorized, ctx: Context) -> Response:
    now = ctx.services.clock.now_ms()
    found = reservations.list_reservations(ctx.services, group)
    return JSONResponse([translate.reservation_to_wire(r, now) for r in found])
