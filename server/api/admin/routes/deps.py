"""What every route of /homeport is given: the context and the caller."""

from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from ....errors import Unauthorized
from ....services import access
from ..context import AdminContext


async def context(request: Request) -> AdminContext:
    return request.app.state.context


Context = Annotated[AdminContext, Depends(context)]


async def bearer(request: Request, ctx: Context) -> access.Caller:
    return bearer_of(request, ctx)


def bearer_of(connection: HTTPConnection, ctx: AdminContext) -> access.Caller:
    token = connection.headers.get("authorization", "").removeprefix("Bearer ").strip()
    found = access.get_caller(ctx.services.store, ctx.services.clock, token) if token else None
    if found is None:
        raise Unauthorized(
            "the bearer token is missing, unknown or expired; `homeport env` prints a valid one"
        )
    return found


Bearer = Annotated[access.Caller, Depends(bearer)]
