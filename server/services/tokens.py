"""Tokens of a workspace for more than one person. A value is told once; only its hash is kept."""

from datetime import timedelta

from sqlmodel import Session, select

from ..domain.org import Project
from ..errors import Forbidden, Invalid, NotFound
from ..store.org import names
from ..store.reads import Token
from ..store.tables import TokenRow
from .access import Caller, check_runs_server, hash_token, new_token
from .context import Services
from .org import find_project

LONGEST = timedelta(days=3650)


def check_admin(who: Caller, what: str) -> None:
    if not who.is_admin:
        raise Forbidden(f"only an admin may {what}; {who.owner} is none")


def _workspace(services: Services, who: Caller, asked: str | None, what: str) -> str:
    """The caller's own unless another is asked for, which is the server's admins' affair only."""
    if asked is None or asked == who.workspace:
        return who.workspace
    check_runs_server(who, f"{what} of another workspace")
    return find_project(services, asked).name


def list_tokens(services: Services, who: Caller, workspace: str | None = None) -> list[Token]:
    """An admin sees everybody's, others their own."""
    asked = _workspace(services, who, workspace, "see tokens")
    return [
        token
        for token in services.store.reads.tokens()
        if token.workspace == asked and (who.is_admin or token.owner == who.owner)
    ]


async def create_token(
    services: Services, who: Caller, owner: str, lasts: timedelta, workspace: str | None = None
) -> str:
    """
    The token itself: it cannot be had again.

    Args:
        workspace: the caller's own unless given.
    """
    check_admin(who, "make tokens")
    asked = _workspace(services, who, workspace, "make tokens")
    if not owner.strip() or any(c.isspace() or not c.isprintable() for c in owner) or len(owner) > 254:
        raise Invalid("owner", f"{owner!r} is no name; an e-mail address such as ada@example.org is usual")
    if not timedelta() < lasts <= LONGEST:
        raise Invalid("days", f"a token lasts more than none and at most {LONGEST.days} days")
    token = new_token()
    row = TokenRow(
        sha256=hash_token(token), workspace=asked, prefix=token[:3], suffix=token[-3:], owner=owner,
        expires_at_ms=services.clock.now_ms() + int(lasts.total_seconds() * 1000),
    )  # fmt: skip

    def insert(session: Session) -> None:
        if asked not in names(session, Project):  # it may have been removed since
            raise NotFound("project", asked)
        session.add(row)

    await services.store.write(insert)
    services.poke()  # the gateway lets it in where workspace tokens are good
    return token


async def delete_token(
    services: Services, who: Caller, prefix: str, suffix: str, workspace: str | None = None
) -> None:
    """
    Raises:
        Invalid: it is the one this request was made with.
    """
    check_admin(who, "remove tokens")
    asked = _workspace(services, who, workspace, "remove tokens")

    def remove(session: Session) -> None:
        query = select(TokenRow).where(
            TokenRow.workspace == asked, TokenRow.prefix == prefix, TokenRow.suffix == suffix
        )
        row = session.exec(query).first()
        if row is None:
            raise NotFound("token", f"{prefix}...{suffix}")
        if row.sha256 == who.sha256:
            raise Invalid("token", "is the one that asks; remove it with another admin's")
        session.delete(row)

    await services.store.write(remove)
    services.poke()
