"""Placing under rules on node labels finds what a look at everything finds, and looks at little."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.scheduler.model import AskClass, Node, Pool, Running, Strategy, Topology, Unplaced
from homeport.scheduler.nodes import NodeState
from homeport.scheduler.plan import plan
from homeport.scheduler.scores import Scorer
from homeport.scheduler.state import State
from tests.unit.asks import ask, node, snapshot

HOST = "kubernetes.io/hostname"
Values = tuple[str | None, ...]


def labelled(name: str, gpus: int, zone: str | None, rack: str | None = None) -> Node:
    labels = {(key, value) for key, value in (("zone", zone), ("rack", rack)) if value is not None}
    return node(name, gpus, cpu=64, labels=frozenset(labels))


def wanted(group: str, members: int, *rules: Topology) -> AskClass:
    return ask(1, members=members, spread=group, topology=rules, cpu=0.0, memory_mib=0)


def value_of(key: str, one: Node) -> str | None:
    return one.name if key == HOST else dict(one.labels).get(key)


@dataclass
class Scan:
    """What is free on each node and who is where, read from a state and counted anew for each question."""

    state: State
    ask: AskClass
    with_leaving: bool
    free: dict[str, int] = field(default_factory=dict[str, int])
    most: Counter[str] = field(default_factory=Counter[str])
    sure: Counter[str] = field(default_factory=Counter[str])
    values: dict[str, Values] = field(default_factory=dict[str, Values])  # of nodes on which it may be

    def read(self) -> None:
        for n in self.state.nodes:
            name, group = n.node.name, self.ask.spread
            self.free[name] = n.later_whole if self.with_leaving else n.whole
            self.most[name] = n.most_of(group, self.with_leaving)
            self.sure[name] = n.tenancy(group)[self.with_leaving]
            values = tuple(value_of(rule.key, n.node) for rule in self.ask.topology)
            if all(
                v is not None or not r.is_required for v, r in zip(values, self.ask.topology, strict=True)
            ):
                self.values[name] = values

    def count(self, of: Counter[str], number: int, value: str | None) -> int:
        key, nodes = self.ask.topology[number].key, self.state.nodes
        return sum(of[n.node.name] for n in nodes if value is not None and value_of(key, n.node) == value)

    def is_anywhere(self, number: int) -> bool:
        key = self.ask.topology[number].key
        return any(self.most[n.node.name] and value_of(key, n.node) is not None for n in self.state.nodes)

    def rank(self, name: str, home: Values) -> tuple[float, ...] | None:
        found: list[float] = []
        for number, (rule, value) in enumerate(zip(self.ask.topology, self.values[name], strict=True)):
            has = self.count(self.most, number, value)
            if rule.max_skew is None:
                is_there = has > 0 if self.is_anywhere(number) else value == home[number]
                if rule.is_required and not is_there:
                    return None
                found.append(-has if is_there else 1)
                continue
            domains = {values[number] for values in self.values.values()} - {None}
            least = min((self.count(self.sure, number, v) for v in domains), default=0)
            if rule.is_required and has + 1 - least > rule.max_skew:
                return None
            found.append(has if value is not None else float("inf"))
        return tuple(found)

    def homes(self, side: int) -> list[Values]:
        is_open = [r.max_skew is None and not self.is_anywhere(i) for i, r in enumerate(self.ask.topology)]
        room: Counter[Values] = Counter()
        for name, values in self.values.items():
            room[tuple(v if o else None for v, o in zip(values, is_open, strict=True))] += self.free[name]
        members = self.ask.members

        def order(home: Values) -> tuple[object, ...]:
            has, is_nowhere = room[home], home.count(None) > is_open.count(False)
            words = tuple(v or "" for v in home)
            return is_nowhere, has < members, side * has if has >= members else -has, words

        return sorted(room, key=order)

    def places(self, strategy: Strategy) -> list[str] | None:
        side = 1 if strategy is Strategy.BINPACK else -1
        self.read()
        for home in self.homes(side if self.ask.members > 1 else -1):
            self.read()
            found: list[str] = []
            while len(found) < self.ask.members:
                ranked = [(self.rank(n, home), side * self.free[n], n) for n in self.values if self.free[n]]
                fitting = [(rank, free, name) for rank, free, name in ranked if rank is not None]
                if not fitting:
                    break
                best = min(fitting)[2]
                found.append(best)
                self.free[best] -= 1
                self.most[best] += 1
                self.sure[best] += 1
            if len(found) == self.ask.members:
                return found
        return None


LABELS = st.sampled_from(["a", "b", "c", None])
NODES = st.lists(st.tuples(st.integers(0, 4), LABELS, LABELS), min_size=1, max_size=6)
RULE = st.builds(
    Topology, st.sampled_from(["zone", "rack", HOST]), st.sampled_from([None, 1, 2]), st.booleans()
)
RULES = st.lists(RULE, min_size=1, max_size=2, unique_by=lambda r: r.key).map(tuple)
MOVES = st.sampled_from(["take", "take", "promise", "end", "back"])
STEPS = st.lists(
    st.tuples(MOVES, st.sampled_from("vw"), st.integers(1, 4), st.integers(0, 9)), min_size=1, max_size=10
)


@given(NODES, RULES, STEPS, st.sampled_from(list(Strategy)))
def test_it_goes_where_a_look_at_everything_says_whatever_was_taken_released_and_taken_back(
    nodes: list[tuple[int, str | None, str | None]], rules: tuple[Topology, ...],
    steps: list[tuple[str, str, int, int]], strategy: Strategy,
) -> None:  # fmt: skip
    there = [labelled(f"n{i}", *each) for i, each in enumerate(nodes)]
    state = State(snapshot(there, [], pools=(Pool("default", strategy),)))
    marks: list[int] = []
    held: list[Running] = []
    for what, group, members, number in steps:
        match what:
            case "end" if held:
                state.release(held.pop(number % len(held)))
            case "back" if marks:
                state.rollback(marks.pop())
                held.clear()
            case "take" | "promise":
                marks.append(state.mark())
                need = state.need(wanted(group, members, *rules))
                found = state.allocate(need) if what == "take" else state.promise(need)
                if isinstance(found, tuple) and what == "take":
                    held += [Running(f"r{i}", group, need.ask, place) for i, place in enumerate(found)]
            case _:
                pass
        for one, with_leaving in product((wanted("v", 1, *rules), wanted("w", 3, *rules)), (False, True)):
            found = state.place(one, with_leaving=with_leaving)
            places = None if isinstance(found, Unplaced) else [p.node for p in found]
            assert places == Scan(state, one, with_leaving).places(strategy)


@given(NODES, st.integers(1, 6), st.booleans())
def test_those_who_come_alone_begin_where_as_many_find_a_place_as_of_a_gang(
    nodes: list[tuple[int, str | None, str | None]], members: int, is_strict: bool
) -> None:
    there = [labelled(f"n{i}", *each) for i, each in enumerate(nodes)]
    rules = (Topology("zone"), Topology(HOST if is_strict else "rack", 1))
    alone = wanted("j", 1, *rules)
    placed = len(plan(snapshot(there, [(f"j{i}", alone) for i in range(members)])).placed)
    gangs = (plan(snapshot(there, [("j", wanted("j", m, *rules))])).placed for m in range(1, members + 1))
    assert placed == max((m for m, found in enumerate(gangs, start=1) if found), default=0)


def test_only_what_is_required_bounds_how_many_find_a_place_where_they_begin() -> None:
    nodes = [labelled("n1", 3, "a", "r1"), labelled("n2", 2, "b", "r2"), labelled("n3", 2, "b", "r3")]
    gang = wanted("j", 4, Topology("rack", is_required=False), Topology("zone"))
    (places,) = plan(snapshot(nodes, [("j", gang)])).placed.values()
    assert [p.node for p in places] == ["n2", "n2", "n3", "n3"]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often nodes are looked at for what is free there, and for who is."""
    counted: Counter[str] = Counter()
    for owner, name in ((Scorer, "key"), (NodeState, "tenancy")):
        plain = getattr(owner, name)

        def counting(self: object, *args: Any, plain: Any = plain, name: str = name) -> Any:
            counted[name] += 1
            return plain(self, *args)

        monkeypatch.setattr(owner, name, counting)
    return counted


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(Topology(HOST, 1), id="spread-over-nodes"),
        pytest.param(Topology(HOST, 1, is_required=False), id="rather-spread-over-nodes"),
        pytest.param(Topology("zone", 1), id="spread-over-zones"),
        pytest.param(Topology("zone"), id="together-in-a-zone"),
        pytest.param(Topology("zone", is_required=False), id="rather-together-in-a-zone"),
    ],
)
def test_each_ask_looks_at_what_has_changed_and_not_at_every_node(
    looks: Counter[str], rule: Topology
) -> None:
    nodes = [labelled(f"n{i:03}", 8, f"z{i % 5}") for i in range(200)]
    jobs = [(f"j{i}", wanted("j", 1, rule)) for i in range(200)]
    assert len(plan(snapshot(nodes, jobs)).placed) == 200
    assert looks["key"] <= 4 * 200 + 6 * 200  # some for each node and some for each ask
    assert looks["tenancy"] <= 10 * 200


def test_groups_that_cannot_be_kept_together_are_told_so_by_one_look(looks: Counter[str]) -> None:
    nodes = [labelled(f"n{i:03}", 1, f"z{i % 50}") for i in range(100)]
    jobs = [(f"j{i}", wanted(f"j{i}", 3, Topology("zone"))) for i in range(50)]
    answer = plan(snapshot(nodes, jobs))
    assert {why.reasons for why in answer.unplaced.values()} == {
        (
            "member 3 of 3: 98 node(s): not where zone is z0, as it is for its other members",
            "member 3 of 3: 2 node(s): short of 1 free GPU(s)",
        )
    }
    assert looks["key"] <= 10 * 100
