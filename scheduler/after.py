"""What follows from a plan: the working copy once it has been carried out, and who has what."""

from .model import Plan, Share, Snapshot
from .shares import by_age
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


def all_shares(snapshot: Snapshot, answer: Plan) -> tuple[Share, ...]:
    """Those of the plan, and in their order those of the queues that have nothing and want nothing."""
    state, known = State(snapshot), {(s.pool, s.queue): s for s in answer.shares}
    ranked = [q.id for q in sorted(state.tree.queues.values(), key=by_age)]
    return tuple(known.get((p, q)) or state.share(q, p) for p in state.pool_names for q in ranked)
