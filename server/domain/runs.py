"""Runs of a workload: which replicas are done, which are tried again, how it ended; and its phase."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from .evictions import evicted_why, is_by_taint
from .workload import Attempt, AttemptState, Phase, Run, Workload, WorkloadSpec

RETRY_FIRST_S, RETRY_LONGEST_S = 2, 300
EVICTED, NODE_LOST = "Evicted", "NodeLost"
UNCOUNTED = frozenset({"Stopped", EVICTED, NODE_LOST})  # ends that are not its own doing
STALE_S = 60  # that a gang may be below its minimum. Source: rule 12 of the contract's section 10, from KAI


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
    def was_evicted(self) -> bool:
        """Or has lost its node: it goes back in line, at no cost of its retries."""
        return bool(self.attempts) and self.attempts[-1].reason in (EVICTED, NODE_LOST)

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


def width(spec: WorkloadSpec) -> int:
    """Members that run at a time."""
    return min(spec.parallelism, spec.completions)


def first_members(spec: WorkloadSpec) -> int:
    """Of a run, those that start together or not at all."""
    if spec.starts_singly:
        return 1
    return max(1, min(spec.min_members or width(spec), width(spec)))


def minimum(spec: WorkloadSpec) -> int:
    """
    Members without which the others cannot go on. Where there are more tasks than run at a
    time each is on its own, once the first have begun.
    """
    if spec.serving is not None or spec.completions > width(spec):
        return 1
    return first_members(spec)


def is_elastic(spec: WorkloadSpec) -> bool:
    if spec.serving is not None or spec.starts_singly:
        return False
    return minimum(spec) == first_members(spec) < width(spec)


def replica_runs(workload: Workload, attempts: Sequence[Attempt]) -> Iterator[ReplicaRun]:
    by_index: dict[int, list[Attempt]] = {}
    for attempt in current_run(workload, attempts):
        by_index.setdefault(attempt.index, []).append(attempt)
    for index in range(workload.spec.completions):
        mine = sorted(by_index.get(index, []), key=lambda a: a.number)
        yield ReplicaRun(index, tuple(mine))


def outcome(workload: Workload, attempts: Sequence[Attempt]) -> Outcome:
    """
    Failed as soon as one replica has no try left; succeeded once all have. An elastic
    workload has once all that run have, and they are enough.
    """
    if _all_live(attempts):
        return Outcome.OPEN  # mostly; nothing has come to any end
    spec, replicas = workload.spec, list(replica_runs(workload, attempts))
    if any(r.has_failed(spec.worker_retries) for r in replicas) or is_over_by_eviction(workload, attempts):
        return Outcome.FAILED
    if is_elastic(spec):
        replicas = [r for r in replicas if r.attempts and not r.was_evicted] or replicas
        if len(replicas) < minimum(spec):
            return Outcome.OPEN
    return Outcome.SUCCEEDED if all(r.has_succeeded for r in replicas) else Outcome.OPEN


def _all_live(attempts: Sequence[Attempt]) -> bool:
    return AttemptState.ENDED not in [a.state for a in attempts]


def is_over_by_eviction(workload: Workload, attempts: Sequence[Attempt]) -> bool:
    return workload.spec.ends_when_evicted and any(
        a.reason == EVICTED and not is_by_taint(a) for a in current_run(workload, attempts)
    )


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
    """Replicas to place: together or not at all where `is_gang`; `is_extra`: it runs without them, too."""

    indexes: tuple[int, ...]
    is_gang: bool
    is_extra: bool = False


def needed(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> Need:
    """What should be placed now. The first members of a run form a gang; later ones come singly."""
    if not workload.is_wanted or not workload.is_due or workload.retry_at_ms is not None:
        return Need((), False)
    spec = workload.spec
    if not attempts and not spec.starts_singly:
        return _first_need(spec)
    if len(attempts) == spec.completions == 1 and attempts[0].is_live and not _is_past(workload, attempts[0]):
        return Need((), False)  # the two that nearly all are; what follows says the same
    replicas = list(replica_runs(workload, attempts))
    if outcome(workload, attempts) is not Outcome.OPEN:
        return Need((), False)
    if not any(r.attempts for r in replicas) and not spec.starts_singly:
        return _first_need(spec)
    if not any(_stays(r) for r in replicas):
        is_leaving = is_elastic(spec) and any(r.is_live for r in replicas)
        if is_leaving or _has_lost_its_gang(workload, replicas):
            return Need((), False)  # once the last of them has ended it begins anew, together
    room = width(spec) - sum(r.is_live for r in replicas)
    is_extra = False
    if is_elastic(spec):
        lacking = minimum(spec) - len(_present(replicas))
        if not _has_leader(spec, _present(replicas)):
            lacking = max(lacking, 1)  # without it the others do nothing, however many they are
        is_extra = lacking <= 0
        if is_extra and any(r.has_succeeded for r in replicas):
            return Need((), False)  # it comes to its end with those that it has
        room = min(room, lacking) if lacking > 0 else room
    waiting = [r.index for r in replicas if not r.is_live and not r.has_succeeded and r.next_try_ms <= now_ms]
    return Need(tuple(waiting[: max(0, room)]), False, is_extra)


def wanted_replicas(workload: Workload, attempts: Sequence[Attempt]) -> int:
    """How many live or are to, now or as soon as they may; without those that are done."""
    if not workload.is_wanted or not workload.is_due or workload.retry_at_ms is not None:
        return 0
    spec = workload.spec
    if not attempts:
        return width(spec)
    if outcome(workload, attempts) is not Outcome.OPEN:
        return 0
    replicas = list(replica_runs(workload, attempts))
    done = sum(r.has_succeeded for r in replicas)
    if done and is_elastic(spec):
        return sum(r.is_live for r in replicas)  # it comes to its end with those that it has
    return min(width(spec), spec.completions - done)


def _first_need(spec: WorkloadSpec) -> Need:
    first = first_members(spec)
    return Need(tuple(range(first)), first > 1)


def _is_past(workload: Workload, attempt: Attempt) -> bool:
    """It belongs to an earlier run."""
    return attempt.number < workload.first_attempt


def _present(replicas: Sequence[ReplicaRun]) -> list[ReplicaRun]:
    return [r for r in replicas if r.is_live or r.has_succeeded]


def _has_leader(spec: WorkloadSpec, replicas: Sequence[ReplicaRun]) -> bool:
    """Where it has one, that it is among these."""
    return not spec.is_led or any(r.index == 0 for r in replicas)


def _is_gang(spec: WorkloadSpec) -> bool:
    """Some of its members cannot go on without others."""
    if spec.completions == 1 or spec.serving is not None:
        return False
    return minimum(spec) > 1 or (spec.is_led and width(spec) > 1)


def is_below_minimum(workload: Workload, attempts: Sequence[Attempt]) -> bool:
    """Some of a gang run, and too few of them to go on."""
    if not _is_gang(workload.spec) or not any(a.is_live for a in attempts):
        return False
    there = _present(list(replica_runs(workload, attempts)))
    if not any(r.is_live for r in there):
        return False
    return len(there) < minimum(workload.spec) or not _has_leader(workload.spec, there)


def stale_at_ms(workload: Workload, attempts: Sequence[Attempt]) -> int | None:
    """
    When what still runs of a gang is to end, because the others have found no place for so
    long; None while it has its minimum, or nothing of it runs.
    """
    if not workload.is_wanted or not is_below_minimum(workload, attempts):
        return None
    replicas = replica_runs(workload, attempts)
    gone = [r for r in replicas if r.attempts and not r.is_live and not r.has_succeeded]
    since = max((max(r.next_try_ms, r.attempts[-1].finished_at_ms or 0) for r in gone), default=None)
    return None if since is None else since + STALE_S * 1000


def next_try_ms(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> int | None:
    """When time alone will change something about this workload, or None."""
    times = [workload.retry_at_ms] if workload.retry_at_ms is not None else []
    if not workload.is_due and workload.spec.start_at_ms is not None:
        times.append(workload.spec.start_at_ms)
    has_ended = not _all_live(attempts)
    if has_ended and workload.is_wanted and outcome(workload, attempts) is Outcome.OPEN:
        times += [r.next_try_ms for r in replica_runs(workload, attempts) if not r.is_live]
    if (expiry := expires_at_ms(workload, attempts)) is not None:
        times.append(expiry)
    if (stale := stale_at_ms(workload, attempts)) is not None:
        times.append(stale)
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
    if any(a.is_live for a in attempts):
        return None
    if _lost_its_gang(workload, attempts):
        message = "it starts from scratch, with all its members together"
        return Advance(begun_anew(workload, attempts), "Requeued", message)
    if (
        outcome(workload, attempts) is Outcome.FAILED
        and not is_over_by_eviction(workload, attempts)
        and workload.runs_failed < spec.run_retries
    ):
        pause_ms = back_off_ms(workload.runs_failed + 1)
        left = spec.run_retries - workload.runs_failed
        message = f"the run has failed; the next of {left} more begins in {pause_ms // 1000} s"
        return Advance(replace(workload, retry_at_ms=now_ms + pause_ms), "PendingRetry", message, True)
    return None


def _lost_its_gang(workload: Workload, attempts: Sequence[Attempt]) -> bool:
    if outcome(workload, attempts) is not Outcome.OPEN:
        return False
    return _has_lost_its_gang(workload, list(replica_runs(workload, attempts)))


def _has_lost_its_gang(workload: Workload, replicas: Sequence[ReplicaRun]) -> bool:
    """Evictions took so many members that those that stay, or have succeeded, are too few."""
    spec = workload.spec
    remaining = [r for r in replicas if _stays(r) or r.has_succeeded]
    is_lost = len(remaining) < minimum(spec) or not _has_leader(spec, remaining)
    return _is_gang(spec) and is_lost and any(r.was_evicted for r in replicas)


def _stays(replica: ReplicaRun) -> bool:
    return replica.is_live and replica.attempts[-1].evicting_at_ms is None


def stopped_why(workload: Workload) -> str:
    """Who stopped what is not wanted any more."""
    if workload.stopped_by and not workload.is_deleting:
        return f"stopped by a rule: {workload.stopped_by}"
    return "stopped by request"


def unwanted(workload: Workload, attempt: Attempt, has_failed: bool) -> str:
    """Why a live attempt must end, or ""."""
    if not workload.is_wanted:
        return stopped_why(workload)
    if attempt.evicting_at_ms is not None:
        return f"evicted: {evicted_why(attempt)}"
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


def rested_ms(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> int:
    """For how long what is stopped has had nothing to do: since then, or since its last container ended."""
    if any(a.is_live for a in attempts):
        return 0
    ends = [a.finished_at_ms for a in attempts if a.finished_at_ms is not None]
    since = [workload.created_at_ms, *ends]
    return now_ms - max(since if workload.stopped_at_ms is None else [*since, workload.stopped_at_ms])


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
