"""What it costs."""

from decimal import Decimal
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from ....domain.billing import DIGITS, Line
from ....domain.times import parse_time_ms
from ....services import billing
from .deps import Bearer, Context

router = APIRouter()


def line_to_wire(line: Line) -> dict[str, Any]:
    """Hours and cost as text, so that no client makes binary fractions of them."""
    return {"name": line.name, "minutes": line.minutes, "hours": _text(line.hours), "cost": _text(line.cost)}


def _text(value: Decimal) -> str:
    return f"{value.quantize(DIGITS):f}"


@router.get("/billing")
async def get_billing(
    ctx: Context, who: Bearer, since: str | None = None, until: str | None = None, by: str = "workload"
) -> Response:
    """`since` and `until`: `7d`, `12h`, or a date; from the beginning, and until now, unless given."""
    now = ctx.services.clock.now_ms()
    made = await billing.get_bill(
        ctx.services, ctx.prices, who, by=by,
        since_ms=None if since is None else parse_time_ms("since", since, now),
        until_ms=None if until is None else parse_time_ms("until", until, now),
    )  # fmt: skip
    return JSONResponse(
        {
            "since": made.since_ms,
            "until": made.until_ms,
            "by": made.by,
            "has_prices": made.has_prices,
            "lines": [line_to_wire(line) for line in made.lines],
            "total": line_to_wire(made.total),
        }
    )
