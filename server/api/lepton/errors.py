"""The only place that makes Lepton error bodies: {"code": ..., "message": ...}."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ...errors import HomeportError
from .refusals import explained

log = logging.getLogger(__name__)
CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def body(status: int, code: str, message: str) -> JSONResponse:
    # leptonai 0.47.1 hides every error text that holds this field's name, so it is spelt apart.
    return JSONResponse({"code": code, "message": message.replace("api_tokens", "api tokens")}, status)


async def _homeport(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HomeportError)
    return body(error.status, error.code, str(error))


async def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["loc"][:1] == ("body",) and (len(first["loc"]) == 1 or first["type"] == "json_invalid"):
        return body(422, "invalid", f"body: {_unreadable(request, first)}")
    return body(422, "invalid", ": ".join(explained(first)))


def _unreadable(request: Request, first: Mapping[str, Any]) -> str:
    """Why the body as a whole cannot be read, and what to send instead."""
    kind = request.headers.get("content-type", "")
    if first["type"] != "missing" and "json" not in kind.lower():
        return f"comes as {kind or 'nothing known'}; send it with 'Content-Type: application/json'"
    if first["type"] == "json_invalid":
        return f"is no JSON at character {first['loc'][-1]}: {first['ctx']['error']}"
    if first["type"] == "missing":
        return "is missing; send a JSON object"
    return "has to be a JSON list" if first["type"] == "list_type" else "has to be a JSON object"


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
