"""The only entry point: a whole snapshot in, a whole plan out."""

import heapq

from .model import Placement, Plan, Snapshot, Unplaced
from .place import place


def plan(snapshot: Snapshot) -> Plan:
    """
    Highest priority first, oldest first within one. A class whose head does not
    fit is dropped whole (its other members ask for the same), so it never
    holds up another class.
    """
    nodes = snapshot.nodes
    placed: dict[str, tuple[Placement, ...]] = {}
    unplaced: dict[str, Unplaced] = {}
    classes = [c for c, ids in snapshot.pending.items() if ids]
    heads = [
        (-c.priority, snapshot.rank[snapshot.pending[c][0]], number, 0) for number, c in enumerate(classes)
    ]
    heapq.heapify(heads)
    while heads:
        priority, _, number, at = heapq.heappop(heads)
        ask = classes[number]
        ids = snapshot.pending[ask]
        answer = place(ask, nodes)
        if isinstance(answer, Unplaced):
            unplaced.update((id_, answer) for id_ in ids[at:])
            continue
        placed[ids[at]], nodes = answer
        if at + 1 < len(ids):
            heapq.heappush(heads, (priority, snapshot.rank[ids[at + 1]], number, at + 1))
    return Plan(placed, unplaced)
