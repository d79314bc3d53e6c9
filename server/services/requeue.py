"""Another place in the queue for what waits in it."""

from collections.abc import Callable
from dataclasses import replace

from ..domain.lifecycle import phase_of
from ..domain.workload import Attempt, Phase, Workload, WorkloadSpec
from ..errors import Conflict
from .access import Caller
from .context import Services
from .workloads import update_workload

# One that is stopped takes its new standing with it once it is started.
WAITING = frozenset({Phase.AWAITING, Phase.QUEUED, Phase.PENDING_RETRY, Phase.RESTARTING, Phase.STOPPED})


async def change_standing(
    services: Services, who: Caller, workload_id: str, make: Callable[[WorkloadSpec], WorkloadSpec]
) -> Workload:
    """
    Args:
        make: the spec with another priority, or other rights to evict and be evicted.

    Raises:
        Conflict: it has its place already, or has ended.
    """

    def change(workload: Workload, attempts: list[Attempt]) -> tuple[Workload, str]:
        phase = phase_of(workload, attempts)
        if phase not in WAITING or any(a.is_live for a in attempts):
            raise Conflict(f"{workload_id} is {phase.value}; queue_config can change only while it waits")
        return replace(workload, spec=make(workload.spec)), "QueueChanged"

    return await update_workload(services, who, workload_id, change)
