"""What an org unit, a node pool or a label may be. Each refusal names the field and the remedy."""

import math
import re
from collections.abc import Collection, Mapping, Sequence

from sqlmodel import Session

from ..domain.org import Amount, Department, NodePool, PoolQuota, Project
from ..errors import Conflict, Invalid
from ..store import org as rows

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", re.A)
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", re.A)
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
STRATEGIES = ("binpack", "spread")
MOST_NAME = 64
MOST_AMOUNT = 1e9


def few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def check_title(name: str) -> None:
    """Of a department, which is part of no host's name."""
    if not name.strip() or len(name) > MOST_NAME or not name.isprintable() or "/" in name:
        raise Invalid("name", f"{name!r} must be 1 to {MOST_NAME} characters that can be printed, without /")


def check_effect(effect: str) -> None:
    if effect not in EFFECTS:
        raise Invalid("taints", f"{effect!r} is none of {', '.join(EFFECTS)}")


def check_name(name: str, where: str = "name") -> None:
    if NAME.fullmatch(name) is None:
        raise Invalid(
            where,
            f"{name!r} must be at most 63 of a-z, 0-9 and '-', begin and end with a letter or a digit",
        )


def namespace_of(project: Project) -> str:
    """As asked for, else after its name. Source: Run:ai's pages on projects."""
    if project.namespace:
        check_name(project.namespace, "requestedNamespace")
        return project.namespace
    made = f"runai-{project.name}"
    if NAME.fullmatch(made) is None:
        raise Invalid(
            "name",
            f"its namespace would be {made!r}, which is too long; choose a shorter name, or a namespace",
        )
    return made


def check_free(session: Session, kind: type[Department] | type[Project] | type[NodePool], name: str) -> None:
    if rows.has_name(session, kind, name):
        word = {Department: "department", Project: "project", NodePool: "node pool"}[kind]
        raise Conflict(f"there is a {word} named {name!r}; choose another name")


def check_project(session: Session, project: Project) -> None:
    if rows.load_department(session, project.department_id) is None:
        raise Invalid("parentId", f"no department has the id {project.department_id!r}")
    if (owner := rows.project_in(session, project.namespace)) not in (None, project.name):
        raise Conflict(f"the namespace {project.namespace!r} is that of project {owner}; choose another")
    pools = rows.names(session, NodePool)
    check_quotas(project.quotas, pools.values())
    check_pools(project.default_pools, pools)


def check_pools(wanted: Sequence[str], known: Mapping[str, str]) -> None:
    if unknown := [n for n in wanted if n not in known]:
        there = ", ".join(known)
        raise Invalid("defaultNodePools", f"no node pool named {unknown[0]!r}; there is {there}")


def check_quotas(quotas: Sequence[PoolQuota], known: Collection[str]) -> None:
    for index, quota in enumerate(quotas):
        where = f"resources[{index}]"
        if quota.pool not in known:
            raise Invalid(f"{where}.nodePool.id", f"no node pool has the id {quota.pool!r}")
        if quota.pool in {q.pool for q in quotas[:index]}:
            raise Invalid(f"{where}.nodePool.id", f"{quota.pool!r} is there twice")
        for resource in ("gpu", "cpu", "memory"):
            amount: Amount = getattr(quota, resource)
            for name, number in (
                ("deserved", amount.deserved), ("limit", amount.limit), ("overQuotaWeight", amount.weight),
            ):  # fmt: skip
                if number is not None and not (math.isfinite(number) and 0 <= number <= MOST_AMOUNT):
                    raise Invalid(f"{where}.{resource}.{name}", f"{number} is not 0 to {MOST_AMOUNT:.0f}")


def check_label(key: str, value: str, where: str, where_value: str = "") -> None:
    """`where`, `where_value`: the fields that key and value came in, if not in the same."""
    if LABEL_KEY.fullmatch(key) is None:
        raise Invalid(where, f"{key!r} is no label's name, such as team or example.org/team")
    if LABEL_VALUE.fullmatch(value) is None:
        raise Invalid(
            where_value or where, f"{value!r} must be at most 63 of letters, digits, '-', '_' and '.'"
        )


def check_node_pool(session: Session, pool: NodePool) -> None:
    for where, strategy in (("gpu", pool.gpu_strategy), ("cpu", pool.cpu_strategy)):
        if strategy not in STRATEGIES:
            raise Invalid(f"placementStrategy.{where}", f"{strategy!r} is none of {', '.join(STRATEGIES)}")
    if pool.min_runtime_s < 0:
        raise Invalid("schedulingConfiguration.minGuaranteedRuntime", "must not be below zero")
    if pool.is_default:
        if pool.label_key:
            raise Invalid("labelKey", f"{pool.name} has every node that no other pool has, and no label")
        return
    check_label(pool.label_key, pool.label_value, "labelKey", "labelValue")
    for name, pool_id in rows.names(session, NodePool).items():
        other = rows.load_node_pool(session, pool_id)
        label = (pool.label_key, pool.label_value)
        if other is not None and pool_id != pool.id and (other.label_key, other.label_value) == label:
            raise Conflict(f"the label {'='.join(label)} is that of node pool {name}; choose another")
