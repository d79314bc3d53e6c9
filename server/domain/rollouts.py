"""Old and new replicas of an endpoint: what each was made from, and how one kind takes the other's place."""

from collections.abc import Sequence
from dataclasses import replace

from .workload import Attempt, Revision, Workload, WorkloadSpec

BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
# Far from all the small numbers by which one revision differs from the next, and prime to 36**4.
STRIDE = 611_953
ROLLOUT_S = 600  # without a replica that becomes ready; as progressDeadlineSeconds of a Kubernetes Deployment
ROLLOUT_CRASHES = 3


def specs(workload: Workload) -> dict[int, WorkloadSpec]:
    """What may run, by revision; a revision is named by its first attempt."""
    return {r.first_attempt: r.spec for r in workload.before} | {workload.first_attempt: workload.spec}


def revision_of(workload: Workload, attempt: Attempt) -> int:
    """0 where it belongs to none of those that may run."""
    known = specs(workload)
    if attempt.revision:
        return attempt.revision if attempt.revision in known else 0
    return max((r for r in known if r <= attempt.number), default=0)


def spec_of(workload: Workload, attempt: Attempt) -> WorkloadSpec | None:
    """What it was made from; None: from something that is to run no more."""
    return specs(workload).get(revision_of(workload, attempt))


def goal(workload: Workload) -> int:
    """The revision that replicas are started from."""
    return workload.before[0].first_attempt if workload.rollout_failed else workload.first_attempt


def as_started(workload: Workload, attempt: Attempt | None = None) -> Workload:
    """As its containers see it: with the spec of that attempt, or of those that are started now."""
    if not workload.before:
        return workload
    revision = goal(workload) if attempt is None else revision_of(workload, attempt)
    spec = specs(workload).get(revision, workload.spec)
    return workload if spec is workload.spec else replace(workload, spec=spec)


def is_rolling(workload: Workload) -> bool:
    return bool(workload.before) and not workload.rollout_failed


def replica_id(workload: Workload, index: int) -> str:
    """Of a replica that is started now. Old and new of one index live side by side, so their ids differ."""
    suffix, revision = workload.id[-4:], goal(workload)
    if workload.spec.serving is not None and revision > 1:
        number = (int(suffix, 36) + (revision - 1) * STRIDE) % 36**4
        suffix = "".join(BASE36[number // 36**i % 36] for i in (3, 2, 1, 0))
    return f"{workload.id}-{index}-{suffix}"


def resumed(workload: Workload, now_ms: int) -> Workload:
    """After a start of the server: while it was away no replica could become ready."""
    before = tuple(replace(r, replaced_at_ms=now_ms) for r in workload.before)
    return replace(workload, before=before) if is_rolling(workload) else workload


def begun_anew(
    workload: Workload, spec: WorkloadSpec, attempts: Sequence[Attempt], ready: Sequence[Attempt], now_ms: int
) -> Workload:
    """
    The workload as it is once all its replicas are to be made from `spec`.

    Args:
        ready: those of `attempts` that take requests. Where there is none nothing has to
            be kept up, and all is replaced at once.
    """
    serving = {revision_of(workload, a) for a in ready}
    known = [*workload.before, Revision(workload.spec, workload.first_attempt, now_ms)]
    before = tuple(replace(r, replaced_at_ms=now_ms) for r in known if r.first_attempt in serving)
    first = max((a.number for a in attempts), default=0) + 1
    return replace(workload, spec=spec, first_attempt=first, before=before, rollout_failed="", failed="")
