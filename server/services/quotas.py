"""What org units are given of each node pool."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlmodel import Session

from ..domain.org import Department, NodePool, PoolQuota, Project
from ..errors import NotFound
from ..store import org as rows
from . import org
from . import org_checks as checks
from .context import Services

QuotaChange = Callable[[Sequence[PoolQuota]], Sequence[PoolQuota]]


async def set_quotas(
    services: Services, unit: Department | Project, quotas: Sequence[PoolQuota], *, merge: bool, by: str
) -> tuple[PoolQuota, ...]:
    """As `change_quotas`, to what is known before."""
    return await change_quotas(services, unit, lambda _there: quotas, merge=merge, by=by)


async def change_quotas(
    services: Services, unit: Department | Project, change: QuotaChange, *, merge: bool, by: str
) -> tuple[PoolQuota, ...]:
    """
    All quotas that the unit has then. From now on they no longer follow the machine.

    Args:
        change: those that are to be, of those that are there when they are written, so that of what two
            change at once nothing is lost. Called by the writer: it may look at nothing else.
        merge: pools that are not named keep what they have; else they have none any more.
    """

    def apply(session: Session) -> tuple[PoolQuota, ...]:
        load = rows.load_department if isinstance(unit, Department) else rows.load_project
        before = load(session, unit.id)
        if before is None:
            raise NotFound("department" if isinstance(unit, Department) else "project", unit.id)
        there = before.quotas or unit.quotas  # what follows the machine is stored as nothing
        named = change(there)
        checks.check_quotas(named, rows.names(session, NodePool).values())
        known = {q.pool: q for q in there} if merge else {}
        after = tuple((known | {q.pool: q for q in named}).values())
        stamp = org.later_stamp(services, before.stamp, by)
        rows.save_unit(session, replace(before, quotas=after, stamp=stamp), owns_machine=False)
        return after

    return await org.write(services, apply)
