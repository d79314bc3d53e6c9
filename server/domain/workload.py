"""Workload, Attempt and what they are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ...runtime.container_options import NOTHING, ContainerOptions
from ...runtime.probes import Probe, ProbeState
from .serving import Exposure, Serving
from .volumes import MountRequest


class Phase(Enum):
    AWAITING = "awaiting"  # its start time has not come
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    UNKNOWN = "unknown"  # it ran when the runtime was last able to say
    READY = "ready"  # serves with all its replicas
    NOT_READY = "not_ready"  # serves, or should, with fewer
    UPDATING = "updating"  # serves with what it had, while that is replaced
    SCALING = "scaling"  # the number of replicas was changed by a decision and is not reached yet
    ZERO = "zero"  # has no replica for want of traffic; nobody has stopped it
    PENDING_RETRY = "pending_retry"  # a run has failed, the next one waits for its time
    RESTARTING = "restarting"  # a further run is queued or starting
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETING = "deleting"
    ARCHIVED = "archived"


# Key, value or None for any, effect or None for any; of `NoExecute` perhaps for how many seconds only.
Toleration = tuple[str, str | None, str | None] | tuple[str, str | None, str | None, int]
# Label of nodes; by how many replicas its values may differ, or None: all have one value; is it required.
Topology = tuple[str, int | None, bool]

TERMINAL = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.STOPPED, Phase.ARCHIVED})


@dataclass(frozen=True, slots=True)
class Member:
    """What one replica runs; fields as those of the spec."""

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """
    What the user asked for; written by services only.

    Args:
        env: name and value. secret_env: name and the secret whose value it takes
            when the container starts; the value itself is never stored here.
        command: argv; replaces the image's entrypoint. Empty: the image decides.
        args: follow the command, or the image's entrypoint in place of its own arguments.
        working_dir: where it starts; "": the image decides.
        pull: "Always" or "Never"; "": where the image is not there.
        keeps_stdin: its standard input stays open, so that a shell without a terminal waits.
        grace_s: between SIGTERM and SIGKILL; None is the default.
        pull_secrets: names of registry logins to pull the image with, in this order.
        cpu_cores, memory_mib: of the shape, per replica.
        cpu_limit_cores, memory_limit_mib: that a container may use; None: as much as that.
        member_names: by which replicas find each other, by index; empty: `worker-<index>...`.
        first: what replica 0 runs in place of what the others run.
        gpu_portion: of each of its devices, 0..1. gpu_memory_mib: of one device, instead of a portion.
        mig_profile: it takes `gpu_count` MIG instances of this profile, and no whole device.
        priority: 0..150, higher first (67 is a Lepton job without a class).
        is_preemptible: may go beyond its project's quota, and may be evicted.
        can_preempt: may evict what is preemptible and of lower priority in its project.
        category: what it is for: "Build", "Train" or "Deploy"; "" follows from its kind.
        min_members: of `parallelism`, those that start together or not at all; None: all of them.
        is_led: the others can do nothing without replica 0.
        starts_singly: replicas start as there is room, none of them waits for another.
        ends_when_evicted: it is over then, and has failed; else it waits in its old place in line.
        node_groups: node pools, in the order in which they are tried; empty means any.
        nodes: where it may run; empty means anywhere.
        affinity: alternatives, each a tuple of (label, operator, values) of which all have to hold.
        tolerations: of taints of nodes, as sent: of several that are for one the first counts.
        segment_size: so many workers at a time go to one segment; 0: it does not matter.
        reservation: its id, to run on its nodes only; may_burst: or on those of another.
        completions: replicas that have to succeed. parallelism: those that run at a
            time; the first of them start together or not at all.
        worker_retries: further attempts that each replica has after a failure.
        run_retries: times that all of it begins anew when a replica has none left.
        start_at_ms: not before this time. ttl_s: how long it stays after its end.
        collects_logs: what it writes is kept; otherwise it can be read only while it runs.
        is_private: only its owner and admins see it.
        spread: "required" or "preferred": replicas on different nodes; "" does not care.
        topology: rules on where its replicas are by labels of nodes, the first counting most.
        container_options: what each of its containers has for itself; None: nothing.
        serving: set for what runs until it is stopped; completions, retries and
            times mean nothing then.
        exposures: ports of what runs to an end, to which the gateway leads. readiness: when they take
            requests, and what it has come so far as to be well; of what serves, `serving` says so.
        keeps_host_ports: the ports of the host that lead to its first replica are its own for as long
            as it is there, stopped or not; of what serves only a dev pod has any.
        expands: variables whose `${NAME}` and `$(NAME)` in `command` and `args` become their values.
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
    pull_secrets: tuple[str, ...] = ()
    ports: tuple[tuple[int, str, int | None], ...] = ()  # container port, protocol, host port
    gpu_count: int = 0
    gpu_product: str | None = None
    gpu_portion: float = 1.0
    gpu_memory_mib: int | None = None
    mig_profile: str = ""
    shm_mib: int | None = None
    priority: int = 67
    is_preemptible: bool = False
    can_preempt: bool = False
    category: str = ""
    min_members: int | None = None
    is_led: bool = False
    starts_singly: bool = False
    ends_when_evicted: bool = False
    node_groups: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    reservation: str | None = None
    may_burst: bool = False
    affinity: tuple[tuple[tuple[str, str, tuple[str, ...]], ...], ...] = ()
    topology: tuple[Topology, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    segment_size: int = 0
    completions: int = 1
    parallelism: int = 1
    worker_retries: int = 0
    run_retries: int = 0
    start_at_ms: int | None = None
    ttl_s: int | None = None
    is_stopped: bool = False
    collects_logs: bool = True
    is_private: bool = False
    spread: str = ""
    serving: Serving | None = None
    exposures: tuple[Exposure, ...] = ()
    readiness: Probe | None = None
    keeps_host_ports: bool = False
    expands: tuple[str, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=dict[str, Any])
    args: tuple[str, ...] = ()
    working_dir: str = ""
    pull: str = ""
    keeps_stdin: bool = False
    grace_s: int | None = None
    cpu_limit_cores: float | None = None
    memory_limit_mib: int | None = None
    member_names: tuple[str, ...] = ()
    first: Member | None = None
    container_options: ContainerOptions | None = None

    @property
    def options(self) -> ContainerOptions:
        return self.container_options or NOTHING

    @property
    def secret_names(self) -> tuple[str, ...]:
        """All that it refers to."""
        return (*(name for _, name in self.secret_env), *(f.secret for f in self.options.secrets))

    def member(self, index: int) -> Member:
        """What the replica of that index runs."""
        if index == 0 and self.first is not None:
            return self.first
        return Member(self.image, self.command, self.args, self.env, self.working_dir)


@dataclass(frozen=True, slots=True)
class Run:
    """An earlier run, from first attempt to end, before a retry or a stop and start."""

    number: int
    first_attempt: int
    phase: Phase
    succeeded: int
    failed: int
    began_at_ms: int
    finished_at_ms: int


@dataclass(frozen=True, slots=True)
class Revision:
    """
    What an endpoint ran before the change that is being rolled out.

    Args:
        first_attempt: names it; its replicas were numbered from there.
        replaced_at_ms: when the change that replaces it was asked for.
    """

    spec: WorkloadSpec
    first_attempt: int
    replaced_at_ms: int


@dataclass(frozen=True, slots=True)
class Workload:
    """
    The spec is the user's; the rest is decided, mostly by the reconcile loop.

    Args:
        generation: +1 on each change of the spec.
        first_attempt: attempts below it belong to an earlier run.
        runs_failed: runs that failed since it was last started by hand.
        retry_at_ms: when the next run begins after a failed one.
        is_due: False until its start time has come.
        major, minor: its semantic version; replicas are replaced when major grows.
        before: what it served with when it was changed, oldest first; empty once all is replaced.
        rollout_failed: why the change was given up, and the first of `before` serves on; "" where it was not.
        decided_replicas: by the autoscaler, 0 for want of traffic; None: as many as its user wants.
        is_warm: at zero its containers are paused, not ended.
        is_waking: a request has ended its time at zero, and no replica is ready yet.
        stopped_by: the rule that stopped it, in words; "" where a person did.
        stopped_at_ms: when it was stopped last; None: never.
        failed: why it was given up for good until it is changed or started anew; "" where it was not.
        suspended_ms: for how long it has been stopped before it was started again, in all; None: never was.
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
    runs_failed: int = 0
    retry_at_ms: int | None = None
    history: tuple[Run, ...] = ()
    is_due: bool = True
    is_deleting: bool = False
    major: int = 1
    minor: int = 0
    archived_at_ms: int | None = None
    before: tuple[Revision, ...] = ()
    rollout_failed: str = ""
    decided_replicas: int | None = None
    is_warm: bool = False
    is_waking: bool = False
    stopped_by: str = ""
    stopped_at_ms: int | None = None
    suspended_ms: int | None = None
    failed: str = ""

    @property
    def route_key(self) -> str:
        """Under which the gateway knows it."""
        return f"{self.workspace}/{self.name}"

    @property
    def is_wanted(self) -> bool:
        return not (self.spec.is_stopped or self.is_deleting or self.archived_at_ms is not None)


class AttemptState(Enum):
    PLACED = "placed"  # decided and committed; its container may or may not exist yet
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One container run of one replica.

    Args:
        number: its fencing number.
        is_unseen: it was running when the runtime stopped answering.
        readiness, liveness: as last reached; None before the first, and where nothing is probed.
        is_approved: somebody has approved of it (homeport approve).
        shape: that it was placed with, and so is paid for.
        revision: the first attempt of what it was made from; 0: its number tells.
        ready_at_ms: when it first could take requests.
        draining_at_ms, draining_why: since when and why it takes no new requests; it will be ended.
        is_paused: its container is, or is about to be: its endpoint has no traffic.
        gpu_portion: of each of its devices.
        evicting_at_ms: since when it is to make room.
        evicted_by: how, and for which workload: `reclaimed for <id>`, `stale gang`.
        evicted_why: the same for people who may not know of that workload: `reclaimed for project b`.
    """

    replica_id: str
    number: int
    workload_id: str
    index: int
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
    is_unseen: bool = False
    readiness: ProbeState | None = None
    liveness: ProbeState | None = None
    is_approved: bool = False
    revision: int = 0
    ready_at_ms: int | None = None
    draining_at_ms: int | None = None
    draining_why: str = ""
    is_paused: bool = False
    shape: str = ""
    gpu_portion: float = 1.0
    evicting_at_ms: int | None = None
    evicted_by: str = ""
    evicted_why: str = ""

    @property
    def key(self) -> tuple[str, int]:
        return (self.replica_id, self.number)

    @property
    def is_live(self) -> bool:
        return self.state is not AttemptState.ENDED

    def container_name(self, instance: str) -> str:
        return f"hp-{instance}-{self.replica_id}-{self.number}"
