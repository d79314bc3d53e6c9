"""What the scheduler is told and what it answers; all of it immutable."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from math import inf

from .layout import Layout


@dataclass(frozen=True, slots=True)
class Amounts:
    """GPUs in devices (1.5 is one and a half), CPU in cores, memory in MiB."""

    gpus: float = 0.0
    cpu: float = 0.0
    memory_mib: float = 0.0


NOTHING, UNLIMITED = Amounts(), Amounts(inf, inf, inf)


@dataclass(frozen=True, slots=True)
class Quota:
    """
    What a queue has of one node pool.

    Args:
        deserved: its own, whoever else asks.
        limit: never more than this.
        weight: its part of what nobody's quota covers, per resource; 0 has no part in it.
        rank: queues of a higher one are served first beyond their quota.
    """

    deserved: Amounts = NOTHING
    limit: Amounts = UNLIMITED
    weight: Amounts = Amounts(1, 1, 1)
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """
    A project, or the department above it.

    Args:
        parent: the department's id; None for a department itself.
        quotas: by node pool. In a pool that is not named it deserves nothing and has the default weight.
        age: in order of creation, lower is older.
    """

    id: str
    parent: str | None = None
    quotas: Mapping[str, Quota] = field(default_factory=dict[str, Quota])
    age: int = 0


class Strategy(Enum):
    BINPACK = "binpack"
    SPREAD = "spread"


@dataclass(frozen=True, slots=True)
class Pool:
    """How one node pool is filled."""

    name: str
    gpu: Strategy = Strategy.BINPACK
    cpu: Strategy = Strategy.BINPACK


@dataclass(frozen=True, slots=True)
class Gpu:
    """
    A device, or one instance of a device that is partitioned (MIG). The UUID is its identity.

    Args:
        free: the portion of it that nobody has, 0..1.
        mig_profile: for instance `1g.10gb`; it is given whole to those who ask for its profile.
    """

    uuid: str
    product: str
    memory_mib: int = 0
    free: float = 1.0
    is_healthy: bool = True
    mig_profile: str = ""


class Effect(Enum):
    NO_SCHEDULE = "NoSchedule"
    NO_EXECUTE = "NoExecute"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str = ""
    effect: Effect = Effect.NO_SCHEDULE


@dataclass(frozen=True, slots=True)
class Toleration:
    """`key` "" tolerates every key, `value` None every value, `effect` None every effect."""

    key: str = ""
    value: str | None = None
    effect: Effect | None = None


class Operator(Enum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


@dataclass(frozen=True, slots=True)
class LabelMatch:
    """One requirement on a node's labels, as Kubernetes has them."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Node:
    """
    A host with what it has and what is free of it now; CPU in cores, memory in MiB.

    Args:
        node_group: its node pool.
        gpus: all of them, the taken too.
        segment: nodes of one segment are near each other.
        reservation: the one in force now.
        tenants: spread groups that have a member here.
        total_cpu, total_memory_mib: with what is taken.
    """

    name: str
    node_group: str
    free_cpu: float
    free_memory_mib: int
    gpus: tuple[Gpu, ...] = ()
    is_ready: bool = True
    reservation: str | None = None
    tenants: frozenset[str] = frozenset()
    total_cpu: float = 0.0
    total_memory_mib: int = 0
    labels: frozenset[tuple[str, str]] = frozenset()
    taints: frozenset[Taint] = frozenset()
    segment: str = ""

    @cached_property
    def layout(self) -> Layout:
        """Worked out once: most nodes are the same from one snapshot to the next."""
        return Layout(self.gpus)


@dataclass(frozen=True, slots=True)
class Topology:
    """
    One rule on where members of a group are, by the values of a node label: its domains.

    Args:
        key: the label; `kubernetes.io/hostname` tells every node from every other.
        max_skew: by how many members a domain may be ahead of the one with fewest, 1 at least; None: they are
            kept together in one domain instead.
        is_required: or they wait; else only where they can.
    """

    key: str
    max_skew: int | None = None
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class AskClass:
    """
    What all members of one class ask for alike; one look at it answers for all of them.

    Args:
        queue: its project's.
        is_preemptible: may exceed the quota, and may be evicted.
        can_preempt: may evict what is preemptible and of lower priority in its queue.
        gpu_portion: of each of its devices, 0..1. gpu_memory_mib: of one device, instead of a portion.
        mig_profile: it wants `gpu_count` instances of this profile, and no devices.
        members: replicas that start together or not at all.
        is_extra: one more member of what runs with its minimum already.
        pools: node pools in the order in which they are tried; empty: any.
        nodes: empty: any.
        may_burst: to the nodes of other reservations too.
        spread: its group, whose members go to different nodes; "" has none.
        must_spread: or wait; else only where they can.
        topology: what holds of its group instead, which has to have a name then; the first rule counts most.
            Then it has no segments.
        affinity: alternatives, of each of which every match has to hold; empty: any node.
        segment_size: so many members at a time share a segment; 0: it does not matter.
    """

    priority: int
    cpu: float
    memory_mib: int
    gpu_count: int = 0
    gpu_product: str | None = None
    members: int = 1
    pools: tuple[str, ...] = ()
    nodes: frozenset[str] = frozenset()
    reservation: str | None = None
    may_burst: bool = False
    spread: str = ""
    must_spread: bool = False
    queue: str = ""
    is_preemptible: bool = False
    can_preempt: bool = False
    gpu_portion: float = 1.0
    gpu_memory_mib: int | None = None
    mig_profile: str = ""
    is_extra: bool = False
    affinity: tuple[tuple[LabelMatch, ...], ...] = ()
    tolerations: frozenset[Toleration] = frozenset()
    segment_size: int = 0
    topology: tuple[Topology, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one member goes, and the portion of each of its devices that is its own."""

    node: str
    gpu_uuids: tuple[str, ...] = ()
    gpu_portion: float = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """
    One member that has its place.

    Args:
        id: its replica and attempt.
        ask: as it asked, with `members` its minimum: with fewer of them it cannot go on.
        rank: as of those that wait: lower is older.
        index: among the members of its workload; the last go first.
        is_leaving: it has been told to end, and its place will be free.
        is_protected: its guaranteed time has not passed; it is not evicted.
        is_stale: its gang has been below the minimum for too long.
        is_moving: it leaves only so as to run elsewhere, where room is kept for it.
        was_moved: it was evicted and has only just come back; it is not consolidated again so soon.
    """

    id: str
    workload: str
    ask: AskClass
    placement: Placement
    rank: int = 0
    index: int = 0
    is_leaving: bool = False
    is_protected: bool = False
    is_stale: bool = False
    is_moving: bool = False
    was_moved: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    Pending ids per class, oldest first. `rank` orders ids over classes: lower is older.

    Where there are no queues everybody has one without bounds.

    Args:
        starving: ids that have waited for so long that places are kept for them.
        claimants: ids for which others were evicted; what those leave is theirs.
        moved: ids of what was evicted so as to run elsewhere, and has not begun again; they come right after.
        may_move: nothing is under way to another place, unseen here, which what is moved now could take.
        to_come: how many are no ask yet and will be one: members beyond the minimum of a gang that waits,
            and what leaves only to wait again. They count for fair shares, which so depend on what is
            wanted and not on what of it happens to run. Source: KAI-Scheduler counts all pods of a pod group.
    """

    nodes: tuple[Node, ...]
    pending: Mapping[AskClass, tuple[str, ...]]
    rank: Mapping[str, int]
    running: tuple[Running, ...] = ()
    queues: tuple[Queue, ...] = ()
    pools: tuple[Pool, ...] = ()
    starving: frozenset[str] = frozenset()
    claimants: frozenset[str] = frozenset()
    moved: frozenset[str] = frozenset()
    may_move: bool = True
    to_come: Mapping[AskClass, int] = field(default_factory=dict[AskClass, int])


class Code(Enum):
    """Why something waits, in the words of Run:ai's `phaseReason` where it has one."""

    NO_PLACE = "Unschedulable"
    OVER_QUOTA = "NonPreemptibleOverQuota"
    OVER_LIMIT = "OverLimit"
    WAITS_FOR_EVICTED = "WaitsForEvicted"


@dataclass(frozen=True, slots=True)
class OverBound:
    """What a quota (`OVER_QUOTA`) or limit (`OVER_LIMIT`) says in one node pool."""

    pool: str
    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class Unplaced:
    """
    Args:
        reasons: why nothing fits, a sentence for each, most common first.
        over: what of them quotas and limits say.
    """

    reasons: tuple[str, ...]
    code: Code = Code.NO_PLACE
    over: tuple[OverBound, ...] = ()


class EvictedBy(Enum):
    RECLAIM = "reclaimed"
    PREEMPTION = "preempted"
    CONSOLIDATION = "consolidated"
    RESERVATION = "reserved"
    STALE_GANG = "stale gang"


@dataclass(frozen=True, slots=True)
class Eviction:
    """
    Args:
        id: of what runs. by: the id of the ask that takes its place, "" for none.
        message: a sentence that says who takes its place and why.
    """

    id: str
    workload: str
    how: EvictedBy
    by: str
    message: str


@dataclass(frozen=True, slots=True)
class Share:
    """One queue in one pool. `fair` is what it should have now; `requested` counts what it has, too."""

    queue: str
    pool: str
    quota: Quota
    fair: Amounts
    allocated: Amounts
    allocated_non_preemptible: Amounts
    requested: Amounts


@dataclass(frozen=True, slots=True)
class Plan:
    """
    Args:
        shares: of the queues that have or want something.
        order: the ids that waited, as they were looked at.
        promised: who gets the place of what leaves.
    """

    placed: Mapping[str, tuple[Placement, ...]]
    unplaced: Mapping[str, Unplaced]
    evicted: tuple[Eviction, ...] = ()
    shares: tuple[Share, ...] = ()
    order: tuple[str, ...] = ()
    promised: Mapping[str, tuple[Placement, ...]] = field(default_factory=dict[str, tuple[Placement, ...]])
