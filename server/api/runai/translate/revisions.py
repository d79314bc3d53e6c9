"""
Revisions of an inference: one for each change of its spec.

Source of the fields: runapy 1.224.0, `Revision`; of the names: Knative's, which Run:ai's inferences are.
What was made through Run:ai keeps what each was made with; of what was made through Lepton only those
are known that have not been replaced yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ....domain.rollouts import revision_of, specs
from ....domain.workload import Attempt, Workload
from .. import ids
from ..context import TENANT_ID
from .org import time_to_wire
from .seen import Seen, allocated, asked

KEY = "revisions"
MOST_KEPT = 20  # of earlier ones


@dataclass(frozen=True, slots=True)
class Revision:
    """
    Args:
        number: from 1. core: the attempt from which the core counts it; two that differ in nothing that a
            container is made from have the same. spec: as it was submitted.
    """

    number: int
    core: int
    at_ms: int
    spec: Mapping[str, Any]

    def id_of(self, workload: Workload) -> str:
        return ids.of_revision(workload.id, self.number)


def stamped(before: Workload, after: Workload, now_ms: int) -> Workload:
    """With what was before it among its earlier revisions."""
    own: dict[str, Any] = dict(after.spec.extras[ids.KEY])
    earlier = [_kept(r) for r in of_own(before)][-MOST_KEPT:]
    number = earlier[-1]["number"] + 1
    own |= {KEY: earlier, "revision": {"number": number, "core": after.first_attempt, "at": now_ms}}
    return replace(after, spec=replace(after.spec, extras={**after.spec.extras, ids.KEY: own}))


def _kept(revision: Revision) -> dict[str, Any]:
    return {"number": revision.number, "core": revision.core, "at": revision.at_ms, "spec": revision.spec}


def of_own(workload: Workload) -> list[Revision]:
    """Of what was made through Run:ai, oldest first."""
    own = workload.spec.extras[ids.KEY]
    now = own.get("revision", {"number": 1, "core": 1, "at": workload.created_at_ms})
    told = [*own.get(KEY, ()), {**now, "spec": own["spec"]}]
    return [Revision(r["number"], r["core"], r["at"], r["spec"]) for r in told]


def revisions_of(seen: Seen) -> list[Revision]:
    """Oldest first; the last is the present one."""
    workload = seen.workload
    if ids.is_ours(workload):
        return of_own(workload)
    known = sorted(specs(workload))
    at = {r.first_attempt: r.replaced_at_ms for r in workload.before}
    starts = [workload.created_at_ms, *(at[core] for core in known[:-1])]
    return [Revision(core, core, start, {}) for core, start in zip(known, starts, strict=True)]


def of_attempt(seen: Seen, attempt: Attempt) -> Revision:
    """What a replica was made from: the newest that its container need not be replaced for."""
    core = attempt.revision or revision_of(seen.workload, attempt) or attempt.number
    known = revisions_of(seen)
    return next((r for r in reversed(known) if r.core <= core), known[0])


def attempts_of(seen: Seen, revision: Revision) -> list[Attempt]:
    return [a for a in seen.attempts if of_attempt(seen, a).number == revision.number]


def revision_to_wire(seen: Seen, revision: Revision, revisions: Sequence[Revision]) -> dict[str, Any]:
    workload, is_present = seen.workload, revision == revisions[-1]
    mine = attempts_of(seen, revision)
    live = [a for a in mine if a.is_live]
    phase = seen.phase if is_present else "Terminating" if live else "Stopped"
    since = max((a.finished_at_ms or a.started_at_ms or a.placed_at_ms for a in mine), default=revision.at_ms)
    number = seen.spec.serving.replicas if is_present and seen.spec.serving else len(live)
    told: dict[str, Any] = {
        "type": "Revision",
        "name": f"{workload.name}-{revision.number:05d}",
        "id": revision.id_of(workload),
        "workloadId": seen.id,
        "tenantId": TENANT_ID,
        "clusterId": seen.where.cluster_id,
        "projectId": seen.project.id,
        "departmentId": seen.department.id,
        "createdAt": time_to_wire(revision.at_ms),
        "deletedAt": None if workload.archived_at_ms is None else time_to_wire(workload.archived_at_ms),
        "requestedPods": {"number": number},
        "requestedNodePools": list(seen.asked_pools),
        "currentNodePools": sorted({seen.where.pools.get(a.node, "") for a in live} - {""}),
        "allocatedResources": allocated(live, seen.where),
        "runningPods": sum(a in seen.running for a in live),
        "childrenIds": [],
        "conditions": [],
        "phase": phase,
        "phaseUpdatedAt": time_to_wire(seen.phase_since_ms if is_present else since),
        **_made_with(revision),
    }
    if is_present:
        told |= {
            "revisionRequestedResources": asked(seen, number),
            "podsRequestedResources": asked(seen),
            "images": [seen.spec.image],
            "environmentVariables": dict(seen.spec.env),
        }
    return told


def _made_with(revision: Revision) -> dict[str, Any]:
    """As it was submitted; empty for what was made through Lepton."""
    sent = revision.spec
    if not sent:
        return {}
    variables = sent.get("environmentVariables", ())
    return {
        "images": [sent["image"]],
        "environmentVariables": {v["name"]: v["value"] for v in variables if v.get("value") is not None},
        **{name: sent[key] for name, key in (("command", "command"), ("arguments", "args")) if key in sent},
    }
