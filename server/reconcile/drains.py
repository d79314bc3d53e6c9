"""Before a replica ends or is paused its open requests have their time."""

from collections.abc import Mapping, Sequence

from ...runtime.model import Handle
from ..domain.endpoints import UNHEALTHY, is_asleep
from ..domain.workload import Attempt, Workload
from .launches import Machine

DRAIN_S = 30.0


class Drains:
    def __init__(self, machine: Machine) -> None:
        self._m = machine

    def adopt(self, workloads: Mapping[str, Workload], attempts: Sequence[Attempt]) -> None:
        """What the server before this one took out of the gateway's table may have requests left."""
        for attempt in attempts:
            if attempt.is_live and (attempt.draining_at_ms is not None or attempt.is_paused):
                self._m.traffic.adopt(workloads[attempt.workload_id].route_key, attempt.replica_id)

    async def wait(self, attempt: Attempt) -> None:
        """It is in no table any more; open requests have what is left of their time."""
        found = self._m.store.reads.by_ids([attempt.workload_id])
        if attempt.draining_at_ms is None or attempt.draining_why == UNHEALTHY or not found:
            return
        spent_s = (self._m.clock.now_ms() - attempt.draining_at_ms) / 1000
        left_s = min(DRAIN_S, max(0.0, DRAIN_S - spent_s))
        await self._m.traffic.wait_drained(found[0].workload.route_key, attempt.replica_id, left_s)

    async def pause(self, workload: Workload, attempt: Attempt, handle: Handle) -> None:
        await self._m.traffic.wait_drained(workload.route_key, attempt.replica_id, DRAIN_S)
        current = self._m.store.get_workload(workload.workspace, workload.id)
        if current is not None and is_asleep(current):
            await self._m.driver.pause(handle)
