"""Suspend, resume and delete."""

from ....errors import Conflict, Invalid, NotImplementedYet
from ....services import workloads
from ..call import Call
from ..translate.phases import ENDED
from ..translate.seen import Seen
from . import looking

DONE = {"suspend": "is being suspended", "resume": "is being resumed", "delete": "is being deleted"}


async def act(call: Call, seen: Seen, action: str) -> str:
    """
    The wish is durable when it returns; the phase follows. To ask twice changes nothing.

    Returns:
        A sentence that says what happens now.

    Raises:
        Invalid: inferences are not suspended.
        Conflict: it has ended, so that there is nothing to suspend or to resume.
    """
    services, workload = call.ctx.services, seen.workload
    who = looking.caller(call, workload.workspace)
    said = f"{seen.type} {workload.name} {DONE[action]}"
    if workload.archived_at_ms is not None or workload.is_deleting:
        if action == "delete":
            return said
        raise Conflict(f"{seen.type} {workload.name} is deleted; submit it again")
    if action == "delete":
        await workloads.delete_workload(services, who, workload.id)
        return said
    if seen.type == "Inference":  # source: runapy 1.224.0, which has no such operation for them
        raise Invalid(
            "action", f"{workload.name} is an inference, which no {action} is for; minReplicas 0 lets it rest"
        )
    if workload.kind != "job":
        raise NotImplementedYet(f"to {action} what was made as a Lepton {workload.kind}")
    if seen.phase in ENDED and action == "suspend":
        raise Conflict(f"{seen.type} {workload.name} has ended; there is nothing to suspend")
    if seen.phase in ENDED and not workload.spec.is_stopped:
        raise Conflict(f"{seen.type} {workload.name} has ended; to run it again, submit it anew")
    await workloads.set_stopped(services, who, workload.id, stopped=action == "suspend", at_once=True)
    return said
