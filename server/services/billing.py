"""What a workspace's workloads have cost, from the attempts in the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from ..domain.billing import BY, Held, Line, bill, total
from ..errors import Invalid
from ..store.allocations import START, read_held
from .access import Caller
from .context import Services

PAGE = 2000  # read at a time: the API shares this thread


@dataclass(frozen=True, slots=True)
class Bill:
    """Times are Unix milliseconds; the window's end is not in it."""

    since_ms: int
    until_ms: int
    by: str
    lines: list[Line]
    total: Line
    has_prices: bool


async def get_bill(
    services: Services,
    prices: Mapping[str, Decimal],
    who: Caller,
    *,
    by: str = "workload",
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> Bill:
    """
    Of what the caller may see.

    Args:
        since_ms: the beginning of everything unless given. until_ms: now unless given.

    Raises:
        Invalid: `by` is nothing to add up by, or the window ends before it begins.
    """
    if by not in BY:
        raise Invalid("by", f"{by!r} is not one of {', '.join(BY)}")
    now = services.clock.now_ms()
    since, until = since_ms or 0, min(now, now if until_ms is None else until_ms)
    if until_ms is not None and until_ms < since:
        raise Invalid("until", "is before since; the window begins with since")
    held: list[Held] = []
    after, viewer = START, None if who.is_admin else who.owner
    while True:
        page, after = services.store.read(
            lambda s, at=after: read_held(s, who.workspace, since, at, PAGE, viewer)
        )
        held += page
        if len(page) < PAGE:
            break
        await services.clock.sleep(0)
    lines = bill(held, prices, by=by, since_ms=since, until_ms=until, now_ms=now)
    return Bill(since, until, by, lines, total(lines), bool(prices))
