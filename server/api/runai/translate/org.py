"""
Departments and projects: their quotas, rules and what they have.

Source of the fields and units: the models of runapy 1.224.0 (`Resources`, `QuotaStatusResource`,
`TotalResources`, `SchedulingRules`). Quotas of CPU are in millicores, of memory in the unit that comes
with them; sums of CPU are in millicores, of memory in MB.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ....domain.org import Amount, Department, NodePool, Org, PoolQuota, Project, Rank, Rules, Stamp
from ....errors import Invalid
from ....services.org_usage import Sum, Usage, UsageByQueue, total
from .. import quirks
from ..wire import (
    DepartmentCreation,
    NodeTypes,
    ProjectCreation,
    ProjectUpdate,
    Resource,
    ResourceList,
    Resources,
    SchedulingRules,
    UnitUpdate,
    check_parts,
)
from .ignored import ignored_to_wire, to_keep

MIB = 2**20
UNITS = {"Mib": 1.0, "MB": 1e6 / MIB, "GB": 1e9 / MIB}  # in MiB
MILLI = 1000.0
KEPT = "runai"  # under which a unit's extras are ours
RULES = {
    "interactive_time_limit_s": "interactiveJobTimeLimitSeconds",
    "interactive_max_idle_s": "interactiveJobMaxIdleDurationSeconds",
    "interactive_preempt_idle_s": "interactiveJobPreemptIdleDurationSeconds",
    "training_time_limit_s": "trainingJobTimeLimitSeconds",
    "training_max_idle_s": "trainingJobMaxIdleDurationSeconds",
}


def time_to_wire(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- quotas


def quotas_to_domain(
    sent: Sequence[Resources], pools: Sequence[NodePool], known: Sequence[PoolQuota] = ()
) -> tuple[PoolQuota, ...]:
    """
    Args:
        known: what is there, for a PATCH: what is not sent of a pool stays, and null is its default.

    Raises:
        Invalid: no such pool, a pool twice, an unknown priority, or a field that would have no effect.
    """
    check_parts(ResourceList(resources=list(sent)))
    there = {q.pool: q for q in known}
    found: dict[str, PoolQuota] = {}
    for index, resources in enumerate(sent):
        where = f"resources[{index}]"
        pool = _pool(resources, pools, f"{where}.nodePool")
        if pool.id in found:
            raise Invalid(f"{where}.nodePool.id", f"node pool {pool.name!r} is there twice; name it once")
        found[pool.id] = _quota(resources, there.get(pool.id) or PoolQuota(pool.id), where)
    return tuple(found.values())


def _pool(sent: Resources, pools: Sequence[NodePool], where: str) -> NodePool:
    wanted_id, wanted_name = sent.nodePool.id, sent.nodePool.name
    for pool in pools:
        if pool.id == wanted_id or (not wanted_id and pool.name == wanted_name):
            if wanted_name not in ("", pool.name):
                raise Invalid(
                    f"{where}.name",
                    f"node pool {pool.id} is {pool.name!r}, not {wanted_name!r}; leave one out",
                )
            return pool
        if pool.is_default and not (wanted_id or wanted_name):
            return pool
    there = ", ".join(f"{p.id} ({p.name})" for p in pools)
    field = "id" if wanted_id else "name"
    raise Invalid(f"{where}.{field}", f"no node pool is {wanted_id or wanted_name!r}; there are {there}")


def _quota(sent: Resources, before: PoolQuota, where: str) -> PoolQuota:
    units = sent.memory.units or before.memory_units
    default = PoolQuota(before.pool)
    return replace(
        before,
        gpu=_amount(sent.gpu, before.gpu, default.gpu, 1.0),
        cpu=_amount(sent.cpu, before.cpu, default.cpu, 1 / MILLI),
        memory=_amount(sent.memory, before.memory, default.memory, UNITS[units]),
        rank=before.rank if sent.priority is None else _rank(sent.priority, where),
        memory_units=units,
    )


def _amount(sent: Resource, before: Amount, default: Amount, factor: float) -> Amount:
    def meant(name: str, old: float | None, none: float | None, times: float = 1.0) -> float | None:
        value = getattr(sent, name)
        if value is None:
            return none if name in sent.model_fields_set else old
        return None if value < 0 else value * times

    return Amount(
        deserved=meant("deserved", before.deserved, default.deserved, factor),
        limit=meant("limit", before.limit, default.limit, factor),
        weight=meant("overQuotaWeight", before.weight, default.weight),
    )


def _rank(name: str, where: str) -> Rank:
    known = [rank.value for rank in Rank]
    found = quirks.read_member(name.replace(" ", "-"), [k.replace(" ", "-") for k in known])
    if found is None:
        raise Invalid(f"{where}.priority", f"{name!r} must be one of {', '.join(known)}")
    return Rank(found.replace("-", " "))


def quotas_to_wire(quotas: Iterable[PoolQuota], pools: Sequence[NodePool]) -> list[dict[str, Any]]:
    names = {p.id: p.name for p in pools}
    return [
        {
            "nodePool": {"id": q.pool, "name": names.get(q.pool, "")},
            # A GPU quota always has a number: -1 is without bounds.
            "gpu": _amount_to_wire(q.gpu, 1.0) | ({"deserved": -1} if q.gpu.deserved is None else {}),
            "cpu": _amount_to_wire(q.cpu, 1 / MILLI),
            "memory": _amount_to_wire(q.memory, UNITS[q.memory_units]) | {"units": q.memory_units},
            "priority": q.rank.value,
        }
        for q in quotas
    ]


def _amount_to_wire(amount: Amount, factor: float) -> dict[str, Any]:
    def number(value: float | None) -> float | None:
        return None if value is None else plain(value / factor)

    return {
        "deserved": number(amount.deserved),
        "limit": number(amount.limit),
        "overQuotaWeight": None if amount.weight is None else plain(amount.weight),
    }


def plain(value: float) -> float:
    """Without the noise of having been multiplied and divided; whole where it is whole."""
    rounded = round(value, 4)
    return int(rounded) if rounded == int(rounded) else rounded


# --- usage


def sum_to_wire(amount: Sum) -> dict[str, float]:
    return {
        "gpu": plain(amount.gpus), "cpu": plain(amount.cpu * MILLI),
        "memory": plain(amount.memory_mib * MIB / 1e6),
    }  # fmt: skip


def usage_to_wire(usage: Usage) -> dict[str, Any]:
    return {
        "allocated": sum_to_wire(usage.allocated),
        "allocatedNonPreemptible": sum_to_wire(usage.non_preemptible),
        "requested": sum_to_wire(usage.requested),
    }


def usages_to_wire(usage: UsageByQueue, projects: Sequence[str], pools: Sequence[NodePool]) -> dict[str, Any]:
    """In all pools together, and in each."""
    return {
        "quotaStatus": usage_to_wire(total(usage, projects)),
        "nodePoolQuotaStatuses": [
            {"nodePoolId": p.id, "nodePoolName": p.name, **usage_to_wire(total(usage, projects, p.name))}
            for p in pools
        ],
    }


def totals_to_wire(quotas: Iterable[PoolQuota]) -> dict[str, Any]:
    """What it deserves in all pools together; null where it is without bounds in one of them."""
    known = list(quotas)
    gpu, cpu, memory = ([getattr(q, name).deserved for q in known] for name in ("gpu", "cpu", "memory"))
    return {
        "gpuQuota": _total(gpu, 1.0),
        "cpuQuota": _total(cpu, MILLI),
        "memoryQuota": _total(memory, MIB / 1e6),
    }


def _total(values: Sequence[float | None], factor: float) -> float | None:
    given = [v for v in values if v is not None]
    return plain(sum(given) * factor) if len(given) == len(values) else None


def gpu_quota(quotas: Iterable[PoolQuota]) -> float | None:
    return totals_to_wire(quotas)["gpuQuota"]


# --- rules and node types


def rules_to_domain(sent: SchedulingRules) -> Rules:
    return Rules(**{ours: getattr(sent, theirs) for ours, theirs in RULES.items()})


def rules_to_wire(rules: Rules) -> dict[str, int]:
    found = {theirs: getattr(rules, ours) for ours, theirs in RULES.items()}
    return {name: value for name, value in found.items() if value is not None}


def effective_rules(rules: Rules, above: Rules) -> Rules:
    """A project's own go before its department's."""
    own = {name: getattr(rules, name) for name in RULES}
    return replace(above, **{name: value for name, value in own.items() if value is not None})


def _node_types(
    training: Sequence[str], workspace: Sequence[str], names: Mapping[str, str]
) -> dict[str, Any]:
    found = {"training": list(training), "workspace": list(workspace), "names": dict(names)}
    return {name: value for name, value in found.items() if value}


def pool_names(sent: Sequence[str], pools: Sequence[NodePool]) -> tuple[str, ...]:
    """Node pools are named, but an id is understood, too. What is neither is refused by the service."""
    names = {p.name for p in pools}
    by_id = {p.id: p.name for p in pools}
    return tuple(n if n in names else by_id.get(n, n) for n in sent)


# --- departments


def department_to_domain(sent: DepartmentCreation, pools: Sequence[NodePool]) -> Department:
    return change_department(
        Department("", sent.name, quotas=quotas_to_domain(sent.resources, pools)), sent, pools
    )


def change_department(before: Department, sent: UnitUpdate, pools: Sequence[NodePool]) -> Department:
    """As a PUT says it; quotas are set apart from it."""
    return replace(
        before,
        rules=rules_to_domain(sent.schedulingRules),
        default_pools=pool_names(sent.defaultNodePools, pools),
        training_nodes=tuple(sent.nodeTypes.training),
        workspace_nodes=tuple(sent.nodeTypes.workspace),
        extras=before.extras | {KEPT: _kept(sent)},
    )


def _kept(sent: UnitUpdate) -> dict[str, object]:
    """What the domain has no field for, by its wire name."""
    kept: dict[str, object] = to_keep(sent.unknown())
    if sent.description:
        kept["description"] = sent.description
    if sent.nodeTypes != NodeTypes():
        kept["nodeTypes"] = sent.nodeTypes.model_dump(exclude_defaults=True)
    return kept


def _extras(unit: Department | Project) -> dict[str, Any]:
    kept = unit.extras.get(KEPT)
    return dict(kept) if isinstance(kept, dict) else {}


def department_to_wire(
    department: Department, org: Org, usage: UsageByQueue, cluster_id: str
) -> dict[str, Any]:
    below = [p for p in org.projects if p.department_id == department.id]
    return (
        _extras(department)
        | ignored_to_wire(_extras(department))
        | {
            "id": department.id,
            "name": department.name,
            "clusterId": cluster_id,
            "description": _extras(department).get("description", ""),
            "schedulingRules": rules_to_wire(department.rules),
            "defaultNodePools": list(department.default_pools),
            "nodeTypes": _extras(department).get("nodeTypes", {}),
            "resources": quotas_to_wire(department.quotas, org.pools),
            "totalResources": totals_to_wire(department.quotas),
            "children": [{"id": p.id, "name": p.name} for p in below],
            "projectsAggregatedResources": aggregated_to_wire(below, org.pools),
            "status": usages_to_wire(usage, [p.name for p in below], org.pools),
            **stamp_to_wire(department.stamp),
        }
    )


def aggregated_to_wire(projects: Sequence[Project], pools: Sequence[NodePool]) -> list[dict[str, Any]]:
    """What the projects deserve together, per pool."""
    found: list[dict[str, Any]] = []
    for pool in pools:
        mine = [q for p in projects for q in p.quotas if q.pool == pool.id]
        if mine:
            told = totals_to_wire(mine)
            found.append(
                {
                    "nodePool": {"id": pool.id, "name": pool.name},
                    "gpu": {"deserved": told["gpuQuota"]},
                    "cpu": {"deserved": told["cpuQuota"]},
                    "memory": {"deserved": told["memoryQuota"], "units": "MB"},
                }
            )
    return found


def stamp_to_wire(stamp: Stamp) -> dict[str, Any]:
    return {
        "createdAt": time_to_wire(stamp.created_at_ms), "createdBy": stamp.created_by,
        "updatedAt": time_to_wire(stamp.updated_at_ms), "updatedBy": stamp.updated_by,
    }  # fmt: skip


# --- projects


def project_to_domain(sent: ProjectCreation, pools: Sequence[NodePool]) -> Project:
    draft = Project(
        "", sent.name, sent.parentId, sent.requestedNamespace, quotas=quotas_to_domain(sent.resources, pools)
    )
    changed = change_project(draft, sent, pools)
    if sent.requestedNamespace:
        kept = _extras(changed) | {"requestedNamespace": sent.requestedNamespace}
        return replace(changed, extras=changed.extras | {KEPT: kept})
    return changed


def change_project(before: Project, sent: ProjectUpdate, pools: Sequence[NodePool]) -> Project:
    """As a PUT says it; quotas are set apart from it."""
    known = _extras(before).get("requestedNamespace")
    kept = _kept(sent) | ({"requestedNamespace": known} if known else {})
    kept["enforceRunaiScheduler"] = sent.enforceRunaiScheduler
    return replace(
        before,
        rules=rules_to_domain(sent.schedulingRules),
        default_pools=pool_names(sent.defaultNodePools, pools),
        training_nodes=tuple(sent.nodeTypes.training),
        workspace_nodes=tuple(sent.nodeTypes.workspace),
        description=sent.description,
        extras=before.extras | {KEPT: kept},
    )


def project_to_wire(project: Project, org: Org, usage: UsageByQueue, cluster_id: str) -> dict[str, Any]:
    above = next((d for d in org.departments if d.id == project.department_id), None)
    types = _extras(project).get("nodeTypes", {})
    own_types = _node_types(project.training_nodes, project.workspace_nodes, types.get("names", {}))
    above_names = _extras(above).get("nodeTypes", {}).get("names", {}) if above else {}
    above_types = _node_types(above.training_nodes, above.workspace_nodes, above_names) if above else {}
    return {"enforceRunaiScheduler": True} | _extras(project) | ignored_to_wire(_extras(project)) | {
        "id": project.id,
        "name": project.name,
        "clusterId": cluster_id,
        "parentId": project.department_id,
        "parent": {"id": project.department_id, "name": above.name if above else ""},
        "description": project.description,
        "schedulingRules": rules_to_wire(project.rules),
        "defaultNodePools": list(project.default_pools),
        "nodeTypes": own_types,
        "effective": {
            "schedulingRules": rules_to_wire(
                effective_rules(project.rules, above.rules if above else Rules())
            ),
            "defaultNodePools": list(project.default_pools or (above.default_pools if above else ())),
            "nodeTypes": above_types | own_types,
        },
        "resources": quotas_to_wire(project.quotas, org.pools),
        "totalResources": totals_to_wire(project.quotas),
        "status": {
            "namespace": project.namespace,
            "phase": "Ready",
            "phaseMessage": "",
            "lastUpdatedTime": time_to_wire(project.stamp.updated_at_ms),
            **usages_to_wire(usage, [project.name], org.pools),
        },
        **stamp_to_wire(project.stamp),
    }  # fmt: skip


def ranks_to_wire() -> list[dict[str, Any]]:
    return [
        {"name": rank.value, "value": rank.value_number, "isDefault": rank is Rank.MEDIUM_LOW}
        for rank in Rank
    ]
