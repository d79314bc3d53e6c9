"""Who makes room for whom: the tables of scenarios, and what must hold in each of them."""

import re
from dataclasses import replace

import pytest

from homeport.scheduler.model import EvictedBy, Placement, Plan, Running
from homeport.scheduler.plan import plan
from tests.unit.asks import ask, node, snapshot
from tests.unit.scenarios import consolidation, gangs, preempt, reclaim, reservations, topology
from tests.unit.scenarios.tables import Scenario, expected, leftover, outcome, rows, snapshot_of

ALL = tuple(
    s for table in (reclaim, preempt, gangs, consolidation, reservations, topology) for s in table.SCENARIOS
)
EACH = pytest.mark.parametrize("scenario", ALL, ids=[s.name for s in ALL])


@EACH
def test_a_cycle_does_what_the_table_says(scenario: Scenario) -> None:
    answer = plan(snapshot_of(scenario))
    assert outcome(scenario, answer) == expected(scenario), scenario.source
    assert leftover(scenario, answer) == set()


@EACH
def test_the_answer_repeats(scenario: Scenario) -> None:
    assert plan(snapshot_of(scenario)) == plan(snapshot_of(scenario))


@EACH
def test_whoever_is_evicted_for_is_promised_its_place(scenario: Scenario) -> None:
    world = snapshot_of(scenario)
    answer = plan(world)
    by = {e.by for e in answer.evicted if e.by}
    assert by <= set(answer.promised)
    wanted = {id_: ask for ask, ids in world.pending.items() for id_ in ids}
    for id_, places in answer.promised.items():
        assert len(places) == wanted[id_].members
        assert all(len(p.gpu_uuids) == wanted[id_].gpu_count for p in places)
    assert len({e.id for e in answer.evicted}) == len(answer.evicted)


@EACH
def test_messages_say_what_happened(scenario: Scenario) -> None:
    for eviction in plan(snapshot_of(scenario)).evicted:
        assert eviction.message.startswith("evicted: ")
        assert eviction.how.value in eviction.message


def test_names_of_scenarios_are_unique_and_their_rules_known() -> None:
    names = [s.name for s in ALL]
    assert len(set(names)) == len(names) >= 40
    assert all(1 <= s.rule <= 19 and s.source for s in ALL)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)


def of(scenarios: tuple[Scenario, ...], name: str) -> Plan:
    return plan(snapshot_of(next(s for s in scenarios if s.name == name)))


@pytest.mark.parametrize(
    ("scenarios", "name", "message"),
    [
        pytest.param(
            reclaim.SCENARIOS, "the-smallest-job-that-makes-room-is-reclaimed",
            "evicted: reclaimed for project b, which has 2 of its 4 GPUs; a has 6 of 4",
            id="reclaimed-between-projects",
        ),
        pytest.param(
            reclaim.SCENARIOS, "departments-are-compared-where-the-branches-differ",
            "evicted: reclaimed for department e of project b, which has 0 of its 1 GPUs; d has 2 of 1",
            id="reclaimed-between-departments",
        ),
        pytest.param(
            preempt.SCENARIOS, "a-strictly-higher-priority-preempts",
            "evicted: preempted by a2, whose priority 80 is higher than 40",
            id="preempted",
        ),
        pytest.param(
            consolidation.SCENARIOS, "the-last-comer-is-moved",
            "evicted: consolidated, it can run on n1, and a3 then fits on n2",
            id="consolidated",
        ),
        pytest.param(
            reservations.SCENARIOS, "what-was-there-before-goes-if-it-can-be-preempted",
            "evicted: node n1 is reserved for r, and project a has come for it",
            id="reserved",
        ),
        pytest.param(
            reservations.SCENARIOS, "who-bursts-goes-even-where-it-cannot-be-preempted",
            "evicted: node n1 is reserved for r, and project a has come for it; what cannot be preempted has "
            "to go, too, where it bursts to another reservation",
            id="reserved-and-not-preemptible",
        ),
        pytest.param(
            reservations.SCENARIOS, "room-is-made-for-a-gang-on-the-nodes-of-its-reservation",
            "evicted: node n2 is reserved for r, and project a has come for it",
            id="reserved-for-a-gang",
        ),
        pytest.param(
            gangs.SCENARIOS, "a-stale-gang-is-evicted-for-nobody",
            "evicted: stale gang, 2 of its members have run for too long without the others: "
            "it needs at least 3",
            id="stale",
        ),
    ],
)  # fmt: skip
def test_the_evicted_are_told_who_takes_their_place_and_why(
    scenarios: tuple[Scenario, ...], name: str, message: str
) -> None:
    assert next(e.message for e in of(scenarios, name).evicted) == message


def test_rows_skip_empty_lines() -> None:
    assert rows("\n a 1\n\n  b 2 x3\n") == [("a", "1"), ("b", "2", "x3")]


def test_nobody_is_moved_again_before_it_has_settled() -> None:
    """Or two that do not fit beside each other would be moved for each other without end."""
    cases = {s.name: s for s in consolidation.SCENARIOS}
    world = snapshot_of(cases["the-last-comer-is-moved"])
    assert [e.how for e in plan(world).evicted] == [EvictedBy.CONSOLIDATION]
    settling = replace(world, running=tuple(replace(r, was_moved=True) for r in world.running))
    assert plan(settling).evicted == ()


def test_nobody_is_moved_while_another_is_on_its_way() -> None:
    """It is seen neither where it was nor where it goes: its new place would be given away."""
    cases = {s.name: s for s in consolidation.SCENARIOS}
    world = snapshot_of(cases["the-last-comer-is-moved"])
    assert plan(replace(world, may_move=False)).evicted == ()


def test_what_is_left_over_is_promised_to_somebody_who_could_make_no_room_himself() -> None:
    """In another queue, and at a stage that has nothing for it."""
    weak = ask(4, queue="a", is_preemptible=True, priority=20)
    full = replace(node("n", 4), gpus=tuple(replace(g, free=0.0) for g in node("n", 4).gpus))
    running = (Running("weak/1", "weak", weak, Placement("n", tuple(g.uuid for g in full.gpus))),)
    jobs = [("strong", ask(2, queue="a", can_preempt=True)), ("humble", ask(2, queue="b"))]
    answer = plan(snapshot([full], jobs, running=running))
    assert [(e.workload, e.by) for e in answer.evicted] == [("weak", "strong")]
    assert answer.promised.keys() == {"strong", "humble"}
