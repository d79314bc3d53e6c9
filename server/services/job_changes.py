"""What may change of a job that is there, and when. Each part is a `Change` of one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..domain.lifecycle import phase_of
from ..domain.workload import Attempt, Phase, Workload, WorkloadSpec
from ..errors import Conflict, Forbidden
from .access import Caller
from .workloads import Change, check_not_deleting

Make = Callable[[WorkloadSpec], WorkloadSpec]
# One that is stopped takes its new standing with it once it is started.
WAITING = frozenset({Phase.AWAITING, Phase.QUEUED, Phase.PENDING_RETRY, Phase.RESTARTING, Phase.STOPPED})
OVER = frozenset({Phase.COMPLETED, Phase.FAILED})


def in_turn(changes: Sequence[Change]) -> Change:
    """
    One after the other; where one refuses, none is made. The last that does anything names the event.

    Raises:
        Conflict: it is being deleted, so that no change would have an effect.
    """

    def change(workload: Workload, attempts: list[Attempt]) -> tuple[Workload, str]:
        check_not_deleting(workload, workload.id)
        told = ""
        for one in changes:
            before = workload
            workload, reason = one(workload, attempts)
            told = reason if workload != before else told
        return workload, told

    return change


def requeued(make: Make) -> Change:
    """
    Another place in the queue for what waits in it.

    Args:
        make: the spec with another priority, or other rights to evict and be evicted.

    Raises:
        Conflict: it has its place already, or has ended.
    """

    def change(workload: Workload, attempts: list[Attempt]) -> tuple[Workload, str]:
        phase, spec = phase_of(workload, attempts), make(workload.spec)
        if phase not in WAITING or any(a.is_live for a in attempts):
            if _standing(spec) == _standing(workload.spec):
                return workload, ""
            raise Conflict(f"{workload.id} is {phase.value}; queue_config can change only while it waits")
        return replace(workload, spec=spec), "QueueChanged"

    return change


def _standing(spec: WorkloadSpec) -> tuple[int, bool, bool]:
    return spec.priority, spec.is_preemptible, spec.can_preempt


def described(who: Caller, make: Make) -> Change:
    """
    What is said of a job, how often it is tried and how long it stays.

    Args:
        make: the spec with another visibility, other labels, retries or time to live.

    Raises:
        Conflict: it has ended, and would have further tries.
        Forbidden: it would be hidden from, or shown to, others than its owner has said.
    """

    def change(workload: Workload, attempts: list[Attempt]) -> tuple[Workload, str]:
        old, spec, phase = workload.spec, make(workload.spec), phase_of(workload, attempts)
        if spec.is_private != old.is_private and not (who.is_admin or who.owner == workload.owner):
            raise Forbidden(f"only {workload.owner} and admins may change who sees {workload.id}")
        tries = (spec.worker_retries, spec.run_retries) != (old.worker_retries, old.run_retries)
        if tries and phase in OVER:
            raise Conflict(f"{workload.id} is {phase.value}; its retries can change only until it ends")
        return replace(workload, spec=spec), "JobChanged"

    return change
