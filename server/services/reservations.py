"""Keep nodes for those who name the reservation. The vendor's own clients only list and use them."""

import re
from collections.abc import Sequence
from datetime import timedelta

from sqlmodel import Session

from ..domain.reservations import Reservation, ReservationPhase
from ..domain.times import check_reach, utc
from ..errors import Conflict, Invalid, NotFound
from ..store import reservations as rows
from . import org
from .context import Services

LONGEST = timedelta(days=3650)
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def list_reservations(services: Services, node_group: str | None = None) -> list[Reservation]:
    """Oldest first, the expired ones too; of all node groups unless one is named."""
    if node_group is None:
        return services.store.reads.reservations()
    if node_group not in {p.name for p in org.list_node_pools(services)}:
        raise NotFound("node group", node_group)
    return [r for r in services.store.reads.reservations() if r.node_group == node_group]


def check_reservation(
    services: Services, reservation_id: str, *, field: str, owner: str, workspace: str
) -> None:
    """
    Raises:
        Invalid: there is none of that name that is not over, or it is kept for others.
    """
    now = services.clock.now_ms()
    known = {
        r.id: r for r in services.store.reads.reservations() if r.phase(now) is not ReservationPhase.EXPIRED
    }
    found = known.get(reservation_id)
    if found is None:
        there = f"there are {', '.join(known)}" if known else "there is none"
        raise Invalid(field, f"no reservation {reservation_id!r} that is not over; {there}")
    if not found.is_for(owner, workspace):
        raise Invalid(field, f"reservation {reservation_id!r} is kept for {', '.join(found.users)}")


def unknown_users(services: Services, reservation: Reservation) -> tuple[str, ...]:
    """Those it is for whom nobody knows: no token is theirs, and no project is called so. Not yet, maybe."""
    known = {t.owner for t in services.store.reads.tokens()} | {p.name for p in org.list_projects(services)}
    return tuple(name for name in reservation.users if name not in known)


async def create_reservation(
    services: Services,
    name: str,
    *,
    node_group: str,
    node_count: int,
    starts_at_ms: int | None,
    lasts: timedelta,
    owner: str,
    users: Sequence[str] = (),
) -> Reservation:
    """
    On the first nodes of the group that no other reservation holds in that time.

    Args:
        users: owners, and workspaces, who may name it; empty is everybody.
    """
    if NAME.fullmatch(name) is None:
        raise Invalid("name", f"{name!r} must be at most 63 of a-z, 0-9 and '-'")
    if not timedelta(0) < lasts <= LONGEST:
        raise Invalid("lasts_s", f"must be more than 0, and at most {int(LONGEST.total_seconds())}")
    now = services.clock.now_ms()
    start = now if starts_at_ms is None else starts_at_ms
    end = start + int(lasts.total_seconds() * 1000)
    check_reach("starts_at", end)
    if end <= now:
        raise Invalid("starts_at", f"it would have ended at {utc(end)}; name a later begin, or none for now")
    nodes = [n.id for n in org.nodes_now(services) if n.node_group == node_group]
    if not nodes:
        raise NotFound("node group", node_group)

    def insert(session: Session) -> Reservation:
        others = rows.reservations_in(session)
        if any(r.id == name for r in others):
            raise Conflict(f"a reservation named {name!r} exists already")
        taken = {n for r in others if r.overlaps(start, end) for n in r.nodes}
        free = [n for n in nodes if n not in taken]
        if not 1 <= node_count <= len(free):
            raise Invalid(
                "nodes", f"{node_count} asked for; {len(free)} of {len(nodes)} are free in that time"
            )
        made = Reservation(name, node_group, tuple(free[:node_count]), start, end, owner, now, tuple(users))
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
