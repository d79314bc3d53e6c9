"""What every route of /homeport is given: the context and the caller."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from ....data_plane import DataPlane
from ....errors import Unauthorized
from ....levers import Levers
from ....metrics import Metrics
from ....reconcile.loop import ReconcileLoop
from ....services import access
from ....services.attempt_logs import LogSources
from ....services.context import Services
from ....services.exec_sessions import ExecSessions


@dataclass(frozen=True, slots=True)
class AdminContext:
    services: Services
    loop: ReconcileLoop
    logs: LogSources
    plane: DataPlane
    runtime: str
    version: str
    refused: Mapping[str, Counter[str]]  # by dialect: how often what is not served was asked for
    metrics: Metrics
    prices: Mapping[str, Decimal]  # per hour, by shape
    execs: ExecSessions
    levers: Levers


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
