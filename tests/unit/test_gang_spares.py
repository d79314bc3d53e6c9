"""A gang that preempts: members beyond a minimum go before whole workloads (rule 12)."""

from homeport.scheduler.plan import plan
from tests.unit.scenarios.tables import Scenario, snapshot_of


def test_a_gang_takes_members_beyond_a_minimum_before_any_workload_ends() -> None:
    nodes, queues = "n 4\nm 4", "a quota=8"
    running = "el a 1 n,n,n,n,m,m,m,m min=2 p=40"
    shown = snapshot_of(Scenario("s", 11, "here", nodes, queues, running, "hi a 1 x4 p=80"))
    answer = plan(shown)
    assert sorted(e.id for e in answer.evicted) == ["el/4", "el/5", "el/6", "el/7"]
