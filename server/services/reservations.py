"""Keep nodes for those who name the reservation. The vendor's own clients only list and use them."""

import re
from datetime import timedelta

from sqlmodel import Session

from ..domain.reservations import Reservation, ReservationPhase
from ..errors import Conflict, Invalid, NotFound
from ..store import reservations as rows
from .context import Services

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def list_reservations(services: Services, node_group: str) -> list[Reservation]:
    if node_group not in {n.node_group for n in services.nodes}:
        raise NotFound("node group", node_group)
    return [r for r in services.store.read(rows.list_reservations) if r.node_group == node_group]


def check_reservation(services: Services, reservation_id: str, *, field: str) -> None:
    now = services.clock.now_ms()
    known = [
        r.id
        for r in services.store.read(rows.list_reservations)
        if r.phase(now) is not ReservationPhase.EXPIRED
    ]
    if reservation_id not in known:
        there = f"there are {', '.join(known)}" if known else "there is none"
        raise Invalid(field, f"no reservation {reservation_id!r} that is not over; {there}")


async def create_reservation(
    services: Services,
    name: str,
    *,
    node_group: str,
    node_count: int,
    starts_at_ms: int | None,
    lasts: timedelta,
    owner: str,
) -> Reservation:
    """On the first nodes of the group that no other reservation holds in that time."""
    if NAME.fullmatch(name) is None:
        raise Invalid("name", f"{name!r} must be at most 63 of a-z, 0-9 and '-'")
    if lasts <= timedelta(0):
        raise Invalid("lasts_s", "must be more than 0")
    now = services.clock.now_ms()
    start = now if starts_at_ms is None else starts_at_ms
    end = start + int(lasts.total_seconds() * 1000)
    nodes = [n.id for n in services.nodes if n.node_group == node_group]
    if not nodes:
        raise NotFound("node group", node_group)

    def insert(session: Session) -> Reservation:
        others = rows.list_reservations(session)
        if any(r.id == name for r in others):
            raise Conflict(f"a reservation named {name!r} exists already")
        taken = {n for r in others if r.overlaps(start, end) for n in r.nodes}
        free = [n for n in nodes if n not in taken]
        if not 1 <= node_count <= len(free):
            raise Invalid(
                "nodes", f"{node_count} asked for; {len(free)} of {len(nodes)} are free in that time"
            )
        made = Reservation(name, node_group, tuple(free[:node_count]), start, end, owner, now)
        rows.insert_reservation(session, made)
        return made

    made = await services.store.write(insert)
    services.poke()
    return made


async def delete_reservation(services: Services, name: str) -> None:
    """Work that runs stays; what waits for the reservation says that there is none."""
    if not await services.store.write(lambda s: rows.remove_reservation(s, name)):
        raise NotFound("reservation", name)
    services.poke()
