"""The pure parts of `bench/`; what it measures is no matter of a test."""

import importlib
from itertools import islice

import pytest

from bench import changes, streams
from bench.__main__ import NAMES
from bench.figures import Figure, alternate, percentile, table
from bench.servers import free_ports
from homeport.server.routing import Route, RouteTable


@pytest.mark.parametrize("name", NAMES)
def test_every_named_bench_can_be_imported(name: str) -> None:
    assert callable(importlib.import_module(f"bench.{name}").measure)


@pytest.mark.parametrize(
    ("figure", "is_met"),
    [
        pytest.param(Figure("a", 1.1, "ms", 1.0, most=1.15), True, id="ratio-within-its-goal"),
        pytest.param(Figure("a", 1.2, "ms", 1.0, most=1.15), False, id="ratio-beyond-its-goal"),
        pytest.param(Figure("a", 6.0, "/s", 1.0, least=7), False, id="ratio-too-small"),
        pytest.param(Figure("a", 6.0, "ms", 1.0, most=20, is_absolute=True), True, id="figure-itself"),
        pytest.param(Figure("a", 0, "", 0, most=0, is_absolute=True), True, id="none-beside-none"),
        pytest.param(Figure("a", 6.0, "ms", 1.0), None, id="no-goal"),
        pytest.param(Figure("a", 6.0, "ms", most=1), None, id="ratio-of-nothing"),
    ],
)
def test_a_goal_is_judged(figure: Figure, is_met: bool | None) -> None:
    assert figure.is_met is is_met


def test_sides_take_turns_and_have_their_medians() -> None:
    turns: list[str] = []
    values = {"a": iter([1.0, 9.0, 2.0]), "b": iter([5.0, 4.0, 6.0])}

    def side(name: str) -> float:
        turns.append(name)
        return next(values[name])

    assert alternate(3, lambda: side("a"), lambda: side("b")) == [2.0, 5.0]
    assert "".join(turns) == "abbaab"


def test_the_table_has_a_row_for_each_figure() -> None:
    lines = table([
        Figure("read", 100, "us", 1000, "plain", most=0.2),
        Figure("start", 1.5, "s", most=1, is_absolute=True),
    ]).splitlines()  # fmt: skip
    assert [line.split() for line in lines[1:]] == [
        ["read", "100", "us", "1,000", "us", "0.10x", "<=", "0.2x", "met", "plain"],
        ["start", "1.5", "s", "<=", "1", "s", "MISSED"],
    ]


def test_a_percentile_is_the_value_that_so_many_do_not_exceed() -> None:
    assert [percentile(range(1, 101), share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]


def test_route_changes_leave_every_endpoint_under_load_a_replica() -> None:
    table, replicas = RouteTable(changes.at_first(1)), set[tuple[str, ...]]()
    before, loaded = {r.key for r in table.routes()}, {changes.under_load(n, (1,)).key for n in range(4)}
    for change in islice(changes.changes(1, 2), 400):
        if change["op"] == "remove":
            assert change["key"] not in loaded
            assert table.remove(change["key"]) is not None
            continue
        route = Route.from_json(change["route"])
        table.put(route)
        if route.key in loaded:
            replicas.add(tuple(r.id for r in route.replicas))
    assert {r.key for r in table.routes()} == before
    assert replicas == {("r1",), ("r2",), ("r1", "r2")}


def test_events_are_found_among_chunks() -> None:
    chunks = b"1c\r\ndata: %020d\n\n\r\n1c\r\ndata: %020d\n\n\r\n1c\r\ndata: 000" % (5, 7)
    assert [int(event[1]) for event in streams.EVENT.finditer(chunks)] == [5, 7]


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20
