"""Logins to image registries. Passwords only ever come in."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, SecretStr

from ....domain.registries import Registry
from ....services import registries
from .deps import Bearer, Context

router = APIRouter()


class NewRegistry(BaseModel):
    """`server`: host[:port], as the image's name begins."""

    name: str
    server: str
    username: str
    password: SecretStr


def _to_wire(registry: Registry) -> dict[str, Any]:
    return {
        "name": registry.name,
        "server": registry.server,
        "username": registry.username,
        "owner": registry.owner,
        "created_at_ms": registry.created_at_ms,
    }


@router.get("/registries")
async def list_registries(ctx: Context, who: Bearer) -> Response:
    return JSONResponse([_to_wire(r) for r in registries.list_registries(ctx.services, who.workspace)])


@router.post("/registries")
async def create_registry(new: NewRegistry, ctx: Context, who: Bearer) -> Response:
    made = await registries.create_registry(
        ctx.services, who.workspace, new.name, server=new.server, username=new.username,
        password=new.password.get_secret_value(), owner=who.owner,
    )  # fmt: skip
    return JSONResponse(_to_wire(made), 201)


@router.delete("/registries/{name}")
async def delete_registry(name: str, ctx: Context, who: Bearer) -> Response:
    await registries.delete_registry(ctx.services, who.workspace, name)
    return JSONResponse({})
