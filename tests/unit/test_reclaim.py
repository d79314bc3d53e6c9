"""Rule 10's arithmetic: who is entitled, who may lose, and that nothing is taken that comes straight back."""

from math import inf

import pytest

from homeport.scheduler.preemption.reclaim import Reclaimer, first_difference, is_lasting, saturation
from homeport.scheduler.preemption.search import Budget, let_go
from homeport.scheduler.preemption.steps import Step, Victims, beyond_minimum, cost, minimum_of
from homeport.scheduler.state import State
from tests.unit.scenarios.tables import Scenario, ask_of, snapshot_of


def state_of(queues: str, running: str, waiting: str = "", gpus: int = 8) -> State:
    return State(snapshot_of(Scenario("s", 10, "here", f"n {gpus}", queues, running, waiting)))


def steps_of(state: State, *workloads: str) -> list[Step]:
    victims = Victims(state)
    return [next(s for s in victims.steps(w) if s.is_whole) for w in workloads]


TWO = "a quota=4\nb quota=4"


@pytest.mark.parametrize(
    ("running", "waiting", "is_entitled"),
    [
        pytest.param("b1 b 2 n", "b2 b 2", True, id="up-to-the-fair-share"),
        pytest.param("a1 a 4 n\nb1 b 2 n", "b2 b 3", False, id="not-beyond-it-where-others-want-theirs"),
        pytest.param("b1 b 4 n", "b2 b 4", True, id="all-where-nobody-else-wants-any"),
    ],
)
def test_an_ask_is_entitled_to_its_fair_share(running: str, waiting: str, is_entitled: bool) -> None:
    state = state_of(TWO, running, waiting)
    (ask,) = state.snapshot.pending
    assert Reclaimer(state, ask, "default").is_entitled() is is_entitled


@pytest.mark.parametrize(
    ("victims", "may"),
    [
        pytest.param(("a1",), True, id="the-small-one"),
        pytest.param(("a2",), True, id="the-large-one-though-the-queue-falls-below-its-share"),
        pytest.param(("a1", "a2"), False, id="both-would-leave-one-that-is-owed-back"),
    ],
)
def test_a_queue_loses_nothing_that_it_could_take_back_at_once(victims: tuple[str, ...], may: bool) -> None:
    state = state_of(TWO, "a1 a 2 n\na2 a 4 n\nb1 b 2 n", "b2 b 2")
    reclaimer = Reclaimer(state, ask_of("b", "2", {}), "default")
    assert reclaimer.may_take(steps_of(state, *victims)) is may


def test_one_saturated_beyond_its_share_takes_from_nobody_who_would_then_be_less() -> None:
    queues = "d quota=1\ne quota=3\na in=d quota=3\nb in=e quota=3"
    state = state_of(queues, "a1 a 1 n\nb1 b 1 n\nb2 b 3 n", "a2 a 1", gpus=5)
    reclaimer = Reclaimer(state, ask_of("a", "1", {}), "default")
    shares = {q: state.share(q, "default").fair.gpus for q in "de"}
    assert (shares, reclaimer.may_take(steps_of(state, "b1"))) == ({"d": 2.0, "e": 3.0}, True)
    heavier = Reclaimer(state, ask_of("a", "2", {}), "default")
    assert heavier.may_take(steps_of(state, "b1")) is False


def test_branches_are_compared_at_the_first_level_at_which_they_part() -> None:
    state = state_of("d\ne\na in=d\nb in=d\nc in=e\nf", "")
    pairs = [first_difference(state, "a", other) for other in ("b", "c", "f", "a")]
    assert pairs == [("a", "b"), ("d", "e"), ("d", "f"), ("a", "a")]


@pytest.mark.parametrize(
    ("allocated", "fair", "expected"),
    [(2.0, 4.0, 0.5), (4.0, 4.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, float("inf"))],
)
def test_saturation_is_the_part_of_the_fair_share_that_a_queue_has(
    allocated: float, fair: float, expected: float
) -> None:
    assert saturation(allocated, fair) == expected


@pytest.mark.parametrize(
    ("wants", "is_last"),
    [
        pytest.param("1", True, id="within-the-share-it-stays"),
        pytest.param("3", False, id="beyond-the-share-it-would-lose-to-its-own-victim"),
    ],
)
def test_preemption_displaces_nothing_that_would_go_before_it(wants: str, is_last: bool) -> None:
    state = state_of("a quota=1\nb quota=3", "a1 a 1 n p=25\nb1 b 1 n", f"a2 a {wants} p=80\nb2 b 3", gpus=4)
    ask = next(c for c in state.snapshot.pending if c.queue == "a")
    assert is_lasting(state, ask, "default", steps_of(state, "a1")) is is_last


def test_members_beyond_the_minimum_go_from_the_last_on_and_the_minimum_goes_whole() -> None:
    state = state_of("a", "g a 1 n,n,n min=2\nh a 1 n,n")
    members = state.members("g")
    assert (minimum_of(members), [m.id for m in beyond_minimum(members)]) == (2, ["g/2"])
    steps = [(s.is_whole, [m.id for m in s.members]) for w in "gh" for s in Victims(state).steps(w)]
    assert steps == [(False, ["g/2"]), (True, ["g/0", "g/1", "g/2"]), (True, ["h/0", "h/1"])]


def test_cost_counts_workloads_before_gpus_and_gpus_before_age() -> None:
    state = state_of("a", "old a 1 n\nnew a 1 n\nbig a 3 n\ng a 1 n,n min=1")
    old, new, big = steps_of(state, "old", "new", "big")
    extra = Victims(state).steps("g")[0]
    ordered = sorted([[old, new], [big], [old], [new], [extra]], key=cost)
    assert ordered == [[extra], [new], [old], [big], [old, new]]


@pytest.mark.parametrize(
    ("running", "lowest"),
    [
        pytest.param("a1 a 1 n p=80\na2 a 1 n p=60", 60, id="the-lowest-of-its-queue"),
        pytest.param("a1 a 1 n p=80\nb1 b 1 n p=25", 80, id="not-of-another-queue"),
        pytest.param("a1 a 1 n p=80\na2 a 1 n p=25 keep", 80, id="not-what-is-not-preemptible"),
        pytest.param("a1 a 1 n p=80\na2 a 1 n p=25 protected", 80, id="not-what-is-protected"),
        pytest.param("a1 a 1 n p=80\na2 a 1 n p=25 leaving", 80, id="not-what-leaves-already"),
        pytest.param("b1 b 1 n", inf, id="nothing"),
    ],
)
def test_nothing_of_a_queue_can_go_below_its_lowest_priority(running: str, lowest: float) -> None:
    state = state_of("a\nb", running)
    victims = Victims(state)
    assert victims.lowest_priority("a") == lowest
    below = [len(victims.below(("a",), ("default",), p).steps) for p in (lowest, lowest + 1)]
    assert below == [0, 0 if lowest == inf else 1]


def test_what_may_go_is_worked_out_anew_when_some_of_it_has_gone() -> None:
    state = state_of("a\nb", "a1 a 1 n\ng a 1 n,n,n min=2\nb1 b 1 n")
    victims = Victims(state)

    def left() -> list[str]:
        return [m.id for s in victims.below(("a", "b"), ("default",)).steps for m in s.members]

    assert left() == ["b1", "g/2", "g/0", "g/1", "g/2", "a1"]
    for gone in (victims.steps("g")[0], victims.steps("b1")[0]):
        let_go(state, [gone])
        victims.gone([gone])
    assert left() == ["g/0", "g/1", "a1"]


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        pytest.param("g a 2 n,n", {(4.0, 0.0, 0.0)}, id="a-gang-as-one"),
        pytest.param(
            "g a 2 n,n,n min=2", {(4.0, 0.0, 0.0), (2.0, 0.0, 0.0)}, id="what-is-beyond-its-minimum-alone"
        ),
    ],
)
def test_a_whole_workload_would_ask_again_in_parts(row: str, parts: set[tuple[float, float, float]]) -> None:
    (whole,) = steps_of(state_of("a", row), "g")
    assert whole.parts == parts
    assert whole.cost == cost([whole])


def test_the_effort_of_a_cycle_ends_when_as_many_sets_were_tried() -> None:
    budget = Budget(cycle=3)
    spent: list[bool] = []
    for _ in range(2):
        budget.begin(2)
        spent += [budget.spend(), budget.spend(), budget.is_spent]
    assert spent == [True, True, False, True, False, True]
