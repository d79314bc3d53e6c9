"""
Events of a workload, and its history: the same events, with the phases that followed from them.

Source of the fields: runapy 1.224.0, `Event1`, `HistoryRecord1`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ....store.tables import EventRow
from .. import ids
from .org import time_to_wire
from .phases import ENDED, in_words, message_of
from .seen import Seen

COMPONENT = "homeport"
# The phase that begins with an event of this reason, as it is told by whoever decides.
BEGINS: Mapping[str, str] = {
    "Created": "Pending",
    "Scheduled": "Initializing",
    "Started": "Running",
    "Evicted": "Pending",
    "Requeued": "Pending",
    "PendingRetry": "Pending",
    "Restarting": "Pending",
    "StopRequested": "Stopping",
    "Stopped": "Stopped",
    "StartRequested": "Resuming",
    "DeleteRequested": "Deleting",
}
# Where a probe says when it is ready.
PROBED: Mapping[str, str] = {**BEGINS, "Started": "Initializing", "Ready": "Running", "Unhealthy": "Degraded"}
ENDS = ("Completed", "Error", "OOMKilled", "FailedToStart", "ContainerGone", "Evicted")  # of one pod


def event_to_wire(row: EventRow, seen: Seen) -> dict[str, Any]:
    return {
        "id": ids.of_event(row.seq or 0),
        "createdAt": time_to_wire(row.last_ms),
        "type": row.type,
        "reason": row.reason,
        "message": in_words(row.message),
        "source": COMPONENT,
        "clusterId": seen.where.cluster_id,
        "involvedObject": {
            "uid": seen.id,
            "kind": seen.type,
            "name": seen.workload.name,
            "namespace": seen.project.namespace,
        },
    }


def history(rows: Sequence[EventRow], seen: Seen) -> Iterator[dict[str, Any]]:
    """Oldest first. A phase is told where it differs from the one before it; the last is the present one."""
    ends = [i for i, row in enumerate(rows) if row.reason in ENDS]
    phase, at_ms = "", seen.workload.created_at_ms
    told = BEGINS if seen.spec.readiness is None else PROBED
    for i, row in enumerate(rows):
        at_ms = row.last_ms
        yield _record(at_ms, "Event", {"event": event_to_wire(row, seen)})
        # The end of one pod is that of the whole only where nothing came after it.
        is_end = seen.phase in ENDED and bool(ends) and i == ends[-1]
        begins = seen.phase if is_end else told.get(row.reason, phase)
        if row.reason == "Stopped" and phase == "Pending":
            begins = phase  # what was evicted has ended so, and waits again
        if begins != phase:
            phase = begins
            yield _phase(at_ms, phase, in_words(row.message))
    if phase != seen.phase:
        message = message_of(seen.phase, seen.waiting, seen.attempts)
        yield _phase(max(at_ms, seen.phase_since_ms), seen.phase, message)


def _phase(at_ms: int, phase: str, message: str) -> dict[str, Any]:
    return _record(at_ms, "PhaseUpdate", {"phaseUpdate": {"phase": phase, "phaseMessage": message}})


def _record(at_ms: int, type_: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"meta": {"creationTimestamp": time_to_wire(at_ms), "type": type_}, "spec": spec}
