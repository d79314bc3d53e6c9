"""The clock in the user's hand."""

import math
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from .....runtime.clock import Steerable, SystemClock
from ....domain.times import check_reach
from ....errors import Invalid, StoreUnavailable
from ....reconcile.loop import ReconcileLoop
from ....services.access import check_runs_server
from ....world.amounts import Seconds
from .deps import Bearer, Context

router = APIRouter()
MOST_STEPS = 1000
QUIET_S, PATIENCE_S, LOOK_S = 0.02, 10.0, 0.002  # of real time


class Move(BaseModel):
    """
    Args:
        action: `set` needs `to_ms`, `advance` needs `by`.
        by: a duration. step: it is passed in steps of so much, and after each what follows from it happens.
        to_ms: Unix milliseconds, not in the past.
    """

    model_config = ConfigDict(extra="forbid")

    action: Literal["freeze", "resume", "advance", "set"]
    by: Seconds | None = None
    step: Seconds | None = Field(default=None, gt=0)
    to_ms: int | None = Field(default=None, ge=0)


def _to_wire(clock: Steerable) -> dict[str, Any]:
    now_ms = clock.now_ms()
    iso = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return {"now_ms": now_ms, "now": iso, "is_frozen": clock.is_frozen}


@router.get("/clock")
async def get_clock(ctx: Context, _who: Bearer) -> Response:
    return JSONResponse(_to_wire(ctx.levers.get_clock()))


@router.post("/clock")
async def move_clock(move: Move, ctx: Context, who: Bearer) -> Response:
    check_runs_server(who, "move the clock")
    clock = ctx.levers.get_clock()
    try:
        await _move(clock, ctx.loop, move)
    except OSError as error:
        raise StoreUnavailable(f"the clock was not moved, it cannot be kept: {error.strerror}") from error
    return JSONResponse(_to_wire(clock))


async def _move(clock: Steerable, loop: ReconcileLoop, move: Move) -> None:
    match move.action:
        case "freeze":
            clock.freeze()
        case "resume":
            try:
                clock.resume()
            except ValueError as error:
                raise Invalid("action", str(error)) from error
        case "advance":
            if move.by is None:
                raise Invalid("by", "is missing; give a duration such as 30s or 1h")
            check_reach("by", clock.now_ms() + move.by * 1000)
            await _advance(clock, loop, move.by, move.step)
        case "set":
            if move.to_ms is None:
                raise Invalid("to_ms", "is missing; give Unix milliseconds")
            if move.to_ms < clock.now_ms():
                now = _to_wire(clock)["now"]
                raise Invalid("to_ms", f"has passed: it is {now}, and time does not run backwards")
            check_reach("to_ms", move.to_ms)
            clock.set_ms(move.to_ms)


async def _advance(clock: Steerable, loop: ReconcileLoop, by_s: float, step_s: float | None) -> None:
    if step_s is None:
        clock.advance(by_s)
        return
    steps = math.ceil(by_s / step_s)
    if steps > MOST_STEPS:
        raise Invalid("step", f"{steps} steps are more than {MOST_STEPS}; take longer ones")
    for number in range(steps):
        clock.advance(min(step_s, by_s - number * step_s))
        await _settle(loop)


async def _settle(loop: ReconcileLoop) -> None:
    """Until the loop has looked at the new time and has had nothing to do since."""
    real = SystemClock()
    before, began = loop.passes, real.monotonic_s()
    loop.poke()
    seen, since = loop.passes, began
    while (now := real.monotonic_s()) < began + PATIENCE_S:
        if loop.passes != seen:
            seen, since = loop.passes, now
        elif seen > before and now - since >= QUIET_S:
            return
        await real.sleep(LOOK_S)
