"""Where the dialect is reached. It is imported at its first request, so that every server starts sooner."""

from starlette.routing import Mount
from starlette.types import ASGIApp

from ..first_use import OnFirstUse
from .context import RunaiContext

PREFIXES = ("/api/v1", "/api/v2", "/v1/k8s")


def prefixes(ctx: RunaiContext) -> list[Mount]:
    """What is another dialect's has to come before."""

    def make() -> ASGIApp:
        from .app import make_app

        return make_app(ctx)

    app = OnFirstUse(make)
    return [Mount(prefix, app) for prefix in PREFIXES]
