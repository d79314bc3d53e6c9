"""What has waited for long is kept places for; what is behind it goes on elsewhere."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.scheduler.model import AskClass, Code, EvictedBy, Placement, Running, Snapshot
from homeport.scheduler.plan import plan
from tests.unit.asks import ask, node, queue, snapshot, where


def busy(name: str, on: str, gpus: int, **kw: object) -> Running:
    uuids = tuple(f"{on}-g{i}" for i in range(gpus))
    return Running(f"{name}/1", name, ask(gpus, **kw), Placement(on, uuids), rank=-1)


def world(jobs: list[tuple[str, AskClass]], *running: Running, **kw: object) -> Snapshot:
    """Two nodes of 4 GPUs, with what runs on them taken."""
    taken = {uuid for r in running for uuid in r.placement.gpu_uuids}
    nodes = [
        replace(n, gpus=tuple(replace(g, free=0.0 if g.uuid in taken else 1.0) for g in n.gpus))
        for n in (node("a", 4), node("b", 4))
    ]
    return snapshot(nodes, jobs, running=running, **kw)


LARGE, SMALL = ("large", ask(4)), ("small", ask(1))


def test_smaller_one_passes_while_the_first_has_not_waited_for_long() -> None:
    answer = plan(world([LARGE, SMALL], busy("x", "a", 3), busy("y", "b", 4)))
    assert where(answer) == {"small": "a"}


def test_places_are_kept_where_it_will_fit_first_when_it_has_waited_for_long() -> None:
    running = busy("x", "a", 3), busy("y", "b", 4)
    answer = plan(world([LARGE, SMALL], *running, starving=frozenset({"large"})))
    assert where(answer) == {}
    assert answer.unplaced["large"].reasons[-1] == (
        "what is free of a is kept for it, since it has waited for long"
    )
    assert answer.unplaced["small"].reasons[-1] == (
        "what is free of a is kept for work that has waited for long"
    )
    assert not answer.evicted


def test_who_is_held_up_learns_the_project_and_no_more_of_the_one_that_places_are_kept_for() -> None:
    jobs = [("secret-x/0", ask(4, queue="p")), ("small", ask(1, queue="q"))]
    queues = (queue("d", 40), queue("p", 8, "d", rank=5), queue("q", 8, "d"))
    running = busy("x", "a", 3, queue="p"), busy("y", "b", 4, queue="q")
    answer = plan(world(jobs, *running, queues=queues, starving=frozenset({"secret-x/0"})))
    assert answer.unplaced["small"].reasons[-1] == (
        "what is free of a is kept for work of project p that has waited for long"
    )


def test_others_go_on_beside_the_kept_places() -> None:
    running = busy("x", "a", 2), busy("y", "b", 3)
    answer = plan(world([LARGE, SMALL, ("next", ask(1))], *running, starving=frozenset({"large"})))
    assert where(answer) == {"small": "b"}


def test_higher_priority_does_not_wait_for_it() -> None:
    urgent = ("urgent", ask(1, priority=150))
    answer = plan(world([LARGE, urgent], busy("x", "a", 3), busy("y", "b", 4), starving=frozenset({"large"})))
    assert where(answer) == {"urgent": "a"}


def test_nothing_is_kept_for_what_fits_on_no_node_at_all() -> None:
    huge = ("huge", ask(5))
    answer = plan(world([huge, SMALL], busy("x", "a", 3), starving=frozenset({"huge"})))
    assert where(answer) == {"small": "a"}


def test_nothing_is_kept_for_what_waits_for_its_quota() -> None:
    large = ("large", ask(4, queue="p"))
    small = ("small", ask(1, queue="q"))
    queues = (queue("d", 8), queue("p", 2, "d"), queue("q", 4, "d"))
    answer = plan(world([large, small], queues=queues, starving=frozenset({"large"})))
    assert answer.unplaced["large"].code is Code.OVER_QUOTA
    assert "small" in answer.placed


def test_gang_is_kept_as_many_nodes_as_it_needs() -> None:
    gang = ("gang", ask(4, members=2))
    answer = plan(world([gang, SMALL], busy("x", "a", 1), busy("y", "b", 1), starving=frozenset({"gang"})))
    assert where(answer) == {}
    assert "what is free of a, b is kept for it" in answer.unplaced["gang"].reasons[-1]


def test_one_that_may_preempt_still_does_when_places_are_kept_for_it() -> None:
    large = ("large", ask(4, priority=100, can_preempt=True, queue="p", is_preemptible=True))
    weak: dict[str, object] = {"queue": "p", "is_preemptible": True, "priority": 50}
    queues = (queue("d", 8), queue("p", 8, "d"))
    running = busy("x", "a", 4, **weak), busy("y", "b", 4, **weak)
    answer = plan(world([large], *running, queues=queues, starving=frozenset({"large"})))
    assert [e.workload for e in answer.evicted] in (["x"], ["y"])


@pytest.mark.parametrize("members", [1, 2])
def test_nobody_behind_it_is_promised_what_is_kept_when_nothing_is_evicted(members: int) -> None:
    behind = ("behind", ask(2 // members, members=members, can_preempt=True))
    running = busy("x", "a", 2), busy("y", "b", 4)
    answer = plan(world([LARGE, behind], *running, starving=frozenset({"large"})))
    assert (dict(answer.promised), answer.evicted) == ({}, ())


WEAK: dict[str, object] = {"queue": "p", "is_preemptible": True, "priority": 50}
STRONG: dict[str, object] = {"queue": "p", "is_preemptible": True, "priority": 67, "can_preempt": True}
P = {"queues": (queue("d", 8), queue("p", 8, "d")), "starving": frozenset({"large"})}


@pytest.mark.parametrize(
    ("members", "gpus"), [pytest.param(1, 3, id="one"), pytest.param(2, 1, id="a-gang-that-would-fit-there")]
)
def test_who_preempts_behind_it_takes_what_it_makes_free_and_nothing_that_is_kept(
    members: int, gpus: int
) -> None:
    """Two devices of `a` are kept; what `weak` has on `b` is enough for whoever is behind."""
    jobs = [("large", ask(4, queue="p")), ("behind", ask(gpus, members=members, **STRONG))]
    running = busy("x", "a", 2, queue="p"), busy("weak", "b", 3, **WEAK)
    full = Running("z/1", "z", ask(1, queue="p"), Placement("b", ("b-g3",)), rank=-1)
    answer = plan(world(jobs, *running, full, **P))
    assert [e.workload for e in answer.evicted] == ["weak"]
    assert {place.node for place in answer.promised["behind"]} == {"b"}


def test_who_preempts_before_it_may_have_what_is_kept() -> None:
    jobs = [("large", ask(4, queue="p")), ("urgent", ask(3, **{**STRONG, "priority": 150}))]
    running = busy("weak", "a", 2, **WEAK), busy("y", "b", 4, queue="p")
    answer = plan(world(jobs, *running, **P))
    assert [e.workload for e in answer.evicted] == ["weak"]
    assert {place.node for place in answer.promised["urgent"]} == {"a"}


def test_others_are_moved_for_it_when_all_that_is_free_counts_but_for_what_is_kept_for_it() -> None:
    running = busy("x", "a", 1, is_preemptible=True), busy("y", "b", 3)
    answer = plan(world([LARGE], *running, starving=frozenset({"large"})))
    assert [(e.workload, e.how) for e in answer.evicted] == [("x", EvictedBy.CONSOLIDATION)]
    assert {place.node for place in answer.promised["large"]} == {"a"}


def test_what_was_kept_is_free_for_those_behind_once_it_has_its_place() -> None:
    """`large` preempts on `b`; on `a`, where places were kept for it, room is made for who is behind."""
    jobs = [("large", ask(4, **STRONG)), ("behind", ask(3, **STRONG))]
    fixed, kept_from = (
        busy("y", "a", 1, queue="p"),
        Running("v/1", "v", ask(2, **WEAK), Placement("a", ("a-g1", "a-g2"))),
    )
    answer = plan(world(jobs, fixed, kept_from, busy("w", "b", 4, **WEAK), **P))
    assert {name: {p.node for p in places} for name, places in answer.promised.items()} == {
        "large": {"b"}, "behind": {"a"},
    }  # fmt: skip


def test_place_that_others_left_goes_to_whom_they_left_it_for() -> None:
    """Not to an older one of the same standing, nor to one that starves: else more would be evicted."""
    older, asker = ("older", ask(4)), ("asker", ask(4, can_preempt=True))
    free = world([older, asker], busy("y", "b", 4))
    assert where(plan(free)) == {"older": "a"}
    assert where(plan(replace(free, claimants=frozenset({"asker"})))) == {"asker": "a"}
    both = replace(free, claimants=frozenset({"asker"}), starving=frozenset({"older"}))
    assert where(plan(both)) == {"asker": "a"}
    leaving = replace(busy("x", "a", 4), is_leaving=True)
    later = world([older, asker], leaving, busy("y", "b", 4), claimants=frozenset({"asker"}))
    assert list(plan(later).promised) == ["asker"]


@pytest.mark.parametrize("members", [1, 2])
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_large_one_starts_in_bounded_time_under_an_endless_stream_of_small_ones(
    members: int, data: st.DataObject
) -> None:
    """Small ones arrive in each cycle and run for a few: without kept places it could wait for ever."""
    lasts = 4
    ends = data.draw(st.lists(st.integers(1, lasts), min_size=2, max_size=2))
    running = [(end, busy(f"first-{on}", on, 1)) for end, on in zip(ends, "ab", strict=True)]
    for cycle in range(lasts * 3 + 3):
        running = [(end, r) for end, r in running if end > cycle]
        count = data.draw(st.integers(4, 8))
        jobs = [("large", ask(4, members=members))] + [(f"s{cycle}-{i}", ask(1)) for i in range(count)]
        answer = plan(world(jobs, *(r for _, r in running), starving=frozenset({"large"})))
        if "large" in answer.placed:
            return
        for name, places in answer.placed.items():
            end = cycle + data.draw(st.integers(1, lasts))
            running.append((end, Running(f"{name}/1", name, ask(1), places[0], rank=-1)))
    pytest.fail("it has never started")
