"""Tokens: made once, kept as hashes, compared in constant time."""

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import Session

from ...runtime.clock import Clock
from ..domain.workload import Workload
from ..errors import Forbidden, NotFound, Unauthorized
from ..store.found import Found
from ..store.reads import Token
from ..store.store import Store
from ..store.tables import TokenRow

ADMIN = "admin@homeport.local"  # who holds the first token
LOCAL = "local"  # the server's own workspace, and the project that it is
TEN_YEARS_MS = 3650 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Caller:
    workspace: str
    owner: str
    sha256: str

    @property
    def is_admin(self) -> bool:
        return self.owner == ADMIN

    @property
    def runs_server(self) -> bool:
        """An admin of the server's own workspace decides over all the others, too."""
        return self.is_admin and self.workspace == LOCAL

    def may_see(self, found: Found) -> bool:
        """A private one is its owner's and the admins' only. For an admin nothing has to be read."""
        return self.is_admin or self.is_shown(found.workload)

    def is_shown(self, workload: Workload) -> bool:
        return not workload.spec.is_private or self.owner == workload.owner


def check_runs_server(who: Caller, what: str) -> None:
    if not who.runs_server:
        raise Forbidden(f"only an admin of workspace {LOCAL} may {what}; {who.owner} is none")


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    """One that begins with a dash would be an option to any command that it is given to."""
    while (token := secrets.token_urlsafe(32)).startswith("-"):
        pass
    return token


def get_caller(store: Store, clock: Clock, token: str) -> Caller | None:
    """Who bears this token, or None. Every stored hash is compared, so the time tells nothing."""
    wanted = hash_token(token)
    found: Token | None = None
    for row in store.reads.tokens():
        if hmac.compare_digest(row.sha256, wanted):
            found = row
    if found is None or found.expires_at_ms <= clock.now_ms():
        return None
    return Caller(found.workspace, found.owner, found.sha256)


def authorize(store: Store, clock: Clock, token: str | None, workspace: str) -> Caller:
    """401 for a token that is not ours, whatever the workspace; 404 for a workspace that is not its own."""
    caller = get_caller(store, clock, token) if token else None
    if caller is None:
        raise Unauthorized(
            "the bearer token is missing, unknown or expired; `homeport env` prints a valid one"
        )
    if caller.workspace != workspace:
        raise NotFound("workspace", workspace)
    return caller


async def ensure_token(store: Store, clock: Clock, credentials: Path, workspace: str) -> str:
    """The token in the credentials file if it is still good, else a new one."""
    try:
        known = json.loads(credentials.read_text())["LEPTON_WORKSPACE_TOKEN"]
        if get_caller(store, clock, known) is not None:
            return known
    except (OSError, ValueError, KeyError):
        pass  # first start, or the file was removed or damaged: a new token replaces it
    token = new_token()
    row = TokenRow(
        sha256=hash_token(token), workspace=workspace, prefix=token[:3], suffix=token[-3:],
        owner=ADMIN, expires_at_ms=clock.now_ms() + TEN_YEARS_MS,
    )  # fmt: skip

    def insert(session: Session) -> None:
        session.add(row)

    await store.write(insert)
    return token


def write_credentials(path: Path, values: dict[str, str]) -> None:
    """Atomically, readable by its owner only."""
    draft = path.with_suffix(".tmp")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        os.fchmod(handle, 0o600)
        json.dump(values, file, indent=1)
        file.flush()
        os.fsync(handle)
    draft.replace(path)
