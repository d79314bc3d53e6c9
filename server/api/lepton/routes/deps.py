"""What every route is given."""

from typing import Annotated

from fastapi import Depends, Request

from ....services import access
from ....services.access import Caller
from ..context import LeptonContext


async def context(request: Request) -> LeptonContext:
    return request.app.state.context


Context = Annotated[LeptonContext, Depends(context)]


async def caller(request: Request) -> Caller:
    """Without dependencies and parameters of its own: FastAPI would spend more on those than a job takes."""
    ctx: LeptonContext = request.app.state.context
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else None
    return access.authorize(ctx.services.store, ctx.services.clock, bearer, request.path_params["ws"])


Authorized = Annotated[Caller, Depends(caller)]
