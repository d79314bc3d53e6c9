"""What the scheduler is told and what it answers; all of it immutable."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """One whole device. The UUID is its identity."""

    uuid: str
    product: str


@dataclass(frozen=True, slots=True)
class Node:
    """A host with what is free on it now; CPU in cores, memory in MiB."""

    name: str
    node_group: str
    free_cpu: float
    free_memory_mib: int
    free_gpus: tuple[Gpu, ...] = ()
    is_ready: bool = True
    reservation: str | None = None  # the one in force now
    tenants: frozenset[str] = frozenset()  # spread groups that have a member here


@dataclass(frozen=True, slots=True)
class AskClass:
    """What all members of one class ask for alike; one look at it answers for all of them."""

    priority: int
    cpu: float
    memory_mib: int
    gpu_count: int = 0
    gpu_product: str | None = None
    members: int = 1  # replicas that start together or not at all
    node_groups: frozenset[str] = frozenset()  # empty: any
    nodes: frozenset[str] = frozenset()  # empty: any
    reservation: str | None = None
    may_burst: bool = False  # to the nodes of other reservations too
    spread: str = ""  # its group, whose members go to different nodes; "" has none
    must_spread: bool = False  # or wait; else only where they can


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Pending ids per class, oldest first. `rank` orders ids over classes: lower is older."""

    nodes: tuple[Node, ...]
    pending: Mapping[AskClass, tuple[str, ...]]
    rank: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one member goes."""

    node: str
    gpu_uuids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Why nothing fits, a sentence for each reason, most common first."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    placed: Mapping[str, tuple[Placement, ...]]
    unplaced: Mapping[str, Unplaced]
