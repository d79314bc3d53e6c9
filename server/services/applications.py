"""Applications: programs that ask for tokens of Run:ai's API. Of a secret only the hash is kept."""

import hmac
import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from sqlmodel import Session, col, select

from ...runtime.clock import Clock
from ..store.store import Store
from ..store.tables import ApplicationRow
from .access import hash_token, new_token

FIRST = "homeport"  # the name and client id of the one that each data directory begins with
SYSTEM_ADMINISTRATOR = "System administrator"
_STRINGS = TypeAdapter(tuple[str, ...])


@dataclass(frozen=True, slots=True)
class Application:
    """
    Args:
        id: a UUID. client_id: what it names itself by; neither holds `_`, which clients turn into `-`.
        sha256: of its secret. roles: their names.
    """

    id: str
    client_id: str
    name: str
    sha256: str
    created_at_ms: int
    created_by: str = ""
    roles: tuple[str, ...] = ()


class Applications:
    """Those there are; read anew only after something was written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._at = -1
        self._known: tuple[Application, ...] = ()

    def all(self) -> tuple[Application, ...]:
        """Oldest first."""
        commits = self._store.commits
        if commits != self._at:
            query = select(ApplicationRow).order_by(col(ApplicationRow.created_at_ms))
            self._known = self._store.read(lambda s: tuple(_read(row) for row in s.exec(query)))
            self._at = commits
        return self._known

    def find(self, named: str) -> Application | None:
        """By client id or id."""
        return next((a for a in self.all() if named in (a.client_id, a.id)), None)

    def named(self, text: str) -> Application | None:
        """By client id or id, else by a name that no other has."""
        same = [a for a in self.all() if a.name == text]
        return self.find(text) or (same[0] if len(same) == 1 else None)

    def check(self, named: str, secret: str) -> Application | None:
        """
        The application if the secret is its own; the time it takes tells nothing of the secret.

        Args:
            named: as for `named`.
        """
        found = self.named(named)
        given = hash_token(secret)
        is_right = hmac.compare_digest(given, found.sha256 if found else hash_token(""))
        return found if is_right and secret else None


async def ensure_application(store: Store, clock: Clock, credentials: Path) -> tuple[str, str]:
    """
    Client id and secret of the first application, a system administrator: as the credentials file has
    them while they are good, else with a new secret.
    """
    known = Applications(store)
    try:
        told = json.loads(credentials.read_text())
        client_id, secret = told["RUNAI_CLIENT_ID"], told["RUNAI_CLIENT_SECRET"]
        if known.check(client_id, secret) is not None:
            return client_id, secret
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        pass  # first start, or the file was removed or damaged: a new secret replaces it
    secret = new_token()
    first = known.find(FIRST) or Application(
        str(uuid.uuid4()), FIRST, FIRST, "", clock.now_ms(), FIRST, (SYSTEM_ADMINISTRATOR,)
    )

    def save(session: Session) -> None:
        doc = {"id": first.id, "created_by": first.created_by, "roles": first.roles}
        session.merge(
            ApplicationRow(
                client_id=first.client_id, name=first.name, sha256=hash_token(secret),
                created_at_ms=first.created_at_ms, doc=json.dumps(doc),
            )
        )  # fmt: skip

    await store.write(save)
    return first.client_id, secret


def _read(row: ApplicationRow) -> Application:
    doc = json.loads(row.doc)
    return Application(
        doc["id"], row.client_id, row.name, row.sha256, row.created_at_ms, doc["created_by"],
        _STRINGS.validate_python(doc["roles"]),
    )  # fmt: skip
