"""/homeport/...: Homeport's own control API."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from ....errors import HomeportError
from . import reservations, server, workloads
from .deps import AdminContext

__all__ = ["AdminContext", "make_app"]


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HomeportError)
    return JSONResponse({"code": error.code, "message": str(error)}, error.status)


def make_app(ctx: AdminContext) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.state.context = ctx
    for part in (server, workloads, reservations):
        app.include_router(part.router)
    app.add_exception_handler(HomeportError, _refused)
    return app
