"""
Says of what waits that only a guaranteed runtime keeps others from making room for it, and until when.

Source: rule 16 of the contract's section 10: nothing is evicted before its pool's minimum runtime is over.
"""

from collections.abc import Mapping
from dataclasses import replace

from ...scheduler.model import Code, Plan, Snapshot, Unplaced
from ...scheduler.plan import plan
from ..domain.times import utc
from ..snapshot.work import Work, attempt_key

MOST_WAITING = 1000  # asks; where more wait, a second plan of them all would cost each pass too much


def with_guarantees(snapshot: Snapshot, answer: Plan, works: Mapping[str, Work]) -> Plan:
    """
    The plan with one more reason for each ask for which others would end if they were not protected.

    Args:
        answer: the plan of that snapshot. works: by the ids of workloads.
    """
    waiting = {i for i, why in answer.unplaced.items() if why.code is Code.NO_PLACE}
    if not 0 < len(waiting) <= MOST_WAITING or not any(r.is_protected for r in snapshot.running):
        return answer
    protected = {r.id for r in snapshot.running if r.is_protected}
    running = tuple(replace(r, is_protected=False) if r.id in protected else r for r in snapshot.running)
    until: dict[str, int] = {}
    for eviction in plan(replace(snapshot, running=running)).evicted:
        if eviction.by in waiting and eviction.id in protected:
            at_ms = works[eviction.workload].protected.get(attempt_key(eviction.id), 0)
            until[eviction.by] = max(until.get(eviction.by, 0), at_ms)
    if not until:
        return answer
    told = {i: _told(answer.unplaced[i], at_ms) for i, at_ms in until.items()}
    return replace(answer, unplaced={**answer.unplaced, **told})


def _told(why: Unplaced, until_ms: int) -> Unplaced:
    reason = f"what would make room for it has its guaranteed runtime until {utc(until_ms)}"
    return replace(why, reasons=(*why.reasons, reason))
