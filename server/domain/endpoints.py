"""The life of workloads that serve: what is ready, what is started again and when, the phase."""

from collections.abc import Sequence

from .runs import Need, current_run
from .serving import Serving
from .workload import Attempt, AttemptState, Phase, Workload

# As the kubelet: 10 s after the first crash, doubled up to 5 min, forgotten after 10 min of running.
CRASH_FIRST_S, CRASH_LONGEST_S, CRASH_FORGOTTEN_S = 10, 300, 600


def serving_of(workload: Workload) -> Serving:
    assert workload.spec.serving is not None, f"{workload.id} does not serve"
    return workload.spec.serving


def is_ready(workload: Workload, attempt: Attempt) -> bool:
    serving = serving_of(workload)
    return (
        attempt.state is AttemptState.RUNNING
        and attempt.number >= workload.first_attempt
        and (serving.readiness is None or (attempt.readiness is not None and attempt.readiness.is_passing))
        and (attempt.is_approved or not serving.needs_approval)
    )


def crashes(attempts: Sequence[Attempt]) -> int:
    """How often one replica has ended in a row without having run for long; attempts oldest first."""
    count = 0
    for attempt in reversed([a for a in attempts if not a.is_live]):
        count += 1
        ran_ms = (attempt.finished_at_ms or 0) - (attempt.started_at_ms or attempt.finished_at_ms or 0)
        if ran_ms >= CRASH_FORGOTTEN_S * 1000:
            break
    return count


def _next_try_ms(mine: Sequence[Attempt]) -> int:
    """When a replica that is not live may be started; 0 at once."""
    if (count := crashes(mine)) == 0:
        return 0
    pause_s = min(CRASH_FIRST_S * 2 ** min(count - 1, 20), CRASH_LONGEST_S)
    return max(a.finished_at_ms or 0 for a in mine) + pause_s * 1000


def _waiting(workload: Workload, attempts: Sequence[Attempt]) -> list[tuple[int, int]]:
    """Index and next try of each wanted replica that has no live attempt."""
    run = current_run(workload, attempts)
    found: list[tuple[int, int]] = []
    for index in range(serving_of(workload).replicas if workload.is_wanted else 0):
        mine = sorted((a for a in run if a.index == index), key=lambda a: a.number)
        if not any(a.is_live for a in mine):
            found.append((index, _next_try_ms(mine)))
    return found


def needed(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> Need:
    """Replicas come singly: each is placed as soon as there is room for it."""
    return Need(tuple(i for i, at_ms in _waiting(workload, attempts) if at_ms <= now_ms), False)


def next_try_ms(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> int | None:
    return min((at for _, at in _waiting(workload, attempts) if at > now_ms), default=None)


def unwanted(workload: Workload, attempt: Attempt) -> str:
    """Why a live attempt must end, or ""."""
    if not workload.is_wanted:
        return "stopped by request"
    if attempt.number < workload.first_attempt:
        return "replaced by a newer generation"
    if attempt.index >= serving_of(workload).replicas:
        return "fewer replicas are wanted"
    if attempt.liveness is not None and not attempt.liveness.is_passing:
        return "it failed its liveness probe"
    return ""


def phase_of(workload: Workload, attempts: Sequence[Attempt]) -> Phase:
    live = [a for a in attempts if a.is_live]
    if workload.archived_at_ms is not None:
        return Phase.ARCHIVED
    if workload.is_deleting:
        return Phase.DELETING
    if workload.spec.is_stopped:
        return Phase.STOPPING if live else Phase.STOPPED
    run = current_run(workload, attempts)
    if sum(is_ready(workload, a) for a in run) >= serving_of(workload).replicas:
        return Phase.UNKNOWN if any(a.is_unseen for a in live) else Phase.READY
    if any(not a.is_live for a in run):
        return Phase.NOT_READY  # it has crashed, or was ready once and lost a replica
    return Phase.STARTING if live else Phase.QUEUED
