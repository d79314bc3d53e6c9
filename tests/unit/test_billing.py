"""The bill: minutes of the clock times prices, exact, whatever the window."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.server.domain.billing import (
    MINUTE_MS,
    Held,
    bill,
    check_prices,
    parse_prices,
    price_of,
    total,
)
from homeport.server.domain.times import parse_time_ms
from homeport.server.errors import Invalid

PRICES = {"cpu.small": Decimal("0.05"), "gpu.h100-sxm": Decimal("2.5")}
HOUR_MS = 60 * MINUTE_MS
LATE_MS = 10**9


def held(replica: str, from_ms: int, until_ms: int | None, shape: str = "cpu.small") -> Held:
    return Held(replica.partition("-")[0], replica, "ann", shape, from_ms, until_ms)


def minutes(*all_held: Held, since_ms: int = 0, until_ms: int = LATE_MS, now_ms: int = LATE_MS) -> int:
    whole = bill(all_held, PRICES, by="shape", since_ms=since_ms, until_ms=until_ms, now_ms=now_ms)
    return total(whole).minutes


@pytest.mark.parametrize(
    ("all_held", "expected"),
    [
        pytest.param([held("a-0", 0, MINUTE_MS)], 1, id="a-whole-minute-is-one"),
        pytest.param([held("a-0", 0, MINUTE_MS + 1)], 2, id="a-minute-that-was-begun-counts-whole"),
        pytest.param([held("a-0", 59_999, 60_001)], 2, id="minutes-are-those-of-the-clock"),
        pytest.param([held("a-0", 5, 5)], 1, id="what-ended-at-once-has-begun-its-minute"),
        pytest.param([held("a-0", 500, 300)], 1, id="a-clock-that-was-set-back-costs-no-less-than-nothing"),
        pytest.param(
            [held("a-0", 0, 10), held("a-0", 20, 30), held("a-0", 40, MINUTE_MS)],
            1,
            id="a-minute-counts-once-however-often-the-replica-was-started",
        ),
        pytest.param([held("a-0", 0, 10), held("a-1", 0, 10)], 2, id="replicas-pay-each"),
    ],
)
def test_minutes(all_held: list[Held], expected: int) -> None:
    assert minutes(*all_held) == expected


def test_what_holds_its_place_pays_until_now() -> None:
    assert minutes(held("a-0", 0, None), now_ms=10 * MINUTE_MS) == 10


def test_future_of_the_window_costs_nothing_yet() -> None:
    assert minutes(held("a-0", 0, None), until_ms=HOUR_MS, now_ms=3 * MINUTE_MS) == 3


def test_cost_is_price_times_hours_times_replicas() -> None:
    three = [held(f"a-{i}", 0, 90 * MINUTE_MS, "gpu.8xh100-sxm") for i in range(3)]
    (line,) = bill(three, PRICES, by="workload", since_ms=0, until_ms=LATE_MS, now_ms=LATE_MS)
    assert (line.name, line.hours, line.cost) == ("a", Decimal("4.5"), Decimal("90"))


def test_a_third_of_a_cent_is_not_lost_in_the_total() -> None:
    prices = {"cpu.small": Decimal("0.000001")}
    many = [held(f"w{i}-0", 0, MINUTE_MS) for i in range(60)]
    lines = bill(many, prices, by="workload", since_ms=0, until_ms=LATE_MS, now_ms=LATE_MS)
    assert {line.cost for line in lines} == {Decimal(0)}
    assert total(lines).cost == Decimal("0.000001")


def test_lines_are_told_by_owner_and_shape_too() -> None:
    both = [held("a-0", 0, HOUR_MS), held("b-0", 0, HOUR_MS, "gpu.h100-sxm")]

    def names(by: str) -> list[tuple[str, Decimal]]:
        lines = bill(both, PRICES, by=by, since_ms=0, until_ms=LATE_MS, now_ms=LATE_MS)
        return [(line.name, line.cost) for line in lines]

    assert names("owner") == [("ann", Decimal("2.55"))]
    assert names("shape") == [("gpu.h100-sxm", Decimal("2.5")), ("cpu.small", Decimal("0.05"))]
    assert names("workload") == [("b", Decimal("2.5")), ("a", Decimal("0.05"))]


@st.composite
def histories(draw: st.DrawFn) -> list[Held]:
    """Attempts of a few replicas, in any order, overlapping too, with shapes that change."""
    times = st.integers(0, 20 * MINUTE_MS)
    found: list[Held] = []
    for _ in range(draw(st.integers(0, 12))):
        begin = draw(times)
        until = draw(st.one_of(st.none(), times))
        replica = f"w{draw(st.integers(0, 2))}-{draw(st.integers(0, 1))}"
        found.append(
            held(replica, begin, until, draw(st.sampled_from(["cpu.small", "gpu.h100-sxm", "free"])))
        )
    return found


cuts = st.lists(st.integers(0, 25 * MINUTE_MS), max_size=6)


@given(histories(), cuts, st.integers(0, 25 * MINUTE_MS))
def test_windows_add_up_to_the_whole(all_held: list[Held], at: list[int], now_ms: int) -> None:
    edges = [0, *sorted(at), LATE_MS]

    def amounts(since_ms: int, until_ms: int) -> dict[str, Decimal]:
        lines = bill(all_held, PRICES, by="workload", since_ms=since_ms, until_ms=until_ms, now_ms=now_ms)
        assert all(line.minutes > 0 and line.amount >= 0 for line in lines)
        return {line.name: line.amount for line in lines}

    summed: dict[str, Decimal] = {}
    for since_ms, until_ms in pairwise(edges):
        for name, amount in amounts(since_ms, until_ms).items():
            summed[name] = summed.get(name, Decimal(0)) + amount
    assert summed == amounts(0, LATE_MS)


@given(histories(), st.integers(0, 25 * MINUTE_MS), st.integers(0, 5 * MINUTE_MS))
def test_time_never_makes_it_cheaper(all_held: list[Held], now_ms: int, later_ms: int) -> None:
    def amount(at_ms: int) -> Decimal:
        lines = bill(all_held, PRICES, by="owner", since_ms=0, until_ms=LATE_MS, now_ms=at_ms)
        return total(lines).amount

    assert amount(now_ms) <= amount(now_ms + later_ms)


@given(histories(), st.integers(0, 25 * MINUTE_MS))
def test_every_way_to_add_up_has_the_same_total(all_held: list[Held], now_ms: int) -> None:
    totals = {
        total(bill(all_held, PRICES, by=by, since_ms=0, until_ms=LATE_MS, now_ms=now_ms)).amount
        for by in ("workload", "owner", "shape")
    }
    assert len(totals) == 1


@pytest.mark.parametrize(
    "text", ["cpu.small=0.05, gpu.h100-sxm = 2.5,", '{"cpu.small": 0.05, "gpu.h100-sxm": "2.5"}']
)
def test_prices_come_as_pairs_or_json(text: str) -> None:
    assert parse_prices(text) == PRICES


def test_no_prices_are_no_prices() -> None:
    assert parse_prices("") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cpu.small", "SHAPE=PRICE"),
        ("=1", "SHAPE=PRICE"),
        ("cpu.small=a", "cpu.small: 'a' is not a number"),
        ("cpu.small=1,cpu.small=2", "two prices"),
        ('{"cpu.small": 1, "cpu.small": 2}', "two prices"),
        ('{"cpu.small": [1]}', "not a number"),
        ('{"cpu.small"', "no JSON object"),
    ],
)
def test_prices_that_cannot_be_read_are_told(text: str, words: str) -> None:
    with pytest.raises(Invalid, match="HOMEPORT_PRICES") as caught:
        parse_prices(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpu.h100=2.5", "did you mean gpu.h100-sxm"),
        ("cpu.small=-1", "no price"),
        ("cpu.small=NaN", "no price"),
        ("cpu.small=Infinity", "no price"),
        ('{"cpu.small": NaN}', "no price"),
        ("zzz=1", "no shape named 'zzz'; there are cpu.small"),
    ],
)
def test_prices_that_nobody_could_pay_are_told(text: str, words: str) -> None:
    with pytest.raises(Invalid, match="HOMEPORT_PRICES") as caught:
        check_prices(parse_prices(text), ["cpu.small"])
    assert words in str(caught.value)


def test_prices_of_gpus_that_were_taken_out_stay_good() -> None:
    check_prices({"gpu.8xb200": Decimal(1)}, ["cpu.small"])


@pytest.mark.parametrize(
    ("shape", "price"),
    [("gpu.h100-sxm", "2.5"), ("gpu.4xh100-sxm", "10.0"), ("gpu.2xa10", "0"), ("cpu.large", "0")],
)
def test_several_gpus_cost_as_many_times_one(shape: str, price: str) -> None:
    assert price_of(PRICES, shape) == Decimal(price)


NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW_MS - 90 * MINUTE_MS),
        ("7d", NOW_MS - 7 * 24 * HOUR_MS),
        ("99999w", 0),
        ("2023-11-01", 1_698_796_800_000),
        ("2023-11-01T02:00:00+02:00", 1_698_796_800_000),
        ("2023-11-01T00:00:00Z", 1_698_796_800_000),
    ],
)
def test_times_are_read(text: str, expected: int) -> None:
    assert parse_time_ms("since", text, NOW_MS) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "7", "-3d", "2023-13-01"])
def test_times_that_cannot_be_read_are_told(text: str) -> None:
    with pytest.raises(Invalid, match=r"since: .*write 7d"):
        parse_time_ms("since", text, NOW_MS)
