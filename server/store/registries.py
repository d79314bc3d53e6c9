"""Logins to image registries as they are kept: pieces of a read or a write. Passwords are sealed."""

import json
from dataclasses import asdict

from sqlmodel import Session, col, select

from ..domain.registries import Registry
from .tables import RegistryRow


def registries_of(session: Session, workspace: str) -> list[Registry]:
    query = select(RegistryRow).where(RegistryRow.workspace == workspace).order_by(col(RegistryRow.name))
    return [_registry_from(row.doc) for row in session.exec(query)]


def sealed_registry(session: Session, workspace: str, name: str) -> tuple[Registry, str] | None:
    row = session.get(RegistryRow, (workspace, name))
    return None if row is None else (_registry_from(row.doc), row.sealed)


def all_sealed(session: Session) -> list[tuple[Registry, str]]:
    query = select(RegistryRow).order_by(col(RegistryRow.workspace), col(RegistryRow.name))
    return [(_registry_from(row.doc), row.sealed) for row in session.exec(query)]


def insert_registry(session: Session, registry: Registry, sealed: str) -> None:
    doc = json.dumps(asdict(registry), separators=(",", ":"))
    session.add(RegistryRow(workspace=registry.workspace, name=registry.name, sealed=sealed, doc=doc))
    session.flush()


def remove_registry(session: Session, workspace: str, name: str) -> bool:
    row = session.get(RegistryRow, (workspace, name))
    if row is not None:
        session.delete(row)
    return row is not None


def _registry_from(doc: str) -> Registry:
    return Registry(**json.loads(doc))
