"""For how long Run:ai's lists say that a workload has waited."""

from dataclasses import replace
from typing import Any

import pytest

from homeport.server.domain.runs import rested_ms
from homeport.server.domain.workload import Attempt
from tests.unit.test_runai_specs import attempt, ended, seen, spec

STOPPED = ended(reason="Stopped", code=143)  # from 1,010,000 to 1,050,000; it had waited for 20 s


@pytest.mark.parametrize(
    ("attempts", "state", "waited_s"),
    [
        pytest.param([], {"stopped_at_ms": 1_040_000, "is_stopped": True}, 40, id="stopped-in-its-wait"),
        pytest.param([], {"stopped_at_ms": 1_040_000, "suspended_ms": 50_000}, 50, id="waits-again"),
        pytest.param([STOPPED], {"stopped_at_ms": 1_049_000, "is_stopped": True}, 20, id="stopped-at-work"),
        pytest.param([STOPPED], {"suspended_ms": 10_000, "first_attempt": 2}, 20 + 40, id="waits-anew"),
        pytest.param(
            [STOPPED, attempt(number=2, placed_at_ms=1_080_000, started_at_ms=1_090_000)],
            {"suspended_ms": 10_000, "first_attempt": 2},
            20 + 30,
            id="runs-anew",
        ),
    ],
)  # fmt: skip
def test_waiting_is_all_but_the_time_of_its_suspensions(
    attempts: list[Attempt], state: dict[str, Any], waited_s: int
) -> None:
    fields = dict(state)
    made = replace(spec(), is_stopped=fields.pop("is_stopped", False))
    assert seen(made, *attempts, **fields).pending_s == waited_s


def test_phase_is_stopped_since_it_was_asked_for_when_it_never_ran() -> None:
    assert seen(replace(spec(), is_stopped=True), stopped_at_ms=1_040_000).phase_since_ms == 1_040_000


@pytest.mark.parametrize(
    ("attempts", "stopped_at_ms", "rested"),
    [
        pytest.param([], 1_040_000, 60_000, id="it-waited"),
        pytest.param([STOPPED], 1_045_000, 50_000, id="it-ran-on-for-a-moment"),
        pytest.param([attempt()], 1_040_000, 0, id="it-still-runs"),
        pytest.param([], None, 100_000, id="made-as-stopped"),
    ],
)
def test_rest_is_from_when_nothing_of_it_was_there(
    attempts: list[Attempt], stopped_at_ms: int | None, rested: int
) -> None:
    workload = seen(spec(), stopped_at_ms=stopped_at_ms).workload
    assert rested_ms(workload, attempts, 1_100_000) == rested
