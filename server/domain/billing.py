"""
What it costs: prices per shape and hour, times the minutes in which replicas held their place.

A replica pays from its placement to its end, whatever it does meanwhile: its GPUs are taken from
others all that time. The unit is the minute of the clock. A minute that was begun counts whole, and
once, however often the replica was started again within it; it belongs to the window in which it
begins. So windows that lie side by side add up to what one window over all of them has.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import NamedTuple

from ..errors import Invalid
from .inventory import CPU_SHAPES, KNOWN_PRODUCTS

MINUTE_MS = 60_000
MINUTES_PER_HOUR = 60
DIGITS = Decimal("0.000001")
MOST_PER_HOUR = Decimal(10**9)
SETTING = "HOMEPORT_PRICES"
SEVERAL = re.compile(r"gpu\.(\d+)x(.+)")


class Held(NamedTuple):
    """
    One attempt as the bill sees it. Times are Unix milliseconds; `until_ms` None: it holds its place.

    Args:
        portion: of each of its GPUs, 0..1; it pays so much of its shape's price.
    """

    workload_id: str
    replica_id: str
    owner: str
    shape: str
    from_ms: int
    until_ms: int | None
    portion: float = 1.0


def known_shapes(offered: Collection[str]) -> frozenset[str]:
    """Those of this machine, and those of products that clients know: a GPU may have been taken out."""
    kinds = {kind for _, kind in KNOWN_PRODUCTS}
    listed = {f"gpu.{kind}" for kind in kinds} | {f"gpu.{n}x{kind}" for n in (2, 4, 8) for kind in kinds}
    return frozenset({s.name for s in CPU_SHAPES} | listed | set(offered))


def check_prices(prices: Mapping[str, Decimal], offered: Collection[str]) -> None:
    """
    Raises:
        Invalid: a price for a shape that nobody knows, or a price that is none.
    """
    known = known_shapes(offered)
    for shape, price in prices.items():
        if shape not in known:
            longer = [name for name in sorted(known) if name.startswith(f"{shape}-")]
            near = longer or get_close_matches(shape, sorted(known), n=3, cutoff=0.5)
            there = ", ".join(sorted(offered))
            meant = f"did you mean {' or '.join(near)}?" if near else f"there are {there}"
            raise Invalid(SETTING, f"no shape named {shape!r}; {meant}")
        if not (price.is_finite() and 0 <= price <= MOST_PER_HOUR):
            raise Invalid(SETTING, f"{shape}: {price} per hour is no price; it is a number from 0 to 10^9")


def parse_prices(text: str) -> dict[str, Decimal]:
    """
    `cpu.small=0.05,gpu.h100-sxm=2.5`, or the same as a JSON object: per hour.

    Raises:
        Invalid: it is of neither form, or names a shape twice.
    """
    prices: dict[str, Decimal] = {}
    for shape, price in _pairs(text.strip()):
        if shape in prices:
            raise Invalid(SETTING, f"{shape} has two prices; leave one")
        try:
            prices[shape] = Decimal(price)
        except InvalidOperation as error:
            raise Invalid(SETTING, f"{shape}: {price!r} is not a number, for example 0.05") from error
    return prices


def _pairs(text: str) -> list[tuple[str, str]]:
    if text.startswith("{"):
        try:
            return [(str(k), str(v)) for k, v in json.loads(text, object_pairs_hook=list, parse_float=str)]
        except ValueError as error:
            raise Invalid(SETTING, f"is no JSON object of shapes and prices: {error}") from error
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    for shape, sign, price in pairs:
        if not (shape.strip() and sign):
            found = shape + sign + price
            raise Invalid(SETTING, f"{found!r} is not of the form SHAPE=PRICE, for example cpu.small=0.05")
    return [(shape.strip(), price.strip()) for shape, _, price in pairs]


def price_of(prices: Mapping[str, Decimal], shape: str) -> Decimal:
    """Per hour. `gpu.8xTYPE` without a price of its own costs 8 times `gpu.TYPE`; the rest costs nothing."""
    if shape in prices:
        return prices[shape]
    if several := SEVERAL.fullmatch(shape):
        return int(several[1]) * prices.get(f"gpu.{several[2]}", Decimal(0))
    return Decimal(0)


@dataclass(frozen=True, slots=True)
class Line:
    """
    Args:
        name: of what it was added up by. minutes: of all replicas together.
        amount: price per hour times minutes, which is exact; a sixtieth of it need not be.
    """

    name: str
    minutes: int
    amount: Decimal

    @property
    def hours(self) -> Decimal:
        return _rounded(Decimal(self.minutes) / MINUTES_PER_HOUR)

    @property
    def cost(self) -> Decimal:
        return _rounded(self.amount / MINUTES_PER_HOUR)


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(DIGITS)


def _minutes(held: Held, since_ms: int, until_ms: int, now_ms: int) -> range:
    """The minutes of the clock in which it held its place, as far as they begin in the window."""
    end_ms = now_ms if held.until_ms is None else held.until_ms
    last = max(end_ms - 1, held.from_ms)  # an end on the full minute does not begin it
    return range(
        max(held.from_ms // MINUTE_MS, -(-since_ms // MINUTE_MS)),
        min(last // MINUTE_MS + 1, -(-until_ms // MINUTE_MS)),
    )


BY: Mapping[str, Callable[[Held], str]] = {
    "workload": lambda held: held.workload_id,
    "owner": lambda held: held.owner,
    "shape": lambda held: held.shape,
}


def bill(
    held: Iterable[Held], prices: Mapping[str, Decimal], *, by: str, since_ms: int, until_ms: int, now_ms: int
) -> list[Line]:
    """
    Args:
        held: in any order. by: a key of BY.
        since_ms, until_ms: the window, its end not in it; what is to come costs nothing yet.

    Returns:
        The dearest first, then by name; names without a minute in the window are left out.
    """
    until_ms = min(until_ms, now_ms)
    of_replica: defaultdict[str, list[tuple[range, Held]]] = defaultdict(list)
    for one in held:
        if minutes := _minutes(one, since_ms, until_ms, now_ms):
            of_replica[one.replica_id].append((minutes, one))
    minutes_of: defaultdict[str, int] = defaultdict(int)
    amounts: defaultdict[str, Decimal] = defaultdict(Decimal)
    for spans in of_replica.values():
        told = 0  # the first minute that no attempt of this replica has paid yet
        for minutes, one in sorted(spans, key=lambda span: (span[1].from_ms, span[1].shape)):
            count = max(0, minutes.stop - max(minutes.start, told))
            told = max(told, minutes.stop)
            name = BY[by](one)
            minutes_of[name] += count
            amounts[name] += count * price_of(prices, one.shape) * Decimal(str(one.portion))
    lines = [Line(name, minutes, amounts[name]) for name, minutes in minutes_of.items() if minutes]
    return sorted(lines, key=lambda line: (-line.amount, line.name))


def total(lines: Iterable[Line]) -> Line:
    """Added up before anything is rounded."""
    every = list(lines)
    return Line("total", sum(line.minutes for line in every), sum((x.amount for x in every), Decimal(0)))
