"""Departments and projects -> queues; node pools -> pools."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from math import inf

from ...scheduler.model import Amounts, Pool, Queue, Quota, Strategy
from ..domain.org import Department, Org, PoolQuota, Project

# Source: contract, section 5: without a weight of its own a unit has 2.
DEFAULT_WEIGHT = 2.0
MOST_QUOTAS = 20_000  # that stay known: all are asked for at each change of one


def department_queue(department: Department) -> str:
    """Its queue's id, in quotes as no project's name can be: a project may have the same name."""
    return f"'{department.name}'"


def name_of(queue: str) -> tuple[str, str]:
    """`department` or `project`, and its name, of a queue's id."""
    return ("department", queue[1:-1]) if queue.startswith("'") else ("project", queue)


def queues_of(org: Org, capacity: Mapping[str, float]) -> tuple[Queue, ...]:
    """
    Departments, then projects, each in the order of their making. A project's queue has its name as id.

    Args:
        capacity: GPUs by pool. A quota of all of them binds nobody: who has the whole machine and
            finds it full waits for room, not for a quota.
    """
    return Queues().of(org, capacity)


class Queues:
    """Those that were made before: a unit that is the same object in the same place has the same queue."""

    def __init__(self) -> None:
        self._ground: tuple[object, ...] = ()
        self._made: list[tuple[Department | Project, Queue]] = []

    def of(self, org: Org, capacity: Mapping[str, float]) -> tuple[Queue, ...]:
        """As `queues_of`."""
        names = {pool.id: pool.name for pool in org.pools}
        above = {d.id: department_queue(d) for d in org.departments}

        def queue(unit: Department | Project, age: int) -> Queue:
            known = [q for q in unit.quotas if q.pool in names]
            quotas = {names[q.pool]: quota_of(q, capacity.get(names[q.pool], inf)) for q in known}
            if isinstance(unit, Department):
                return Queue(department_queue(unit), None, quotas, age)
            return Queue(unit.name, above.get(unit.department_id), quotas, age)

        ground = (names, above, dict(capacity))
        before = self._made if ground == self._ground else []
        self._made = [
            before[age] if age < len(before) and before[age][0] is unit else (unit, queue(unit, age))
            for age, unit in enumerate((*org.departments, *org.projects))
        ]
        self._ground = ground
        return tuple([queue for _, queue in self._made])


@lru_cache(MOST_QUOTAS)
def quota_of(quota: PoolQuota, capacity: float = inf) -> Quota:
    """Args: capacity: GPUs of the pool."""
    each = (quota.gpu, quota.cpu, quota.memory)
    deserved = Amounts(*(_or(a.deserved, inf) for a in each))
    return Quota(
        deserved=replace(deserved, gpus=inf) if deserved.gpus >= capacity else deserved,
        limit=Amounts(*(_or(a.limit, inf) for a in each)),
        weight=Amounts(*(_or(a.weight, DEFAULT_WEIGHT) for a in each)),
        rank=quota.rank.value_number,
    )


def _or(value: float | None, default: float) -> float:
    """What is below 0 is written by clients that mean `none`. Source: contract, section 5."""
    return default if value is None or value < 0 else value


def pools_of(org: Org) -> tuple[Pool, ...]:
    return tuple(Pool(p.name, Strategy(p.gpu_strategy), Strategy(p.cpu_strategy)) for p in org.pools)
