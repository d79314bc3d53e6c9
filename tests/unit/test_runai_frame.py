"""The table of operations, the way to them, and what is undone on that way."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from homeport.server.api.runai import quirks
from homeport.server.api.runai.dispatch import Dispatch, parameter_names
from homeport.server.api.runai.errors import field_path
from homeport.server.api.runai.operations import OPERATIONS
from homeport.server.api.runai.query import Query
from homeport.server.api.runai.routes import SERVED
from homeport.server.errors import Invalid

DISPATCH = Dispatch(OPERATIONS)


def test_table_has_every_operation_once() -> None:
    assert len(OPERATIONS) == 391
    assert len({o.key for o in OPERATIONS}) == 391


def test_what_is_served_is_in_the_table_and_names_its_test() -> None:
    assert {o.key for o in OPERATIONS if o.test is not None} == set(SERVED)


def test_each_operation_is_found_by_its_path_with_whatever_ids() -> None:
    """Also with its underscores turned into hyphens, as the client sends it."""
    for operation in OPERATIONS:
        path = operation.path
        values = [f"id-{i}" for i, _ in enumerate(parameter_names(path))]
        for name, value in zip(parameter_names(path), values, strict=True):
            path = path.replace("{" + name + "}", value, 1)
        for sent in (path, path.replace("_", "-")):
            found = DISPATCH.find(sent)
            assert found is not None, sent
            assert found.methods[operation.method] is operation
            assert list(found.params(operation).values()) == values


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/org-unit/projects/count", "/api/v1/org-unit/projects/count"),
        ("/api/v1/org_unit/projects/12", "/api/v1/org-unit/projects/{project_id}"),
        ("/api/v1/datavolumes/x/sharedScopes", "/api/v1/datavolumes/{datavolume_id}/shared-scopes"),
    ],
)
def test_literal_goes_before_a_parameter(path: str, expected: str) -> None:
    found = DISPATCH.find(path)
    assert found is not None
    assert found.methods["GET"].path.lower().replace("_", "-").replace("sharedscopes", "shared-scopes") == (
        expected.replace("_", "-")
    )


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/nothing", "/api/v1/org-unit/projects/1/2/3", "/"])
def test_unknown_path_is_found_nowhere(path: str) -> None:
    assert DISPATCH.find(path) is None


# --- bodies


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"", {}),
        (b"  ", {}),
        (b'{"a": 1}', {"a": 1}),
        (json.dumps(json.dumps({"a": [1]})).encode(), {"a": [1]}),
        (b'""', {}),
        (
            b'{"a": null, "b": {"c": null, "d": 0}, "e": [null, {"f": null}]}',
            {"b": {"d": 0}, "e": [None, {}]},
        ),
    ],
    ids=["nothing", "blank", "plain", "twice", "empty-twice", "nulls"],
)
def test_body_is_read_as_its_sender_meant_it(raw: bytes, value: Any) -> None:
    assert quirks.read_body(raw) == value


@pytest.mark.parametrize(
    "raw", [b"{", b"\xff", b'{"a": NaN}', b'{"a": "\\ud800"}', b"[" * 100_000, b'"{"'],
    ids=["cut", "not-utf8", "nan", "surrogate", "deep", "cut-inside"],
)  # fmt: skip
def test_body_that_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(Invalid, match="body"):
        quirks.read_body(raw)


TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
JSON = st.recursive(
    st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40)
@given(st.dictionaries(TEXT, JSON, max_size=3))
def test_body_without_nulls_comes_through_however_often_it_was_encoded(body: dict[str, Any]) -> None:
    once = json.dumps(body)
    assert quirks.read_body(once.encode()) == quirks.read_body(json.dumps(once).encode()) == body


# --- queries


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("name==a", ["name==a"]),
        ("name==a,b,phase!=Ready", ["name==a,b", "phase!=Ready"]),
        ("name=@x, y,z=1", ["name=@x, y,z=1"]),
        ("a>=1,b<=2,c=^x,d=$y,e!@z", ["a>=1", "b<=2", "c=^x", "d=$y", "e!@z"]),
    ],
)
def test_filters_are_split_where_the_next_one_begins(text: str, pieces: list[str]) -> None:
    assert quirks.split_filters(text) == pieces


WORD = st.text("abcXYZ019 -.", min_size=1).map(str.strip).filter(bool)


@given(st.lists(st.tuples(WORD, st.lists(WORD, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_filters_come_back_whole_whatever_commas_their_values_have(
    pairs: list[tuple[str, list[str]]],
) -> None:
    pieces = [f"name=={','.join(values)}" for _, values in pairs]
    assert quirks.split_filters(",".join(pieces)) == pieces


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GPU_QUOTA", "GPU_QUOTA"),
        ("OrgUnitTelemetryType.GPU_QUOTA", "GPU_QUOTA"),
        ("SettingsKeyEnum.AUTOREDIRECTSSO", "autoRedirectSSO"),
        ("auto-redirect-sso", "autoRedirectSSO"),
        ("nothing", None),
    ],
)
def test_enum_member_is_recognised_in_every_spelling(text: str, expected: str | None) -> None:
    assert quirks.read_member(text, ["GPU_QUOTA", "autoRedirectSSO"]) == expected


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T12:00:00", "2026-01-31T12:00:00Z", "2026-01-31T14:00:00+02:00", "2026-01-31T14:00:00 02:00",
     "2026-01-31 12:00:00.000000"],
)  # fmt: skip
def test_time_without_a_zone_is_utc_and_a_lost_plus_is_found(text: str) -> None:
    assert quirks.read_time(text) == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_parameters_are_read_as_what_they_have_to_be() -> None:
    query = Query(QueryParams("a=1,2&a=3&flag=true&n=5&empty=&kind=Kind.SOME_THING"))
    assert query.items("a") == ["1", "2", "3"]
    assert query.flag("flag")
    assert not query.flag("empty")
    assert query.number("n", 1) == 5
    assert query.number("empty", 7) == 7
    assert query.one_of("kind", ("someThing",)) == "someThing"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("limit=x", lambda q: q.number("limit", 1)),
        ("limit=0", lambda q: q.number("limit", 1, least=1)),
        ("limit=yes", lambda q: q.flag("limit")),
        ("limit=b", lambda q: q.one_of("limit", ("a",))),
        ("limit=noon", lambda q: q.time("limit")),
        ("", lambda q: q.required_time("limit")),
    ],
)
def test_parameter_that_cannot_be_is_refused_by_its_name(text: str, read: Any) -> None:
    with pytest.raises(Invalid, match=r"^limit: "):
        read(Query(QueryParams(text)))


def test_field_of_a_body_is_named_by_its_path() -> None:
    assert field_path(("spec", "ports", 0, "container")) == "spec.ports[0].container"
