"""Where the dialect is reached. It is imported at its first request, so that every server starts sooner."""

from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from .context import RunaiContext

PREFIXES = ("/api/v1", "/api/v2", "/v1/k8s")


class OnFirstUse:
    def __init__(self, ctx: RunaiContext) -> None:
        self._ctx = ctx
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            from .app import make_app

            self._app = make_app(self._ctx)
        await self._app(scope, receive, send)


def prefixes(ctx: RunaiContext) -> list[Mount]:
    """What is another dialect's has to come before."""
    app = OnFirstUse(ctx)
    return [Mount(prefix, app) for prefix in PREFIXES]
