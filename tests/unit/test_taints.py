"""Who has to leave a node with a `NoExecute` taint, and when. Source: Kubernetes, taints and tolerations."""

from dataclasses import replace
from typing import Any

import pytest

from homeport.server.domain.evictions import evicting
from homeport.server.domain.inventory import HostNode
from homeport.server.domain.serving import Serving
from homeport.server.domain.workload import Attempt, AttemptState, Toleration, Workload, WorkloadSpec
from homeport.server.reconcile.taints import Verdict, barred, judge, tainted

GIVEN_AT, PLACED_AT = 100_000, 40_000
DRAIN = ("drain", "now", "NoExecute")


def node(
    *taints: tuple[str, str, str], name: str = "b", given_at_ms: int | None = GIVEN_AT, **fields: Any
) -> HostNode:
    """`given_at_ms` None: it was declared with them."""
    since = () if given_at_ms is None else tuple((k, e, given_at_ms) for k, _, e in taints)
    return HostNode(name, "default", 8, 8192, (), taints=taints, tainted_at_ms=since, **fields)


def work(members: int = 1, *tolerations: Toleration, **fields: Any) -> Workload:
    spec = WorkloadSpec(
        "any:1", ("true",), "cpu.small", 1, 512, completions=members, parallelism=members,
        tolerations=tolerations, **fields,
    )  # fmt: skip
    return Workload("w", "local", "w", "job", "ada", 0, spec)


def attempt(index: int = 0, on: str = "b", **fields: Any) -> Attempt:
    values: dict[str, Any] = {"state": AttemptState.RUNNING, "placed_at_ms": PLACED_AT} | fields
    return Attempt(f"w-{index}", 1, "w", index, on, 1, 512, 1, **values)


def left(verdict: Verdict) -> list[str]:
    return [one.attempt.replica_id for one in verdict.leaving]


@pytest.mark.parametrize(
    ("tolerations", "at_ms"),
    [
        pytest.param([], 0, id="not-tolerated"),
        pytest.param([("drain", "now", "NoExecute")], None, id="tolerated"),
        pytest.param([("drain", "now", None)], None, id="every-effect"),
        pytest.param([("", None, None)], None, id="everything"),
        pytest.param([("drain", "later", None)], 0, id="another-value"),
        pytest.param([("drain", "now", "NoSchedule")], 0, id="another-effect"),
        pytest.param([("drain", None, "NoExecute", 30)], GIVEN_AT + 30_000, id="for-so-long"),
        pytest.param(
            [("", None, "NoExecute", 30), ("drain", None, "NoExecute")], GIVEN_AT + 30_000,
            id="the-first-of-two-counts",
        ),
    ],
)  # fmt: skip
def test_toleration_says_until_when_work_may_stay(tolerations: list[Toleration], at_ms: int | None) -> None:
    found = barred(tolerations, node(DRAIN), PLACED_AT)
    assert (found and found.at_ms) == at_ms


def test_seconds_run_from_the_later_of_taint_and_placement() -> None:
    """From the placement where a node was always so: declared with it, or given it by an older server."""
    tolerations: list[Toleration] = [("drain", None, "NoExecute", 30)]
    for given_at_ms in (None, 0, PLACED_AT - 1):
        found = barred(tolerations, node(DRAIN, given_at_ms=given_at_ms), PLACED_AT)
        assert found
        assert found.at_ms == PLACED_AT + 30_000


def test_soonest_of_several_taints_is_told_with_its_remedy() -> None:
    tolerations: list[Toleration] = [("x", None, "NoExecute", 90), ("y", None, "NoExecute", 10)]
    found = barred(tolerations, node(("x", "1", "NoExecute"), ("y", "", "NoExecute")), 0)
    assert found
    assert (found.taint, found.tolerated_s) == ("y:NoExecute", 10)
    assert "homeport node untaint b y:NoExecute" in found.remedy
    declared = barred((), node(DRAIN, given_at_ms=None), 0)
    assert declared
    assert "change the node's declaration" in declared.remedy


@pytest.mark.parametrize("effect", ["NoSchedule", "PreferNoSchedule"])
def test_nothing_leaves_for_another_effect(effect: str) -> None:
    assert tainted([node(("drain", "now", effect))]) == {}


def test_what_is_on_a_node_that_is_down_is_left_as_it_is() -> None:
    nodes = [node(DRAIN), node(DRAIN, name="c")]
    assert list(tainted(nodes, frozenset({"b"}))) == ["c"]


NODES = tainted([node(DRAIN), node(name="a")])


def test_work_leaves_the_node_whether_or_not_it_can_be_preempted() -> None:
    for is_preemptible in (False, True):
        verdict = judge(work(is_preemptible=is_preemptible), [attempt()], NODES, GIVEN_AT)
        (leaving,) = verdict.leaving
        assert leaving.why == "the taint drain=now:NoExecute of node b"
        assert "which is not tolerated" in leaving.message
        assert "homeport node untaint b drain:NoExecute" in leaving.message


def test_work_that_is_only_placed_leaves_too_and_what_is_elsewhere_stays() -> None:
    assert left(judge(work(), [attempt(state=AttemptState.PLACED)], NODES, GIVEN_AT)) == ["w-0"]
    assert judge(work(), [attempt(on="a")], NODES, GIVEN_AT) == Verdict()


def test_tolerated_work_stays_until_its_seconds_are_over() -> None:
    workload, mine = work(1, ("drain", "now", "NoExecute", 30)), [attempt()]
    until = GIVEN_AT + 30_000
    assert judge(workload, mine, NODES, until - 1) == Verdict((), until)
    (leaving,) = judge(workload, mine, NODES, until).leaving
    assert "tolerated for 30 s only" in leaving.message


@pytest.mark.parametrize(
    ("fields", "leaves"),
    [
        pytest.param({}, ["w-0", "w-1", "w-2"], id="all-of-a-gang"),
        pytest.param({"min_members": 2}, ["w-0"], id="one-beyond-its-minimum"),
        pytest.param({"min_members": 2, "is_led": True}, ["w-0", "w-1", "w-2"], id="its-leader"),
        pytest.param({"starts_singly": True}, ["w-0"], id="no-gang"),
    ],
)
def test_gang_leaves_whole_where_the_rest_could_not_go_on(fields: dict[str, Any], leaves: list[str]) -> None:
    mine = [attempt(0), attempt(1, "a"), attempt(2, "a")]
    verdict = judge(work(3, **fields), mine, NODES, GIVEN_AT)
    assert left(verdict) == leaves
    if len(leaves) > 1:
        assert "cannot go on without w-0" in verdict.leaving[1].message


def test_replica_of_an_endpoint_leaves_alone() -> None:
    workload = replace(work(serving=Serving(replicas=2)), kind="endpoint")
    assert left(judge(workload, [attempt(0), attempt(1, "a")], NODES, GIVEN_AT)) == ["w-0"]


def test_what_ends_anyway_is_not_told_again() -> None:
    workload = work()
    told = evicting(workload, attempt(), "reclaimed", None, GIVEN_AT)
    assert judge(workload, [told], NODES, GIVEN_AT) == Verdict()
    assert judge(work(is_stopped=True), [attempt()], NODES, GIVEN_AT) == Verdict()
    ended = attempt(state=AttemptState.ENDED, exit_code=0)
    assert judge(workload, [ended], NODES, GIVEN_AT) == Verdict()
