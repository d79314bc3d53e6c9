"""`diff` and the rules of runs: tables of situations, and a machine that plays any order of events."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from homeport.runtime.model import ContainerState, Handle, Observed
from homeport.server.domain.runs import Outcome, back_off_ms, begun_anew, needed, outcome, phase_of
from homeport.server.domain.workload import Attempt, AttemptState, Phase, Workload, WorkloadSpec
from homeport.server.reconcile.attention import Attention
from homeport.server.reconcile.replicas import (
    Action,
    Archive,
    Change,
    Launch,
    Pause,
    Record,
    Remove,
    Resume,
    Stop,
    diff,
    workload_of,
)
from homeport.server.store.active import Entry
from homeport.server.store.documents import to_doc
from homeport.server.store.found import Found

SPEC = WorkloadSpec(image="a:1", command=("true",), shape="cpu.small", cpu_cores=1, memory_mib=4096)


def workload(**fields: object) -> Workload:
    spec = {k: v for k, v in fields.items() if k in WorkloadSpec.__dataclass_fields__}
    rest = {k: v for k, v in fields.items() if k not in spec}
    return Workload("w-abcd", "local", "w", "job", "me", 0, replace(SPEC, **spec), **rest)  # type: ignore[arg-type]


def attempt(number: int = 1, index: int = 0, **fields: object) -> Attempt:
    return Attempt(f"w-abcd-{index}-abcd", number, "w-abcd", index, "n", 1, 4096, 1, **fields)  # type: ignore[arg-type]


def ended(code: int | None, number: int = 1, index: int = 0, reason: str = "") -> Attempt:
    return attempt(
        number, index, state=AttemptState.ENDED, exit_code=code, reason=reason, finished_at_ms=1000
    )


PLACED, RUNNING = attempt(), attempt(state=AttemptState.RUNNING, started_at_ms=5)


@pytest.mark.parametrize(
    ("made", "attempts", "phase"),
    [
        (workload(), [], Phase.QUEUED),
        (workload(is_due=False), [], Phase.AWAITING),
        (workload(), [PLACED], Phase.STARTING),
        (workload(), [RUNNING], Phase.RUNNING),
        (workload(), [ended(0)], Phase.COMPLETED),
        (workload(), [ended(1)], Phase.FAILED),
        (workload(), [ended(None)], Phase.FAILED),
        (workload(worker_retries=1), [ended(1)], Phase.PENDING_RETRY),
        (workload(worker_retries=1), [ended(1), attempt(2)], Phase.RESTARTING),
        (workload(worker_retries=1), [ended(1), ended(0, 2)], Phase.COMPLETED),
        (workload(run_retries=1, retry_at_ms=9), [ended(1)], Phase.PENDING_RETRY),
        (workload(completions=2, parallelism=2), [RUNNING, ended(0, index=1)], Phase.RUNNING),
        (workload(completions=2, parallelism=2), [RUNNING, ended(1, index=1)], Phase.RUNNING),
        (workload(completions=2), [ended(0)], Phase.QUEUED),
        (workload(is_stopped=True), [RUNNING], Phase.STOPPING),
        (workload(is_stopped=True), [ended(143, reason="Stopped")], Phase.STOPPED),
        (workload(is_stopped=True), [ended(0)], Phase.COMPLETED),
        (workload(is_deleting=True), [RUNNING], Phase.DELETING),
        (workload(archived_at_ms=1), [ended(0)], Phase.ARCHIVED),
        (workload(first_attempt=2), [ended(1)], Phase.QUEUED),
    ],
)
def test_phase_follows_from_what_is_asked_decided_and_seen(
    made: Workload, attempts: list[Attempt], phase: Phase
) -> None:
    assert phase_of(made, attempts) is phase


@pytest.mark.parametrize(
    ("made", "attempts", "now_ms", "indexes", "is_gang"),
    [
        (workload(), [], 0, (0,), False),
        (workload(completions=3, parallelism=2), [], 0, (0, 1), True),
        (workload(completions=3, parallelism=2), [ended(0), attempt(1, 1)], 0, (2,), False),
        (workload(completions=3, parallelism=2), [attempt(), attempt(1, 1)], 0, (), False),
        (workload(worker_retries=1), [ended(1)], 2999, (), False),
        (workload(worker_retries=1), [ended(1)], 3000, (0,), False),
        (workload(), [ended(1)], 9000, (), False),
        (workload(is_stopped=True), [], 0, (), False),
        (workload(is_due=False), [], 0, (), False),
        (workload(retry_at_ms=9), [ended(1)], 9, (), False),
    ],
)
def test_needed_is_what_may_start_now(
    made: Workload, attempts: list[Attempt], now_ms: int, indexes: tuple[int, ...], is_gang: bool
) -> None:
    need = needed(made, attempts, now_ms)
    assert (need.indexes, need.is_gang) == (indexes, is_gang)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        pytest.param(PLACED, "stopped by request, before it ran", id="placed"),
        pytest.param(RUNNING, "stopped by request", id="its-container-has-gone"),
    ],
)
def test_unwanted_attempt_without_a_container_is_said_not_to_have_run_only_if_so(
    made: Attempt, told: str
) -> None:
    asked = workload(is_stopped=True)
    told_of = [
        a.message for a in diff({asked.id: asked}, {asked.id: [made]}, [], now_ms=9) if isinstance(a, Record)
    ]
    assert told_of == [told]


def test_pauses_double_up_to_five_minutes() -> None:
    assert [back_off_ms(n) // 1000 for n in (1, 2, 3, 8, 9, 1000)] == [2, 4, 8, 256, 300, 300]


class Machine(RuleBasedStateMachine):
    """One workload, its rows and its containers; every action that `diff` asks for may be late or lost."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 1000
        self.workload = workload(completions=3, parallelism=2, worker_retries=1, run_retries=1)
        self.attempts: list[Attempt] = []
        self.seen: dict[tuple[str, int], Observed] = {}
        self.starts: list[tuple[str, int]] = []
        self.attention = Attention()
        self.known: tuple[object, ...] = ()

    def actions(self) -> list[Action]:
        held = {} if self.workload.archived_at_ms else {self.workload.id: self.workload}
        rows = self.attempts if held else []
        seen = list(self.seen.values())
        anew = diff(held, {self.workload.id: rows}, seen, now_ms=self.now_ms)
        assert self.looked_at(held, rows) == anew, "what needs something was not looked at"
        return anew

    def looked_at(self, held: dict[str, Workload], rows: list[Attempt]) -> list[Action]:
        """As the loop, which looks at what has changed only."""
        phase = phase_of(self.workload, rows)
        entries = {i: Entry(Found(i, 1, 1, phase, to_doc(w)), tuple(rows)) for i, w in held.items()}
        before, self.known = self.known, (held, tuple(rows))
        touched = {self.workload.id} if self.known != before else set[str]()
        chosen = self.attention.choose(entries, touched, dict(self.seen), self.now_ms)
        found = {i: w for i, w in held.items() if i in chosen}
        seen = [o for o in self.seen.values() if o.workload_id in chosen]
        actions = diff(found, {i: rows for i in found}, seen, now_ms=self.now_ms)
        busy = {workload_of(a) for a in actions}
        calm = [(w, rows) for i, w in found.items() if i not in busy]
        self.attention.settle(calm, chosen - found.keys() - busy, self.now_ms)
        return actions

    def save(self, new: Attempt) -> None:
        self.attempts = [new if a.key == new.key else a for a in self.attempts]

    def apply(self, action: Action) -> None:
        match action:
            case Record(new):
                self.save(new)
            case Change(_, step):
                self.workload = step.workload
            case Archive():
                self.workload = replace(self.workload, archived_at_ms=self.now_ms)
            case Launch(_, mine):
                assert mine.key not in self.starts or mine.key in self.seen, "started a second time"
                self.starts.append(mine.key)
                handle = Handle(f"{mine.key}", f"{mine.key}")
                self.seen[mine.key] = Observed(
                    handle, "w-abcd", mine.replica_id, mine.number, 1, ContainerState.RUNNING,
                    started_at_ms=self.now_ms,
                )  # fmt: skip
            case Stop(_, seen, _):
                self.end(seen, 143)
            case Remove(seen, _, _):
                del self.seen[(seen.replica_id, seen.attempt)]
            case Pause() | Resume():
                raise AssertionError("only what serves is paused")

    def end(self, seen: Observed, code: int) -> None:
        self.seen[(seen.replica_id, seen.attempt)] = replace(
            seen, state=ContainerState.EXITED, exit_code=code, finished_at_ms=self.now_ms
        )

    @rule(lost=st.sets(st.integers(0, 7), max_size=3))
    def one_pass(self, lost: set[int]) -> None:
        for number, action in enumerate(self.actions()):
            if number not in lost:
                self.apply(action)
        self.place()

    def place(self) -> None:
        need = needed(self.workload, self.attempts, self.now_ms)
        number = max((a.number for a in self.attempts), default=0) + 1
        self.attempts += [attempt(number, index, placed_at_ms=self.now_ms) for index in need.indexes]

    @rule(code=st.sampled_from([0, 0, 1, 137]), which=st.integers(0, 9))
    def container_ends(self, code: int, which: int) -> None:
        if running := [o for o in self.seen.values() if o.state is ContainerState.RUNNING]:
            self.end(running[which % len(running)], code)

    @rule(which=st.integers(0, 9))
    def somebody_removes_a_container(self, which: int) -> None:
        recorded = {a.key for a in self.attempts if a.state is AttemptState.RUNNING}
        if known := [k for k in self.seen if k in recorded]:
            del self.seen[known[which % len(known)]]

    @rule(seconds=st.integers(1, 10))
    def time_passes(self, seconds: int) -> None:
        self.now_ms += seconds * 1000

    @rule(chance=st.integers(0, 5))
    def stop(self, chance: int) -> None:
        if chance:
            return  # else most sequences would be over before anything has happened
        self.workload = replace(self.workload, spec=replace(self.workload.spec, is_stopped=True))

    @rule()
    def start(self) -> None:
        if self.workload.spec.is_stopped and not self.workload.is_deleting:
            again = begun_anew(self.workload, self.attempts)
            self.workload = replace(again, spec=replace(again.spec, is_stopped=False), runs_failed=0)

    @rule(chance=st.integers(0, 5))
    def delete(self, chance: int) -> None:
        if chance:
            return
        self.workload = replace(self.workload, is_deleting=True)

    @invariant()
    def one_container_at_most_runs_for_a_replica_of_this_run(self) -> None:
        mine = [
            o.replica_id
            for o in self.seen.values()
            if o.state is ContainerState.RUNNING and o.attempt >= self.workload.first_attempt
        ]
        assert len(mine) == len(set(mine))

    def teardown(self) -> None:
        """Whatever happened: left alone it settles, and then there is nothing to do."""
        for _ in range(200):
            if actions := self.actions():
                for action in actions:
                    self.apply(action)
            self.place()
            for seen in list(self.seen.values()):
                if seen.state is ContainerState.RUNNING:
                    self.end(seen, 0)
            self.now_ms += 60_000
        assert self.actions() == []
        assert self.seen == {}
        if self.workload.is_deleting:
            assert self.workload.archived_at_ms is not None
        elif not self.workload.spec.is_stopped:
            assert outcome(self.workload, self.attempts) is not Outcome.OPEN


Machine.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
test_any_order_of_events_ends_settled = Machine.TestCase
