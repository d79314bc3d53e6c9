"""Tokens of a workspace for more than one person. A value is told once; only its hash is kept."""

from datetime import timedelta

from sqlmodel import Session, select

from ..errors import Forbidden, Invalid, NotFound
from ..store.reads import Token
from ..store.tables import TokenRow
from .access import Caller, hash_token, new_token
from .context import Services

LONGEST = timedelta(days=3650)


def check_admin(who: Caller, what: str) -> None:
    if not who.is_admin:
        raise Forbidden(f"only an admin may {what}; {who.owner} is none")


def list_tokens(services: Services, who: Caller) -> list[Token]:
    """An admin sees everybody's, others their own."""
    return [
        token
        for token in services.store.reads.tokens()
        if token.workspace == who.workspace and (who.is_admin or token.owner == who.owner)
    ]


async def create_token(services: Services, who: Caller, owner: str, lasts: timedelta) -> str:
    """The token itself: it cannot be had again."""
    check_admin(who, "make tokens")
    if not owner.strip() or any(c.isspace() or not c.isprintable() for c in owner) or len(owner) > 254:
        raise Invalid("owner", f"{owner!r} is no name; an e-mail address such as ada@example.org is usual")
    if not timedelta() < lasts <= LONGEST:
        raise Invalid("days", f"a token lasts more than none and at most {LONGEST.days} days")
    token = new_token()
    row = TokenRow(
        sha256=hash_token(token), workspace=who.workspace, prefix=token[:3], suffix=token[-3:], owner=owner,
        expires_at_ms=services.clock.now_ms() + int(lasts.total_seconds() * 1000),
    )  # fmt: skip
    await services.store.write(lambda session: session.add(row))
    services.poke()  # the gateway lets it in where workspace tokens are good
    return token


async def delete_token(services: Services, who: Caller, prefix: str, suffix: str) -> None:
    """
    Raises:
        Invalid: it is the one this request was made with.
    """
    check_admin(who, "remove tokens")

    def remove(session: Session) -> None:
        query = select(TokenRow).where(
            TokenRow.workspace == who.workspace, TokenRow.prefix == prefix, TokenRow.suffix == suffix
        )
        row = session.exec(query).first()
        if row is None:
            raise NotFound("token", f"{prefix}...{suffix}")
        if row.sha256 == who.sha256:
            raise Invalid("token", "is the one that asks; remove it with another admin's")
        session.delete(row)

    await services.store.write(remove)
    services.poke()
