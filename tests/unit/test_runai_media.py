"""Which form numbers are told in, and what is said of what has no effect."""

from typing import Any

import pytest

from homeport.server.api.runai.media import CSV, JSON, chosen, metrics, telemetry
from homeport.server.api.runai.translate.ignored import ignored_to_wire, to_keep
from homeport.server.errors import NotAcceptable


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param("", JSON, id="nothing-is-json"),
        pytest.param("*/*", JSON, id="anything-is-json"),
        pytest.param("text/csv", CSV, id="csv"),
        pytest.param("Text/CSV ; q=0.5", CSV, id="csv-in-any-spelling"),
        pytest.param("text/csv, */*;q=0.1", CSV, id="csv-before-anything-else"),
        pytest.param("text/csv;q=0.5, application/json", JSON, id="json-is-more-welcome"),
        pytest.param("text/csv, */*", CSV, id="what-is-named-goes-before-what-is-not"),
        pytest.param("application/json, text/csv", JSON, id="alike"),
        pytest.param("text/*", CSV, id="a-range"),
        pytest.param("application/json;q=0, */*", CSV, id="anything-but-json"),
    ],
)
def test_form_is_the_one_that_is_most_welcome(accept: str, expected: str) -> None:
    assert chosen(accept, (JSON, CSV)) == expected


@pytest.mark.parametrize("accept", ["text/html", "text/csv;q=0, text/html", "text/csv;q=lots"])
def test_form_that_is_not_there_is_refused_with_those_that_are(accept: str) -> None:
    with pytest.raises(NotAcceptable, match=r"application/json, text/csv"):
        chosen(accept, (JSON, CSV))


def test_csv_of_metrics_has_a_line_for_each_value() -> None:
    told = [
        {
            "type": "POD_COUNT",
            "values": [{"value": "1", "timestamp": "t1"}, {"value": "2", "timestamp": "t2"}],
        }
    ]
    answer = metrics("text/csv", told, [])
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert bytes(answer.body).decode() == "type,timestamp,value\r\nPOD_COUNT,t1,1\r\nPOD_COUNT,t2,2\r\n"


def test_csv_is_never_a_part_of_what_was_asked_for() -> None:
    with pytest.raises(NotAcceptable, match="metricType: NIM_X cannot be told"):
        metrics("text/csv", [], ["NIM_X"])
    assert metrics("", [], ["NIM_X"]).status_code == 207


def test_csv_of_telemetry_has_a_column_for_each_group() -> None:
    told: dict[str, Any] = {
        "type": "WORKLOADS_COUNT",
        "timestamp": "t",
        "values": [
            {"value": "3", "groups": [{"key": "Phase", "value": "Running"}]},
            {"value": "1", "groups": [{"key": "ProjectId", "value": "4", "name": "a, b"}]},
        ],
    }
    assert bytes(telemetry("text/csv", told).body).decode().split("\r\n") == [
        "type,timestamp,Phase,ProjectId,ProjectId.name,value",
        "WORKLOADS_COUNT,t,Running,,,3",
        'WORKLOADS_COUNT,t,,4,"a, b",1',
        "",
    ]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"overProvisioningRatio": 1, "enforceRunaiScheduler": True}, [], id="as-it-is"),
        pytest.param(
            {"overProvisioningRatio": 2, "colour": "red"}, ["colour", "overProvisioningRatio"], id="asks"
        ),
        pytest.param({"gpuResourceOptimization": {"swapEnabled": False}}, [], id="false-asks-for-nothing"),
        pytest.param(
            {"gpuResourceOptimization": {"swapEnabled": True}}, ["gpuResourceOptimization"], id="true-does"
        ),
        pytest.param({"enforceRunaiScheduler": False}, ["enforceRunaiScheduler"], id="another-scheduler"),
        pytest.param({"description": "x", "nodeTypes": {"training": ["a"]}}, [], id="what-is-heeded"),
    ],
)  # fmt: skip
def test_what_is_kept_without_effect_is_named(kept: dict[str, Any], expected: list[str]) -> None:
    assert ignored_to_wire(kept).get("ignoredByHomeport", []) == expected


def test_what_only_answers_have_is_not_kept() -> None:
    assert to_keep({"status": {"phase": "Ready"}, "createdAt": "t", "colour": "red"}) == {"colour": "red"}
