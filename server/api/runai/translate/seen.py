"""One workload as the lists see it, whichever dialect it was made in."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .....scheduler.model import Unplaced
from ....domain.inventory import profile_part
from ....domain.org import Department, Project
from ....domain.rules import category_of
from ....domain.runs import current_run, finished_at_ms, minimum, width
from ....domain.workload import Attempt, AttemptState, Phase, Workload, WorkloadSpec
from .. import ids
from . import phases
from .quantities import mib_of, mib_to_wire
from .where import Where

SECOND_MS = 1000


@dataclass(frozen=True)
class Seen:
    """
    Args:
        phase: Homeport's own. waiting: why it has no place yet. idle: its GPUs have had nothing to do.
        host_ports: those that it keeps, by container port and protocol.
    """

    workload: Workload
    state: Phase
    attempts: Sequence[Attempt]
    where: Where
    now_ms: int
    waiting: Unplaced | None = None
    idle: bool = False
    host_ports: Mapping[tuple[int, str], int] = field(default_factory=dict[tuple[int, str], int])

    @property
    def spec(self) -> WorkloadSpec:
        return self.workload.spec

    @property
    def is_gone(self) -> bool:
        """Deleted, or about to be: nothing leads to it."""
        return self.workload.is_deleting or self.workload.archived_at_ms is not None

    @cached_property
    def own(self) -> Mapping[str, Any]:
        """What only Run:ai knows of it; empty for what was made through Lepton."""
        return self.spec.extras.get(ids.KEY, {})

    @cached_property
    def id(self) -> str:
        return ids.of_workload(self.workload.id)

    @cached_property
    def project(self) -> Project:
        return self.where.project_of(self.workload.workspace)

    @cached_property
    def department(self) -> Department:
        return self.where.department_of(self.workload.workspace)

    @cached_property
    def type(self) -> str:
        """A Lepton job is a Training, or Distributed with several workers; a pod is a Workspace."""
        if self.own:
            return self.own["type"]
        if self.workload.kind == "job":
            return "Distributed" if width(self.spec) > 1 else "Training"
        return "Workspace" if self.workload.kind == "pod" else "Inference"

    @cached_property
    def category(self) -> str:
        return category_of(self.workload)

    @cached_property
    def phase(self) -> str:
        return phases.phase_of(self.workload, self.state, self.attempts)

    @property
    def framework(self) -> str | None:
        if self.type != "Distributed" or not self.own:
            return None
        return self.own["spec"].get("distributedFramework", "PyTorch")

    @cached_property
    def live(self) -> list[Attempt]:
        return [a for a in self.attempts if a.is_live]

    @cached_property
    def running(self) -> list[Attempt]:
        return [a for a in self.attempts if a.state is AttemptState.RUNNING and not a.is_paused]

    @cached_property
    def gpus(self) -> float:
        """That it has now, in devices."""
        return round(sum(self.where.gpus_of(a) for a in self.live), 4)

    @property
    def asked_pools(self) -> tuple[str, ...]:
        """In the order in which they are tried; all of them where nobody has said."""
        return self.spec.node_groups or self.project.default_pools or self.where.pool_names

    @property
    def pools(self) -> list[str]:
        """Where it is now."""
        return sorted({self.where.pools.get(a.node, "") for a in self.live} - {""})

    # --- times

    @cached_property
    def completed_ms(self) -> int | None:
        if self.phase not in phases.ENDED:
            return None
        return finished_at_ms(self.workload, self.attempts)

    @cached_property
    def guaranteed_until_ms(self) -> int | None:
        """Until when none of its pods may be evicted that a guaranteed runtime protects; None: none does."""
        if not self.spec.is_preemptible or not self.where.guaranteed_s:
            return None
        spans = ((a, self.where.guaranteed_s.get(self.where.pools.get(a.node, ""))) for a in self.live)
        ends = [(a.started_at_ms or a.placed_at_ms) + s * SECOND_MS for a, s in spans if s]
        return max(ends, default=None)

    @cached_property
    def phase_since_ms(self) -> int:
        """From what the phase follows from; where that has no time of its own, the last that is known."""
        created = self.workload.created_at_ms
        ends = [a.finished_at_ms for a in self.attempts if a.finished_at_ms]
        match self.phase:
            case "Running" | "Degraded":
                times = [a.started_at_ms for a in self.running if a.started_at_ms]
                if self.spec.readiness is not None:
                    times += [a.ready_at_ms for a in self.running if a.ready_at_ms]
            case "Initializing":
                times = [a.placed_at_ms for a in self.live]
            case "Stopped" if self.workload.stopped_at_ms:
                times = [*ends, self.workload.stopped_at_ms]
            case _:
                times = ends
        if self.workload.archived_at_ms:
            return self.workload.archived_at_ms
        return max(times, default=created)

    @cached_property
    def running_s(self) -> int:
        """In which at least one of its pods has run."""
        spans = sorted(
            (a.started_at_ms, a.finished_at_ms or self.now_ms)
            for a in self.attempts
            if a.started_at_ms is not None and (a.finished_at_ms or a.is_live)
        )
        total, until = 0, 0
        for begin, end in spans:
            total += max(0, end - max(begin, until))
            until = max(until, end)
        return total // SECOND_MS

    @cached_property
    def pending_s(self) -> int:
        """
        From its creation, and from the end of each attempt that was followed by another, to the next
        start. The time for which it was suspended is not among it.
        """
        rested = self.workload.suspended_ms
        total, since, stopped = 0, self.workload.created_at_ms, False
        for attempt in sorted(self.attempts, key=lambda a: (a.placed_at_ms, a.number, a.index)):
            begin = attempt.started_at_ms or attempt.finished_at_ms or self.now_ms
            total += max(0, begin - (attempt.placed_at_ms if stopped else since))
            since = max(since, attempt.finished_at_ms or self.now_ms)
            # An older server did not write down for how long it was suspended: then all of it was.
            stopped = attempt.reason == "Stopped" and rested is None
        if self.phase == "Pending" and not self.live:
            total += max(0, self.now_ms - since)
        elif self.spec.is_stopped and not self.live and self.workload.stopped_at_ms is not None:
            total += max(0, self.workload.stopped_at_ms - since)
        return max(0, total - (rested or 0)) // SECOND_MS


def pods_asked(seen: Seen) -> dict[str, int]:
    spec = seen.spec
    if spec.serving is not None:
        least, scaling = spec.serving.replicas, spec.serving.scaling
        if scaling is None:
            return {"number": least}
        return {"number": least, "min": 0 if scaling.no_traffic_timeout_s else least, "max": scaling.most}
    size = width(spec)
    told = {"number": size}
    if seen.type == "Training" and spec.completions > 1:
        told |= {"parallelism": size, "completions": spec.completions}
    if spec.min_members is not None:
        told |= {"min": minimum(spec), "max": size}
    return told


def asked(seen: Seen, pods: int = 1) -> dict[str, Any]:
    """
    Of so many pods. Quantities are as they were sent, for one pod; else in MiB.
    """
    spec = seen.spec
    sent: Mapping[str, Any] = seen.own.get("spec", {}).get("compute", {})
    cpu: dict[str, Any] = {"request": round(spec.cpu_cores * pods, 4)}
    memory: dict[str, Any] = {"request": mib_to_wire(spec.memory_mib * pods)}
    if "cpuCoreLimit" in sent:
        cpu["limit"] = round(sent["cpuCoreLimit"] * pods, 4)
    if pods == 1 and "cpuMemoryRequest" in sent:
        memory["request"] = sent["cpuMemoryRequest"]
    if "cpuMemoryLimit" in sent and spec.memory_limit_mib is not None:
        whole = sent["cpuMemoryLimit"] if pods == 1 else mib_to_wire(spec.memory_limit_mib * pods)
        memory["limit"] = whole
    told: dict[str, Any] = {"cpu": cpu, "cpuMemory": memory}
    if spec.gpu_memory_mib is not None:
        once = sent.get("gpuMemoryRequest") if pods == 1 else None
        gpu_memory = {"request": once or mib_to_wire(spec.gpu_memory_mib * pods)}
        if limit := sent.get("gpuMemoryLimit"):
            gpu_memory["limit"] = limit if pods == 1 else mib_to_wire(mib_of(limit, "gpuMemoryLimit") * pods)
        told |= {"gpuRequestType": "memory", "gpuMemory": gpu_memory}
    else:
        each = spec.gpu_portion * profile_part(spec.mig_profile)
        gpu = {"request": round(spec.gpu_count * each * pods, 4)}
        if "gpuPortionLimit" in sent:
            gpu["limit"] = round(spec.gpu_count * sent["gpuPortionLimit"] * pods, 4)
        told |= {"gpuRequestType": "portion", "gpu": gpu} if spec.gpu_count else {"gpu": gpu}
    return told


def allocated(attempts: Sequence[Attempt], where: Where) -> dict[str, Any]:
    """What live attempts hold."""
    live = [a for a in attempts if a.is_live]
    gpu_mib = sum(where.gpu_mib.get(u, 0) * a.gpu_portion for a in live for u in a.gpu_uuids)
    return {
        "gpu": round(sum(where.gpus_of(a) for a in live), 4),
        "gpuMemory": mib_to_wire(round(gpu_mib)),
        "cpu": round(sum(a.cpu_cores for a in live), 4),
        "cpuMemory": mib_to_wire(sum(a.memory_mib for a in live)),
    }


def command_of(spec: WorkloadSpec) -> str | None:
    return shlex.join(spec.command) or None


def arguments_of(spec: WorkloadSpec) -> str | None:
    return shlex.join(spec.args) or None


def current(seen: Seen) -> list[Attempt]:
    return current_run(seen.workload, seen.attempts)
