"""Who shares the machine: departments, projects below them, and the node pools they have quotas of."""

from dataclasses import dataclass, field, replace
from enum import Enum


class Rank(Enum):
    """Of an org unit in one pool, for what lies beyond quotas. Source: Run:ai, GET /org-unit/priorities."""

    VERY_LOW = "Very low"
    LOW = "Low"
    MEDIUM_LOW = "Medium low"
    MEDIUM = "Medium"
    MEDIUM_HIGH = "Medium high"
    HIGH = "High"
    VERY_HIGH = "Very high"

    @property
    def value_number(self) -> int:
        """Higher is served first."""
        return list(Rank).index(self)


@dataclass(frozen=True, slots=True)
class Amount:
    """
    Of one resource, in devices, cores or MiB.

    Args:
        deserved: its own; None is without bounds.
        limit: never more; None is without bounds.
        weight: its part of what nobody's quota covers; None is the default.
    """

    deserved: float | None = None
    limit: float | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class PoolQuota:
    """`pool`: the node pool's id. `memory_units`: that its user counts in (Mib, MB or GB)."""

    pool: str
    gpu: Amount = Amount(0.0)
    cpu: Amount = Amount()
    memory: Amount = Amount()
    rank: Rank = Rank.MEDIUM_LOW
    memory_units: str = "Mib"


@dataclass(frozen=True, slots=True)
class Rules:
    """Times in seconds after which work is ended or preempted; a project's go before its department's."""

    interactive_time_limit_s: int | None = None
    interactive_max_idle_s: int | None = None
    interactive_preempt_idle_s: int | None = None
    training_time_limit_s: int | None = None
    training_max_idle_s: int | None = None


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who made it and who changed it last, and when."""

    created_at_ms: int = 0
    created_by: str = ""
    updated_at_ms: int = 0
    updated_by: str = ""


@dataclass(frozen=True, slots=True)
class Department:
    """
    Args:
        id: a decimal number as text; never given twice.
        default_pools, training_nodes, workspace_nodes: of its projects that have none, each; see Project.
        extras: what its client said beyond that, to be given back.
    """

    id: str
    name: str
    quotas: tuple[PoolQuota, ...] = ()
    rules: Rules = Rules()
    default_pools: tuple[str, ...] = ()
    training_nodes: tuple[str, ...] = ()
    workspace_nodes: tuple[str, ...] = ()
    stamp: Stamp = Stamp()
    extras: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Project:
    """
    Args:
        id: a decimal number as text; never given twice.
        name: unique; the id of the Lepton workspace that it is.
        namespace: `runai-<name>` unless asked for otherwise.
        default_pools: names of node pools in the order in which its workloads try them; empty: any.
        training_nodes, workspace_nodes: node types (the label `run.ai/type`) that such work is kept to.
    """

    id: str
    name: str
    department_id: str
    namespace: str
    quotas: tuple[PoolQuota, ...] = ()
    rules: Rules = Rules()
    default_pools: tuple[str, ...] = ()
    training_nodes: tuple[str, ...] = ()
    workspace_nodes: tuple[str, ...] = ()
    description: str = ""
    stamp: Stamp = Stamp()
    extras: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class NodePool:
    """
    Nodes whose label `label_key` is `label_value`; the default pool has all that no other has.

    Args:
        id: a decimal number as text. name: what workloads and Lepton's node groups call it.
        gpu_strategy, cpu_strategy: "binpack" or "spread".
        min_runtime_s: that preemptible work runs before it can be evicted.
    """

    id: str
    name: str
    label_key: str = ""
    label_value: str = ""
    is_default: bool = False
    gpu_strategy: str = "binpack"
    cpu_strategy: str = "binpack"
    min_runtime_s: int = 0
    stamp: Stamp = Stamp()
    extras: dict[str, object] = field(default_factory=dict[str, object])


INHERITED = ("default_pools", "training_nodes", "workspace_nodes")  # from a department


@dataclass(frozen=True, slots=True)
class Org:
    """
    All of it at one moment: what the scheduler's queues are made from.

    Args:
        in_effect: the projects with what they inherit; the same object where that is nothing.
    """

    departments: tuple[Department, ...] = ()
    projects: tuple[Project, ...] = ()
    pools: tuple[NodePool, ...] = ()
    in_effect: tuple[Project, ...] = ()

    @classmethod
    def of(
        cls, departments: tuple[Department, ...], projects: tuple[Project, ...], pools: tuple[NodePool, ...]
    ) -> "Org":
        above = {d.id: d for d in departments if any(getattr(d, name) for name in INHERITED)}
        found = tuple(
            inheriting(p, above[p.department_id]) if p.department_id in above else p for p in projects
        )
        return cls(departments, projects, pools, found)


def inheriting(project: Project, department: Department) -> Project:
    """With its department's pools and node types, each where it has none of its own."""
    inherited = {
        name: getattr(department, name)
        for name in INHERITED
        if getattr(department, name) and not getattr(project, name)
    }
    return replace(project, **inherited) if inherited else project
