"""What every request passes before a dialect sees it."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 16 * 2**20
SERVED = ("http", "websocket")


class CleanPath:
    """`//jobs/` is `/jobs`: clients concatenate URLs, and a redirect would turn their POST into a GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in SERVED:
            path = scope["path"]
            if path.endswith("/") or "//" in path:
                path = re.sub("/{2,}", "/", path).rstrip("/") or "/"
                scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


class LimitBody:
    """
    413 beyond 16 MiB, whether the length was announced or not. It is raised where the
    body is read, so that each dialect words it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        announced = int(dict(scope["headers"]).get(b"content-length", b"0"))  # httptools lets only digits by
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            if announced <= MAX_BODY_BYTES:
                message = await receive()
                seen += len(message.get("body", b""))
                if seen <= MAX_BODY_BYTES:
                    return message
            raise HTTPException(413, f"body: may have {MAX_BODY_BYTES // 2**20} MiB at most")

        await self._app(scope, counted, send)


class GuardBrowsers:
    """
    A request without a valid bearer token must name a host of ours in Host, and in
    Origin where it has one: that stops web pages from reaching a server on loopback
    (DNS rebinding, cross-site posts and WebSockets). With a token neither is looked at, since
    leptonai sends origins of its user's choice.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], is_token: Callable[[str], bool]) -> None:
        self._app, self._hosts, self._is_token = app, hosts, is_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in SERVED and (refusal := self._refusal(scope)) is not None:
            return await _refuse(403, "forbidden", refusal)(scope, receive, send)
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        raw: dict[bytes, bytes] = dict(scope["headers"])
        scheme, _, token = raw.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(token.strip()):
            return None
        host, origin = (raw[n].decode("latin-1") if n in raw else None for n in (b"host", b"origin"))
        for name, value in (("Host", f"//{host or ''}"), ("Origin", origin)):
            if value is not None and urlsplit(value).hostname not in self._hosts:
                return f"{name} {value.lstrip('/')!r} is not a name of this server; --allow-host adds one"
        return None


def _refuse(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": message}, status)
