"""
Pods: one for each replica, there from the submission on, before it has a place.

Source of the fields: runapy 1.224.0, `Pod1`; of the names: contract section 12.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ....domain.endpoints import wanted_replicas
from ....domain.rollouts import replica_id
from ....domain.runs import width
from ....domain.workload import Attempt, AttemptState, Workload
from .. import ids
from ..context import TENANT_ID
from ..lists import Read, at
from .org import time_to_wire
from .priorities import name_of
from .revisions import of_attempt, revisions_of
from .seen import Seen, allocated, asked, current

CONTAINER = "main"


def pod_name(workload: Workload, index: int) -> str:
    names = workload.spec.member_names
    return names[index] if names else f"{workload.name}-0-{index}"


@dataclass(frozen=True, slots=True)
class Pod:
    """`attempt`: the newest of its replica; None before the first. `is_over`: it is not there any more."""

    of: Seen
    index: int
    attempt: Attempt | None
    is_over: bool = False

    @property
    def id(self) -> str:
        return ids.of_pod(
            self.attempt.replica_id if self.attempt else replica_id(self.of.workload, self.index)
        )

    @property
    def revision_id(self) -> str | None:
        """Only what serves has revisions."""
        if self.of.spec.serving is None:
            return None
        known = revisions_of(self.of)
        made_from = of_attempt(self.of, self.attempt) if self.attempt else known[-1]
        return made_from.id_of(self.of.workload)

    @property
    def name(self) -> str:
        return pod_name(self.of.workload, self.index)

    @property
    def phase(self) -> str:
        """As Kubernetes has it. What is to be tried again waits for its place, as one that is new."""
        one = self.attempt
        if one is None or one.state is AttemptState.PLACED:
            return "Pending"
        if one.state is AttemptState.RUNNING:
            return "Unknown" if one.is_unseen else "Running"
        if one.exit_code == 0 and one.reason not in ("Stopped", "Evicted"):
            return "Succeeded"
        has_more = self.of.phase in ("Pending", "Initializing", "Running", "Degraded")
        return "Pending" if has_more and not self.is_over else "Failed"

    @property
    def node(self) -> str | None:
        return self.attempt.node if self.attempt and self.attempt.is_live else None

    @property
    def pool(self) -> str | None:
        return self.of.where.pools.get(self.node) if self.node else None

    @property
    def created_ms(self) -> int:
        return self.of.workload.created_at_ms

    @property
    def completed_ms(self) -> int | None:
        is_done = self.phase in ("Succeeded", "Failed")
        return self.attempt.finished_at_ms if self.attempt and is_done else None

    @property
    def deleted_ms(self) -> int | None:
        if not self.is_over:
            return None
        workload = self.of.workload
        return workload.archived_at_ms or (self.attempt and self.attempt.finished_at_ms) or self.created_ms


def pods_of(seen: Seen) -> Iterator[Pod]:
    """
    Those that have been tried, and those that wait to be. While it is suspended, and once it is
    deleted, none of them is there any more.
    """
    newest = {a.index: a for a in sorted(current(seen), key=lambda a: a.number)}
    has_none = seen.spec.is_stopped or seen.workload.archived_at_ms is not None
    if seen.spec.serving is not None:
        yield from _serving(seen, newest, has_none)
        return
    size, most = width(seen.spec), seen.spec.completions
    wanted = set(newest)
    is_open = seen.phase in ("Pending", "Initializing", "Running", "Degraded", "Unknown")
    if is_open or not newest:
        waiting = [i for i in range(most) if i not in wanted]
        busy = sum(a.is_live for a in newest.values())
        wanted |= set(waiting[: max(0, size - busy)])
    for index in sorted(wanted):
        attempt = newest.get(index)
        yield Pod(seen, index, attempt, has_none and not (attempt and attempt.is_live))


def _serving(seen: Seen, newest: Mapping[int, Attempt], has_none: bool) -> Iterator[Pod]:
    """
    Old and new ones that live, and the last of each wanted replica that does not. Where it is to have
    none, those that there were are over.
    """
    live = sorted((a for a in seen.attempts if a.is_live), key=lambda a: (a.index, a.number))
    for attempt in live:
        yield Pod(seen, attempt.index, attempt)
    there = {a.index for a in live}
    wanted = newest.keys() if has_none else range(wanted_replicas(seen.workload))
    for index in sorted(set(wanted) - there):
        yield Pod(seen, index, newest.get(index), has_none)


FIELDS: Mapping[str, Read[Pod]] = {
    "clusterId": lambda p: p.of.where.cluster_id,
    "workloadId": lambda p: p.of.id,
    "revisionId": lambda p: p.revision_id,
    "nodeName": lambda p: p.node,
    "currentNodepool": lambda p: p.pool,
    "createdAt": lambda p: at(p.created_ms),
    "completedAt": lambda p: at(p.completed_ms),
    "deletedAt": lambda p: at(p.deleted_ms),
    "name": lambda p: p.name,
}
SEARCHED = ("name", "nodeName", "currentNodepool")


def pod_to_wire(pod: Pod, *, is_full: bool = False) -> dict[str, Any]:
    """`is_full`: with the names of its workload and project (`verbosity=full`)."""
    seen, attempt = pod.of, pod.attempt
    spec = seen.spec
    since = (attempt and (attempt.finished_at_ms or attempt.started_at_ms or attempt.placed_at_ms)) or None
    updated = time_to_wire(since or pod.created_ms)
    started = attempt.started_at_ms if attempt and attempt.is_live else None
    container = {"name": CONTAINER, "image": spec.member(pod.index).image}
    told: dict[str, Any] = {
        "tenantId": TENANT_ID,
        "id": pod.id,
        "name": pod.name,
        "workloadId": seen.id,
        "revisionId": pod.revision_id,
        "clusterId": seen.where.cluster_id,
        "projectId": seen.project.id,
        "priorityClassName": seen.own.get("spec", {}).get("priorityClass") or name_of(spec.priority),
        "nodeName": pod.node,
        "currentNodePool": pod.pool,
        "requestedNodePools": list(seen.asked_pools),
        "k8sPhase": pod.phase,
        "k8sPhaseUpdatedAt": updated,
        "containers": [container | ({} if started is None else {"startedAt": time_to_wire(started)})],
        "requestedResources": asked(seen),
        "allocatedResources": allocated([attempt] if attempt else [], seen.where),
        "createdAt": time_to_wire(pod.created_ms),
        "updatedAt": updated,
        "completedAt": None if pod.completed_ms is None else time_to_wire(pod.completed_ms),
        "deletedAt": None if pod.deleted_ms is None else time_to_wire(pod.deleted_ms),
    }
    if is_full:
        told |= {"workloadName": seen.workload.name, "projectName": seen.project.name}
    return {k: v for k, v in told.items() if v is not None or k == "deletedAt"}
