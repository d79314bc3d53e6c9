"""Where workloads are: names and ids of projects, departments, pools and the cluster, looked up by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ....domain.inventory import HostNode, Shape, device_part
from ....domain.org import Department, Org, Project
from ....domain.workload import Attempt


@dataclass(frozen=True, slots=True)
class Where:
    """
    Args:
        projects: by name, which is the workspace of a workload. departments: by id.
        pools: of nodes, by node id. gpu_mib: of devices, by UUID. gpu_parts: what they count for in GPUs.
        pool_names: of all pools, in the order in which the scheduler tries them where nobody has said any.
        gateway_url: where what workloads serve is reached. host: the address at which host ports are.
        is_local: both are reached from this machine only.
        guaranteed_s: that preemptible work runs before it may be evicted, by pool; only those that have it.
    """

    cluster_id: str
    projects: Mapping[str, Project]
    departments: Mapping[str, Department]
    pools: Mapping[str, str]
    gpu_mib: Mapping[str, int]
    gpu_parts: Mapping[str, float]
    guaranteed_s: Mapping[str, int]
    pool_names: tuple[str, ...]
    nodes: Sequence[HostNode]
    shapes: Sequence[Shape]
    gateway_url: str = ""
    host: str = ""
    is_local: bool = True

    def gpus_of(self, attempt: Attempt) -> float:
        """That it has, in devices; what is not there any more counts for nothing."""
        return sum(self.gpu_parts.get(u, 0.0) for u in attempt.gpu_uuids) * attempt.gpu_portion

    def project_of(self, workspace: str) -> Project:
        """One that was deleted lives on in what it had run, without an id."""
        return self.projects.get(workspace) or Project("", workspace, "", f"runai-{workspace}")

    def department_of(self, workspace: str) -> Department:
        return self.departments.get(self.project_of(workspace).department_id) or Department("", "")


def where_of(
    cluster_id: str, org: Org, nodes: Sequence[HostNode], shapes: Sequence[Shape], gateway_url: str = "",
    host: str = "", *, is_local: bool = True,
) -> Where:  # fmt: skip
    """
    Args:
        nodes: with their pools as `node_group`.
    """
    return Where(
        cluster_id,
        {p.name: p for p in org.in_effect or org.projects},
        {d.id: d for d in org.departments},
        {n.id: n.node_group for n in nodes},
        {g.uuid: g.memory_mib for n in nodes for g in n.gpus},
        {g.uuid: device_part(g) for n in nodes for g in n.gpus},
        {p.name: p.min_runtime_s for p in org.pools if p.min_runtime_s},
        tuple(p.name for p in org.pools),
        nodes,
        shapes,
        gateway_url,
        host,
        is_local,
    )
