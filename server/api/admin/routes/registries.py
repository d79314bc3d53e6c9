"""Logins to image registries. Passwords only ever come in."""

from typing import Any, Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, SecretStr

from ....domain.registries import Registry
from ....services import registries
from .deps import Bearer, Context

router = APIRouter()


class NewRegistry(BaseModel):
    """
    `server`: host[:port], as the image's name begins. `visibility`: `public` is for everybody of the
    workspace, `private` for whoever makes it.
    """

    name: str
    server: str
    username: str
    password: SecretStr
    visibility: Literal["public", "private"] = "public"


def _to_wire(registry: Registry) -> dict[str, Any]:
    return {
        "name": registry.name,
        "server": registry.server,
        "username": registry.username,
        "owner": registry.owner,
        "visibility": registry.visibility,
        "created_at_ms": registry.created_at_ms,
    }


@router.get("/registries")
async def list_registries(ctx: Context, who: Bearer) -> Response:
    return JSONResponse([_to_wire(r) for r in registries.list_registries(ctx.services, who)])


@router.post("/registries")
async def create_registry(new: NewRegistry, ctx: Context, who: Bearer) -> Response:
    made = await registries.create_registry(
        ctx.services, who, new.name, server=new.server, username=new.username,
        password=new.password.get_secret_value(), visibility=new.visibility,
    )  # fmt: skip
    return JSONResponse(_to_wire(made), 201)


@router.delete("/registries/{name}")
async def delete_registry(name: str, ctx: Context, who: Bearer) -> Response:
    await registries.delete_registry(ctx.services, who, name)
    return JSONResponse({})
