"""Rules of simulated containers, while the server runs."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....services import levers
from ....services.access import check_runs_server
from .deps import Bearer, Context

router = APIRouter()


@router.get("/rules")
async def list_rules(ctx: Context, _who: Bearer) -> Response:
    """In the order in which they are tried."""
    from ....world.rules import to_wire  # few servers are asked for rules, and reading them has its price

    book = ctx.levers.get_rules()
    added = len(book.added)
    return JSONResponse([to_wire(rule, is_added=at < added) for at, rule in enumerate(book.rules)])


@router.post("/rules")
async def add_rule(new: dict[str, Any], ctx: Context, who: Bearer) -> Response:
    """Before all others, in place of one of the same name; containers that exist keep theirs."""
    check_runs_server(who, "add rules")
    from ....world.rules import parse_rule, to_wire

    ctx.levers.get_rules()
    rule = parse_rule(new)
    levers.add_rule(ctx.levers, rule)
    return JSONResponse(to_wire(rule, is_added=True), 201)


@router.delete("/rules/{name}")
async def remove_rule(name: str, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "remove rules")
    levers.remove_rule(ctx.levers, name)
    return JSONResponse({})
