"""The dialect as one ASGI application."""

from fastapi import FastAPI

from . import errors
from .context import LeptonContext
from .routes import router


def make_app(ctx: LeptonContext) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.state.context = ctx
    app.router.routes.extend(router.routes)
    errors.install(app)
    return app
