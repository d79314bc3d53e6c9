"""Runs of a workload: which replicas are done, which are tried again, how it ended; and its phase."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from .workload import Attempt, AttemptState, Phase, Run, Workload

RETRY_FIRST_S, RETRY_LONGEST_S = 2, 300
UNCOUNTED = frozenset({"Stopped"})  # ends that Homeport brought about itself


class Outcome(Enum):
    OPEN = "open"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


def back_off_ms(failures: int) -> int:
    """The pause after the n-th failure in a row: 2 s, doubled each time, 5 min at most."""
    return min(RETRY_FIRST_S * 2 ** min(failures - 1, 20), RETRY_LONGEST_S) * 1000


def failures_of(attempts: Sequence[Attempt]) -> list[Attempt]:
    return [a for a in attempts if not a.is_live and a.exit_code != 0 and a.reason not in UNCOUNTED]


def current_run(workload: Workload, attempts: Sequence[Attempt]) -> list[Attempt]:
    return [a for a in attempts if a.number >= workload.first_attempt]


@dataclass(frozen=True, slots=True)
class ReplicaRun:
    """One replica's attempts within the current run, oldest first."""

    index: int
    attempts: tuple[Attempt, ...]

    @property
    def is_live(self) -> bool:
        return any(a.is_live for a in self.attempts)

    @property
    def has_succeeded(self) -> bool:
        return any(not a.is_live and a.exit_code == 0 and a.reason not in UNCOUNTED for a in self.attempts)

    @property
    def failures(self) -> int:
        return len(failures_of(self.attempts))

    def has_failed(self, retries: int) -> bool:
        return not self.has_succeeded and self.failures > retries

    @property
    def next_try_ms(self) -> int:
        """0 where nothing has failed yet."""
        failed = failures_of(self.attempts)
        return (failed[-1].finished_at_ms or 0) + back_off_ms(len(failed)) if failed else 0


def replica_runs(workload: Workload, attempts: Sequence[Attempt]) -> Iterator[ReplicaRun]:
    by_index: dict[int, list[Attempt]] = {}
    for attempt in current_run(workload, attempts):
        by_index.setdefault(attempt.index, []).append(attempt)
    for index in range(workload.spec.completions):
        mine = sorted(by_index.get(index, []), key=lambda a: a.number)
        yield ReplicaRun(index, tuple(mine))


def outcome(workload: Workload, attempts: Sequence[Attempt]) -> Outcome:
    """Failed as soon as one replica has no try left; succeeded once all have."""
    if not attempts:
        return Outcome.OPEN
    replicas = list(replica_runs(workload, attempts))
    if any(r.has_failed(workload.spec.worker_retries) for r in replicas):
        return Outcome.FAILED
    return Outcome.SUCCEEDED if all(r.has_succeeded for r in replicas) else Outcome.OPEN


def phase_of(workload: Workload, attempts: Sequence[Attempt]) -> Phase:
    """Derived from spec, decided and observed; nobody sets it by hand."""
    run = current_run(workload, attempts)
    has_live = any(a.is_live for a in attempts)
    if workload.archived_at_ms is not None:
        return Phase.ARCHIVED
    if workload.is_deleting:
        return Phase.DELETING
    if workload.retry_at_ms is not None and not workload.spec.is_stopped:
        return Phase.PENDING_RETRY
    ended = outcome(workload, attempts)
    if ended is not Outcome.OPEN and not has_live:
        return Phase.COMPLETED if ended is Outcome.SUCCEEDED else Phase.FAILED
    if workload.spec.is_stopped:
        return Phase.STOPPING if has_live else Phase.STOPPED
    if not workload.is_due:
        return Phase.AWAITING
    if running := [a for a in run if a.state is AttemptState.RUNNING]:
        return Phase.UNKNOWN if any(a.is_unseen for a in running) else Phase.RUNNING
    if run and not has_live and failures_of(run):
        return Phase.PENDING_RETRY
    if workload.runs_failed or failures_of(run):
        return Phase.RESTARTING
    return Phase.STARTING if has_live else Phase.QUEUED


@dataclass(frozen=True, slots=True)
class Need:
    """Replicas to place: together or not at all where `is_gang`."""

    indexes: tuple[int, ...]
    is_gang: bool


def needed(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> Need:
    """What should be placed now. The first members of a run form a gang; later ones come singly."""
    if not workload.is_wanted or not workload.is_due or workload.retry_at_ms is not None:
        return Need((), False)
    replicas = list(replica_runs(workload, attempts))
    if outcome(workload, attempts) is not Outcome.OPEN:
        return Need((), False)
    width = min(workload.spec.parallelism, workload.spec.completions)
    if not any(r.attempts for r in replicas):
        return Need(tuple(range(width)), width > 1)
    room = width - sum(r.is_live for r in replicas)
    waiting = [r.index for r in replicas if not r.is_live and not r.has_succeeded and r.next_try_ms <= now_ms]
    return Need(tuple(waiting[: max(0, room)]), False)


def next_try_ms(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> int | None:
    """When time alone will change something about this workload, or None."""
    times = [workload.retry_at_ms] if workload.retry_at_ms is not None else []
    if not workload.is_due and workload.spec.start_at_ms is not None:
        times.append(workload.spec.start_at_ms)
    if attempts and workload.is_wanted and outcome(workload, attempts) is Outcome.OPEN:
        times += [r.next_try_ms for r in replica_runs(workload, attempts) if not r.is_live]
    if (expiry := expires_at_ms(workload, attempts)) is not None:
        times.append(expiry)
    return min((t for t in times if t > now_ms), default=None)


def finished_at_ms(workload: Workload, attempts: Sequence[Attempt]) -> int | None:
    ends = [a.finished_at_ms for a in current_run(workload, attempts) if a.finished_at_ms is not None]
    return max(ends, default=None)


def expires_at_ms(workload: Workload, attempts: Sequence[Attempt]) -> int | None:
    """When a workload that has ended by itself goes to the archive; None while it has not."""
    if workload.spec.ttl_s is None or phase_of(workload, attempts) not in (Phase.COMPLETED, Phase.FAILED):
        return None
    ended = finished_at_ms(workload, attempts)
    return None if ended is None else ended + workload.spec.ttl_s * 1000


@dataclass(frozen=True, slots=True)
class Advance:
    """A change of the workload's decided state that follows from what has happened."""

    workload: Workload
    reason: str
    message: str
    is_warning: bool = False


def advance(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> Advance | None:
    if not workload.is_wanted:
        return None
    spec = workload.spec
    if not workload.is_due:
        if now_ms >= (spec.start_at_ms or 0):
            return Advance(replace(workload, is_due=True), "Due", "its start time has come")
        return None
    if workload.retry_at_ms is not None:
        if now_ms < workload.retry_at_ms:
            return None
        again = begun_anew(workload, attempts)
        again = replace(again, runs_failed=workload.runs_failed + 1)
        return Advance(again, "Restarting", f"run {again.runs_failed + 1} begins")
    has_ended = not any(a.is_live for a in attempts)
    if (
        has_ended
        and outcome(workload, attempts) is Outcome.FAILED
        and workload.runs_failed < spec.run_retries
    ):
        pause_ms = back_off_ms(workload.runs_failed + 1)
        left = spec.run_retries - workload.runs_failed
        message = f"the run has failed; the next of {left} more begins in {pause_ms // 1000} s"
        return Advance(replace(workload, retry_at_ms=now_ms + pause_ms), "PendingRetry", message, True)
    return None


def unwanted(workload: Workload, attempt: Attempt, has_failed: bool) -> str:
    """Why a live attempt must end, or ""."""
    if not workload.is_wanted:
        return "stopped by request"
    if has_failed:
        return "another worker has failed and has no retry left"
    return "" if attempt.number >= workload.first_attempt else "a new run has begun"


def begun_anew(workload: Workload, attempts: Sequence[Attempt]) -> Workload:
    """The same workload with a run from scratch; the run so far becomes history."""
    last = max((a.number for a in attempts), default=0)
    history = workload.history
    if run := current_run(workload, attempts):
        history = (*history, run_record(workload, run))
    return replace(workload, first_attempt=last + 1, retry_at_ms=None, history=history)


def run_record(workload: Workload, run: Sequence[Attempt]) -> Run:
    ended_well = sum(r.has_succeeded for r in replica_runs(workload, run))
    result = outcome(workload, run)
    phase = {Outcome.SUCCEEDED: Phase.COMPLETED, Outcome.FAILED: Phase.FAILED}.get(result, Phase.STOPPED)
    return Run(
        number=len(workload.history) + 1,
        first_attempt=workload.first_attempt,
        phase=phase,
        succeeded=ended_well,
        failed=len(failures_of(run)),
        began_at_ms=min(a.placed_at_ms for a in run),
        finished_at_ms=max(a.finished_at_ms or a.placed_at_ms for a in run),
    )
