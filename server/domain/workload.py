"""Workload and Attempt, and the one function that derives the phase."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from .volumes import MountRequest


class Phase(Enum):
    AWAITING = "awaiting"  # its start time has not come
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PENDING_RETRY = "pending_retry"  # a run has failed, the next one waits for its time
    RESTARTING = "restarting"  # a further run is queued or starting
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETING = "deleting"
    ARCHIVED = "archived"


TERMINAL = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.STOPPED, Phase.ARCHIVED})


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """
    What the user asked for; written by services only.

    Args:
        env: name and value. secret_env: name and the secret whose value it takes
            when the container starts; the value itself is never stored here.
        command: argv; replaces the image's entrypoint. Empty: the image decides.
        cpu_cores, memory_mib: of the shape, per replica.
        priority: 0..150, higher first (67 is a Lepton job without a class).
        node_groups, nodes: where it may run; empty means anywhere.
        extras: fields of the client's request that Homeport does not act on;
            kept to be given back as they came.
    """

    image: str
    command: tuple[str, ...]
    shape: str
    cpu_cores: float
    memory_mib: int
    env: tuple[tuple[str, str], ...] = ()
    secret_env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[MountRequest, ...] = ()
    ports: tuple[tuple[int, str, int | None], ...] = ()  # container port, protocol, host port
    gpu_count: int = 0
    gpu_product: str | None = None
    shm_mib: int | None = None
    priority: int = 67
    node_groups: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    completions: int = 1
    parallelism: int = 1
    worker_retries: int = 0
    run_retries: int = 0
    start_at_ms: int | None = None
    ttl_s: int | None = None
    is_stopped: bool = False
    extras: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Workload:
    """
    Args:
        generation: +1 on each change of the spec.
        first_attempt: attempts below it belong to an earlier run, before a stop.
        archived_at_ms: set once everything it had on the machine is gone.
    """

    id: str
    workspace: str
    name: str
    kind: str
    owner: str
    created_at_ms: int
    spec: WorkloadSpec
    generation: int = 1
    first_attempt: int = 1
    is_deleting: bool = False
    archived_at_ms: int | None = None

    @property
    def is_wanted(self) -> bool:
        return not (self.spec.is_stopped or self.is_deleting or self.archived_at_ms is not None)


class AttemptState(Enum):
    PLACED = "placed"  # decided and committed; its container may or may not exist yet
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One container run of one replica. `number` is its fencing number."""

    replica_id: str
    number: int
    workload_id: str
    node: str
    cpu_cores: float
    memory_mib: int
    generation: int
    gpu_uuids: tuple[str, ...] = ()
    state: AttemptState = AttemptState.PLACED
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    placed_at_ms: int = 0
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    next_try_ms: int = 0
    failures: int = 0

    @property
    def key(self) -> tuple[str, int]:
        return (self.replica_id, self.number)

    @property
    def is_live(self) -> bool:
        return self.state is not AttemptState.ENDED

    def container_name(self, instance: str) -> str:
        return f"hp-{instance}-{self.replica_id}-{self.number}"


def current_run(workload: Workload, attempts: Sequence[Attempt]) -> list[Attempt]:
    return [a for a in attempts if a.number >= workload.first_attempt]


def phase_of(workload: Workload, attempts: Sequence[Attempt]) -> Phase:
    """Derived from spec, decided and observed; nobody sets it by hand."""
    run = current_run(workload, attempts)
    has_live = any(a.is_live for a in attempts)
    if workload.archived_at_ms is not None:
        return Phase.ARCHIVED
    if workload.is_deleting:
        return Phase.DELETING
    if run and not has_live and all(a.reason != "Stopped" for a in run):
        return Phase.COMPLETED if all(a.exit_code == 0 for a in run) else Phase.FAILED
    if workload.spec.is_stopped:
        return Phase.STOPPING if has_live else Phase.STOPPED
    if not run:
        return Phase.QUEUED
    return Phase.RUNNING if any(a.state is AttemptState.RUNNING for a in run) else Phase.STARTING


def restarted(workload: Workload, attempts: Sequence[Attempt]) -> Workload:
    """The same workload asked to run again from scratch; earlier attempts become history."""
    last = max((a.number for a in attempts), default=0)
    spec = replace(workload.spec, is_stopped=False)
    return replace(workload, spec=spec, first_attempt=last + 1, generation=workload.generation + 1)
