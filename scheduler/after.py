"""The working copy as it is once a plan has been carried out."""

from .model import Plan, Snapshot
from .state import State


def decided(snapshot: Snapshot, answer: Plan, but: str = "") -> State:
    """
    The snapshot once all has happened that its plan says.

    Args:
        but: the id of an ask; what the plan has for it is left free.
    """
    state = State(snapshot)
    ended = {e.id for e in answer.evicted}
    for member in [r for r in state.running if r.id in ended] if ended else ():
        state.release(member)
    served = {i: places for i, places in {**answer.placed, **answer.promised}.items() if i != but}
    for wanted, ids in snapshot.pending.items() if served else ():
        for id_ in ids:
            if id_ in served:
                state.take(wanted, served[id_], promised=True)
    return state
