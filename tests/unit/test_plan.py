"""Placement: examples a person can check, and properties that must always hold."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.scheduler.model import AskClass, Gpu, Node, Placement, Snapshot, Unplaced
from homeport.scheduler.plan import plan


def node(name: str, gpus: int = 0, cpu: float = 8, memory: int = 8192, **kw: object) -> Node:
    free = tuple(Gpu(f"{name}-g{i}", "H100") for i in range(gpus))
    return Node(name, "default", cpu, memory, free, **kw)  # type: ignore[arg-type]


def ask(gpus: int = 0, **kw: object) -> AskClass:
    return AskClass(**({"priority": 67, "cpu": 1.0, "memory_mib": 512, "gpu_count": gpus} | kw))  # type: ignore[arg-type]


def snapshot(nodes: list[Node], jobs: list[tuple[str, AskClass]]) -> Snapshot:
    pending: dict[AskClass, tuple[str, ...]] = {}
    for name, wanted in jobs:
        pending[wanted] = (*pending.get(wanted, ()), name)
    return Snapshot(tuple(nodes), pending, {name: i for i, (name, _) in enumerate(jobs)})


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


NODES = st.lists(
    st.builds(node, st.uuids().map(str), st.integers(0, 4), st.integers(0, 8), st.integers(0, 4096)),
    max_size=5,
)
ASKS = st.builds(
    ask, st.integers(0, 3), priority=st.integers(0, 3), cpu=st.integers(0, 4).map(float),
    memory_mib=st.integers(0, 2048), members=st.integers(1, 3),
)  # fmt: skip


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
        assert {u for u in gpus if u.startswith(f"{n.name}-g")} <= {g.uuid for g in n.free_gpus}
