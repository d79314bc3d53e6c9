"""filterBy, search, sortBy, offset, limit: one table for each."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from homeport.server.api.runai import lists
from homeport.server.api.runai.operations import Operation
from homeport.server.api.runai.query import Query
from homeport.server.errors import Invalid, NotImplementedYet


@dataclass(frozen=True)
class Thing:
    name: str
    size: float | None
    made: datetime
    is_open: bool = False
    pools: tuple[str, ...] = ()


FIELDS: dict[str, lists.Read[Thing]] = {
    "name": lambda t: t.name,
    "size": lambda t: t.size,
    "createdAt": lambda t: t.made,
    "open": lambda t: t.is_open,
    "pools": lambda t: t.pools,
}
NAMES = (*FIELDS, "unread")
OPERATION = Operation("things", "GET", "/things", filters=NAMES, sorts=NAMES)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
THINGS = [
    Thing("Alpha", 1.0, NOON, pools=("a", "b")),
    Thing("beta", 2.5, NOON.replace(hour=13), is_open=True),
    Thing("gamma,delta", None, NOON.replace(hour=14), pools=("b",)),
]


def query(**params: str) -> Query:
    return Query(QueryParams(params))


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ("name==beta", "b"),
        ("name!=beta", "ag"),
        ("name==gamma,delta", "g"),
        ("name=@ET", "b"),
        ("name!@a", ""),
        ("name=^alp", "a"),
        ("name=$ta", "bg"),
        ("size==1", "a"),
        ("size>=1", "ab"),
        ("size<=2.4", "a"),
        ("size!=1", "bg"),
        ("createdAt>=2026-01-31T13:00:00", "bg"),
        ("createdAt==2026-01-31T13:00:00+01:00", "a"),
        ("createdAt<=2026-01-31T13:30:00Z", "ab"),
        ("open==true", "b"),
        ("open!=TRUE", "ag"),
        ("pools==b", "ag"),
        ("pools!=b", "b"),
        ("name=@a,size>=2", "b"),
    ],
)
def test_filter_keeps_what_matches(filters: str, left: str) -> None:
    found = lists.select(query(filterBy=filters), OPERATION, THINGS, FIELDS)
    assert "".join(t.name[0].lower() for t in found) == left


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ("name", "'name' is no field"),
        ("name=beta", "'name=beta' is no field"),
        ("name==", "'name==' is no field"),
        ("other==1", "there is no field 'other'"),
        ("size==big", "size: 'big' must be a number"),
        ("createdAt>=noon", "createdAt: 'noon' must be a time"),
        ("open==maybe", "open: 'maybe' must be true or false"),
        ("name~beta", "'name~beta' is no field"),
    ],
)
def test_filter_that_cannot_be_is_refused_in_words(filters: str, says: str) -> None:
    with pytest.raises(Invalid, match=r"^filterBy: ") as caught:
        lists.select(query(filterBy=filters), OPERATION, THINGS, FIELDS)
    assert says in str(caught.value)


@pytest.mark.parametrize("params", [{"filterBy": "unread==1"}, {"sortBy": "unread"}])
def test_field_that_the_table_has_but_nobody_reads_is_not_passed_over(params: dict[str, str]) -> None:
    with pytest.raises(NotImplementedYet, match="unread"):
        lists.page(query(**params), OPERATION, THINGS, FIELDS)


@pytest.mark.parametrize(
    ("params", "order"),
    [
        ({}, "abg"),
        ({"sortOrder": "desc"}, "gba"),
        ({"sortBy": "size"}, "abg"),
        ({"sortBy": "size", "sortOrder": "desc"}, "bag"),  # what has no value stays last
        ({"sortBy": "createdAt", "sortOrder": "desc"}, "gba"),
        ({"search": "TA"}, "bg"),
        ({"offset": "1", "limit": "1"}, "b"),
        ({"offset": "9"}, ""),
    ],
)
def test_page_is_in_the_order_asked_for(params: dict[str, str], order: str) -> None:
    found = lists.page(query(**params), OPERATION, THINGS, FIELDS, search=("name",))
    assert "".join(t.name[0].lower() for t in found.items) == order


@pytest.mark.parametrize(
    "params", [{"limit": "0"}, {"limit": "501"}, {"offset": "-1"}, {"sortBy": "x"}, {"sortOrder": "up"}]
)
def test_page_that_cannot_be_is_refused_by_the_parameter(params: dict[str, str]) -> None:
    with pytest.raises(Invalid, match=f"^{next(iter(params))}: "):
        lists.page(query(**params), OPERATION, THINGS, FIELDS)


@given(st.integers(0, 40), st.integers(1, 7))
def test_following_next_shows_everything_once(count: int, limit: int) -> None:
    things = [Thing(f"n{i}", float(i), NOON) for i in range(count)]
    seen: list[Any] = []
    offset: int | None = 0
    while offset is not None:
        page = lists.page(query(offset=str(offset), limit=str(limit)), OPERATION, things, FIELDS)
        assert page.total == count
        seen += page.items
        offset = page.next
    assert seen == things
