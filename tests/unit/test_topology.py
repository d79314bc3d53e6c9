"""Members kept together in a domain, or spread over domains: words, submissions, what must always hold."""

import json
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.scheduler.explain import explain
from homeport.scheduler.model import AskClass, Node, Placement, Running, Topology
from homeport.scheduler.plan import plan
from homeport.server.api.runai.translate.topology import SPREAD
from homeport.server.domain.workload import Workload
from homeport.server.errors import Invalid
from homeport.server.snapshot.asks import ask_class
from tests.unit.asks import ask, node, snapshot
from tests.unit.scenarios.cluster import Cluster
from tests.unit.test_runai_specs import spec

HOST = "kubernetes.io/hostname"
ZONES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", "c", None])), min_size=1, max_size=5)


def zoned(name: str, gpus: int, zone: str | None) -> Node:
    return node(name, gpus, cpu=64, labels=frozenset({("zone", zone)} if zone else ()))


def wanted(members: int, *rules: Topology, **fields: Any) -> AskClass:
    return ask(1, members=members, spread="j", topology=rules, cpu=0.0, memory_mib=0, **fields)


def room(nodes: list[Node]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in nodes:
        for _, zone in one.labels:
            found[zone] += len(one.gpus)
    return found


def zones_of(nodes: list[Node], places: tuple[Placement, ...]) -> Counter[str | None]:
    names = {n.name: dict(n.labels).get("zone") for n in nodes}
    return Counter(names[p.node] for p in places)


@given(ZONES, st.integers(1, 6), st.integers(1, 3))
def test_gang_is_spread_whenever_that_can_be(
    zones: list[tuple[int, str | None]], members: int, skew: int
) -> None:
    nodes = [zoned(f"n{i}", gpus, zone) for i, (gpus, zone) in enumerate(zones)]
    answer = plan(snapshot(nodes, [("j", wanted(members, Topology("zone", skew)))]))
    rooms = room(nodes)
    # Every split of the members that keeps to the skew: the rule holds on the way to it, too, if at its end.
    splits = (dict(zip(rooms, s, strict=True)) for s in product(range(members + 1), repeat=len(rooms)))
    could = any(
        sum(s.values()) == members
        and all(n <= rooms[z] for z, n in s.items())
        and max(s.values()) - min(s.values()) <= skew
        for s in splits
    )
    if "j" in answer.placed:
        counts = zones_of(nodes, answer.placed["j"])
        assert None not in counts
        assert max(counts[z] for z in rooms) - min(counts[z] for z in rooms) <= skew
    assert ("j" in answer.placed) == could


@given(ZONES, st.integers(1, 6))
def test_gang_is_kept_together_whenever_that_can_be(
    zones: list[tuple[int, str | None]], members: int
) -> None:
    nodes = [zoned(f"n{i}", gpus, zone) for i, (gpus, zone) in enumerate(zones)]
    answer = plan(snapshot(nodes, [("j", wanted(members, Topology("zone")))]))
    assert ("j" in answer.placed) == any(n >= members for n in room(nodes).values())
    assert len(zones_of(nodes, answer.placed.get("j", ()))) <= 1


@given(ZONES, st.integers(1, 6), st.sampled_from([None, 1, 2]))
def test_what_only_should_be_never_keeps_anybody_waiting(
    zones: list[tuple[int, str | None]], members: int, skew: int | None
) -> None:
    nodes = [zoned(f"n{i}", gpus, zone) for i, (gpus, zone) in enumerate(zones)]
    rule = Topology("zone", skew, is_required=False)
    answer = plan(snapshot(nodes, [("j", wanted(members, rule))]))
    assert ("j" in answer.placed) == (sum(gpus for gpus, _ in zones) >= members)


@given(ZONES, st.integers(1, 6), st.sampled_from([None, 1, 2]), st.booleans())
def test_members_that_come_one_by_one_heed_those_that_are_there(
    zones: list[tuple[int, str | None]], members: int, skew: int | None, is_told_at_once: bool
) -> None:
    nodes = [zoned(f"n{i}", gpus, zone) for i, (gpus, zone) in enumerate(zones)]
    one = wanted(1, Topology("zone", skew))
    running: list[Running] = []
    if is_told_at_once:
        found = plan(snapshot(nodes, [(f"j{i}", one) for i in range(members)])).placed
        places = tuple(p for each in found.values() for p in each)
    else:
        for i in range(members):
            taken = [_left(n, running) for n in nodes]
            got = plan(snapshot(taken, [(f"j{i}", one)], running=tuple(running))).placed
            if got:
                running.append(Running(f"r{i}", "j", one, got[f"j{i}"][0]))
        places = tuple(r.placement for r in running)
    counts, rooms = zones_of(nodes, places), room(nodes)
    if skew is None:
        assert len(counts) <= 1
        assert len(places) == min(members, max(rooms.values(), default=0))
    elif places:
        assert max(counts[z] for z in rooms) - min(counts[z] for z in rooms) <= skew


def _left(one: Node, running: list[Running]) -> Node:
    taken = {u for r in running for u in r.placement.gpu_uuids}
    return replace(one, gpus=tuple(replace(g, free=0.0) if g.uuid in taken else g for g in one.gpus))


def test_the_domain_that_is_too_full_is_named_with_its_skew() -> None:
    nodes = [zoned("n1", 0, "a"), zoned("n2", 2, "b"), zoned("n3", 2, None)]
    one = wanted(1, Topology("zone", 1))
    there = Running("r", "j", one, Placement("n2", ("n2-g0",)))
    told = explain(one, snapshot(nodes, [("j", one)], running=(there,)))
    assert {n.node: n.why for n in told.nodes} == {
        "n1": "short of 1 free GPU(s)",
        "n2": "zone=b has 1 of its members and zone=a has 0: "
        "one more here would be a skew of 2, and 1 is allowed",
        "n3": "has no label zone, by which its members are spread",
    }
    assert told.text[0].endswith("its replicas spread over label zone with a skew of 1 at most")


def test_where_the_others_are_is_named() -> None:
    nodes = [zoned("n1", 1, "a"), zoned("n2", 1, "b")]
    one = wanted(1, Topology("zone"))
    there = Running("r", "j", one, Placement("n1", ("n1-g0",)))
    told = explain(one, snapshot([nodes[1]], [("j", one)], running=()))
    assert told.verdict is None
    told = explain(one, snapshot(nodes, [("j", one)], running=(there,)))
    (why,) = [n.why for n in told.nodes if n.node == "n2"]
    assert why == "not where zone is a, as it is for its other members"


def test_a_gang_is_told_how_far_it_came() -> None:
    nodes = [zoned("n1", 2, "a"), zoned("n2", 1, "b")]
    answer = plan(snapshot(nodes, [("j", wanted(3, Topology("zone")))]))
    assert answer.unplaced["j"].reasons == (
        "member 3 of 3: 1 node(s): not where zone is a, as it is for its other members",
        "member 3 of 3: 1 node(s): short of 1 free GPU(s)",
    )


def constraints(*each: dict[str, Any] | str) -> list[dict[str, str]]:
    return [{"name": SPREAD, "value": json.dumps(each) if isinstance(each[0], dict) else str(each[0])}]


@pytest.mark.parametrize(
    ("fields", "rules"),
    [
        pytest.param({}, (), id="nothing-is-asked"),
        pytest.param({"podAffinity": None}, (), id="null-asks-for-nothing"),
        pytest.param({"podAffinity": {}}, (), id="nor-does-an-empty-one"),
        pytest.param(
            {"podAffinity": {"type": "Required", "key": "zone"}}, (("zone", None, True),), id="required"
        ),
        pytest.param(
            {"podAffinity": {"type": "Preferred", "key": HOST}}, ((HOST, None, False),), id="preferred"
        ),
        pytest.param(
            {"annotations": constraints({"topologyKey": "zone", "maxSkew": 2})}, (("zone", 2, True),),
            id="do-not-schedule-is-the-default",
        ),
        pytest.param(
            {
                "podAffinity": {"type": "Required", "key": "zone"},
                "annotations": constraints(
                    {"topologyKey": HOST, "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"}
                ),
            },
            (("zone", None, True), (HOST, 1, False)),
            id="both",
        ),
        pytest.param(
            {"annotations": [{"name": SPREAD, "value": "[", "exclude": True}]}, (), id="excluded-are-not-read"
        ),
    ],
)  # fmt: skip
def test_a_submission_says_where_its_pods_are(fields: dict[str, Any], rules: tuple[Any, ...]) -> None:
    made = spec(**fields)
    assert made.topology == rules
    asked = ask_class(Workload("w", "local", "w", "job", "ada", 0, made), 1)
    assert asked.topology == tuple(Topology(*rule) for rule in rules)
    assert asked.spread == ("w" if rules else "")


@pytest.mark.parametrize(
    ("fields", "field", "remedy"),
    [
        pytest.param({"podAffinity": {"type": "Required"}}, "spec.podAffinity.key", "node label", id="key"),
        pytest.param({"podAffinity": {"key": "zone"}}, "spec.podAffinity.type", "Required or", id="type"),
        pytest.param(
            {"annotations": constraints("[")}, "spec.annotations[0].value", "JSON list", id="no-json"
        ),
        pytest.param(
            {"annotations": constraints({"topologyKey": "zone", "maxSkew": 0})}, "spec.annotations[0].value",
            "maxSkew (1 or more)", id="skew-of-nothing",
        ),
        pytest.param(
            {"annotations": constraints({"topologyKey": "zone", "maxSkew": 1, "minDomains": 2})},
            "spec.annotations[0].value", "minDomains", id="what-is-not-served",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(fields: dict[str, Any], field: str, remedy: str) -> None:
    with pytest.raises(Invalid) as refused:
        spec(**fields)
    assert field in str(refused.value)
    assert remedy in str(refused.value)


def test_nobody_goes_ahead_of_a_place_that_is_only_promised() -> None:
    cluster = Cluster(grace=1, starves_after=2)
    for number, gpus in enumerate((1, 2, 3)):
        cluster.add_node(f"n{number}", gpus)
    cluster.set_quota("a", 0)
    cluster.submit("a", "1", size=2, minimum=2, p="40", together=HOST)
    cluster.submit("a", "1", size=4, minimum=2, p="40", spread=f"{HOST}:1")
    cluster.settle(20)  # each of its cycles is checked: the skew holds with who is there, not with who comes
    assert Counter(r.placement.node for r in cluster.running.values() if r.workload == "j1") == {
        "n0": 1, "n1": 2, "n2": 1
    }  # fmt: skip
