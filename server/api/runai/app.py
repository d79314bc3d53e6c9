"""
The dialect as one ASGI application: find the operation, authenticate, read the body, call its handler.

The table of operations is the one list of what there is: what it has and nobody registered is a typed
501, what it has not is a 404, another method of a path that it has is a 405.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from ...errors import NotImplementedYet
from . import auth, errors, quirks
from .call import Call
from .context import RunaiContext
from .dispatch import Dispatch
from .operations import OPERATIONS
from .query import Query
from .registry import Served
from .routes import SERVED

FORM = "application/x-www-form-urlencoded"


def make_app(ctx: RunaiContext) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.router.routes.append(Mount("", Endpoint(ctx, SERVED)))
    errors.install(app)
    return app


class Endpoint:
    """Every request below the dialect's prefixes, whatever its method."""

    def __init__(self, ctx: RunaiContext, served: Mapping[tuple[str, str], Served]) -> None:
        self._ctx, self._served = ctx, served
        self._dispatch = Dispatch(OPERATIONS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = await self._answer(request)
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path, method = request.scope["path"], request.method
        found = self._dispatch.find(path)
        if found is None:
            raise HTTPException(404, f"there is no {path} in this API; see /homeport/coverage")
        operation = found.methods.get(method)
        if operation is None:
            there = ", ".join(sorted(found.methods))
            raise HTTPException(405, f"{method} is not an operation of {path}; there is {there}")
        served = self._served.get(operation.key)
        who = None if served and served.is_public else auth.authenticate(self._ctx, request)
        if served is None:
            self._ctx.refused[" ".join(operation.key)] += 1
            raise NotImplementedYet(" ".join(operation.key))
        sent, form = await _read(request)
        query, body = Query(request.query_params), quirks.without_nulls(sent)
        params, client = found.params(operation), request.client.host if request.client else ""
        accept = request.headers.get("accept", "")
        call = Call(self._ctx, operation, params, query, body, who, form, sent, client, accept)
        return await served.handler(call)


async def _read(request: Request) -> tuple[Any, Mapping[str, str]]:
    raw = await request.body()
    if request.headers.get("content-type", "").lower().startswith(FORM):
        return {}, dict(parse_qsl(raw.decode("utf-8", "replace")))
    return quirks.read_json(raw), {}
