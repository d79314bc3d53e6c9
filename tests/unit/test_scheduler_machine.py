"""Random operations against plans: what holds in every cycle, and that it comes to rest."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from homeport.scheduler.model import Strategy
from tests.unit.scenarios.cluster import Cluster

QUEUES = st.sampled_from(["a", "b", "c"])
GPUS = st.sampled_from(["0.5", "1", "1", "2", "3"])
MANY_CYCLES = 60


class SchedulerMachine(RuleBasedStateMachine):
    """Three projects in two departments on three nodes; users, nodes and administrators do as they like."""

    @initialize(
        strategy=st.sampled_from(list(Strategy)),
        grace=st.integers(0, 2),
        quotas=st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)),
        sizes=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 4)),
    )
    def begin(
        self, strategy: Strategy, grace: int, quotas: tuple[int, int, int], sizes: tuple[int, int, int]
    ) -> None:
        self.cluster = Cluster(strategy=strategy, grace=grace)
        for number, gpus in enumerate(sizes):
            self.cluster.add_node(f"n{number}", gpus)
        self.cluster.set_quota("d", quotas[0] + quotas[1])
        self.cluster.set_quota("e", quotas[2])
        for name, parent, quota in zip("abc", "dde", quotas, strict=True):
            self.cluster.set_quota(name, quota, parent=parent)

    @rule(queue=QUEUES, gpus=GPUS, priority=st.sampled_from([25, 40, 80]), keep=st.booleans())
    def submit(self, queue: str, gpus: str, priority: int, keep: bool) -> None:
        words = {"p": str(priority)} | ({"keep": ""} if keep else {})
        self.cluster.submit(queue, gpus, **words)

    @rule(
        queue=QUEUES, minimum=st.integers(1, 3), extra=st.integers(0, 2), priority=st.sampled_from([40, 80])
    )
    def submit_gang(self, queue: str, minimum: int, extra: int, priority: int) -> None:
        self.cluster.submit(queue, "1", size=minimum + extra, minimum=minimum, p=str(priority))

    @precondition(lambda self: self.cluster.jobs)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.cluster.end(data.draw(st.sampled_from(sorted(self.cluster.jobs))))

    @precondition(lambda self: self.cluster.jobs)
    @rule(data=st.data(), is_protected=st.booleans())
    def protect(self, data: st.DataObject, is_protected: bool) -> None:
        self.cluster.protect(data.draw(st.sampled_from(sorted(self.cluster.jobs))), is_protected=is_protected)

    @rule(node=st.sampled_from(["n0", "n1", "n2"]), fails=st.booleans())
    def node_changes(self, node: str, fails: bool) -> None:
        if fails:
            self.cluster.fail_node(node)
        else:
            self.cluster.heal_node(node)

    @rule(queue=QUEUES, quota=st.integers(0, 5), limit=st.sampled_from([2.0, 4.0, float("inf")]))
    def change_quota(self, queue: str, quota: int, limit: float) -> None:
        self.cluster.set_quota(queue, quota, limit=limit)

    @rule(cycles=st.integers(1, 3))
    def advance(self, cycles: int) -> None:
        for _ in range(cycles):
            self.cluster.cycle()

    @rule()
    def comes_to_rest_when_left_alone(self) -> None:
        self.cluster.settle(MANY_CYCLES)

    @invariant()
    def every_device_has_room_for_those_who_have_it(self) -> None:
        """I1 and I2: what runs belongs to a job that is there, and fits."""
        if not hasattr(self, "cluster"):
            return
        snapshot = self.cluster.snapshot()
        assert all(-1e-6 <= g.free <= 1 for n in snapshot.nodes for g in n.gpus)
        assert {r.workload for r in snapshot.running} <= set(self.cluster.jobs)

    def teardown(self) -> None:
        if hasattr(self, "cluster"):
            self.cluster.settle(MANY_CYCLES)


SchedulerMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestSchedulerMachine = SchedulerMachine.TestCase


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    members=st.tuples(st.integers(2, 6), st.integers(2, 6)),
    others=st.lists(st.integers(1, 3), max_size=6),
    order=st.permutations(list(range(8))),
    strategy=st.sampled_from(list(Strategy)),
)
def test_two_gangs_never_hold_half_each(
    sizes: list[int], members: tuple[int, int], others: list[int], order: list[int], strategy: Strategy
) -> None:
    cluster = Cluster(strategy=strategy)
    for number, gpus in enumerate(sizes):
        cluster.add_node(f"n{number}", gpus)
    cluster.set_quota("a", 0)
    cluster.set_quota("b", 0)
    plans = [lambda: cluster.submit("a", "1", size=members[0], minimum=members[0])]
    plans.append(lambda: cluster.submit("b", "1", size=members[1], minimum=members[1]))
    plans.extend((lambda gpus=gpus: cluster.submit("a", str(gpus))) for gpus in others)
    names: dict[int, str] = {}
    for number in order:
        if number < len(plans):
            names[number] = plans[number]()
            cluster.cycle()  # which checks that no gang is placed or left in part
    for number in range(2, len(plans)):
        cluster.end(names[number])
    cluster.settle(MANY_CYCLES)
    total = sum(sizes)
    gangs = [names[0], names[1]]
    assert sum(cluster.runs(g) for g in gangs) == {
        (False, False): 0, (True, False): 1, (False, True): 1,
        (True, True): 2 if sum(members) <= total else 1,
    }[members[0] <= total, members[1] <= total]  # fmt: skip
    for gang in [g for g in gangs if cluster.runs(g)]:
        cluster.end(gang)
    cluster.settle(MANY_CYCLES)
    assert all(cluster.runs(g) == (job.size <= total) for g, job in cluster.jobs.items())


@settings(max_examples=150, deadline=None)
@given(
    quotas=st.lists(st.integers(0, 4), min_size=2, max_size=4),
    crowd=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=14),
    wants=st.integers(1, 4),
    keep=st.booleans(),
    grace=st.integers(0, 3),
)
def test_what_is_within_its_quota_gets_its_place_soon_whoever_was_there_first(
    quotas: list[int], crowd: list[tuple[int, int]], wants: int, keep: bool, grace: int
) -> None:
    cluster = Cluster(grace=grace)
    cluster.add_node("n", max(sum(quotas) + wants, 1))
    for number, quota in enumerate(quotas):
        cluster.set_quota(f"q{number}", quota)
    cluster.set_quota("late", wants)
    for queue, gpus in crowd:
        cluster.submit(f"q{queue % len(quotas)}", str(gpus))
    cluster.settle(MANY_CYCLES)
    name = cluster.submit("late", str(wants), **({"keep": ""} if keep else {}))
    # At most one other of those that are entitled, too, goes before it each time that room is made.
    for _ in range((grace + 2) * (len(crowd) + 1)):
        cluster.cycle()
        if cluster.runs(name):
            break
    assert cluster.runs(name)
    cluster.settle(MANY_CYCLES)
    assert cluster.runs(name)


@pytest.mark.parametrize(
    ("strategy", "is_moved"),
    [
        pytest.param(Strategy.BINPACK, True, id="binpack-moves-one"),
        # Whoever is moved would be spread back onto the cleared node, before the one that it was cleared for.
        pytest.param(Strategy.SPREAD, False, id="spread-moves-nobody"),
    ],
)
def test_nobody_is_moved_to_and_fro_whichever_way_nodes_are_filled(
    strategy: Strategy, is_moved: bool
) -> None:
    cluster = Cluster(strategy=strategy)
    cluster.set_quota("a", 8)
    names: list[str] = []
    for node in ("n0", "n1"):
        cluster.add_node(node, 4)
        names += [cluster.submit("a", "2") for _ in range(2)]
    cluster.settle(MANY_CYCLES)
    by_node = {
        node: [r.workload for r in cluster.running.values() if r.placement.node == node]
        for node in cluster.nodes
    }
    for there in by_node.values():
        cluster.end(there[0])
    large = cluster.submit("a", "4")
    cluster.settle(MANY_CYCLES)
    assert (cluster.runs(large), cluster.evictions) == (is_moved, int(is_moved))
