"""
The conventions of every list: filterBy, search, sortBy, sortOrder, offset, limit, next; and of its count.

A handler says how to read each field of its things, and gets the page:

    fields: Mapping[str, Read[Project]] = {
        "name": lambda p: p.name,
        "createdAt": lambda p: lists.at(p.stamp.created_at_ms),
    }
    page = call.page(projects, fields, search=("name",))
    return call.answer(lists.wrap("projects", [to_wire(p) for p in page.items], page.next))

Which fields may be named at all is in the table of operations. A field that is there but that the
handler cannot read is a typed 501, never a filter that silently does nothing.

Source: the API description published with runapy 1.224.0 (`filterBy`: "field operator value").
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from ...errors import Invalid, NotImplementedYet
from . import quirks
from .operations import Operation
from .query import Query

T = TypeVar("T")
# Sequences are fields that a thing has several values of: one of them has to match.
Value = str | float | int | bool | datetime | Sequence[str] | None
Read = Callable[[T], Value]
PIECE = re.compile(r"(?P<field>[A-Za-z0-9_]+)(?P<op>==|!=|<=|>=|=@|!@|=\^|=\$)(?P<value>.*)", re.DOTALL)
OPERATORS = "==, !=, <=, >=, =@ (contains), !@ (does not), =^ (starts) or =$ (ends)"
NEGATED = {"!=": "==", "!@": "=@"}
COMPARING = ("==", "!=", "<=", ">=")  # the others look for text
# Fields that hold numbers, or true and false; those whose names end with "At" hold times.
NUMBERS = (
    "allocatedGPU", "idleGpus", "idleAllocatedGpus", "totalPendingTimeSeconds", "totalRunningTimeSeconds",
    "priority", "totalGpuQuota", "gpuAllocated", "value",
)  # fmt: skip
FLAGS = ("swapEnabled", "nodeLevelSchedulerEnabled", "gpuNetworkAccelerationDetected")
WANTED: Mapping[type, str] = {
    bool: "true or false", float: "a number", datetime: "a time such as 2026-01-31T12:00:00Z",
}  # fmt: skip
DEFAULT_LIMIT, MOST = 50, 500


@dataclass(frozen=True, slots=True)
class Filter:
    field: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """
    Args:
        items: of this page. total: of all pages. next: where the next one begins; None: this is the last.
    """

    items: list[T]
    total: int
    next: int | None


def at(at_ms: int | None) -> datetime | None:
    """A stored time as a field's value."""
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)


def wrap(key: str, items: Sequence[Any], next_offset: int | None = None) -> dict[str, Any]:
    """`{key: items}`, with `next` where there is more."""
    return {key: list(items)} | ({} if next_offset is None else {"next": next_offset})


def parse_filters(query: Query, operation: Operation) -> list[Filter]:
    """
    Raises:
        Invalid: a piece is not `field op value`, the operation has no such field, or the value cannot be
            compared with what the field holds.
    """
    found: list[Filter] = []
    for piece in quirks.split_filters(query.text("filterBy")):
        match = PIECE.fullmatch(piece)
        if match is None or not match["value"].strip():
            raise Invalid("filterBy", f"{piece!r} is no field, operator and value; operators are {OPERATORS}")
        if match["field"] not in operation.filters:
            known = ", ".join(operation.filters) or "none"
            raise Invalid("filterBy", f"there is no field {match['field']!r} here; there are {known}")
        rule = Filter(match["field"], match["op"], match["value"].strip())
        if rule.op in COMPARING:
            _parsed(rule, kind_of(rule.field))
        found.append(rule)
    return found


def kind_of(field: str) -> type:
    """What a field holds, whether or not there is anything that has it."""
    if field.endswith("At"):
        return datetime
    return float if field in NUMBERS else bool if field in FLAGS else str


def select(
    query: Query,
    operation: Operation,
    items: Iterable[T],
    fields: Mapping[str, Read[T]],
    *,
    search: Sequence[str] = (),
) -> list[T]:
    """
    Those that `filterBy` and `search` leave, in the order they came. Filters are ANDed.

    Args:
        search: names of `fields` in which the text of `search` is looked for, whatever its case.
    """
    kept = list(items)
    for rule in parse_filters(query, operation):
        read = _reader(rule.field, fields)
        kept = [item for item in kept if matches(rule, read(item))]
    if text := query.text("search").lower():
        readers = [_reader(name, fields) for name in search]
        kept = [item for item in kept if any(text in t.lower() for r in readers for t in _texts(r(item)))]
    return kept


def page(
    query: Query,
    operation: Operation,
    items: Iterable[T],
    fields: Mapping[str, Read[T]],
    *,
    search: Sequence[str] = (),
) -> Page[T]:
    """One page of what `select` leaves, sorted by `sortBy` if that is given; what has no value is last."""
    limit = query.number("limit", DEFAULT_LIMIT, least=1, most=MOST)
    offset = query.number("offset", 0)
    kept = select(query, operation, items, fields, search=search)
    is_descending = query.one_of("sortOrder", ("asc", "desc"), "asc") == "desc"
    if name := query.one_of("sortBy", operation.sorts):
        read = _reader(name, fields)
        valued = [(_key(read(item)), item) for item in kept]
        some = sorted((v for v in valued if v[0] is not None), key=lambda v: v[0], reverse=is_descending)
        kept = [item for _, item in some] + [item for key, item in valued if key is None]
    elif is_descending:
        kept.reverse()
    end = offset + limit
    return Page(kept[offset:end], len(kept), end if end < len(kept) else None)


def _reader(name: str, fields: Mapping[str, Read[T]]) -> Read[T]:
    if name not in fields:
        raise NotImplementedYet(f"the field {name} in filters and orders")
    return fields[name]


def _key(value: Value) -> Any:
    """Alike within one field; None for what cannot be put in order."""
    if value is None or isinstance(value, str | int | float | datetime):
        return value
    return ",".join(value) or None


def _texts(value: Value) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    return [str(part) for part in value] if isinstance(value, Sequence) else [str(value)]


def matches(rule: Filter, value: Value) -> bool:
    """
    Whether a value is as the filter wants it. Without a value only the negated operators match.

    Raises:
        Invalid: the filter's own value cannot be compared with what the field holds.
    """
    if rule.op in NEGATED:
        return not matches(Filter(rule.field, NEGATED[rule.op], rule.value), value)
    if value is None:
        return False
    if not isinstance(value, str) and isinstance(value, Sequence):
        return any(matches(rule, part) for part in value)
    if rule.op in ("=@", "=^", "=$"):
        text, wanted = str(value).lower(), rule.value.lower()
        return {"=@": wanted in text, "=^": text.startswith(wanted), "=$": text.endswith(wanted)}[rule.op]
    wanted = _as(rule, value)
    if rule.op == "==":
        return value == wanted
    ordered: Any = value
    return ordered <= wanted if rule.op == "<=" else ordered >= wanted


def _as(rule: Filter, value: Value) -> Any:
    """The filter's text as the kind of thing that the field holds."""
    if isinstance(value, bool):
        return _parsed(rule, bool)
    if isinstance(value, int | float):
        return _parsed(rule, float)
    return _parsed(rule, datetime if isinstance(value, datetime) else str)


def _parsed(rule: Filter, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[rule.value.lower()]
        if kind is float:
            return float(rule.value)
        if kind is datetime:
            return quirks.read_time(rule.value)
    except (ValueError, KeyError):
        raise Invalid("filterBy", f"{rule.field}: {rule.value!r} must be {WANTED[kind]}") from None
    return rule.value
