"""The kubelet's rules of probing, as tables of tries; ten minutes of them take no time."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.runtime.probes import (
    HttpGet,
    Probe,
    ProbeKind,
    ProbeResult,
    ProbeState,
    TcpConnect,
    begin,
    fold,
    is_due,
)

OK, BAD, ERR = ProbeResult.SUCCESS, ProbeResult.FAILURE, ProbeResult.UNKNOWN
READY = Probe(ProbeKind.READINESS, TcpConnect(80), initial_delay_s=5, period_s=5, successes=1, failures=10)
LIVE = Probe(ProbeKind.LIVENESS, HttpGet(80), initial_delay_s=600, period_s=5, successes=1, failures=12)
START = Probe(ProbeKind.STARTUP, TcpConnect(80), period_s=1, failures=3)


def played(probe: Probe, *results: ProbeResult, state: ProbeState | None = None) -> ProbeState:
    state = begin(probe, state, container="c1", started_at_ms=0)
    for result in results:
        state = fold(probe, state, result, state.due_ms)
    return state


@pytest.mark.parametrize(
    ("probe", "results", "verdict"),
    [
        (READY, [], BAD),
        (READY, [OK], OK),
        (READY, [OK, *[BAD] * 9], OK),
        (READY, [OK, *[BAD] * 10], BAD),
        (READY, [OK, *[BAD] * 9, OK, *[BAD] * 9], OK),
        (READY, [OK, *[BAD] * 10, OK], OK),
        (READY, [OK, *[ERR] * 50], OK),
        (READY, [OK, *[BAD, ERR] * 9, BAD], BAD),
        (replace(READY, successes=3), [OK, OK], BAD),
        (replace(READY, successes=3), [OK, OK, OK], OK),
        (replace(READY, successes=3), [OK, OK, BAD, OK, OK], BAD),
        (LIVE, [], OK),
        (LIVE, [BAD] * 11, OK),
        (LIVE, [BAD] * 12, BAD),
        (START, [], ERR),
        (START, [BAD, BAD], ERR),
        (START, [BAD, BAD, BAD], BAD),
        (START, [BAD, BAD, OK], OK),
    ],
)
def test_verdict_turns_after_enough_results_in_a_row(
    probe: Probe, results: list[ProbeResult], verdict: ProbeResult
) -> None:
    assert played(probe, *results).verdict is verdict


def test_first_try_waits_for_the_delay_and_then_the_period() -> None:
    state = begin(READY, None, container="c1", started_at_ms=1000)
    due = []
    for now_ms in range(0, 20_000, 500):
        if is_due(READY, state, None, now_ms):
            due.append(now_ms)
            state = fold(READY, state, OK, now_ms)
    assert due == [6000, 11_000, 16_000]


def test_tries_that_were_missed_are_not_made_up_for() -> None:
    state = fold(READY, begin(READY, None, container="c1", started_at_ms=0), OK, 5000)
    late = fold(READY, state, OK, 47_000)
    assert late.due_ms == 50_000


@pytest.mark.parametrize(("probe", "is_held"), [(LIVE, True), (START, True), (READY, False)])
def test_failure_that_ends_the_container_holds_until_there_is_a_new_one(probe: Probe, is_held: bool) -> None:
    failed = played(probe, *[BAD] * probe.failures)
    assert failed.is_on_hold is is_held
    assert is_due(probe, failed, None, failed.due_ms + 10**9) is not is_held
    fresh = begin(probe, failed, container="c2", started_at_ms=5000)
    assert (fresh.is_on_hold, fresh.in_a_row) == (False, 0)
    assert is_due(probe, fresh, None, fresh.due_ms)


def test_verdict_of_the_same_container_is_kept() -> None:
    state = played(READY, OK)
    assert begin(READY, state, container="c1", started_at_ms=0) is state


def test_others_wait_for_the_start_up_probe() -> None:
    state = begin(READY, None, container="c1", started_at_ms=0)
    assert not is_due(READY, state, played(START), 5000)
    started = played(START, OK)
    assert is_due(READY, state, started, 5000)
    assert not is_due(START, started, started, 10**9)


@given(st.lists(st.sampled_from([OK, BAD, ERR]), max_size=200))
def test_errors_of_the_prober_change_no_verdict(results: list[ProbeResult]) -> None:
    with_errors = played(READY, *results)
    without = played(READY, *[r for r in results if r is not ERR])
    assert with_errors.verdict is without.verdict


def test_ten_minutes_of_probing_are_quick() -> None:
    state, now_ms = begin(LIVE, None, container="c1", started_at_ms=0), 0
    tries = 0
    while now_ms < 1_200_000:
        now_ms = state.due_ms
        state = fold(LIVE, state, OK, now_ms)
        tries += 1
    assert tries == 121
    assert state.is_passing
