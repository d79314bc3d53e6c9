"""Who asks: the bearer of a token that /api/v1/token gave."""

from starlette.requests import Request

from ...errors import Unauthorized
from ...services.applications import Application
from .context import RunaiContext


def bearer_of(request: Request) -> str:
    """The token of the Authorization header, "" where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def authenticate(ctx: RunaiContext, request: Request) -> Application:
    """
    Raises:
        Unauthorized: there is no token, or it is not good (any more).
    """
    token = bearer_of(request)
    who = ctx.issuer.bearer(token) if token else None
    if who is None:
        raise Unauthorized(
            "the bearer token is missing, unknown or expired; POST /api/v1/token gives one for the client id"
            " and secret that `homeport env` prints"
        )
    return who
