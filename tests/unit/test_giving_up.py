"""An endpoint that has a time in which to become ready is given up once that is over."""

from dataclasses import replace

import pytest

from homeport.server.domain.endpoints import advance, next_try_ms, phase_of, unwanted, wanted_replicas
from homeport.server.domain.workload import Attempt, Phase, Workload
from homeport.server.services.endpoints import changed
from tests.unit.rolling import attempt, ended, serving, spec_of

PLACED = 5000
GIVEN_UP = "no replica has become ready within 60 s"


def timed(**fields: object) -> Workload:
    spec = spec_of(ready_within_s=60)
    return Workload("w-abcd", "local", "w", "endpoint", "me", 0, spec, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attempts", "is_due"),
    [
        pytest.param([], False, id="it-has-no-place-yet"),
        pytest.param([attempt(placed_at_ms=PLACED)], True, id="from-its-place-on"),
        pytest.param([ended(placed_at_ms=1, reason="Evicted"), attempt(2, placed_at_ms=PLACED)], True,
                     id="what-was-taken-from-it-does-not-count"),
        pytest.param([serving(placed_at_ms=PLACED)], False, id="one-is-ready"),
        pytest.param([ended(placed_at_ms=1, ready_at_ms=2), attempt(2, placed_at_ms=PLACED)], False,
                     id="one-has-been-ready"),
    ],
)  # fmt: skip
def test_time_begins_with_a_place_and_ends_with_a_ready_replica(
    attempts: list[Attempt], is_due: bool
) -> None:
    workload = timed()
    assert (next_try_ms(workload, attempts, 20_000) == 65_000) is is_due
    assert advance(workload, attempts, 64_999) is None
    after = advance(workload, attempts, 65_000)
    assert (after is not None and after.workload.failed) == (is_due and GIVEN_UP)


def test_given_up_it_ends_its_replicas_and_has_failed() -> None:
    workload, one = timed(failed=GIVEN_UP), attempt(placed_at_ms=PLACED)
    assert wanted_replicas(workload) == 0
    assert unwanted(workload, [one]) == {one.key: GIVEN_UP}
    assert phase_of(workload, [one]) is Phase.STOPPING
    assert phase_of(workload, [ended(reason="Stopped")]) is Phase.FAILED


def test_changed_it_begins_anew_also_where_only_its_time_changes() -> None:
    workload, last = timed(failed=GIVEN_UP), ended(3, reason="Stopped")
    after = changed(workload, [last], spec_of(ready_within_s=600), 100_000)
    assert (after.failed, after.first_attempt, wanted_replicas(after)) == ("", 4, 1)
    assert phase_of(after, [last]) is Phase.QUEUED


def test_update_is_given_up_after_its_own_time() -> None:
    old = serving(1)
    workload = changed(replace(timed(), first_attempt=1), [old], spec_of("bad:1", ready_within_s=60), 100_000)
    new = attempt(2, placed_at_ms=100_000)
    assert advance(workload, [old, new], 159_999) is None
    after = advance(workload, [old, new], 160_000)
    assert after is not None
    assert after.workload.rollout_failed == "no new replica has become ready within 1 min"
    assert phase_of(after.workload, [old, new]) is Phase.READY
