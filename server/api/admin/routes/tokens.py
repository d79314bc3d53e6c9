"""Who may use this server: tokens by owner. A value is in the answer to its creation and nowhere else."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from ....services import tokens
from ....services.tokens import LONGEST
from ....store.reads import Token
from .deps import Bearer, Context

router = APIRouter()


class NewToken(BaseModel):
    """
    `owner`: whose it is, an e-mail address as a rule. `days`: how long it is good.
    `workspace`: the caller's own unless given.
    """

    owner: str
    workspace: str | None = None
    days: float = Field(default=90, gt=0, le=LONGEST.days)


def _to_wire(token: Token) -> dict[str, Any]:
    return {
        "token": f"{token.prefix}...{token.suffix}",
        "owner": token.owner,
        "expires_at_ms": token.expires_at_ms,
    }


@router.get("/tokens")
async def list_tokens(ctx: Context, who: Bearer, workspace: str | None = None) -> Response:
    return JSONResponse([_to_wire(token) for token in tokens.list_tokens(ctx.services, who, workspace)])


@router.post("/tokens")
async def create_token(new: NewToken, ctx: Context, who: Bearer) -> Response:
    made = await tokens.create_token(ctx.services, who, new.owner, timedelta(days=new.days), new.workspace)
    return JSONResponse({"token": made, "owner": new.owner}, 201)


@router.delete("/tokens/{prefix}/{suffix}")
async def delete_token(
    prefix: str, suffix: str, ctx: Context, who: Bearer, workspace: str | None = None
) -> Response:
    await tokens.delete_token(ctx.services, who, prefix, suffix, workspace)
    return JSONResponse({})
