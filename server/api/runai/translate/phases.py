"""
The phase of a workload, and of its pods, in Run:ai's words.

Source: contract section 8; the enum of runapy 1.224.0 (`Phase`, `WorkloadDesiredPhase`).
"""

from collections.abc import Mapping, Sequence

from .....scheduler.model import Code, Unplaced
from ....domain.exposures import is_reachable
from ....domain.runs import current_run, is_below_minimum, minimum, replica_runs, width
from ....domain.workload import Attempt, Phase, Workload

ENDED = ("Completed", "Failed")
# Those that follow from Homeport's phase alone; the others depend on the attempts.
PHASES: Mapping[Phase, str] = {
    Phase.AWAITING: "Pending",
    Phase.QUEUED: "Pending",
    Phase.STARTING: "Initializing",
    Phase.UNKNOWN: "Unknown",
    Phase.READY: "Running",
    Phase.UPDATING: "Updating",
    Phase.SCALING: "Running",
    Phase.ZERO: "Running",
    Phase.PENDING_RETRY: "Pending",
    Phase.COMPLETED: "Completed",
    Phase.FAILED: "Failed",
    Phase.STOPPING: "Stopping",
    Phase.STOPPED: "Stopped",
    Phase.DELETING: "Deleting",
}
OTHERS = {
    "Running": {Phase.RUNNING},
    "Degraded": {Phase.RUNNING, Phase.NOT_READY},
    "Initializing": {Phase.RUNNING, Phase.RESTARTING, Phase.NOT_READY},
    "Pending": {Phase.RESTARTING},
}
REASONS = {Code.OVER_QUOTA: "NonPreemptibleOverQuota", Code.OVER_LIMIT: "OverLimit"}
# Of the whole, as Kubernetes would tell of its pods.
K8S = {
    "Running": "Running", "Degraded": "Running", "Updating": "Running", "Stopping": "Running",
    "Deleting": "Running", "Completed": "Succeeded", "Failed": "Failed", "Unknown": "Unknown",
}  # fmt: skip


def phase_of(workload: Workload, phase: Phase, attempts: Sequence[Attempt]) -> str:
    match phase:
        case Phase.RUNNING:
            return _running(workload, attempts)
        case Phase.RESTARTING:
            return "Initializing" if any(a.is_live for a in attempts) else "Pending"
        case Phase.NOT_READY:
            return "Degraded" if any(a.ready_at_ms for a in attempts) else "Initializing"
        case Phase.ARCHIVED:
            return _last(workload, attempts)
        case _:
            return PHASES[phase]


def _running(workload: Workload, attempts: Sequence[Attempt]) -> str:
    """
    Running once all that is to run does, and is ready where that is asked; with fewer it is still
    coming, or has lost some.
    """
    replicas = list(replica_runs(workload, attempts))
    at_work = [r for r in replicas if any(is_reachable(workload, a) for a in r.attempts)]
    done = sum(r.has_succeeded for r in replicas)
    if len(at_work) + done >= min(width(workload.spec), len(replicas)):
        return "Running"
    if workload.spec.completions > width(workload.spec) or (workload.spec.starts_singly and at_work):
        return "Running"  # the next one is on its way
    if len(at_work) + done >= minimum(workload.spec) > 1 and not is_below_minimum(workload, attempts):
        return "Running"  # an elastic one has enough
    has_lost = any(r.failures or r.was_evicted for r in replicas) or any(
        a.ready_at_ms is not None and a.is_live for r in replicas if r not in at_work for a in r.attempts
    )
    return "Degraded" if has_lost else "Initializing"


def _last(workload: Workload, attempts: Sequence[Attempt]) -> str:
    """As it was before it was deleted, where that was an end."""
    if workload.is_deleting and any(a.reason == "Stopped" for a in current_run(workload, attempts)):
        return "Deleting"
    replicas = list(replica_runs(workload, attempts)) if workload.spec.serving is None else []
    if replicas and all(r.has_succeeded for r in replicas):
        return "Completed"
    if any(r.has_failed(workload.spec.worker_retries) for r in replicas):
        return "Failed"
    return "Deleting"


def states_of(phase: str) -> tuple[Phase, ...]:
    """Homeport's phases that may be shown as this one."""
    found = {state for state, told in PHASES.items() if told == phase} | OTHERS.get(phase, set())
    return tuple(sorted(found, key=lambda state: state.value))


def desired_phase(workload: Workload) -> str:
    """What its user has asked for last; the phase follows."""
    if workload.is_deleting or workload.archived_at_ms is not None:
        return "Deleted"
    return "Stopped" if workload.spec.is_stopped else "Running"


def k8s_phase(phase: str, *, has_pods: bool) -> str:
    """`has_pods`: some of its containers are there; what stops or is deleted without any runs no more."""
    return "Pending" if phase in ("Stopping", "Deleting") and not has_pods else K8S.get(phase, "Pending")


def reason_of(waiting: Unplaced | None) -> str | None:
    """`phaseReason`; None where Run:ai has no word for it."""
    return None if waiting is None else REASONS.get(waiting.code)


def in_words(text: str) -> str:
    """A sentence of Homeport's own in Run:ai's words: the scheduler calls a pool as Lepton does."""
    return text.replace("node group", "node pool")


def message_of(phase: str, waiting: Unplaced | None, attempts: Sequence[Attempt]) -> str:
    """
    The same text as that of the events: why it waits, what keeps it from running, or how the last
    attempt of a pod ended. What runs has no trouble, whatever it had before.
    """
    if waiting is not None:
        return in_words("; ".join(waiting.reasons))
    if phase == "Running":
        return ""
    if phase == "Initializing":
        attempts = [a for a in attempts if a.is_live]
    latest = {a.replica_id: a for a in sorted(attempts, key=lambda a: a.number)}  # what runs again is well
    last = max((a for a in latest.values() if a.message), key=lambda a: a.number, default=None)
    return "" if last is None else in_words(last.message)


def is_waiting(phase: str) -> bool:
    return phase == "Pending"
