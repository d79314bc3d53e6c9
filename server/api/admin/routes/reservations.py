"""Nodes kept for those who name the reservation."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from ....domain.reservations import Reservation
from ....services import reservations
from ....services.access import check_runs_server
from ....services.context import Services
from .deps import Bearer, Context

router = APIRouter()


class NewReservation(BaseModel):
    """`starts_at`: Unix seconds, now unless given. `lasts_s`: seconds. `users`: empty is everybody."""

    name: str
    node_group: str = "default"
    nodes: int = Field(default=1, ge=1)
    starts_at: int | None = Field(default=None, ge=0)
    lasts_s: int = Field(ge=1)
    users: list[str] = []


def to_wire(services: Services, reservation: Reservation) -> dict[str, Any]:
    """`unknown_users`: those of `users` who have no token yet, and are no project."""
    return asdict(reservation) | {"unknown_users": reservations.unknown_users(services, reservation)}


@router.get("/reservations")
async def list_reservations(ctx: Context, _who: Bearer) -> Response:
    now = ctx.services.clock.now_ms()
    found = reservations.list_reservations(ctx.services)
    return JSONResponse([to_wire(ctx.services, r) | {"phase": r.phase(now).value} for r in found])


@router.post("/reservations")
async def create_reservation(new: NewReservation, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "hold nodes back")
    made = await reservations.create_reservation(
        ctx.services, new.name, node_group=new.node_group, node_count=new.nodes, owner=who.owner,
        starts_at_ms=None if new.starts_at is None else new.starts_at * 1000,
        lasts=timedelta(seconds=min(new.lasts_s, 10**10)), users=new.users,
    )  # fmt: skip
    return JSONResponse(to_wire(ctx.services, made), 201)


@router.delete("/reservations/{name}")
async def delete_reservation(name: str, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "end a reservation")
    await reservations.delete_reservation(ctx.services, name)
    return JSONResponse({})
