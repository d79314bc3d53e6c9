"""Secrets as they are kept: pieces of a read or a write. The value is only ever here in its sealed form."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from sqlmodel import Session, select

from .tables import SecretRow


@dataclass(frozen=True, slots=True)
class Secret:
    """What may be shown of a secret. `visibility`: public or private."""

    workspace: str
    name: str
    owner: str
    visibility: str = "private"
    tags: tuple[str, ...] = ()


def secrets_of(session: Session, workspace: str) -> list[Secret]:
    query = select(SecretRow).where(SecretRow.workspace == workspace).order_by(SecretRow.name)
    return [_secret_from(row.doc) for row in session.exec(query)]


def sealed_secret(session: Session, workspace: str, name: str) -> str | None:
    row = session.get(SecretRow, (workspace, name))
    return None if row is None else row.sealed


def all_sealed(session: Session) -> list[tuple[str, str, str]]:
    """Workspace, name and sealed value of each."""
    query = select(SecretRow).order_by(SecretRow.workspace, SecretRow.name)
    return [(row.workspace, row.name, row.sealed) for row in session.exec(query)]


def insert_secret(session: Session, secret: Secret, sealed: str) -> None:
    doc = json.dumps(asdict(secret), separators=(",", ":"))
    session.add(SecretRow(workspace=secret.workspace, name=secret.name, sealed=sealed, doc=doc))
    session.flush()


def remove_secret(session: Session, workspace: str, name: str) -> bool:
    row = session.get(SecretRow, (workspace, name))
    if row is not None:
        session.delete(row)
    return row is not None


def _secret_from(doc: str) -> Secret:
    raw: dict[str, Any] = json.loads(doc)
    raw["tags"] = tuple(raw["tags"])
    return Secret(**raw)
