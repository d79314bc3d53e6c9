"""Old replicas serve until new ones do: tables of situations, and any order of events."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from homeport.runtime.model import ContainerState
from homeport.server.domain.endpoints import advance, in_play, needed, phase_of, room_maker, unwanted
from homeport.server.domain.rollouts import replica_id
from homeport.server.domain.workload import Phase, Revision
from tests.unit.rolling import FAILING, Machine, attempt, ended, endpoint, serving, spec_of


def rolling(replicas: int = 1, **fields: object):  # type: ignore[no-untyped-def]
    """An endpoint that was changed after its attempts up to 9."""
    before = (Revision(spec_of("good:0", replicas), 1, 0),)
    return endpoint(replicas, first_attempt=10, before=before, **fields)


OLD = [serving(1, 0), serving(2, 1)]


def new(number: int, index: int = 0, **fields: object):  # type: ignore[no-untyped-def]
    return serving(number, index, revision=10, **fields)


@pytest.mark.parametrize(
    ("made", "attempts", "starts", "ends", "phase"),
    [
        pytest.param(rolling(2), OLD, (0,), [], Phase.UPDATING, id="one-more-is-started"),
        pytest.param(
            rolling(2), [*OLD, attempt(10, 0, revision=10)], (), [], Phase.UPDATING, id="and-waited-for"
        ),
        pytest.param(rolling(2), [*OLD, new(10)], (), [1], Phase.UPDATING, id="then-an-old-one-ends"),
        pytest.param(
            rolling(2), [replace(OLD[0], draining_at_ms=5, draining_why="x"), OLD[1], new(10)], (), [1],
            Phase.UPDATING, id="what-drains-has-no-say-any-more",
        ),
        pytest.param(rolling(2), [OLD[1], new(10)], (1,), [], Phase.UPDATING, id="the-next-one-is-started"),
        pytest.param(
            rolling(2), [OLD[1], new(10), new(11, 1)], (), [2], Phase.UPDATING, id="the-last-old-ends"
        ),
        pytest.param(rolling(2), [new(10), new(11, 1)], (), [], Phase.UPDATING, id="done-not-written-down"),
        pytest.param(
            rolling(2), [OLD[0], replace(OLD[1], readiness=FAILING)], (0,), [2], Phase.UPDATING,
            id="an-old-one-that-is-not-ready-keeps-nothing-up",
        ),
        pytest.param(
            rolling(1, rollout_failed="it crashed"), [OLD[0], attempt(12, 0, revision=10)], (), [12],
            Phase.READY, id="given-up-the-new-one-ends",
        ),
        pytest.param(
            rolling(2, rollout_failed="it crashed"), [OLD[0], new(10)], (1,), [], Phase.READY,
            id="given-up-half-way-goes-back-as-gently",
        ),
        pytest.param(
            endpoint(2, first_attempt=10), OLD, (0, 1), [1, 2], Phase.STARTING, id="none-was-ready"
        ),
    ],
)  # fmt: skip
def test_old_replicas_make_way_one_by_one(made, attempts, starts, ends, phase) -> None:  # type: ignore[no-untyped-def]
    assert needed(made, attempts, 0).indexes == starts
    assert sorted(number for _, number in unwanted(made, attempts)) == ends
    assert phase_of(made, attempts) is phase


@pytest.mark.parametrize(
    ("attempts", "room_by"),
    [
        pytest.param(OLD, 1, id="an-old-one-ends-first"),
        pytest.param([*OLD, attempt(10, revision=10)], None, id="not-while-a-new-one-starts"),
        pytest.param([OLD[1], replace(OLD[0], draining_at_ms=1)], None, id="one-at-a-time"),
        pytest.param([OLD[1]], None, id="never-below-what-is-missing-already"),
        pytest.param([OLD[1], new(10)], 2, id="the-next"),
    ],
)
def test_where_there_is_no_room_for_both(attempts, room_by) -> None:  # type: ignore[no-untyped-def]
    found = room_maker(rolling(2), attempts)
    assert (found and found.number) == room_by


@pytest.mark.parametrize(
    ("attempts", "now_s", "says"),
    [
        ([*OLD], 599, None),
        ([*OLD], 600, "no new replica has become ready within 10 min: there was no room for it"),
        ([*OLD, replace(new(10), ready_at_ms=100_000)], 600, None),
        ([*OLD, replace(new(10), ready_at_ms=100_000)], 700, "no new replica"),
        ([*OLD, *(ended(n, revision=10, message="exit 7") for n in (10, 11))], 10, None),
        (
            [*OLD, *(ended(n, revision=10, message="exit 7") for n in (10, 11, 12))], 10,
            "w-abcd-0-abcd has ended 3 times: exit 7; the update is given up",
        ),
        ([*OLD, *(ended(n, revision=10, reason="Stopped") for n in (10, 11, 12))], 10, None),
    ],
)  # fmt: skip
def test_update_is_given_up_with_its_reason(attempts, now_s, says) -> None:  # type: ignore[no-untyped-def]
    step = advance(rolling(2), attempts, now_s * 1000)
    if says is None:
        assert step is None
    else:
        assert step is not None
        assert (step.reason, step.is_warning) == ("RolloutFailed", True)
        assert step.message.startswith(says)
        assert step.workload.rollout_failed
        assert advance(step.workload, attempts, now_s * 1000 + 10**9) is None


def test_nobody_is_given_up_while_a_person_has_to_approve() -> None:
    made = rolling(1)
    asks = replace(made.spec, serving=replace(made.spec.serving, needs_approval=True))
    waits = replace(new(10), is_approved=False, ready_at_ms=None)
    assert advance(replace(made, spec=asks), [*OLD[:1], waits], 10**9) is None


def test_what_is_told_about_is_what_serves_and_what_is_to() -> None:
    crashed = ended(11, 1, revision=10)
    made = rolling(2)
    assert in_play(made, [ended(0), *OLD, ended(10, 1, revision=10), crashed]) == [*OLD, crashed]
    assert in_play(replace(made, rollout_failed="it crashed"), [*OLD, crashed]) == OLD


def test_ids_of_two_revisions_never_meet() -> None:
    names = {replica_id(replace(endpoint(), first_attempt=n), 0) for n in range(1, 2000)}
    assert len(names) == 1999
    assert "w-abcd-0-abcd" in names
    assert {len(name) for name in names} == {len("w-abcd-0-abcd")}


def test_what_ran_before_is_started_again_when_it_crashes_after_a_failed_update() -> None:
    machine = Machine(endpoint(2))
    machine.settle()
    machine.change("bad:2")
    machine.settle()
    assert machine.events.count("RolloutFailed") == 1
    for seen in list(machine.seen.values()):
        machine.end(seen, 1)
    machine.settle()
    assert [machine.image(a) for a in machine.ready] == ["good:1"] * 2
    machine.change("good:3")
    machine.settle()
    assert [machine.image(a) for a in machine.ready] == ["good:3"] * 2
    assert machine.workload.before == ()


def test_single_place_is_given_from_old_to_new() -> None:
    machine = Machine(endpoint(1), room=1)
    machine.settle()
    machine.change("good:2")
    machine.settle()
    assert [machine.image(a) for a in machine.ready] == ["good:2"]
    assert machine.events.count("Recreating") == 1


def test_nothing_is_gained_by_ending_an_old_one_while_there_is_room() -> None:
    machine = Machine(endpoint(3), room=4)
    machine.settle()
    machine.change("good:2")
    machine.settle()
    assert "Recreating" not in machine.events
    assert machine.events.count("RolloutComplete") == 1


class Rollouts(RuleBasedStateMachine):
    """Changes, good and bad, crashes and lost actions, in any order, with and without room."""

    def __init__(self) -> None:
        super().__init__()
        self.of = Machine(endpoint(2))
        self.of.settle()
        self.versions = 1

    def decide(self, lost: frozenset[int] = frozenset()) -> None:
        """A pass may take away what is ready only where as many others are, or there is no room."""
        before = {a.key for a in self.of.ready}
        ended_by_itself = {
            key for key, seen in self.of.seen.items() if seen.state is ContainerState.EXITED
        } | {a.key for a in self.of.live if a.key not in self.of.seen}
        self.of.one_pass(lost)
        standing = before - ended_by_itself
        kept = {a.key for a in self.of.ready}
        if self.of.workload.is_wanted:
            spare = 0 if self.of.room > self.of.wanted else 1
            assert len(kept) >= min(len(standing), self.of.wanted) - spare
            if standing and self.of.wanted > 1:
                assert kept, "old and new are gone"

    @rule(lost=st.frozensets(st.integers(0, 7), max_size=3))
    def one_pass(self, lost: frozenset[int]) -> None:
        self.decide(lost)

    @rule(is_good=st.booleans())
    def change(self, is_good: bool) -> None:
        self.versions += 1
        self.of.change(f"{'good' if is_good else 'bad'}:{self.versions}")

    @rule()
    def probes_pass(self) -> None:
        self.of.probe()

    @rule()
    def the_bad_crash(self) -> None:
        self.of.crash_the_bad()

    @rule(which=st.integers(0, 9))
    def one_crashes(self, which: int) -> None:
        if running := [s for s in self.of.seen.values() if s.state is ContainerState.RUNNING]:
            self.of.end(running[which % len(running)], 1)

    @rule(number=st.integers(1, 4))
    def another_number_is_wanted(self, number: int) -> None:
        made = self.of.workload
        served = replace(made.spec.serving, replicas=number)
        self.of.workload = replace(made, spec=replace(made.spec, serving=served))

    @rule(more=st.integers(0, 2))
    def room_changes(self, more: int) -> None:
        self.of.room = max(len(self.of.live), self.of.wanted + more)

    @rule(seconds=st.sampled_from([1, 20, 200, 700]))
    def time_passes(self, seconds: int) -> None:
        self.of.now_ms += seconds * 1000

    @rule(chance=st.integers(0, 9))
    @precondition(lambda self: not self.of.workload.is_deleting)
    def delete(self, chance: int) -> None:
        if chance == 0:
            self.of.workload = replace(self.of.workload, is_deleting=True)

    @invariant()
    def a_replica_lives_once(self) -> None:
        keys = [a.replica_id for a in self.of.live]
        assert len(keys) == len(set(keys))

    @invariant()
    def no_more_than_one_too_many(self) -> None:
        limit = max(self.of.wanted, 4) + 1  # fewer may be wanted than were a moment ago
        assert len([a for a in self.of.live if a.draining_at_ms is None]) <= limit + 4

    def teardown(self) -> None:
        """Left alone it ends with all new, or with all old where the new are bad."""
        self.of.room = 100
        self.of.settle()
        made = self.of.workload
        if made.is_deleting:
            assert made.archived_at_ms is not None
            assert self.of.seen == {}
            return
        images = {self.of.image(a) for a in self.of.ready}
        if made.spec.image.startswith("good") and not made.rollout_failed:  # it may have taken too long
            assert images == {made.spec.image}
            assert made.before == ()
        else:
            assert len(images) <= 1
            assert bool(images) == bool(made.before)
        if images:
            assert len(self.of.ready) == self.of.wanted == len(self.of.live)
            assert self.of.one_pass() is False


Rollouts.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_any_order_of_events_ends_all_new_or_all_old = Rollouts.TestCase
