"""The only place that makes Lepton error bodies: {"code": ..., "message": ...}."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ...errors import HomeportError

log = logging.getLogger(__name__)
CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def body(status: int, code: str, message: str) -> JSONResponse:
    # leptonai 0.47.1 hides every error text that holds this field's name, so it is spelt apart.
    return JSONResponse({"code": code, "message": message.replace("api_tokens", "api tokens")}, status)


async def _homeport(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HomeportError)
    return body(error.status, error.code, str(error))


async def _validation(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    return body(422, "invalid", f"{where}: {first['msg']}")


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # FastAPI's word for JSON that even its parser could not refuse properly
        return body(422, "invalid", "body: is not JSON that can be read")
    return body(error.status_code, CODES.get(error.status_code, "error"), str(error.detail))


async def _crash(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return body(500, "internal", "an error in Homeport; its log has the trace")


def install(app: FastAPI) -> None:
    app.add_exception_handler(HomeportError, _homeport)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _crash)
