"""Random operations against plans: what holds in every cycle, and that it comes to rest."""

from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from homeport.scheduler.model import AskClass, Running, Strategy
from tests.unit.scenarios.cluster import Cluster

QUEUES = st.sampled_from(["a", "b", "c"])
GPUS = st.sampled_from(["0.5", "1", "1", "2", "3"])
NAMES = st.sampled_from(["r", "s"])
IN_POOLS = st.sampled_from(["", "", "fast", "fast,default"])
MANY_CYCLES = 60


class SchedulerMachine(RuleBasedStateMachine):
    """Three projects in two departments on three nodes; users, nodes and administrators do as they like."""

    @initialize(
        strategy=st.sampled_from(list(Strategy)),
        grace=st.integers(0, 2),
        starves_after=st.sampled_from([2, inf]),
        quotas=st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)),
        sizes=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 4)),
        pools=st.sampled_from(["default default default", "default default fast", "default fast fast"]),
    )
    def begin(
        self, strategy: Strategy, grace: int, starves_after: float, quotas: tuple[int, int, int],
        sizes: tuple[int, int, int], pools: str,
    ) -> None:  # fmt: skip
        self.cluster = Cluster(strategy=strategy, grace=grace, starves_after=starves_after)
        for number, (gpus, pool) in enumerate(zip(sizes, pools.split(), strict=True)):
            self.cluster.add_node(f"n{number}", gpus, pool)
        self.cluster.set_quota("d", quotas[0] + quotas[1])
        self.cluster.set_quota("e", quotas[2])
        for name, parent, quota in zip("abc", "dde", quotas, strict=True):
            self.cluster.set_quota(name, quota, parent=parent)

    @rule(queue=QUEUES, gpus=GPUS, priority=st.sampled_from([25, 40, 80]), keep=st.booleans(), pool=IN_POOLS)
    def submit(self, queue: str, gpus: str, priority: int, keep: bool, pool: str) -> None:
        words = {"p": str(priority)} | ({"keep": ""} if keep else {}) | ({"pool": pool} if pool else {})
        self.cluster.submit(queue, gpus, **words)

    @rule(
        queue=QUEUES,
        minimum=st.integers(1, 3),
        extra=st.integers(0, 2),
        priority=st.sampled_from([40, 80]),
        pool=IN_POOLS,
    )
    def submit_gang(self, queue: str, minimum: int, extra: int, priority: int, pool: str) -> None:
        words = {"p": str(priority)} | ({"pool": pool} if pool else {})
        self.cluster.submit(queue, "1", size=minimum + extra, minimum=minimum, **words)

    @rule(
        queue=QUEUES,
        minimum=st.integers(1, 3),
        extra=st.integers(0, 2),
        priority=st.sampled_from([40, 80]),
        rule_=st.sampled_from([("together", ""), ("together", "?"), ("spread", ":1"), ("spread", ":2?")]),
    )
    def submit_by_topology(
        self, queue: str, minimum: int, extra: int, priority: int, rule_: tuple[str, str]
    ) -> None:
        words = {"p": str(priority), rule_[0]: f"kubernetes.io/hostname{rule_[1]}"}
        self.cluster.submit(queue, "1", size=minimum + extra, minimum=minimum, **words)

    @rule(
        queue=QUEUES,
        gpus=GPUS,
        names=NAMES,
        size=st.integers(1, 3),
        minimum=st.integers(1, 3),
        priority=st.sampled_from([40, 80]),
        bursts=st.booleans(),
        keep=st.booleans(),
    )
    def submit_to_a_reservation(
        self,
        queue: str,
        gpus: str,
        names: str,
        size: int,
        minimum: int,
        priority: int,
        bursts: bool,
        keep: bool,
    ) -> None:
        words = {"names": names, "p": str(priority)}
        words |= ({"bursts": ""} if bursts else {}) | ({"keep": ""} if keep else {})
        self.cluster.submit(queue, gpus, size=max(size, minimum), minimum=minimum, **words)

    @rule(node=st.sampled_from(["n0", "n1", "n2"]), reservation=st.sampled_from(["r", "s", None]))
    def reservation_begins_or_ends(self, node: str, reservation: str | None) -> None:
        self.cluster.reserve(node, reservation)

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


@pytest.mark.parametrize("strategy", list(Strategy))
def test_nobody_is_moved_to_and_fro_whichever_way_nodes_are_filled(strategy: Strategy) -> None:
    """In a spread pool whoever is moved would go back to the cleared node, if it were not for claimants."""
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
    assert (cluster.runs(large), cluster.evictions) == (True, 1)
    assert all(map(cluster.runs, cluster.jobs))


def test_one_is_moved_and_then_all_run_when_small_jobs_were_spread_over_all_nodes() -> None:
    cluster = Cluster(strategy=Strategy.SPREAD)
    cluster.set_quota("a", 8)
    for number in range(4):
        cluster.add_node(f"n{number}", 2)
        cluster.submit("a", "1")
    cluster.settle(MANY_CYCLES)
    assert {r.placement.node for r in cluster.running.values()} == set(cluster.nodes)
    wide = cluster.submit("a", "2")
    cluster.settle(MANY_CYCLES)
    assert cluster.evictions == 1
    assert cluster.runs(wide)
    assert all(map(cluster.runs, cluster.jobs))
    assert [cluster.cycle().evicted for _ in range(5)] == [()] * 5


@pytest.mark.parametrize("grace", [0, 1])
def test_who_preempts_gets_another_place_when_the_node_fails_that_was_cleared_for_it(grace: int) -> None:
    """In its own queue, though what it had evicted there first still waits, too."""
    cluster = Cluster(grace=grace)
    cluster.set_quota("a", 8)
    for name in ("n0", "n1"):
        cluster.add_node(name, 4)
    weak = [cluster.submit("a", "4", p="25") for _ in range(2)]
    cluster.settle(MANY_CYCLES)
    strong = cluster.submit("a", "4", p="80")
    while len(cluster.running) == len(weak):
        cluster.cycle()
    cleared = set(cluster.nodes) - {r.placement.node for r in cluster.running.values()}
    cluster.fail_node(cleared.pop())
    cluster.settle(MANY_CYCLES)
    assert cluster.runs(strong)
    assert cluster.evictions == 2


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=5),
    jobs=st.lists(st.tuples(st.sampled_from("ab"), GPUS, st.booleans()), max_size=12),
    ends=st.sets(st.integers(0, 11)),
    wide=st.lists(st.integers(2, 4), min_size=1, max_size=3),
    strategy=st.sampled_from(list(Strategy)),
    grace=st.integers(0, 2),
)
def test_moving_comes_to_rest_and_costs_nobody_its_place_whichever_way_nodes_are_filled(
    sizes: list[int], jobs: list[tuple[str, str, bool]], ends: set[int], wide: list[int],
    strategy: Strategy, grace: int,
) -> None:  # fmt: skip
    """Of equal priority and without bounds on their queues nobody goes but who is moved, so all go on."""
    cluster = Cluster(strategy=strategy, grace=grace)
    for number, gpus in enumerate(sizes):
        cluster.add_node(f"n{number}", gpus)
    for queue in "ab":
        cluster.set_quota(queue, 100)
    names = [cluster.submit(queue, gpus, **({"keep": ""} if keep else {})) for queue, gpus, keep in jobs]
    cluster.settle(MANY_CYCLES)
    for number in ends & set(range(len(names))):
        cluster.end(names[number])
    cluster.settle(MANY_CYCLES)
    ran = {name for name in cluster.jobs if cluster.runs(name)}
    for gpus in wide:
        cluster.submit("a", str(gpus))
    cluster.settle(MANY_CYCLES)
    assert ran <= {name for name in cluster.jobs if cluster.runs(name)}


@settings(max_examples=200, deadline=None)
@example(
    sizes=(1, 2, 0),
    quotas=(0, 1),
    late=[("r", 2, False)],
    is_kept_from_the_start=False,
    crowd=[("a", "1", "s", True, False, 3), ("b", "1", "r", True, False, 3)],
    strategy=Strategy.BINPACK,
    grace=0,
)  # two that burst onto each other's nodes
@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 3)),
    quotas=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    crowd=st.lists(
        st.tuples(
            st.sampled_from("ab"), GPUS, st.sampled_from(["r", "s", "t", ""]), st.booleans(), st.booleans(),
            st.integers(1, 3),
        ),
        max_size=14,
    ),
    late=st.lists(st.tuples(NAMES, st.integers(1, 3), st.booleans()), min_size=1, max_size=4),
    is_kept_from_the_start=st.booleans(),
    strategy=st.sampled_from(list(Strategy)),
    grace=st.integers(0, 2),
)  # fmt: skip
def test_owners_get_the_nodes_of_their_reservation_and_then_nothing_happens(
    sizes: tuple[int, int, int], quotas: tuple[int, int],
    crowd: list[tuple[str, str, str, bool, bool, int]], late: list[tuple[str, int, bool]],
    is_kept_from_the_start: bool, strategy: Strategy, grace: int,
) -> None:  # fmt: skip
    cluster = Cluster(strategy=strategy, grace=grace)
    for number, gpus in enumerate(sizes):
        cluster.add_node(f"n{number}", gpus)
    for queue, quota in zip("ab", quotas, strict=True):
        cluster.set_quota(queue, quota)
    cluster.set_quota("owner", sum(sizes))
    if is_kept_from_the_start:
        cluster.reserve("n0", "r")
        cluster.reserve("n1", "s")
    for queue, gpus, names, bursts, keep, size in crowd:
        words = ({"names": names} if names else {}) | ({"bursts": ""} if bursts else {})
        cluster.submit(queue, gpus, size=size, minimum=size, **words, **({"keep": ""} if keep else {}))
    cluster.settle(MANY_CYCLES)
    cluster.reserve("n0", "r")
    cluster.reserve("n1", "s")
    for names, gpus, bursts in late:
        cluster.submit("owner", str(gpus), names=names, **({"bursts": ""} if bursts else {}))
    cluster.settle(MANY_CYCLES)
    for name, job in cluster.jobs.items():
        if job.ask.queue == "owner" and not cluster.runs(name):
            _holds_only_who_may_stay(cluster, job.ask)


def _holds_only_who_may_stay(cluster: Cluster, ask: AskClass) -> None:
    """Of the nodes of a reservation so little could be taken back that an ask still would not fit."""
    for name, node in cluster.nodes.items():
        if node.reservation != ask.reservation:
            continue
        staying = {
            uuid
            for r in cluster.running.values()
            if r.placement.node == name and not may_go(r, ask)
            for uuid in r.placement.gpu_uuids
        }
        free = len(node.gpus) - len(staying)
        assert free < ask.gpu_count, f"{ask} waits, and {name} could be taken back"


def may_go(running: Running, ask: AskClass) -> bool:
    agreed = running.ask.may_burst and running.ask.reservation is not None
    return running.ask.reservation != ask.reservation and (running.ask.is_preemptible or agreed)


def shared_by_projects(sizes: tuple[int, int, int]) -> Cluster:
    """As the machine begins, without quotas: a and b in d, c in e; what is evicted has gone in a cycle."""
    cluster = Cluster(grace=0)
    for number, gpus in enumerate(sizes):
        cluster.add_node(f"n{number}", gpus)
    for name, parent in (("d", None), ("e", None), ("a", "d"), ("b", "d"), ("c", "e")):
        cluster.set_quota(name, 0, parent=parent)
    return cluster


def test_nobody_is_evicted_for_one_more_member_of_a_gang_that_has_just_been_evicted() -> None:
    """Found by the machine: another gang that asked for just the same still ran, and was taken for it."""
    cluster = shared_by_projects((1, 1, 4))
    cluster.submit("c", "1", size=2, minimum=2)
    cluster.submit("c", "1", size=3, minimum=2)
    cluster.submit("a", "1", size=4, minimum=2)
    cluster.settle(MANY_CYCLES)


def test_claimants_keep_the_order_of_their_queue_when_one_was_evicted_for_the_other() -> None:
    """Found by the machine: the one of lower priority went back to its old place, without end."""
    cluster = shared_by_projects((1, 2, 0))
    cluster.submit("a", "1")
    cluster.settle(MANY_CYCLES)
    cluster.submit("a", "1", size=2, p="80")
    cluster.settle(MANY_CYCLES)
    cluster.submit("c", "1", size=3)
    cluster.submit("a", "1", size=2)
    cluster.submit("a", "1", size=2, minimum=2)
    cluster.set_quota("c", 3, limit=2)
    cluster.set_quota("b", 3, limit=4)
    cluster.settle(MANY_CYCLES)


def test_gang_keeps_its_minimum_when_one_more_member_takes_its_queue_beyond_its_share() -> None:
    """Found by the machine: the minimum was taken for what the new member had just made too much."""
    cluster = Cluster(grace=0, starves_after=2)
    for number, gpus in enumerate((1, 1, 2)):
        cluster.add_node(f"n{number}", gpus)
    cluster.reserve("n0", "r")
    cluster.set_quota("d", 3)
    cluster.set_quota("a", 1, parent="d")
    cluster.set_quota("b", 2, parent="d")
    cluster.submit("a", "1", size=2, minimum=2)
    gang = cluster.submit("b", "1", size=3, minimum=2)
    cluster.settle(MANY_CYCLES)
    assert cluster.runs(gang)
    assert cluster.evictions == 0


def test_nobody_is_evicted_for_a_place_of_which_a_part_does_not_come_free() -> None:
    """Found by the machine: what was taken from a queue that was spared had been counted as free."""
    cluster = Cluster(grace=0, starves_after=2)
    for number, gpus in enumerate((3, 4, 3)):
        cluster.add_node(f"n{number}", gpus)
    for name, parent, quota in (("d", None, 3), ("e", None, 2), ("a", "d", 3), ("b", "d", 0), ("c", "e", 2)):
        cluster.set_quota(name, quota, parent=parent)
    cluster.submit("c", "1", size=5, minimum=3, together="kubernetes.io/hostname?")
    cluster.submit("b", "1")
    cluster.settle(MANY_CYCLES)
    cluster.submit("c", "1", size=2, minimum=2)
    cluster.submit("a", "1", size=3, minimum=2)
    for _ in range(3):
        cluster.cycle()
    cluster.submit("c", "1", size=2, minimum=2)
    cluster.submit("b", "1", together="kubernetes.io/hostname")
    cluster.settle(MANY_CYCLES)
    cluster.submit("b", "0.5", p="25")
    cluster.submit("a", "2", p="25")
    cluster.submit("b", "1", size=2, p="80")
    cluster.settle(MANY_CYCLES)
    cluster.set_quota("b", 4)
    cluster.settle(MANY_CYCLES)


@pytest.mark.parametrize("grace", [0, 1, 2])
def test_what_is_moved_has_its_new_place_before_those_who_waited_for_one(grace: int) -> None:
    """Found by the machine: another gang took it, all three began anew by turns, and that without end."""
    cluster = Cluster(grace=grace)
    for number, gpus in enumerate((1, 1, 3)):
        cluster.add_node(f"n{number}", gpus)
    for name, parent in (("d", None), ("e", None), ("a", "d"), ("c", "e")):
        cluster.set_quota(name, 0, parent=parent)
    cluster.submit("c", "1", size=3, minimum=3)
    moved = cluster.submit("a", "1", size=3, minimum=2)
    asker = cluster.submit("c", "1", size=2, minimum=2, spread="kubernetes.io/hostname:1")
    cluster.settle(MANY_CYCLES)
    assert len(cluster.members(moved)) == 3
    assert {r.placement.node for r in cluster.members(moved)} == {"n2"}
    assert cluster.runs(asker)


def test_nobody_takes_the_place_that_is_kept_for_what_still_leaves_for_it() -> None:
    cluster = Cluster(grace=2)
    cluster.set_quota("a", 9)
    for node in ("n0", "n1"):
        cluster.add_node(node, 2)
    first = cluster.submit("a", "1")
    cluster.submit("a", "1")
    moved = cluster.submit("a", "1")
    cluster.settle(MANY_CYCLES)
    cluster.end(first)
    wide = cluster.submit("a", "2")
    cluster.cycle()
    assert cluster.moving
    late = cluster.submit("a", "1")
    cluster.settle(MANY_CYCLES)
    assert cluster.runs(wide)
    assert cluster.runs(moved)
    assert not cluster.runs(late)
