"""Decided and observed in, actions out. Pure: no clock, no store, no driver."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...runtime.health import FAULTS as GPU_FAULTS
from ...runtime.model import ContainerState, Observed
from ..domain.endpoints import UNHEALTHY, is_asleep, is_ready
from ..domain.lifecycle import advance, expires_at_ms, unwanted
from ..domain.rollouts import as_started
from ..domain.runs import EVICTED, NODE_LOST, Advance
from ..domain.workload import Attempt, AttemptState, Workload

Key = tuple[str, int]  # replica and attempt


@dataclass(frozen=True, slots=True)
class Launch:
    """The attempt is committed and has no running container."""

    workload: Workload
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Record:
    """Something was observed that the store does not know yet."""

    attempt: Attempt
    reason: str
    message: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    attempt: Attempt
    seen: Observed
    why: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Its endpoint has no traffic; it takes no requests any more."""

    workload: Workload
    attempt: Attempt
    seen: Observed


@dataclass(frozen=True, slots=True)
class Resume:
    attempt: Attempt
    seen: Observed


@dataclass(frozen=True, slots=True)
class Remove:
    """A container that nobody wants any more; `attempt` None: it is in no row of ours."""

    seen: Observed
    attempt: Attempt | None
    why: str
    keeps_log: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """The workload's decided state moves on; `before` guards against what happened meanwhile."""

    before: Workload
    advance: Advance


@dataclass(frozen=True, slots=True)
class Archive:
    workload: Workload
    why: str


Action = Launch | Record | Stop | Pause | Resume | Remove | Change | Archive


def diff(
    workloads: Mapping[str, Workload],
    attempts: Mapping[str, Sequence[Attempt]],
    observed: Iterable[Observed],
    *,
    now_ms: int,
) -> list[Action]:
    """
    Args:
        workloads: those not archived, by id.
        attempts: all of theirs, by their ids.
        observed: a complete list from the driver of what these workloads have, and of what
            belongs to none. Where the driver could not be asked there is no list and no call
            of this: unseen is not gone.
    """
    seen = {(o.replica_id, o.attempt): o for o in observed}
    actions: list[Action] = []
    for workload in workloads.values():
        mine = attempts.get(workload.id, ())
        if mine or not _only_waits(workload):  # thousands may
            actions.extend(_of_workload(workload, mine, seen, now_ms))
    unknown = [o for o in seen.values() if o.state is not ContainerState.LOST]  # else: when its node is back
    return actions + [Remove(o, None, "belongs to no attempt") for o in unknown]


def workload_of(action: Action) -> str:
    """The id of the workload that an action is about."""
    match action:
        case Launch(workload, _) | Pause(workload, _, _) | Archive(workload, _):
            return workload.id
        case Record() | Stop() | Resume():
            return action.attempt.workload_id
        case Remove(seen, _, _, _):
            return seen.workload_id
        case Change(before, _):
            return before.id


def _of_workload(
    workload: Workload, attempts: Sequence[Attempt], seen: dict[tuple[str, int], Observed], now_ms: int
) -> list[Action]:
    """Takes the containers that are its own out of `seen`."""
    actions: list[Action] = []
    is_busy = False
    whys = unwanted(workload, attempts)
    if workload.spec.serving is not None and (gone := {a.key for a in attempts if _is_gone(a, seen)}):
        # What has just ended keeps nothing up, so nothing else may go in its favour.
        rest = unwanted(workload, [a for a in attempts if a.key not in gone])
        whys = {key: why for key, why in whys.items() if key in gone} | rest
    for attempt in attempts:
        if attempt.is_live and attempt.reason in GPU_FAULTS:
            whys[attempt.key] = attempt.message  # who looks after the GPUs says so; what it runs cannot go on
        container = seen.pop(attempt.key, None)
        if container is not None and container.state is ContainerState.LOST and not attempt.is_live:
            continue  # nothing can be done about it until its node is back
        is_busy |= container is not None or attempt.is_live
        if attempt.is_live:
            actions.extend(_live(workload, attempt, container, whys.get(attempt.key, ""), now_ms))
        elif container is not None and container.state in (ContainerState.RUNNING, ContainerState.PAUSED):
            actions.append(Stop(attempt, container, "its attempt has ended"))
        elif container is not None:
            keeps_log = workload.spec.collects_logs
            actions.append(Remove(container, attempt, "its attempt has ended", keeps_log))
    if not is_busy and workload.is_deleting and workload.archived_at_ms is None:
        actions.append(Archive(workload, "it was removed"))
    elif not is_busy and (expiry := expires_at_ms(workload, attempts)) is not None and expiry <= now_ms:
        actions.append(Archive(workload, f"it ended {workload.spec.ttl_s} s ago, its time to live"))
    elif (step := advance(workload, attempts, now_ms)) is not None:
        actions.append(Change(workload, step))
    return actions


def _only_waits(workload: Workload) -> bool:
    """Where it has no attempt: nothing but a place is to be found for it."""
    is_job = workload.spec.serving is None
    return is_job and workload.is_wanted and workload.is_due and workload.retry_at_ms is None


def _is_gone(attempt: Attempt, seen: Mapping[tuple[str, int], Observed]) -> bool:
    """It ran, and does no more; the store does not know yet."""
    container = seen.get(attempt.key)
    ran = attempt.state is AttemptState.RUNNING
    return ran and (container is None or container.state in (ContainerState.EXITED, ContainerState.LOST))


def _live(
    workload: Workload, attempt: Attempt, seen: Observed | None, unwanted: str, now_ms: int
) -> list[Action]:
    if seen is not None and seen.state is ContainerState.EXITED:
        limit_mib = workload.spec.memory_limit_mib or attempt.memory_mib
        return [_ended(attempt, seen, unwanted, now_ms, limit_mib)]
    if seen is not None and seen.state is ContainerState.LOST:
        return [_lost(attempt, unwanted, now_ms)]
    if unwanted:
        if seen is None or seen.state is ContainerState.CREATED:
            over = replace(
                attempt, state=AttemptState.ENDED, reason=_told_to(attempt), finished_at_ms=now_ms,
                message=unwanted if attempt.started_at_ms else f"{unwanted}, before it ran",
            )  # fmt: skip
            return [Record(over, "Stopped", over.message)]
        if workload.spec.serving is not None and attempt.draining_at_ms is None:
            drains = replace(attempt, draining_at_ms=now_ms, draining_why=unwanted)
            return [Record(drains, "Draining", f"{attempt.replica_id} takes no new requests: {unwanted}")]
        return [Stop(attempt, seen, unwanted)]
    if seen is None and attempt.state is AttemptState.RUNNING:
        gone = replace(
            attempt, state=AttemptState.ENDED, reason="ContainerGone", finished_at_ms=now_ms, is_unseen=False,
            message="its container was removed by somebody else",
        )  # fmt: skip
        return [Record(gone, gone.reason, gone.message, is_warning=True)]
    if seen is None or seen.state is ContainerState.CREATED:
        return [Launch(as_started(workload, attempt), attempt)] if now_ms >= attempt.next_try_ms else []
    if attempt.state is AttemptState.PLACED:
        running = replace(attempt, state=AttemptState.RUNNING, started_at_ms=seen.started_at_ms or now_ms)
        if workload.spec.serving is not None and is_ready(workload, running):
            running = replace(running, ready_at_ms=now_ms)
        published = "".join(
            f"; port {p.container_port} is {p.host_port} of the host" for p in seen.ports if p.host_port
        )
        where = f"container {seen.handle.name} is running on {attempt.node}{published}"
        return [Record(running, "Started", where)]
    if attempt.is_unseen:
        again = replace(attempt, is_unseen=False)
        return [Record(again, "SeenAgain", f"container {seen.handle.name} is still running")]
    return [] if workload.spec.serving is None else _asleep_or_awake(workload, attempt, seen)


def _asleep_or_awake(workload: Workload, attempt: Attempt, seen: Observed) -> list[Action]:
    """At a warm zero containers are paused, once they take no requests; after it they go on."""
    is_paused = seen.state is ContainerState.PAUSED
    if is_asleep(workload):
        if attempt.is_paused:
            return [] if is_paused else [Pause(workload, attempt, seen)]
        message = f"{attempt.replica_id} has no traffic, and keeps what it has"
        return [Record(replace(attempt, is_paused=True), "Pausing", message)]
    if is_paused:
        return [Resume(attempt, seen)]
    if attempt.is_paused:
        again = replace(attempt, is_paused=False)
        return [Record(again, "Resumed", f"{attempt.replica_id} goes on where it was paused")]
    return []


def unseen(attempts: Iterable[Attempt], why: str) -> list[Record]:
    """What ran when the runtime stopped answering is of unknown state; nothing else is decided about it."""
    message = f"{why}; its state is not known"
    return [
        Record(replace(a, is_unseen=True), "RuntimeUnavailable", message, is_warning=True)
        for a in attempts
        if a.state is AttemptState.RUNNING and not a.is_unseen
    ]


def _lost(attempt: Attempt, unwanted: str, now_ms: int) -> Record:
    """It may run on behind a cut cable: whatever takes its place has a higher fencing number."""
    reason = _told_to(attempt) if unwanted else NODE_LOST
    message = f"its node {attempt.node} is down" + (f"; {unwanted}" if unwanted else "")
    over = replace(
        attempt, state=AttemptState.ENDED, reason=reason, message=message, finished_at_ms=now_ms,
        is_unseen=False,
    )  # fmt: skip
    return Record(over, reason, message, is_warning=True)


def _told_to(attempt: Attempt) -> str:
    """The reason of an end that Homeport brings about; a GPU's fault is a failure of what had begun on it."""
    if attempt.reason in GPU_FAULTS and attempt.state is AttemptState.RUNNING:
        return attempt.reason
    return "Stopped" if attempt.evicting_at_ms is None else EVICTED


def _ended(attempt: Attempt, seen: Observed, unwanted: str, now_ms: int, limit_mib: int) -> Record:
    code = seen.exit_code
    evicting, finished = attempt.evicting_at_ms, seen.finished_at_ms
    if evicting is not None and finished is not None and finished < evicting:
        unwanted = ""  # it had come to its own end before
    if unwanted:
        # A crash to whoever counts them: it did not end because somebody wanted fewer.
        reason = "Unhealthy" if unwanted == UNHEALTHY else _told_to(attempt)
        message = f"ended with exit code {code}: {unwanted}"
    elif seen.oom_killed:
        reason, message = "OOMKilled", f"went over its memory limit of {limit_mib} MiB"
    elif code == 0:
        reason, message = "Completed", "ended with exit code 0"
    elif code is not None and code > 128:
        reason, message = "Error", f"ended by signal {code - 128} (exit code {code})"
    else:
        reason, message = "Error", f"ended with exit code {code}"
    if seen.error:
        message += f": {seen.error}"
    if reason in GPU_FAULTS and code == 0:
        code = None  # it was told to end, and has not done its work by that
    over = replace(
        attempt, state=AttemptState.ENDED, exit_code=code, reason=reason, message=message, is_unseen=False,
        started_at_ms=seen.started_at_ms or attempt.started_at_ms,
        finished_at_ms=seen.finished_at_ms or now_ms,
    )  # fmt: skip
    told = "Stopped" if reason == EVICTED else reason  # that it is evicted was told when it was decided
    return Record(over, told, message, is_warning=reason in {"Error", "OOMKilled", "Unhealthy", *GPU_FAULTS})
