"""Ingresses: pieces of a read or a write."""

import sqlite3
from functools import lru_cache

from pydantic import TypeAdapter
from pydantic_core import to_json
from sqlmodel import Session, col, select

from ..domain.ingresses import Ingress
from ..errors import Invalid
from .found import prepared
from .tables import IngressRow

_INGRESS = TypeAdapter(Ingress)
DOCS = prepared(select(col(IngressRow.doc)).order_by(col(IngressRow.name)))


def list_ingresses(database: sqlite3.Connection) -> list[Ingress]:
    """Of every workspace, by domain. The loop asks in each pass."""
    return [_read(doc) for (doc,) in database.execute(DOCS)]


@lru_cache(1000)
def _read(doc: str) -> Ingress:
    return _INGRESS.validate_json(doc)


def load_ingress(session: Session, domain: str) -> Ingress | None:
    """Whichever workspace has it."""
    row = session.get(IngressRow, domain)
    return None if row is None else _read(row.doc)


def save_ingress(session: Session, ingress: Ingress) -> None:
    """
    Raises:
        Invalid: it would not be read as it was written.
    """
    try:
        doc = to_json(ingress, inf_nan_mode="null").decode()
        again = _read(doc)
    except ValueError as error:
        raise Invalid("body", f"cannot be kept as JSON: {error}") from error
    if again != ingress:
        raise Invalid("body", "cannot be kept as JSON: it has NaN or Infinity in it")
    row = session.get(IngressRow, ingress.domain)
    if row is None:
        row = IngressRow(name=ingress.domain, workspace=ingress.workspace, doc=doc)
    row.doc = doc
    session.add(row)
    session.flush()


def remove_ingress(session: Session, domain: str) -> None:
    row = session.get(IngressRow, domain)
    if row is not None:
        session.delete(row)
