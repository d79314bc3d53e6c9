"""What is kept of a node from one plan to the next."""

from copy import deepcopy
from dataclasses import replace

from homeport.scheduler.model import Gpu, Node, Placement, Running
from homeport.scheduler.plan import plan
from tests.unit.asks import ask, node, snapshot, where


def test_devices_are_in_the_order_of_their_ids_without_the_ill_and_the_partitioned() -> None:
    gpus = (
        Gpu("c", "H100", 81920), Gpu("a", "H100", 40960, 0.5), Gpu("d", "H100", is_healthy=False),
        Gpu("m", "H100", mig_profile="3g.40gb"), Gpu("b", "H100", 81920),
    )  # fmt: skip
    layout = Node("n", "default", 8, 8192, gpus).layout
    assert (layout.usable, layout.slices, layout.product) == ([1, 4, 0], {"3g.40gb": [3]}, "H100")
    assert (layout.whole, layout.amount, layout.sizes) == (2, 3 + 3 / 7, [40960, 81920])
    assert layout.by_uuid == {"c": 0, "a": 1, "d": 2, "m": 3, "b": 4}


def test_no_product_is_told_when_devices_differ() -> None:
    mixed = replace(node("n"), gpus=(Gpu("a", "H100"), Gpu("b", "A100")))
    assert (mixed.layout.product, node("n").layout.product) == (None, None)


def test_node_is_seen_anew_when_it_was_planned_with_before_and_has_changed() -> None:
    there = node("n", 2)
    jobs = [("one", ask(2))]
    assert where(plan(snapshot([there], jobs))) == {"one": "n"}
    taken = replace(there, gpus=(there.gpus[0], replace(there.gpus[1], free=0.0)))
    assert where(plan(snapshot([taken], jobs))) == {}
    assert where(plan(snapshot([replace(taken, gpus=there.gpus)], jobs))) == {"one": "n"}


def test_plan_leaves_nothing_behind_in_the_nodes_that_it_was_made_with() -> None:
    """With placements, promises and evictions in it, and with nodes that nobody has planned with yet."""
    weak = ask(1, is_preemptible=True, priority=20)
    full = [
        replace(n, gpus=tuple(replace(g, free=0.0) for g in n.gpus)) for n in (node("a", 1), node("b", 1))
    ]
    running = (
        Running("x/1", "x", weak, Placement("a", ("a-g0",))),
        Running("y/1", "y", weak, Placement("b", ("b-g0",)), is_leaving=True),
    )
    jobs = [("now", ask(1)), ("later", ask(1)), ("strong", ask(1, can_preempt=True))]
    world = snapshot([*full, node("c", 1)], jobs, running=running)
    fresh = deepcopy(world)
    answers = [plan(world) for _ in range(3)]
    assert (len(answers[0].placed), len(answers[0].promised), len(answers[0].evicted)) == (1, 2, 1)
    assert answers == [plan(fresh)] * 3
