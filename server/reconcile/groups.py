"""The networks of workloads that have several replicas; each goes with its workload's last container."""

from collections.abc import Sequence

from ...runtime.model import Observed
from ..crashpoints import CrashPoint
from .launches import Machine
from .tasks import KeyedTasks


class Groups:
    def __init__(self, machine: Machine, tasks: KeyedTasks) -> None:
        self._m, self._tasks = machine, tasks
        self._there: set[str] | None = None  # None before the first look

    async def look(self) -> None:
        """
        Once, for those of an earlier server; later ones are told of by `add`.

        Raises:
            RuntimeUnavailable: the driver cannot be asked; it is asked again at the next look.
        """
        if self._there is None:
            self._there = set(await self._m.driver.list_groups())

    def add(self, group: str) -> None:
        """One that a container is about to be started in."""
        if self._there is not None and group:
            self._there.add(group)

    def drop_unused(self, observed: Sequence[Observed], now_ms: int) -> None:
        if not self._there:
            return
        entries = self._m.store.reads.table.look(now_ms)
        for group in self._there - {o.workload_id for o in observed}:
            if group not in entries or not any(a.is_live for a in entries[group].attempts):
                self._tasks.start(("group", group), lambda group=group: self._drop(group))

    async def _drop(self, group: str) -> None:
        await self._m.driver.remove_group(group)
        await self._m.crash.reach(CrashPoint.GROUP_REMOVED)
        if self._there is not None:
            self._there.discard(group)
