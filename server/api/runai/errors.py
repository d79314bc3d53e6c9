"""The only place that makes Run:ai error bodies: {"code": <HTTP status>, "message": ..., "details": ...}."""

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from ...errors import HomeportError, Invalid

log = logging.getLogger(__name__)
CODES = {400: "invalid", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
TRY_AGAIN_S = 1
MOST_CHARACTERS = 2000


def body(status: int, message: str, details: str = "") -> JSONResponse:
    """
    Args:
        details: Homeport's own stable code, such as `not_found`, for programs.
    """
    if len(message) > MOST_CHARACTERS:  # it quotes what came
        message = f"{message[:MOST_CHARACTERS]}..."
    told: dict[str, Any] = {"code": status, "message": message}
    headers = {"Retry-After": str(TRY_AGAIN_S)} if status in (429, 503) else None
    return JSONResponse(told | ({"details": details} if details else {}), status, headers)


def refusal(error: HomeportError) -> JSONResponse:
    """What a caller is told of it."""
    return body(error.status, str(error), error.code)


def invalid(error: ValidationError, *, within: str = "") -> Invalid:
    """
    The first thing that is wrong with a body, by the path of its field.

    Args:
        within: the field that the model is the value of.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    where = field_path((within, *first["loc"]) if within else first["loc"]) or "body"
    return Invalid(where, first["msg"])


def field_path(parts: Sequence[int | str]) -> str:
    """`("spec", "ports", 0, "container")` -> `spec.ports[0].container`."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


async def _homeport(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HomeportError)
    return refusal(error)


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return body(error.status_code, str(error.detail), CODES.get(error.status_code, ""))


async def _crash(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return body(500, "an error in Homeport; its log has the trace", "internal")


def install(app: FastAPI) -> None:
    app.add_exception_handler(HomeportError, _homeport)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _crash)
