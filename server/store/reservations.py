"""Reservations: pieces of a read or a write."""

import json
from dataclasses import asdict
from typing import Any

from sqlmodel import Session, col, select

from ..domain.reservations import Reservation
from .tables import ReservationRow


def list_reservations(session: Session) -> list[Reservation]:
    """Oldest first, the expired ones too."""
    rows = session.exec(select(ReservationRow).order_by(col(ReservationRow.seq))).all()
    found: list[Reservation] = []
    for row in rows:
        raw: dict[str, Any] = json.loads(row.doc)
        raw["nodes"], raw["users"] = tuple(raw["nodes"]), tuple(raw.get("users", ()))
        found.append(Reservation(**raw))
    return found


def insert_reservation(session: Session, reservation: Reservation) -> None:
    session.add(ReservationRow(id=reservation.id, doc=json.dumps(asdict(reservation))))
    session.flush()


def remove_reservation(session: Session, reservation_id: str) -> bool:
    row = session.exec(select(ReservationRow).where(ReservationRow.id == reservation_id)).first()
    if row is not None:
        session.delete(row)
    return row is not None
