"""/homeport/...: Homeport's own control API."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ....errors import HomeportError
from ..context import AdminContext
from . import (
    billing,
    clock,
    exec,
    faults,
    metrics,
    org,
    queue,
    registries,
    reservations,
    rules,
    server,
    tokens,
    workloads,
)

log = logging.getLogger(__name__)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HomeportError)
    return JSONResponse({"code": error.code, "message": str(error)}, error.status)


async def _unserved(request: Request, error: Exception) -> JSONResponse:
    """No such path, or not by this method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        message = f"nothing is served at {request.url.path}; Homeport's docs name the paths that are"
        return JSONResponse({"code": "not_found", "message": message}, 404)
    message = f"{request.url.path} does not take {request.method}"
    return JSONResponse({"code": "method_not_allowed", "message": message}, error.status_code, error.headers)


async def _unreadable(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own answer repeats what was sent, passwords too."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["loc"][:1] == ("body",) and (len(first["loc"]) == 1 or first["type"] == "json_invalid"):
        return JSONResponse({"code": "invalid", "message": f"body: {_no_object(request, first)}"}, 422)
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    what = str(first["msg"]).removeprefix("Value error, ")  # pydantic's words before ours
    return JSONResponse({"code": "invalid", "message": f"{where}: {what}"}, 422)


def _no_object(request: Request, first: Mapping[str, Any]) -> str:
    """Why the body as a whole cannot be read."""
    kind = request.headers.get("content-type", "")
    if "json" not in kind.lower():
        return f"comes as {kind or 'nothing known'}; send it with 'Content-Type: application/json'"
    if first["type"] == "json_invalid":
        return f"is no JSON at character {first['loc'][-1]}: {first['ctx']['error']}"
    return "is missing" if first["type"] == "missing" else "has to be a JSON object"


async def _crash(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse({"code": "internal", "message": "an error in Homeport; its log has the trace"}, 500)


def make_app(ctx: AdminContext) -> FastAPI:
    app = _bare(ctx)
    for part in (
        faults,
        rules,
        clock,
        server,
        workloads,
        exec,
        reservations,
        registries,
        metrics,
        billing,
        tokens,
        org,
        queue,
    ):
        app.include_router(part.router)
    return app


def make_prometheus(ctx: AdminContext) -> FastAPI:
    """/metrics, where scrapers look for it."""
    app = _bare(ctx)
    app.include_router(metrics.prometheus)
    return app


def _bare(ctx: AdminContext) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.state.context = ctx
    app.add_exception_handler(HomeportError, _refused)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _unserved)
    app.add_exception_handler(Exception, _crash)
    return app
