"""Org units and node pools: who shares the machine, and what each is given of it."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sqlmodel import Session

from ..domain.inventory import HostNode
from ..domain.org import Department, NodePool, Org, PoolQuota, Project, Stamp
from ..domain.pools import POOL_LABEL, in_pools, whole_machine, with_notes
from ..errors import Conflict, Invalid, NotFound
from ..store import org as rows
from ..store.org import OrgRows
from ..store.tables import SettingRow
from . import org_checks as checks
from .access import LOCAL
from .context import Services

DEFAULT = "default"  # what a fresh server holds, beside project `local`
SYSTEM = "homeport"  # who made that

Unit = TypeVar("Unit", Department, Project, NodePool)


@dataclass(slots=True)
class _Seen:
    """What was made of the rows and nodes that were seen last, so that asking again costs nothing."""

    rows: OrgRows | None = None
    machine: tuple[HostNode, ...] | None = None
    org: Org = field(default_factory=Org)
    nodes: tuple[HostNode, ...] = ()


def _seen(services: Services) -> _Seen:
    stored = services.store.org.rows()
    seen = services.memo.setdefault(_Seen, _Seen())
    assert isinstance(seen, _Seen)
    if seen.rows is not stored or seen.machine is not services.nodes:
        nodes = in_pools(with_notes(services.nodes, dict(stored.notes)), stored.pools)
        everything = whole_machine(nodes, stored.pools)
        seen.org = Org.of(
            tuple(replace(d, quotas=everything) if owns else d for d, owns in stored.departments),
            tuple(replace(p, quotas=everything) if owns else p for p, owns in stored.projects),
            stored.pools,
        )
        seen.rows, seen.machine, seen.nodes = stored, services.nodes, nodes
    return seen


def get_org(services: Services) -> Org:
    """All org units and pools, oldest first; the same object as long as nothing has changed."""
    return _seen(services).org


def nodes_now(services: Services) -> tuple[HostNode, ...]:
    """The machine's nodes with the labels and taints given by people, and their pool as `node_group`."""
    return _seen(services).nodes


async def ensure_defaults(services: Services) -> None:
    """
    What every server holds, made where it is missing: pool and department `default`, project `local`,
    and the cluster's id. Quotas of the two units are the whole machine until somebody sets them.
    """

    def make(session: Session) -> None:
        if session.get(SettingRow, "cluster_id") is None:
            session.add(SettingRow(name="cluster_id", value=str(uuid.uuid4())))
        stamp = _new_stamp(services, SYSTEM)
        if not rows.names(session, NodePool):
            rows.save_unit(session, NodePool(rows.next_id(session), DEFAULT, is_default=True, stamp=stamp))
        departments = rows.names(session, Department)
        if DEFAULT not in departments:
            departments[DEFAULT] = rows.next_id(session)
            unit = Department(departments[DEFAULT], DEFAULT, stamp=stamp)
            rows.save_unit(session, unit, owns_machine=True)
        if LOCAL not in rows.names(session, Project):
            project = Project(
                rows.next_id(session), LOCAL, departments[DEFAULT], f"runai-{LOCAL}", stamp=stamp
            )
            rows.save_unit(session, project, owns_machine=True)

    await services.store.write(make)


def follows_machine(services: Services, unit: Department | Project) -> bool:
    """Its quotas are all there is, since nobody has set any."""
    stored = services.store.org.rows()
    owners = stored.departments if isinstance(unit, Department) else stored.projects
    return any(owns for found, owns in owners if found.id == unit.id)


def get_cluster_id(services: Services) -> str:
    """A UUID that this data directory keeps."""
    return services.store.setting("cluster_id") or ""


def list_departments(services: Services) -> tuple[Department, ...]:
    return get_org(services).departments


def list_projects(services: Services) -> tuple[Project, ...]:
    return get_org(services).projects


def list_node_pools(services: Services) -> tuple[NodePool, ...]:
    return get_org(services).pools


def get_department(services: Services, department_id: str) -> Department:
    return _one("department", get_org(services).departments, department_id)


def get_project(services: Services, project_id: str) -> Project:
    return _one("project", get_org(services).projects, project_id)


def get_node_pool(services: Services, pool_id: str) -> NodePool:
    return _one("node pool", get_org(services).pools, pool_id)


def find_department(services: Services, name: str) -> Department:
    return _named("department", get_org(services).departments, name)


def find_project(services: Services, name: str) -> Project:
    """Also: the project that the Lepton workspace of this id is."""
    return _named("project", get_org(services).projects, name)


def find_node_pool(services: Services, name: str) -> NodePool:
    return _named("node pool", get_org(services).pools, name)


def _one(kind: str, units: Sequence[Unit], unit_id: str) -> Unit:
    found = next((u for u in units if u.id == unit_id), None)
    if found is None:
        raise NotFound(kind, unit_id)
    return found


def _named(kind: str, units: Sequence[Unit], name: str) -> Unit:
    found = next((u for u in units if u.name == name), None)
    if found is None:
        raise NotFound(kind, name, among=", ".join(u.name for u in units))
    return found


async def create_department(services: Services, draft: Department, *, by: str) -> Department:
    """
    Args:
        draft: its id and stamp do not matter. by: who asks.

    Raises:
        Invalid: a field of it. Conflict: there is one of that name.
    """
    checks.check_title(draft.name)

    def insert(session: Session) -> Department:
        checks.check_free(session, Department, draft.name)
        checks.check_quotas(draft.quotas, rows.names(session, NodePool).values())
        checks.check_pools(draft.default_pools, rows.names(session, NodePool))
        made = replace(draft, id=rows.next_id(session), stamp=_new_stamp(services, by))
        rows.save_unit(session, made, owns_machine=False)
        return made

    return await write(services, insert)


async def create_project(services: Services, draft: Project, *, by: str) -> Project:
    """
    Makes the Lepton workspace of that name with it.

    Args:
        draft: its id and stamp do not matter; without a department it is in the default one, without a
            namespace in `runai-<name>`. by: who asks.

    Raises:
        Invalid: a field of it. Conflict: there is one of that name, or of that namespace.
    """
    checks.check_name(draft.name)
    namespace = checks.namespace_of(draft)

    def insert(session: Session) -> Project:
        checks.check_free(session, Project, draft.name)
        department = draft.department_id or rows.names(session, Department)[DEFAULT]
        made = replace(
            draft, id=rows.next_id(session), department_id=department,
            namespace=namespace, stamp=_new_stamp(services, by),
        )  # fmt: skip
        checks.check_project(session, made)
        rows.save_unit(session, made, owns_machine=False)
        return made

    return await write(services, insert)


async def create_node_pool(services: Services, draft: NodePool, *, by: str) -> NodePool:
    """
    Raises:
        Invalid: a field of it. Conflict: the name or the label is another pool's.
    """
    checks.check_name(draft.name)

    def insert(session: Session) -> NodePool:
        checks.check_free(session, NodePool, draft.name)
        made = replace(draft, id=rows.next_id(session), is_default=False, stamp=_new_stamp(services, by))
        checks.check_node_pool(session, made)
        rows.save_unit(session, made)
        return made

    return await write(services, insert)


async def update_department(
    services: Services, department_id: str, change: Callable[[Department], Department], *, by: str,
    quotas: Sequence[PoolQuota] | None = None,
) -> Department:  # fmt: skip
    """
    `change` gets what is there and answers what is to be. Id and name stay, and so do quotas where none are
    given; else all are replaced by them, as by `quotas.set_quotas`, in the same write.
    """

    def apply(session: Session) -> Department:
        before = rows.load_department(session, department_id)
        after = _changed(services, "department", before, department_id, change, by, quotas)
        pools = rows.names(session, NodePool)
        checks.check_quotas(after.quotas, pools.values())
        checks.check_pools(after.default_pools, pools)
        rows.save_unit(session, after, owns_machine=None if quotas is None else False)
        return after

    await write(services, apply)
    return get_department(services, department_id)


async def update_project(
    services: Services, project_id: str, change: Callable[[Project], Project], *, by: str,
    quotas: Sequence[PoolQuota] | None = None,
) -> Project:  # fmt: skip
    """As `update_department`."""

    def apply(session: Session) -> Project:
        before = rows.load_project(session, project_id)
        after = _changed(services, "project", before, project_id, change, by, quotas)
        checks.check_project(session, after)
        rows.save_unit(session, after, owns_machine=None if quotas is None else False)
        return after

    await write(services, apply)
    return get_project(services, project_id)


async def update_node_pool(
    services: Services, pool_id: str, change: Callable[[NodePool], NodePool], *, by: str
) -> NodePool:
    """As `update_department`. The default pool has no label."""

    def apply(session: Session) -> NodePool:
        before = rows.load_node_pool(session, pool_id)
        after = _changed(services, "node pool", before, pool_id, change, by)
        checks.check_node_pool(session, after)
        rows.save_unit(session, after)
        return after

    return await write(services, apply)


async def delete_department(services: Services, department_id: str) -> None:
    """
    Raises:
        Conflict: it has projects, or is the default one.
    """

    def remove(session: Session) -> None:
        found = rows.load_department(session, department_id)
        if found is None:
            raise NotFound("department", department_id)
        if found.name == DEFAULT:
            raise Conflict("department default is where projects go that name none; it stays")
        if below := rows.projects_below(session, found.id):
            raise Conflict(f"department {found.name} has the projects {checks.few(below)}; delete them first")
        rows.remove_department(session, found.id)

    await write(services, remove)


async def delete_project(services: Services, project_id: str) -> None:
    """
    With its workspace: tokens, secrets, registry logins and domains. What has ended in it stays for the bill.

    Raises:
        Conflict: something in it runs, waits or could be started again.
    """

    def remove(session: Session) -> None:
        found = rows.load_project(session, project_id)
        if found is None:
            raise NotFound("project", project_id)
        if found.name == LOCAL:
            raise Conflict("project local is the server's own workspace; it stays")
        if left := rows.unfinished_in(session, found.name):
            raise Conflict(
                f"project {found.name} has {len(left)} workload(s) ({checks.few(left)}); delete them first"
            )
        rows.remove_project(session, found)

    await write(services, remove)


async def delete_node_pool(services: Services, pool_id: str) -> None:
    """
    Raises:
        Conflict: it has nodes, is the default one, or something that has not ended names it.
    """
    name = get_node_pool(services, pool_id).name
    active = services.store.reads.active(services.clock.now_ms())
    named = sorted({f.id for f in active if name in f.workload.spec.node_groups and f.workload.is_wanted})
    there = [n for n in nodes_now(services) if n.node_group == name]

    def remove(session: Session) -> None:
        found = rows.load_node_pool(session, pool_id)
        if found is None:
            raise NotFound("node pool", pool_id)
        if found.is_default:
            raise Conflict(f"node pool {found.name} has every node that no other has; it stays")
        if there:
            names = checks.few([n.id for n in there])
            raise Conflict(f"node pool {found.name} has the nodes {names}; {_way_out(found, there)}")
        if named:
            raise Conflict(f"node pool {found.name} is asked for by {checks.few(named)}; end or delete it")
        rows.remove_node_pool(session, found)

    await write(services, remove)


def _way_out(pool: NodePool, there: Sequence[HostNode]) -> str:
    """How these nodes leave it: those that bear its label, and those that it was declared with."""
    label = (pool.label_key, pool.label_value)
    if all(label in n.labels for n in there):
        return f"take {'='.join(label)} from them first"
    declared = next(n.id for n in there if label not in n.labels)
    return (
        f"take {'='.join(label)} from those that bear it, and give the others the label {POOL_LABEL} of "
        f"another pool: homeport node label {declared} {POOL_LABEL}={DEFAULT}"
    )


Answer = TypeVar("Answer")


async def write(services: Services, work: Callable[[Session], Answer]) -> Answer:
    """One write of org units, after which the loop looks at them anew."""
    answer = await services.store.write(work)
    services.poke()  # other quotas, other order
    return answer


def _changed(
    services: Services, kind: str, before: Unit | None, unit_id: str, change: Callable[[Unit], Unit], by: str,
    quotas: Sequence[PoolQuota] | None = None,
) -> Unit:  # fmt: skip
    if before is None:
        raise NotFound(kind, unit_id)
    after = change(before)
    if after.name != before.name:
        raise Invalid("name", f"a {kind} keeps its name, which is {before.name!r}")
    after = replace(after, id=before.id, stamp=later_stamp(services, before.stamp, by))
    if isinstance(before, Department | Project):
        return replace(after, quotas=before.quotas if quotas is None else tuple(quotas))
    return replace(after, is_default=before.is_default)


def _new_stamp(services: Services, by: str) -> Stamp:
    now = services.clock.now_ms()
    return Stamp(now, by, now, by)


def later_stamp(services: Services, before: Stamp, by: str) -> Stamp:
    return replace(before, updated_at_ms=services.clock.now_ms(), updated_by=by)
