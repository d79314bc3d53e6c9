"""The life of workloads that serve: what is ready, what is started again and when, the phase."""

from collections.abc import Sequence
from dataclasses import replace

from .rollouts import ROLLOUT_CRASHES, ROLLOUT_S, goal, is_rolling, revision_of, spec_of, specs
from .runs import UNCOUNTED, Advance, Need, stopped_why
from .serving import Serving
from .workload import Attempt, AttemptState, Phase, Workload

# As the kubelet: 10 s after the first crash, doubled up to 5 min, forgotten after 10 min of running.
CRASH_FIRST_S, CRASH_LONGEST_S, CRASH_FORGOTTEN_S = 10, 300, 600
SURGE = 1  # replicas beyond those wanted, while old ones are replaced by new ones

REPLACED = "replaced by a newer generation"
GIVEN_UP = "the update was given up"
SPARE = "fewer replicas are wanted"
IDLE = "it has had no traffic"
UNHEALTHY = "it failed its liveness probe"


def serving_of(workload: Workload) -> Serving:
    assert workload.spec.serving is not None, f"{workload.id} does not serve"
    return workload.spec.serving


def wanted_replicas(workload: Workload) -> int:
    """0 where it is stopped or given up, and where it has no traffic."""
    serving, decided = serving_of(workload), workload.decided_replicas
    if not workload.is_wanted or workload.failed or decided == 0:
        return 0
    if decided is None or serving.scaling is None:
        return serving.replicas
    return max(serving.replicas, min(decided, serving.scaling.most))


def is_asleep(workload: Workload) -> bool:
    """It has no replica for want of traffic, and nobody has stopped it."""
    return workload.is_wanted and not workload.failed and workload.decided_replicas == 0


def is_ready(workload: Workload, attempt: Attempt) -> bool:
    """It takes requests; an old one too, until a new one has taken its place."""
    spec = spec_of(workload, attempt)
    if spec is None or spec.serving is None or attempt.state is not AttemptState.RUNNING:
        return False
    return (
        attempt.draining_at_ms is None
        and not attempt.is_paused
        and (
            spec.serving.readiness is None or (attempt.readiness is not None and attempt.readiness.is_passing)
        )
        and (attempt.is_approved or not spec.serving.needs_approval)
    )


def ready_of(workload: Workload, attempts: Sequence[Attempt]) -> list[Attempt]:
    return [a for a in attempts if is_ready(workload, a)]


def in_play(workload: Workload, attempts: Sequence[Attempt]) -> list[Attempt]:
    """Old and new ones that live, and the last of each wanted replica that does not."""
    ended = [mine[-1] for mine in _by_index(workload, attempts, goal(workload)) if mine]
    return [a for a in attempts if a.is_live] + [a for a in ended if not a.is_live]


def crashes(attempts: Sequence[Attempt]) -> int:
    """
    How often one replica has ended in a row without having run for long; attempts oldest
    first. An end that was asked for starts the count anew.
    """
    count = 0
    for attempt in reversed([a for a in attempts if not a.is_live]):
        if attempt.reason in UNCOUNTED:
            break
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


def _by_index(workload: Workload, attempts: Sequence[Attempt], revision: int) -> list[list[Attempt]]:
    """Those of each wanted replica of one revision, oldest first."""
    found: list[list[Attempt]] = [[] for _ in range(wanted_replicas(workload))]
    for attempt in sorted(attempts, key=lambda a: a.number):
        if attempt.index < len(found) and revision_of(workload, attempt) == revision:
            found[attempt.index].append(attempt)
    return found


def _waiting(workload: Workload, attempts: Sequence[Attempt]) -> list[tuple[int, int]]:
    """Index and next try of each wanted replica that has no live attempt."""
    each = enumerate(_by_index(workload, attempts, goal(workload)))
    return [(index, _next_try_ms(mine)) for index, mine in each if not any(a.is_live for a in mine)]


def _others(workload: Workload, attempts: Sequence[Attempt]) -> list[Attempt]:
    """Live ones of another revision than is started now."""
    return [a for a in attempts if a.is_live and revision_of(workload, a) != goal(workload)]


def needed(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> Need:
    """Replicas come singly: each is placed as soon as there is room for it."""
    waiting = [i for i, at_ms in _waiting(workload, attempts) if at_ms <= now_ms]
    if waiting and workload.before and _others(workload, attempts):
        live = [a for a in attempts if a.is_live]
        surge = 0 if any(a.draining_at_ms is not None for a in live) else SURGE  # what leaves makes room
        waiting = waiting[: max(0, wanted_replicas(workload) + surge - len(live))]
    return Need(tuple(waiting), False)


def is_surge(workload: Workload, attempts: Sequence[Attempt]) -> bool:
    """A replica that is started now is one more than are wanted."""
    if not workload.before:
        return False
    has_all = sum(a.is_live for a in attempts) >= wanted_replicas(workload)
    return has_all and bool(_others(workload, attempts))


def has_leaving(workload: Workload, attempts: Sequence[Attempt]) -> bool:
    """What ran before it was begun anew has not ended yet, and is not kept up for anybody."""
    return not workload.before and bool(_others(workload, attempts))


def room_maker(workload: Workload, attempts: Sequence[Attempt]) -> Attempt | None:
    """
    The old replica that is to end before its successor starts, where there is no room for
    both. One at a time: while one is on its way out or in, none.
    """
    live = [a for a in attempts if a.is_live]
    if not is_surge(workload, attempts) or any(a.draining_at_ms is not None for a in live):
        return None
    old = _others(workload, attempts)
    if any(not is_ready(workload, a) for a in live if a not in old):
        return None
    return min(old, key=lambda a: _leaving_order(workload, a), default=None)


def _leaving_order(workload: Workload, attempt: Attempt) -> tuple[int, int]:
    """Old before new, and what is fallen back on after all else that is old."""
    revision = revision_of(workload, attempt)
    return (1 if revision == goal(workload) else -revision, attempt.index)


def unwanted(workload: Workload, attempts: Sequence[Attempt]) -> dict[tuple[str, int], str]:
    """Why live attempts must end, by their key; those not in it go on. What drains has been told so."""
    live = [a for a in attempts if a.is_live]
    whys = {a.key: why for a in live if (why := a.draining_why or _own_reason(workload, a))}
    rest = [a for a in live if a.key not in whys and is_ready(workload, a)]
    leaving = [(a, why) for a in rest if (why := _place_taken(workload, a))]
    leaving.sort(key=lambda left: _leaving_order(workload, left[0]))
    if wanted := wanted_replicas(workload):  # else what there is has its own reason, or sleeps
        whys |= {a.key: why for a, why in leaving[: max(0, len(rest) - wanted)]}
    return whys


def _own_reason(workload: Workload, attempt: Attempt) -> str:
    """Why an attempt must end whatever the others do, or ""."""
    revision = revision_of(workload, attempt)
    if not workload.is_wanted:
        return stopped_why(workload)
    if revision not in specs(workload):
        return REPLACED
    if workload.failed:
        return workload.failed
    if attempt.liveness is not None and not attempt.liveness.is_passing:
        return UNHEALTHY
    if not wanted_replicas(workload):
        keeps = workload.is_warm and revision == goal(workload) and attempt.state is AttemptState.RUNNING
        return "" if keeps else IDLE
    return "" if is_ready(workload, attempt) else _place_taken(workload, attempt)


def _place_taken(workload: Workload, attempt: Attempt) -> str:
    """Why it may go once enough others are ready, or ""."""
    if revision_of(workload, attempt) != goal(workload):
        return GIVEN_UP if workload.rollout_failed else REPLACED
    return "" if attempt.index < wanted_replicas(workload) else SPARE


def advance(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> Advance | None:
    """What is decided about it follows what has happened: an update ends or fails, a wake is over."""
    if not workload.is_wanted:
        return None
    if is_rolling(workload):
        if why := _failure(workload, attempts, now_ms):
            message = f"{why}; the update is given up, and what there was before serves on"
            return Advance(replace(workload, rollout_failed=why), "RolloutFailed", message, True)
        new = [a for a in ready_of(workload, attempts) if revision_of(workload, a) == goal(workload)]
        if len(new) >= wanted_replicas(workload) and not _others(workload, attempts):
            message = f"all replicas ({len(new)}) are of version {workload.major}.{workload.minor}"
            return Advance(replace(workload, before=()), "RolloutComplete", message)
    if why := _unready(workload, attempts, now_ms):
        message = f"{why}; it is given up until it is changed"
        return Advance(replace(workload, failed=why, is_waking=False), "InitializationFailed", message, True)
    if workload.is_waking and ready_of(workload, attempts):
        return Advance(replace(workload, is_waking=False), "Woken", "it takes requests again")
    return None


def _unready(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> str:
    """Why it is given up: its first replica has had its time; or ""."""
    due_ms = _ready_by_ms(workload, attempts)
    if due_ms is None or now_ms < due_ms:
        return ""
    return f"no replica has become ready within {serving_of(workload).ready_within_s} s"


def _ready_by_ms(workload: Workload, attempts: Sequence[Attempt]) -> int | None:
    """
    Until when a replica has to be ready; None: it may take its time, or one has been. The wait for a
    place does not count, nor what was taken from it.
    """
    within_s = serving_of(workload).ready_within_s
    if within_s is None or workload.before or workload.failed or not workload.is_wanted:
        return None
    mine = [a for a in attempts if a.number >= workload.first_attempt]
    if any(a.ready_at_ms is not None for a in mine):
        return None
    placed = [a.placed_at_ms for a in mine if a.is_live or a.reason not in UNCOUNTED]
    return min(placed) + within_s * 1000 if placed else None


def _patience_s(workload: Workload) -> int:
    """That a rollout may go without a replica that becomes ready."""
    return serving_of(workload).ready_within_s or ROLLOUT_S


def _progress_ms(workload: Workload, attempts: Sequence[Attempt]) -> int:
    """When the rollout has last come nearer to its end."""
    mine = [a for a in attempts if revision_of(workload, a) == workload.first_attempt]
    return max([workload.before[-1].replaced_at_ms, *(a.ready_at_ms for a in mine if a.ready_at_ms)])


def _failure(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> str:
    """Why the rollout under way will not come to its end, or ""."""
    each = _by_index(workload, attempts, workload.first_attempt)
    for mine in each:
        if (count := crashes(mine)) >= ROLLOUT_CRASHES:
            return f"{mine[-1].replica_id} has ended {count} times: {mine[-1].message}"
    if any(_lacks_approval_only(workload, a) for mine in each for a in mine):
        return ""  # that is a person's pace
    patience_s = _patience_s(workload)
    if now_ms < _progress_ms(workload, attempts) + patience_s * 1000:
        return ""
    tried = [a for mine in each for a in mine if not is_ready(workload, a)]
    told = tried[-1].message if tried else "there was no room for it"
    time = f"{patience_s // 60} min" if patience_s % 60 == 0 else f"{patience_s} s"
    return f"no new replica has become ready within {time}" + (f": {told}" if told else "")


def _lacks_approval_only(workload: Workload, attempt: Attempt) -> bool:
    return attempt.is_live and not is_ready(workload, attempt) and is_ready(
        workload, replace(attempt, is_approved=True)
    )  # fmt: skip


def next_try_ms(workload: Workload, attempts: Sequence[Attempt], now_ms: int) -> int | None:
    times = [at for _, at in _waiting(workload, attempts)]
    if is_rolling(workload):
        times.append(_progress_ms(workload, attempts) + _patience_s(workload) * 1000)
    if (due_ms := _ready_by_ms(workload, attempts)) is not None:
        times.append(due_ms)
    return min((t for t in times if t > now_ms), default=None)


def phase_of(workload: Workload, attempts: Sequence[Attempt]) -> Phase:
    live = [a for a in attempts if a.is_live]
    if workload.archived_at_ms is not None:
        return Phase.ARCHIVED
    if workload.is_deleting:
        return Phase.DELETING
    if workload.spec.is_stopped:
        return Phase.STOPPING if live else Phase.STOPPED
    if workload.failed:
        return Phase.STOPPING if live else Phase.FAILED
    if is_asleep(workload):
        return Phase.ZERO if all(a.is_paused for a in live) else Phase.SCALING
    has_all = len(ready_of(workload, attempts)) >= wanted_replicas(workload)
    if has_all and any(a.is_unseen for a in live):
        return Phase.UNKNOWN
    if is_rolling(workload):
        return Phase.UPDATING
    if has_all:
        return Phase.READY
    if any(_has_crashed(mine) for mine in _by_index(workload, attempts, goal(workload))):
        return Phase.NOT_READY  # it has crashed, or was ready once and lost a replica
    if workload.decided_replicas is not None:
        return Phase.SCALING
    return Phase.STARTING if live else Phase.QUEUED


def _has_crashed(mine: Sequence[Attempt]) -> bool:
    ended = [a for a in mine if not a.is_live]
    return bool(ended) and ended[-1].reason not in UNCOUNTED
