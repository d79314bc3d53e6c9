"""What a workload asks for, in the scheduler's words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...scheduler.model import AskClass, Effect, LabelMatch, Operator, Toleration, Topology
from ..domain import workload as domain
from ..domain.inventory import HostNode
from ..domain.org import Project
from ..domain.rules import BUILD, TRAIN, category_of
from ..domain.workload import Attempt, Workload, WorkloadSpec

# Source: Run:ai's documentation of node types; its projects name them for trainings and workspaces.
NODE_TYPE = "run.ai/type"
Alternatives = tuple[tuple[LabelMatch, ...], ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Replicas of one workload that wait for a place: together where there are several."""

    workload: Workload
    indexes: tuple[int, ...]
    is_extra: bool = False

    @property
    def id(self) -> str:
        return f"{self.workload.id}/{self.indexes[0]}"


def workload_of(ask_id: str) -> str:
    """The id of the workload whose ask it is."""
    return ask_id.rpartition("/")[0]


def ask_class(
    workload: Workload, members: int, *, is_extra: bool = False, project: Project | None = None
) -> AskClass:
    """
    Args:
        members: that start together, or of what runs: that it cannot go on without.
        project: whose defaults hold; None has none.
    """
    spec = workload.spec
    return AskClass(
        priority=spec.priority, cpu=spec.cpu_cores, memory_mib=spec.memory_mib, gpu_count=spec.gpu_count,
        gpu_product=spec.gpu_product, members=members,
        pools=spec.node_groups or (project.default_pools if project else ()),
        nodes=frozenset(spec.nodes), reservation=spec.reservation, may_burst=spec.may_burst,
        spread=workload.id if spec.spread or spec.topology else "", must_spread=spec.spread == "required",
        queue=workload.workspace, is_preemptible=spec.is_preemptible, can_preempt=spec.can_preempt,
        gpu_portion=spec.gpu_portion, gpu_memory_mib=spec.gpu_memory_mib, mig_profile=spec.mig_profile,
        is_extra=is_extra, affinity=_affinity(workload, project),
        tolerations=frozenset(map(toleration, spec.tolerations)),
        segment_size=spec.segment_size, topology=tuple(Topology(*rule) for rule in spec.topology),
    )  # fmt: skip


class AskClasses:
    """Those that were made before: a workload's stay the same as long as it and its project do."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Workload, Project | None, dict[tuple[int, bool], AskClass]]] = {}

    def get(self, workload: Workload, members: int, *, is_extra: bool, project: Project | None) -> AskClass:
        """As `ask_class`."""
        known = self._made.get(workload.id)
        if known is None or known[0] is not workload or known[1] is not project:
            known = self._made[workload.id] = (workload, project, {})
        found = known[2].get((members, is_extra))
        if found is None:
            found = ask_class(workload, members, is_extra=is_extra, project=project)
            known[2][members, is_extra] = found
        return found

    def forget(self, workload_id: str) -> None:
        self._made.pop(workload_id, None)


def beside(asked: AskClass, index: int, live: Sequence[Attempt], nodes: Sequence[HostNode]) -> AskClass:
    """
    The same for one replica that comes alone: kept to the segment in which others of its segment are.

    Args:
        live: attempts of its workload. nodes: all; one without a segment is a segment of its own.
    """
    size = asked.segment_size
    there = {a.node for a in live if a.index // size == index // size and a.evicting_at_ms is None}
    segments = {n.segment for n in nodes if n.id in there} - {""}
    near = frozenset(n.id for n in nodes if n.id in there or n.segment in segments)
    if not near:
        return asked
    return replace(asked, nodes=near & asked.nodes if asked.nodes else near)


def _affinity(workload: Workload, project: Project | None) -> Alternatives:
    asked = _alternatives(workload.spec)
    types = _node_types(workload, project)
    if not types:
        return asked
    kept = LabelMatch(NODE_TYPE, Operator.IN, types)
    return tuple((*matches, kept) for matches in asked) or ((kept,),)


def _alternatives(spec: WorkloadSpec) -> Alternatives:
    if not spec.affinity:
        return ()
    return tuple(
        tuple(LabelMatch(label, Operator(operator), values) for label, operator, values in matches)
        for matches in spec.affinity
    )


def _node_types(workload: Workload, project: Project | None) -> tuple[str, ...]:
    if project is None:
        return ()
    return {BUILD: project.workspace_nodes, TRAIN: project.training_nodes}.get(category_of(workload), ())


def toleration(asked: domain.Toleration) -> Toleration:
    """For how long is nothing to the scheduler: it may go there, as in Kubernetes."""
    key, value, effect, *_ = asked
    return Toleration(key, value, Effect(effect) if effect else None)
