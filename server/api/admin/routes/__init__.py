"""/homeport/...: Homeport's own control API."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from ....errors import HomeportError
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
from .deps import AdminContext

__all__ = ["AdminContext", "make_app", "make_prometheus"]


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HomeportError)
    return JSONResponse({"code": error.code, "message": str(error)}, error.status)


async def _unreadable(_request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own answer repeats what was sent, passwords too."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    what = str(first["msg"]).removeprefix("Value error, ")  # pydantic's words before ours
    return JSONResponse({"code": "invalid", "message": f"{where}: {what}"}, 422)


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
    return app
