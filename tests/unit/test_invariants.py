"""Each rule of the invariants has a world that breaks it, and none complains of a world that is well."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from homeport.runtime.model import ContainerState, Handle, Observed
from homeport.server.domain.serving import Serving
from homeport.server.domain.workload import Attempt, AttemptState, Phase, Workload, WorkloadSpec
from homeport.server.invariants import Facts, Lease, broken, broken_steps

NOW = 1_000_000
SPEC = WorkloadSpec("any:1", ("true",), "", 1, 512, gpu_count=1)
JOB = Workload("j", "local", "j", "job", "ada", 0, SPEC)
END = Workload("e", "local", "e", "endpoint", "ada", 0, replace(SPEC, gpu_count=0, serving=Serving(port=80)))
RUNS = Attempt(
    "j-0", 1, "j", 0, "n", 1, 512, 1, ("g0",), AttemptState.RUNNING, placed_at_ms=5, started_at_ms=5
)
SERVES = Attempt(
    "e-0", 1, "e", 0, "n", 1, 512, 1, state=AttemptState.RUNNING, placed_at_ms=5, started_at_ms=5
)
ENDED = replace(RUNS, state=AttemptState.ENDED, exit_code=0, finished_at_ms=9)


def container(attempt: Attempt, state: ContainerState = ContainerState.RUNNING) -> Observed:
    name = attempt.container_name("i")
    return Observed(
        Handle(name, name), attempt.workload_id, attempt.replica_id, attempt.number, 1, state,
        address="127.0.0.1",
    )  # fmt: skip


WELL = Facts(
    now_ms=NOW,
    workloads={"j": JOB, "e": END},
    phases={"j": Phase.RUNNING, "e": Phase.READY},
    attempts=[RUNS, SERVES],
    leases=[Lease("n", "g0", 1.0, "j-0", 1)],
    devices={"n": {"g0", "g1"}},
    observed=[container(RUNS), container(SERVES)],
    events={"j": Counter({"Scheduled": 1}), "e": Counter({"Scheduled": 1})},
    served={"local/e": ["e-0"]},
    allocated={"local": 1.0},
)


def job(attempt: Attempt, phase: Phase = Phase.RUNNING, **changes: object) -> Facts:
    """The job's attempt is this one, and the rest follows from it."""
    lives, both = attempt.is_live, [container(RUNS), container(SERVES)]
    return replace(
        WELL, attempts=[attempt, SERVES], phases={"j": phase, "e": Phase.READY},
        leases=WELL.leases if lives else [], allocated={"local": 1.0} if lives else {},
        observed=both if lives else [container(SERVES)], **changes,
    )  # fmt: skip


def of_job(change: Callable[[Workload], Workload]) -> dict[str, Workload]:
    return {"j": change(JOB), "e": END}


def stopping(workload: Workload) -> Workload:
    return replace(workload, spec=replace(workload.spec, is_stopped=True))


GANG = replace(JOB, spec=replace(SPEC, completions=2, parallelism=2))
MATE = replace(
    RUNS, replica_id="j-1", index=1, gpu_uuids=(), state=AttemptState.ENDED, exit_code=1, reason="Error",
    finished_at_ms=NOW - 120_000,
)  # fmt: skip
ALWAYS = {
    "damage": (replace(WELL, integrity="row missing"), "file is damaged: row missing"),
    "log-of-the-file": (replace(WELL, wal_bytes=2**30), "write-ahead log has grown to 1073741824"),
    "secret": (replace(WELL, leaks=["event.message"]), "stands in clear in event.message"),
    "leased-twice": (
        replace(WELL, leases=[*WELL.leases, Lease("n", "g0", 0.5, "x-0", 1)]),
        "g0 of node n is leased 1.5",
    ),
    "no-such-device": (replace(WELL, devices={"n": {"g1"}}), "which has no such device"),
    "lease-of-the-dead": (replace(WELL, leases=[*WELL.leases, Lease("n", "g1", 1, "j-0", 0)]), "not live"),
    "lease-of-another-size": (
        replace(WELL, leases=[Lease("n", "g0", 0.5, "j-0", 1)], allocated={"local": 0.5}),
        "another size",
    ),
    "no-lease": (replace(WELL, leases=[], allocated={}), "j-0, attempt 1, has GPU g0 without a lease"),
    "two-live": (
        replace(
            WELL,
            attempts=[*WELL.attempts, replace(SERVES, number=2)],
            events={"j": Counter(Scheduled=1), "e": Counter(Scheduled=2)},
        ),
        "e-0 has 2 live attempts",
    ),
    "earlier-lives": (
        replace(
            WELL,
            attempts=[*WELL.attempts, replace(SERVES, number=2, state=AttemptState.ENDED)],
            events={"j": Counter(Scheduled=1), "e": Counter(Scheduled=2)},
        ),
        "e-0, attempt 1, lives, and there is a later one",
    ),
    "placed-before": (
        replace(
            WELL,
            attempts=[*WELL.attempts, replace(ENDED, gpu_uuids=(), number=0, placed_at_ms=7)],
            events={"j": Counter(Scheduled=2), "e": Counter(Scheduled=1)},
        ),
        "j-0, attempt 1, was placed before the one that it follows",
    ),
    "no-workload": (
        replace(WELL, attempts=[*WELL.attempts, replace(SERVES, workload_id="x", replica_id="x-0")]),
        "x-0 belongs to no workload",
    ),
    "lives-after-the-end": (replace(WELL, phases={"j": Phase.FAILED, "e": Phase.READY}), "j is failed"),
    "no-such-node": (
        replace(WELL, devices={"m": {"g0"}}, leases=[Lease("m", "g0", 1, "j-0", 1)]),
        "j-0 is on node n, which there is not",
    ),
    "phase": (
        replace(WELL, phases={"j": Phase.QUEUED, "e": Phase.READY}),
        "stored as queued, and is running",
    ),
    "event-of-a-start": (replace(WELL, events={"e": Counter(Scheduled=1)}), "1 attempts, and 0 events"),
    "event-of-an-eviction": (
        job(
            replace(ENDED, reason="Evicted", evicted_by="preempted for x"),
            Phase.QUEUED,
            workloads=of_job(lambda w: replace(w, spec=replace(w.spec, is_preemptible=True))),
        ),
        "j was evicted 1 times, and its events tell of 0",
    ),
    "not-preemptible": (
        job(replace(RUNS, evicting_at_ms=8, evicted_by="reclaimed for x")),
        "cannot be preempted, and was reclaimed",
    ),
    "not-preemptible-and-never-burst": (
        job(replace(RUNS, evicting_at_ms=8, evicted_by="reserved for x")),
        "cannot be preempted, and was reserved",
    ),
    "half-a-gang": (replace(WELL, workloads=of_job(lambda _: GANG)), "began with 1 of the 2"),
    "told-otherwise": (replace(WELL, allocated={"local": 3.0}), "said to have 3 GPUs, and 1 are leased"),
}
AT_REST = {
    "two-containers": (
        replace(WELL, observed=[container(RUNS), container(SERVES), container(RUNS)]),
        "attempt 1, has 2 containers",
    ),
    "unknown-container": (
        replace(WELL, observed=[container(RUNS), container(SERVES), container(replace(RUNS, number=7))]),
        "belongs to no attempt",
    ),
    "container-of-the-dead": (
        replace(job(ENDED, Phase.COMPLETED), observed=WELL.observed),
        "still there, and its attempt has ended",
    ),
    "network": (replace(WELL, groups=["x"]), "network x belongs to nothing that runs"),
    "no-container": (replace(WELL, observed=[container(SERVES)]), "has no container that does"),
    "runs-unsaid": (
        job(replace(RUNS, state=AttemptState.PLACED), Phase.STARTING),
        "attempt 1, runs, and is not said to",
    ),
    "leaving": (
        replace(WELL, workloads=of_job(stopping), phases={"j": Phase.STOPPING, "e": Phase.READY}),
        "j is stopping, and nothing keeps it there",
    ),
    "to-end": (
        job(replace(RUNS, evicting_at_ms=8, evicted_by="stale gang")),
        "is to end (evicted: stale gang)",
    ),
    "not-started": (
        replace(job(replace(RUNS, state=AttemptState.PLACED), Phase.STARTING), observed=[container(SERVES)]),
        "was placed, and nobody starts it",
    ),
    "stale-gang": (
        replace(
            WELL,
            workloads=of_job(lambda _: replace(GANG, spec=replace(GANG.spec, worker_retries=1))),
            attempts=[RUNS, SERVES, MATE],
            events={"j": Counter(Scheduled=2), "e": Counter(Scheduled=1)},
        ),
        "runs with fewer members than it can",
    ),
    "route-lacks-one": (replace(WELL, served={}), "the gateway leads e to [], and ['e-0'] are ready"),
    "route-to-another": (replace(WELL, served={"local/e": ["e-0", "e-1"]}), "leads e to ['e-0', 'e-1']"),
    "route-of-the-stopped": (
        replace(
            WELL, workloads={"j": JOB, "e": stopping(END)}, phases={"j": Phase.RUNNING, "e": Phase.STOPPING}
        ),
        "the gateway leads e to ['e-0']",
    ),
}


def test_nothing_is_broken_when_all_is_well() -> None:
    assert broken(WELL, is_quiet=True) == []
    assert broken(job(ENDED, Phase.COMPLETED), is_quiet=True) == []


@pytest.mark.parametrize(("facts", "told"), [pytest.param(*row, id=name) for name, row in ALWAYS.items()])
def test_rule_that_always_holds_is_named_when_it_is_broken(facts: Facts, told: str) -> None:
    assert [said for said in broken(facts) if told in said], broken(facts)


@pytest.mark.parametrize(("facts", "told"), [pytest.param(*row, id=name) for name, row in AT_REST.items()])
def test_rule_of_a_server_at_rest_is_named_when_it_is_broken(facts: Facts, told: str) -> None:
    assert [said for said in broken(facts, is_quiet=True) if told in said], broken(facts, is_quiet=True)
    assert not [said for said in broken(facts) if told in said], "it holds only where nothing is under way"


def test_what_bursts_may_be_evicted_for_a_reservation_although_it_cannot_be_preempted() -> None:
    told = replace(RUNS, evicting_at_ms=8, evicted_by="reserved for x")
    bursts = of_job(lambda w: replace(w, spec=replace(w.spec, reservation="s", may_burst=True)))
    assert broken(job(told, workloads=bursts)) == []
    preempted = job(replace(told, evicted_by="preempted for x"), workloads=bursts)
    assert broken(preempted) == ["j cannot be preempted, and was preempted"]


def test_container_on_a_node_that_is_down_is_left_alone() -> None:
    lost = [container(ENDED, ContainerState.LOST), container(SERVES)]
    assert broken(replace(job(ENDED, Phase.COMPLETED), observed=lost), is_quiet=True) == []


def test_nothing_is_said_of_containers_when_the_runtime_does_not_answer() -> None:
    assert broken(replace(WELL, observed=None), is_quiet=True) == []


LATER = replace(WELL, attempts=[ENDED, SERVES])
STEPS = {
    "attempt-gone": (WELL, replace(WELL, attempts=[SERVES]), "j-0, attempt 1, is gone"),
    "ended-lives": (LATER, WELL, "j-0, attempt 1, had ended, and has changed"),
    "ended-changed": (LATER, replace(WELL, attempts=[replace(ENDED, exit_code=1), SERVES]), "has changed"),
    "began-not": (
        WELL,
        replace(WELL, attempts=[replace(RUNS, state=AttemptState.PLACED), SERVES]),
        "said not to have begun",
    ),
    "number-again": (
        WELL,
        replace(WELL, attempts=[replace(RUNS, number=0), *WELL.attempts]),
        "has not grown",
    ),
    "workload-gone": (WELL, replace(WELL, workloads={"e": END}), "j is gone"),
    "back-from-the-archive": (
        replace(WELL, workloads=of_job(lambda w: replace(w, archived_at_ms=5))),
        WELL,
        "was archived, and is no more",
    ),
    "generation": (
        replace(WELL, workloads=of_job(lambda w: replace(w, generation=3))),
        WELL,
        "back to generation 1",
    ),
}


def test_no_step_is_broken_when_things_go_their_way() -> None:
    assert broken_steps(WELL, WELL) == []
    assert broken_steps(WELL, LATER) == []
    assert broken_steps(LATER, replace(LATER, attempts=[*LATER.attempts, replace(RUNS, number=2)])) == []


@pytest.mark.parametrize(
    ("before", "after", "told"), [pytest.param(*row, id=name) for name, row in STEPS.items()]
)
def test_step_that_cannot_be_is_named(before: Facts, after: Facts, told: str) -> None:
    assert [said for said in broken_steps(before, after) if told in said], broken_steps(before, after)
