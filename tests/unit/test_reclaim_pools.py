"""Reclaim where there are several node pools: what is owed in one is not taken in another."""

from dataclasses import replace

from homeport.scheduler.model import Amounts, Placement, Pool, Queue, Quota, Running
from homeport.scheduler.plan import plan
from homeport.scheduler.preemption.steps import Victims, amounts_in
from homeport.scheduler.state import State
from tests.unit.asks import job, node, snapshot

UNBOUND = float("inf")


def queue_in_both(name: str) -> Queue:
    one = Quota(Amounts(1, UNBOUND, UNBOUND), Amounts(UNBOUND, UNBOUND, UNBOUND), Amounts(1, 1, 1), 0)
    return Queue(name, None, {"fast": one, "default": one}, ord(name))


def test_what_is_reclaimed_in_one_pool_is_not_taken_in_another() -> None:
    """`b` is over its quota in `fast` only; its member in `default` is its own there."""
    half = job("b", 1, gpu_portion=0.5, members=2)
    tiny = job("b", 1, gpu_portion=0.1)  # so that nothing can be moved there
    keeps = job("a", 1, is_preemptible=False)

    def member(index: int, host: str, gpu: int) -> Running:
        return Running(f"el/{index}", "el", half, Placement(host, (f"{host}-g{gpu}",), 0.5), 1, index)

    running = (
        member(0, "x", 0), member(1, "x", 0), member(2, "x", 1), member(3, "y", 1),
        Running("tiny/0", "tiny", tiny, Placement("x", ("x-g1",), 0.1), 2, 0),
        Running("ws/1", "ws", keeps, Placement("y", ("y-g0",), 1.0), 0, 0),
    )  # fmt: skip
    x, y = node("x", 2, pool="fast"), node("y", 2, pool="default")
    x = replace(x, gpus=(replace(x.gpus[0], free=0.0), replace(x.gpus[1], free=0.4)))
    y = replace(y, gpus=(replace(y.gpus[0], free=0.0), replace(y.gpus[1], free=0.5)))
    shown = snapshot(
        [x, y], [("asker", job("a", 1))], running=running, queues=(queue_in_both("a"), queue_in_both("b")),
        pools=(Pool("default"), Pool("fast")),
    )  # fmt: skip
    answer = plan(shown)
    assert sorted(e.id for e in answer.evicted) == ["el/2", "tiny/0"]
    assert [p.node for p in answer.promised["asker"]] == ["x"]


def test_of_a_gang_in_two_pools_only_its_members_here_are_lost_here() -> None:
    gang = job("b", 1, members=3)
    there = [("x", 0), ("x", 1), ("y", 0)]
    running = tuple(
        Running(f"g/{i}", "g", gang, Placement(host, (f"{host}-g{gpu}",)), 1, i)
        for i, (host, gpu) in enumerate(there)
    )
    x, y = node("x", 2, pool="fast"), node("y", 1, pool="default")
    x, y = (replace(n, gpus=tuple(replace(g, free=0.0) for g in n.gpus)) for n in (x, y))
    shown = snapshot(
        [x, y], [("asker", job("a", 1))], running=running, queues=(queue_in_both("a"), queue_in_both("b")),
        pools=(Pool("default"), Pool("fast")),
    )  # fmt: skip
    (step,) = Victims(State(shown)).steps("g")
    assert [amounts_in(State(shown), step, pool)[0] for pool in ("fast", "default")] == [2, 1]
