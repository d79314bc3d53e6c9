"""Who waits, in which order and why; what each project and department has of each node pool."""

from math import isinf
from typing import Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from .....scheduler.explain import Explanation
from .....scheduler.model import Amounts, Share
from ....domain.workload import TERMINAL
from ....services import why
from ....snapshot.queues import name_of
from .deps import Bearer, Context

router = APIRouter()


def amounts_to_wire(amounts: Amounts) -> dict[str, float | None]:
    """What is without bounds is null."""
    each = {"gpus": amounts.gpus, "cpu": amounts.cpu, "memory_mib": amounts.memory_mib}
    return {name: None if isinf(value) else value for name, value in each.items()}


def share_to_wire(share: Share) -> dict[str, Any]:
    kind, name = name_of(share.queue)
    return {
        "kind": kind,
        "queue": name,
        "pool": share.pool,
        "rank": share.quota.rank,
        "weight": amounts_to_wire(share.quota.weight),
        "deserved": amounts_to_wire(share.quota.deserved),
        "limit": amounts_to_wire(share.quota.limit),
        "fair": amounts_to_wire(share.fair),
        "allocated": amounts_to_wire(share.allocated),
        "allocated_non_preemptible": amounts_to_wire(share.allocated_non_preemptible),
        "requested": amounts_to_wire(share.requested),
    }


def ending_to_wire(ending: why.Ending) -> dict[str, Any]:
    return {
        "workload": ending.workload, "project": ending.project, "is_preemptible": ending.is_preemptible
    }  # fmt: skip


def in_line_to_wire(line: why.InLine) -> dict[str, Any]:
    would = line.would_have_to_end
    return {
        "position": line.position,
        "workload": line.workload,
        "project": line.project,
        "priority": line.priority,
        "members": line.members,
        "wants": line.wants,
        "code": line.code,
        "reasons": list(line.reasons),
        "ending": [ending_to_wire(e) for e in line.ending],
        "would_have_to_end": None if would is None else [ending_to_wire(e) for e in would],
    }


def explanation_to_wire(told: Explanation) -> dict[str, Any]:
    return {
        "text": list(told.text),
        "pools": [
            {"pool": p.pool, "fits": p.fits, "fits_later": p.fits_later, "why": list(p.why)}
            for p in told.pools
        ],
        "queues": [
            share_to_wire(q.share) | {"code": q.code.value if q.code else None, "why": q.why}
            for q in told.queues
        ],
        "nodes": [
            {
                "node": n.node, "pool": n.pool, "why": n.why, "free_gpus": n.free_gpus,
                "free_cpu": n.free_cpu, "free_memory_mib": n.free_memory_mib,
            }
            for n in told.nodes
        ],
    }  # fmt: skip


@router.get("/queue")
async def get_queue(
    ctx: Context, who: Bearer, most: int = Query(default=why.MOST_LISTED, ge=0, le=10_000)
) -> Response:
    """Shares of all queues, and the first `most` of what waits."""
    line = why.get_line(ctx.loop.last_plan, who, most=most)
    return JSONResponse(
        {
            "shares": [share_to_wire(s) for s in line.shares],
            "count": line.count,
            "waiting": [in_line_to_wire(w) for w in line.waiting],
        }
    )


@router.get("/why/{workload_id}")
async def explain(workload_id: str, ctx: Context, who: Bearer) -> Response:
    """Why a workload is where it is: the scheduler's reasons while it waits, else its last event."""
    found = why.find_anywhere(ctx.services, who, workload_id)
    refusal = ctx.loop.waiting(found.workload.id)
    is_queued = found.phase not in TERMINAL and refusal is not None
    events = ctx.services.store.events_of(found.workload.id)
    reasons = list(refusal.reasons) if refusal and is_queued else [e.message for e in events[-1:]]
    if found.phase not in TERMINAL:
        has_place = any(a.is_live for a in ctx.services.store.attempts_of(found.workload.id))
        remarks = (why.placed if has_place else why.remarks)(ctx.services, found.workload)
        reasons = [*ctx.loop.reasons, *reasons, *remarks]
    body: dict[str, Any] = {"id": found.workload.id, "phase": found.phase.value, "reasons": reasons}
    place = why.get_place(ctx.loop.last_plan, who, found.workload.id) if is_queued else None
    if refusal and place:
        line, told = place
        body |= {"code": refusal.code.value, "line": in_line_to_wire(line)}
        body |= {"explanation": explanation_to_wire(told)}
    return JSONResponse(body)
