"""Decided and observed in, actions out. Pure: no clock, no store, no driver."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...runtime.model import ContainerState, Observed
from ..domain.workload import Attempt, AttemptState, Workload


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
class Remove:
    """A container that nobody wants any more; `attempt` None: it is in no row of ours."""

    seen: Observed
    attempt: Attempt | None
    why: str


@dataclass(frozen=True, slots=True)
class Archive:
    workload: Workload


Action = Launch | Record | Stop | Remove | Archive


def diff(
    workloads: Mapping[str, Workload],
    attempts: Sequence[Attempt],
    observed: Iterable[Observed],
    *,
    now_ms: int,
) -> list[Action]:
    """
    Args:
        workloads: those not archived, by id.
        attempts: all of theirs.
        observed: a complete list from the driver. Where the driver could not be
            asked there is no list and no call of this: unseen is not gone.
    """
    seen = {(o.replica_id, o.attempt): o for o in observed}
    actions: list[Action] = []
    busy: set[str] = set()
    for attempt in attempts:
        workload = workloads[attempt.workload_id]
        container = seen.pop(attempt.key, None)
        if container is not None or attempt.is_live:
            busy.add(workload.id)
        if attempt.is_live:
            actions.extend(_live(workload, attempt, container, now_ms))
        elif container is not None and container.state is ContainerState.RUNNING:
            actions.append(Stop(attempt, container, "its attempt has ended"))
        elif container is not None:
            actions.append(Remove(container, attempt, "its attempt has ended"))
    actions.extend(Remove(o, None, "belongs to no attempt") for o in seen.values())
    actions.extend(Archive(w) for w in workloads.values() if w.is_deleting and w.id not in busy)
    return actions


def _live(workload: Workload, attempt: Attempt, seen: Observed | None, now_ms: int) -> list[Action]:
    if seen is not None and seen.state is ContainerState.EXITED:
        return [_ended(workload, attempt, seen, now_ms)]
    if not workload.is_wanted:
        if seen is None or seen.state is ContainerState.CREATED:
            over = replace(
                attempt, state=AttemptState.ENDED, reason="Stopped", message="stopped before it ran",
                finished_at_ms=now_ms,
            )  # fmt: skip
            return [Record(over, "Stopped", over.message)]
        return [Stop(attempt, seen, "stopped by request")]
    if seen is None and attempt.state is AttemptState.RUNNING:
        gone = replace(
            attempt, state=AttemptState.ENDED, reason="ContainerGone", finished_at_ms=now_ms,
            message="its container was removed by somebody else",
        )  # fmt: skip
        return [Record(gone, gone.reason, gone.message, is_warning=True)]
    if seen is None or seen.state is ContainerState.CREATED:
        return [Launch(workload, attempt)] if now_ms >= attempt.next_try_ms else []
    if attempt.state is AttemptState.PLACED:
        running = replace(attempt, state=AttemptState.RUNNING, started_at_ms=seen.started_at_ms or now_ms)
        return [Record(running, "Started", f"container {seen.handle.name} is running on {attempt.node}")]
    return []


def _ended(workload: Workload, attempt: Attempt, seen: Observed, now_ms: int) -> Record:
    code = seen.exit_code
    if not workload.is_wanted:
        reason, message = "Stopped", f"ended with exit code {code} after a request to stop"
    elif seen.oom_killed:
        reason, message = "OOMKilled", f"went over its memory limit of {attempt.memory_mib} MiB"
    elif code == 0:
        reason, message = "Completed", "ended with exit code 0"
    elif code is not None and code > 128:
        reason, message = "Error", f"ended by signal {code - 128} (exit code {code})"
    else:
        reason, message = "Error", f"ended with exit code {code}"
    if seen.error:
        message += f": {seen.error}"
    over = replace(
        attempt, state=AttemptState.ENDED, exit_code=code, reason=reason, message=message,
        started_at_ms=seen.started_at_ms or attempt.started_at_ms,
        finished_at_ms=seen.finished_at_ms or now_ms,
    )  # fmt: skip
    return Record(over, reason, message, is_warning=reason in ("Error", "OOMKilled"))
