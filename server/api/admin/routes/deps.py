"""What every route of /homeport is given: the context and the caller."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from ....data_plane import DataPlane
from ....errors import Unauthorized
from ....reconcile.loop import ReconcileLoop
from ....services import access
from ....services.attempt_logs import LogSources
from ....services.context import Services


@dataclass(frozen=True, slots=True)
class AdminContext:
    services: Services
    loop: ReconcileLoop
    logs: LogSources
    plane: DataPlane
    runtime: str
    version: str
    operations: tuple[tuple[str, str, str, str | None], ...]  # area, method, path, test


async def context(request: Request) -> AdminContext:
    return request.app.state.context


Context = Annotated[AdminContext, Depends(context)]


async def bearer(request: Request, ctx: Context) -> access.Caller:
    token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    found = access.get_caller(ctx.services.store, ctx.services.clock, token) if token else None
    if found is None:
        raise Unauthorized(
            "the bearer token is missing, unknown or expired; `homeport env` prints a valid one"
        )
    return found


Bearer = Annotated[access.Caller, Depends(bearer)]
