"""/homeport/...: Homeport's own control API."""

import logging

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


async def _unreadable(_request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own answer repeats what was sent, passwords too."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    what = str(first["msg"]).removeprefix("Value error, ")  # pydantic's words before ours
    return JSONResponse({"code": "invalid", "message": f"{where}: {what}"}, 422)


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
