"""Reservations: pieces of a read or a write."""

import json
import sqlite3
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from sqlmodel import Session, col, select

from ..domain.reservations import Reservation
from .found import prepared
from .tables import ReservationRow
from .writer import database_of

DOCS = prepared(select(col(ReservationRow.doc)).order_by(col(ReservationRow.seq)))


def list_reservations(database: sqlite3.Connection) -> list[Reservation]:
    """Oldest first, the expired ones too. The loop asks in each pass."""
    return [_read(doc) for (doc,) in database.execute(DOCS)]


def reservations_in(session: Session) -> list[Reservation]:
    """The same, as a part of a write."""
    return list_reservations(database_of(session))


@lru_cache(1000)
def _read(doc: str) -> Reservation:
    raw: dict[str, Any] = json.loads(doc)
    raw["nodes"], raw["users"] = tuple(raw["nodes"]), tuple(raw.get("users", ()))
    return Reservation(**raw)


def insert_reservation(session: Session, reservation: Reservation) -> None:
    session.add(ReservationRow(id=reservation.id, doc=json.dumps(asdict(reservation))))
    session.flush()


def remove_reservation(session: Session, reservation_id: str) -> bool:
    row = session.exec(select(ReservationRow).where(ReservationRow.id == reservation_id)).first()
    if row is not None:
        session.delete(row)
    return row is not None
