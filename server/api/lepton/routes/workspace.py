"""The workspace and its tokens."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....services import registries, secrets
from ..translate import workspace as translate
from .deps import Authorized, Context

router = APIRouter()


@router.get("/{ws}")
async def get_display_name(who: Authorized) -> Response:
    return JSONResponse({"display_name": who.workspace, "id": who.workspace})


@router.get("/{ws}/workspace")
async def get_workspace(who: Authorized, ctx: Context) -> Response:
    s = ctx.services
    counts = {
        **s.store.reads.counts(who.workspace),
        "registry": registries.count_registries(s, who.workspace),
        "secret": len(secrets.list_secrets(s, who)),
    }
    live = s.store.reads.live_attempts()
    return JSONResponse(
        translate.workspace_to_wire(
            who.workspace,
            ctx.version,
            counts,
            live,
            s.nodes,
            s.shapes,
            has_new_families=ctx.has_new_families,
            is_secure_by_default=ctx.is_secure_by_default,
        )
    )


@router.get("/{ws}/tokens")
async def list_tokens(who: Authorized, ctx: Context) -> Response:
    rows = [t for t in ctx.services.store.reads.tokens() if t.workspace == who.workspace]
    return JSONResponse([translate.token_to_wire(t) for t in rows])
