"""Secrets: objects for today's clients, plain names for those before 0.26. Values only ever come in."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....services import secrets
from .. import wire_storage as wire
from ..translate import storage as translate
from .deps import Authorized, Context

router = APIRouter()


@router.get("/{ws}/usersecrets")
async def list_user_secrets(who: Authorized, ctx: Context) -> Response:
    found = secrets.list_secrets(ctx.services, who)
    return JSONResponse([translate.secret_to_wire(s) for s in found])


@router.get("/{ws}/secrets")
async def list_secret_names(who: Authorized, ctx: Context) -> Response:
    return JSONResponse([s.name for s in secrets.list_secrets(ctx.services, who)])


@router.post("/{ws}/secrets")
@router.post("/{ws}/usersecrets")
async def create_secrets(items: list[wire.SecretItem], who: Authorized, ctx: Context) -> Response:
    wanted = [translate.secret_to_domain(who.workspace, who.owner, item) for item in items]
    await secrets.create_secrets(ctx.services, wanted)
    return JSONResponse([translate.secret_to_wire(secret) for secret, _ in wanted], 201)


@router.delete("/{ws}/secrets/{name}")
@router.delete("/{ws}/usersecrets/{name}")
async def delete_secret(name: str, who: Authorized, ctx: Context) -> Response:
    await secrets.delete_secret(ctx.services, who, name)
    return JSONResponse({})
