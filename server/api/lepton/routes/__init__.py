"""Parse, authenticate, one call, answer. No decisions here."""

import re
from functools import cache

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from ....errors import NotFound, NotImplementedYet
from ..operations import OPERATIONS, Operation
from . import (
    deployments,
    devpods,
    endpoints,
    ingress,
    jobs,
    logs,
    monitoring,
    nodes,
    reservations,
    secrets,
    storage,
    workspace,
)
from .deps import Authorized

router = APIRouter()
# The busiest first, and flat: what is included as a router is searched anew for each request, level by level.
for part in (
    jobs, logs, endpoints, devpods, deployments, workspace, nodes, reservations, storage, secrets, ingress,
    monitoring,
):  # fmt: skip
    router.routes.extend(part.router.routes)


@cache
def _known() -> list[tuple[Operation, re.Pattern[str]]]:
    """Compiled at the first refusal: no start waits for it."""
    return [(o, re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(o.path)) + "$")) for o in OPERATIONS]


@router.api_route("/{ws}/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])
async def refuse(rest: str, request: Request, _who: Authorized) -> Response:
    """Vendor operations that are not served are told apart from paths that nobody knows."""
    matching = [o for o, pattern in _known() if pattern.match(f"/{rest}")]
    if any(o.method == request.method and o.test is None for o in matching):
        raise NotImplementedYet(f"{request.method} /{rest}")
    if matching:
        raise HTTPException(405, f"{request.method} is not an operation of /{rest}")
    raise NotFound("operation", f"{request.method} /{rest}")
