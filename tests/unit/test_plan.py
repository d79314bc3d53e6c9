"""Placement: examples a person can check, and properties that must always hold."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.scheduler.model import (
    AskClass,
    Effect,
    LabelMatch,
    Node,
    Operator,
    Placement,
    Pool,
    Running,
    Strategy,
    Taint,
    Toleration,
    Unplaced,
)
from homeport.scheduler.plan import plan
from homeport.scheduler.state import State
from tests.unit.asks import ask, node, snapshot, where


@pytest.mark.parametrize(
    ("nodes", "jobs", "placed", "unplaced"),
    [
        pytest.param(
            [node("big", 2), node("small", 1)],
            [("a", ask(1))],
            {"a": (Placement("small", ("small-g0",)),)},
            {},
            id="best-fit-keeps-the-larger-node-whole",
        ),
        pytest.param(
            [node("n", 1)],
            [("large", ask(4)), ("small", ask(1))],
            {"small": (Placement("n", ("n-g0",)),)},
            {"large": Unplaced(("1 node(s): short of 3 free GPU(s)",))},
            id="a-job-that-cannot-be-placed-never-blocks-a-later-one",
        ),
        pytest.param(
            [node("n", 1)],
            [("old", ask(1)), ("urgent", ask(1, priority=150))],
            {"urgent": (Placement("n", ("n-g0",)),)},
            {"old": Unplaced(("1 node(s): short of 1 free GPU(s)",))},
            id="priority-goes-before-age",
        ),
        pytest.param(
            [node("a", 4), node("b", 4)],
            [
                ("e/0", ask(spread="e", must_spread=True)),
                ("e/1", ask(spread="e", must_spread=True)),
                ("e/2", ask(spread="e", must_spread=True)),
            ],
            {"e/0": (Placement("a"),), "e/1": (Placement("b"),)},
            {
                "e/2": Unplaced(
                    ("2 node(s): has a replica of it already, and each has to have a node of its own",)
                )
            },
            id="required-spread-gives-each-replica-a-node-of-its-own",
        ),
        pytest.param(
            [node("a", 4, tenants=frozenset({"e"})), node("b", 8)],
            [("e/1", ask(spread="e")), ("e/2", ask(spread="e"))],
            {"e/1": (Placement("b"),), "e/2": (Placement("a"),)},
            {},
            id="preferred-spread-goes-apart-where-it-can",
        ),
        pytest.param(
            [node("a", 1), node("b", 1)],
            [("gang", ask(1, members=3))],
            {},
            {"gang": Unplaced(("member 3 of 3: 2 node(s): short of 1 free GPU(s)",))},
            id="no-partial-gang",
        ),
        pytest.param(
            [node("a"), node("b", is_ready=False)],
            [("j", ask(cpu=9.0))],
            {},
            {"j": Unplaced(("1 node(s): node not ready", "1 node(s): short of 1 CPU core(s)"))},
            id="every-node-is-accounted-for",
        ),
    ],
)
def test_plan(nodes: list[Node], jobs: list[tuple[str, AskClass]], placed: object, unplaced: object) -> None:
    answer = plan(snapshot(nodes, jobs))
    assert (answer.placed, answer.unplaced) == (placed, unplaced)


def on(key: str, operator: Operator, *values: str) -> dict[str, Any]:
    return {"affinity": ((LabelMatch(key, operator, values),),)}


WEST, EAST = frozenset({("zone", "west"), ("cores", "64")}), frozenset({("zone", "east")})
DEDICATED = frozenset({Taint("team", "red")})
AVOIDED = frozenset({Taint("old", effect=Effect.PREFER_NO_SCHEDULE)})
DRAINED = frozenset({Taint("down", effect=Effect.NO_EXECUTE)})
KUBERNETES = "kubernetes.io, assigning pods to nodes; taints and tolerations"


@pytest.mark.parametrize(
    ("nodes", "wanted", "goes"),
    [
        pytest.param(
            [node("a", labels=EAST), node("b", labels=WEST)],
            ask(**on("zone", Operator.IN, "west")),
            "b",
            id=f"label-in ({KUBERNETES})",
        ),
        pytest.param(
            [node("a", labels=EAST), node("b")],
            ask(**on("zone", Operator.NOT_IN, "east")),
            "b",
            id="label-not-in-holds-where-there-is-none",
        ),
        pytest.param(
            [node("a"), node("b", labels=EAST)], ask(**on("zone", Operator.EXISTS)), "b", id="exists"
        ),
        pytest.param(
            [node("a", labels=EAST), node("b")],
            ask(**on("zone", Operator.DOES_NOT_EXIST)),
            "b",
            id="does-not-exist",
        ),
        pytest.param(
            [node("a"), node("b", labels=WEST)], ask(**on("cores", Operator.GT, "32")), "b", id="gt"
        ),
        pytest.param([node("b", labels=WEST)], ask(**on("cores", Operator.LT, "64")), None, id="lt"),
        pytest.param(
            [node("a", labels=WEST), node("b", labels=EAST)],
            ask(
                affinity=(
                    (LabelMatch("zone", Operator.IN, ("south",)),),
                    (LabelMatch("zone", Operator.IN, ("east",)),),
                )
            ),
            "b",
            id="one-of-the-alternatives-is-enough",
        ),
        pytest.param([node("a", taints=DEDICATED)], ask(), None, id="no-schedule"),
        pytest.param([node("a", taints=DRAINED)], ask(), None, id="no-execute"),
        pytest.param([node("a", taints=AVOIDED)], ask(), "a", id="avoided-but-better-than-nothing"),
        pytest.param([node("a", taints=AVOIDED), node("b", cpu=80)], ask(), "b", id="avoided-where-possible"),
        pytest.param(
            [node("a", taints=DEDICATED)],
            ask(tolerations=frozenset({Toleration("team", "red")})),
            "a",
            id="tolerated",
        ),
        pytest.param(
            [node("a", taints=DEDICATED)],
            ask(tolerations=frozenset({Toleration("team", "blue")})),
            None,
            id="another-value-is-not-tolerated",
        ),
        pytest.param(
            [node("a", taints=DEDICATED)],
            ask(tolerations=frozenset({Toleration()})),
            "a",
            id="everything-tolerated",
        ),
        pytest.param([node("a", 1), node("b", 1)], ask(1, nodes=frozenset({"b"})), "b", id="the-named-node"),
        pytest.param([node("a", 8, cpu=2), node("b", cpu=80)], ask(), "b", id="cpu-work-keeps-off-gpu-nodes"),
        pytest.param([node("a", 1, reservation="r")], ask(1), None, id="reserved-for-others"),
        pytest.param(
            [node("a", 1), node("b", 1, reservation="r")],
            ask(1, reservation="r"),
            "b",
            id="its-own-reservation",
        ),
        pytest.param(
            [node("a", 1), node("b", 1, reservation="s")],
            ask(1, reservation="r"),
            None,
            id="no-burst-without-leave",
        ),
        pytest.param(
            [node("a", 1), node("b", 1, reservation="s")],
            ask(1, reservation="r", may_burst=True),
            "b",
            id="burst-to-another-reservation",
        ),
        pytest.param(
            [node("a", 1, reservation="s"), node("b", 8, reservation="r")],
            ask(1, reservation="r", may_burst=True),
            "b",
            id="its-own-reservation-before-a-burst",
        ),
        pytest.param(
            [node("a", 2, pool="x"), node("b", 2, pool="y")],
            ask(1, pools=("y", "x")),
            "b",
            id="pools-in-the-order-given",
        ),
        pytest.param(
            [node("a", 2, pool="x"), node("b", 1, pool="y")],
            ask(2, pools=("y", "x")),
            "a",
            id="the-next-pool-where-the-first-has-no-room",
        ),
        pytest.param(
            [node("a", 1, pool="x"), node("b", 1, pool="y")],
            ask(1, members=2, pools=("x", "y")),
            None,
            id="a-gang-comes-into-one-pool",
        ),
        pytest.param(
            [node("a", 2, pool="x")],
            ask(1, pools=("gone", "x")),
            "a",
            id="a-pool-without-nodes-is-passed-over",
        ),
        pytest.param(
            [
                node("a", 2, segment="s1"),
                node("b", 1, segment="s1"),
                node("c", 2, segment="s2"),
                node("d", 2, segment="s2"),
            ],
            ask(2, members=2, segment_size=2),
            "c d",
            id="members-of-a-segment-stay-near",
        ),
        pytest.param(
            [
                node("a", 1, segment="s1"),
                node("b", 1, segment="s2"),
                node("c", 1, segment="s2"),
                node("d", 1, segment="s1"),
            ],
            ask(1, members=4, segment_size=2),
            "a d b c",
            id="each-pair-in-its-segment",
        ),
        pytest.param(
            [node("a", 1, segment="s1"), node("b", 1, segment="s2")],
            ask(1, members=2, segment_size=2),
            None,
            id="no-segment-holds-both",
        ),
        pytest.param(
            [node("a", 2), node("b", 2)],
            ask(1, members=2, spread="g", must_spread=True),
            "a b",
            id="a-gang-that-has-to-be-apart",
        ),
        pytest.param(
            [node("a", 4)], ask(1, members=2, spread="g", must_spread=True), None, id="no-second-node"
        ),
    ],
)
def test_hard_and_soft_constraints(nodes: list[Node], wanted: AskClass, goes: str | None) -> None:
    answer = plan(snapshot(nodes, [("j", wanted)]))
    assert where(answer) == ({} if goes is None else {"j": goes})


@pytest.mark.parametrize(
    ("gpu", "cpu", "goes"),
    [
        (Strategy.BINPACK, Strategy.BINPACK, {"c": "cpu-small", "g": "gpu-small"}),
        (Strategy.SPREAD, Strategy.BINPACK, {"c": "cpu-small", "g": "gpu-large"}),
        (Strategy.BINPACK, Strategy.SPREAD, {"c": "cpu-large", "g": "gpu-small"}),
    ],
)
def test_each_pool_packs_or_spreads_gpus_and_cpu_for_themselves(
    gpu: Strategy, cpu: Strategy, goes: dict[str, str]
) -> None:
    """Source: Run:ai, node pool placementStrategy {cpu, gpu}."""
    nodes = [node("cpu-large", cpu=64), node("cpu-small"), node("gpu-large", 8), node("gpu-small", 2)]
    answer = plan(snapshot(nodes, [("c", ask()), ("g", ask(1))], pools=(Pool("default", gpu, cpu),)))
    assert where(answer) == goes


def test_it_waits_with_that_reason_when_its_pools_have_no_nodes() -> None:
    """Source: Run:ai: a node pool without nodes leaves the workload pending."""
    answer = plan(snapshot([node("a", 1)], [("j", ask(1, pools=("gone", "empty")))]))
    assert answer.unplaced == {"j": Unplaced(("node pool gone or empty has no nodes",))}


NODES = st.lists(
    st.builds(node, st.uuids().map(str), st.integers(0, 4), st.integers(0, 8), st.integers(0, 4096)),
    max_size=5,
)
ASKS = st.builds(
    ask,
    st.integers(0, 3),
    priority=st.integers(0, 3),
    cpu=st.integers(0, 4).map(float),
    memory_mib=st.integers(0, 2048),
    members=st.integers(1, 3),
)


@given(NODES, st.lists(ASKS, max_size=12))
def test_plan_never_over_allocates_and_loses_nothing(nodes: list[Node], asks: list[AskClass]) -> None:
    jobs = [(f"j{i}", a) for i, a in enumerate(asks)]
    world = snapshot(nodes, jobs)
    answer = plan(world)
    assert plan(world) == answer
    assert sorted([*answer.placed, *answer.unplaced]) == sorted(name for name, _ in jobs)
    wanted = dict(jobs)
    gpus: Counter[str] = Counter()
    for name, members in answer.placed.items():
        assert len(members) == wanted[name].members
        for member in members:
            assert len(member.gpu_uuids) == wanted[name].gpu_count
            gpus.update(member.gpu_uuids)
    assert set(gpus.values()) <= {1}
    for n in nodes:
        here = [wanted[name] for name, ms in answer.placed.items() for m in ms if m.node == n.name]
        assert sum(a.cpu for a in here) <= n.free_cpu
        assert sum(a.memory_mib for a in here) <= n.free_memory_mib
        assert {u for u in gpus if u.startswith(f"{n.name}-g")} <= {g.uuid for g in n.gpus}


PARTS = st.builds(
    ask, st.integers(0, 2), gpu_portion=st.sampled_from([0.25, 0.5, 1.0]), cpu=st.integers(0, 2).map(float),
    members=st.integers(1, 2),
)  # fmt: skip
MOVES = st.sampled_from(["take", "promise", "end", "back"])
STEPS = st.lists(st.tuples(MOVES, PARTS, st.integers(0, 9)), max_size=12)


def scanned(state: State, wanted: AskClass, with_leaving: bool) -> tuple[Placement, ...] | None:
    """Where one member goes when every node is looked at, as the index must find it without."""
    if not state.nodes:
        return None
    scorer = state.need(wanted).scorers["default"]
    keys = {n.order: scorer.key(n, with_leaving) for n in state.nodes}
    fitting = [(key, order) for order, key in keys.items() if key is not None]
    if not fitting:
        return None
    best = state.nodes[min(fitting)[1]]
    devices = scorer.devices(best, with_leaving)
    assert devices is not None
    uuids = tuple(best.node.gpus[p].uuid for p in devices[0])
    return (Placement(best.node.name, uuids, devices[1]),)


@given(NODES, st.lists(PARTS, min_size=1, max_size=3), STEPS)
def test_the_index_finds_what_a_scan_finds_whatever_was_taken_released_and_taken_back(
    nodes: list[Node], looked_for: list[AskClass], steps: list[tuple[str, AskClass, int]]
) -> None:
    state = State(snapshot(nodes, []))
    marks: list[int] = []
    held: list[Running] = []
    for what, wanted, number in steps:
        match what:
            case "end" if held:
                state.release(held.pop(number % len(held)))
            case "back" if marks:
                state.rollback(marks.pop())
                held.clear()
            case "take" | "promise":
                marks.append(state.mark())
                need = state.need(wanted)
                found = state.allocate(need) if what == "take" else state.promise(need)
                if isinstance(found, tuple) and what == "take":
                    held += [
                        Running(f"r{len(marks)}-{i}", "w", wanted, place) for i, place in enumerate(found)
                    ]
            case _:
                pass
        for one in (replace(a, members=1) for a in looked_for):
            assert state.place_later(one) == scanned(state, one, with_leaving=True)
            for with_leaving in (False, True):
                found = state.place(one, with_leaving=with_leaving)
                there = scanned(state, one, with_leaving)
                assert (None if isinstance(found, Unplaced) else found) == there
        for n in state.nodes:
            assert all(0 <= n.later[p] <= 1 and 0 <= n.free[p] <= 1 for p in n.usable)
            assert n.whole == sum(n.available(p, False) == 1 for p in n.usable)
            assert n.later_whole == sum(n.available(p, True) == 1 for p in n.usable)


def test_a_refusal_is_told_in_words_when_one_just_like_it_was_looked_for_silently() -> None:
    wanted, urgent = ask(2), ask(2, priority=150)
    state = State(snapshot([node("n", 1)], [("job", wanted)]))
    assert state.place_later(wanted) is None
    assert state.promise(state.need(urgent)) is None
    answer = state.place(urgent, with_leaving=True)
    assert isinstance(answer, Unplaced)
    assert answer.reasons == ("1 node(s): short of 1 free GPU(s)",)


def test_nothing_is_taken_when_a_gang_finds_only_some_of_its_places_silently() -> None:
    state = State(snapshot([node("n", 3)], []))
    assert state.promise(state.need(ask(2, members=2))) is None
    assert state.place_later(ask(3)) == (Placement("n", ("n-g0", "n-g1", "n-g2")),)
