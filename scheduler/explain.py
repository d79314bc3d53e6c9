"""Why something waits, as values and in words: per node pool, per queue and per node."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from .filters import fixed_refusal, refusal
from .model import AskClass, Code, Share, Snapshot, Unplaced
from .needs import EVERYWHERE
from .state import State

MOST_NAMED = 6  # nodes that say the same


@dataclass(frozen=True, slots=True)
class NodeReason:
    """
    Args:
        why: what keeps one member from it as things stand; "" where it would fit.
        free_gpus: whole devices that nobody has any part of. free_cpu: cores.
    """

    node: str
    pool: str
    why: str
    free_gpus: int
    free_cpu: float
    free_memory_mib: int


@dataclass(frozen=True, slots=True)
class QueueReason:
    """
    The project or the department of an ask in one node pool, with its numbers.

    Args:
        code: None where neither its limit nor its quota keeps the ask from starting.
    """

    queue: str
    share: Share
    code: Code | None
    why: str


@dataclass(frozen=True, slots=True)
class PoolReason:
    """`fits`: all its members would be placed there now. `fits_later`: once those have gone that leave."""

    pool: str
    fits: bool
    fits_later: bool
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Args:
        verdict: None where it would be placed if nobody were before it.
        nodes: every node, by name. pools: in the order in which they are tried.
        text: the whole as lines for people.
    """

    verdict: Unplaced | None
    pools: tuple[PoolReason, ...]
    queues: tuple[QueueReason, ...]
    nodes: tuple[NodeReason, ...]
    text: tuple[str, ...]


def explain(ask: AskClass, snapshot: Snapshot) -> Explanation:
    """As if nothing else waited: what each node, each pool and each queue says to an ask."""
    state = State(snapshot)
    need = state.need(ask)
    whole = state.place(ask)
    verdict = whole if isinstance(whole, Unplaced) else None
    pools = tuple(_pool(state, ask, pool) for pool in need.pools)
    queues = tuple(
        reason for pool in need.pools if state.tree.queues for reason in _queues(state, ask, pool)
    )  # fmt: skip
    nodes = tuple(_node(state, ask, n.node.name) for n in state.nodes)
    text = _text(ask, verdict, pools, queues, nodes)
    if verdict is not None and verdict.code is Code.NO_PLACE and not _would_fit_alone(state, ask):
        text = (*text, "it would not fit if nothing else ran either: ask for less, or elsewhere")
    return Explanation(verdict, pools, queues, nodes, text)


def _would_fit_alone(state: State, ask: AskClass) -> bool:
    mark = state.mark()
    for running in state.running:
        state.release(running)
    found = state.place(ask, with_leaving=True)
    state.rollback(mark)
    return not isinstance(found, Unplaced)


def _pool(state: State, ask: AskClass, pool: str) -> PoolReason:
    alone = replace(ask, pools=(pool,)) if pool else ask
    now, later = state.place(alone), state.place(alone, with_leaving=True)
    why = now.reasons if isinstance(now, Unplaced) else ()
    return PoolReason(pool, not isinstance(now, Unplaced), not isinstance(later, Unplaced), why)


def _queues(state: State, ask: AskClass, pool: str) -> tuple[QueueReason, ...]:
    need = state.need(ask)
    return tuple(
        QueueReason(
            account.queue.id, account.share(), over.code if over is not None else None,
            over.reasons[0] if over is not None else "",
        )
        for account, over in need.refusals(pool)
    )  # fmt: skip


def _node(state: State, ask: AskClass, name: str) -> NodeReason:
    node, need = state.by_name[name], state.need(ask)
    pool = EVERYWHERE if EVERYWHERE in need.scorers else node.pool
    if pool not in need.scorers:
        why: str | None = f"not in node group {', '.join(sorted(ask.pools))}"
    else:
        why = fixed_refusal(ask, node.node) or refusal(ask, need.scorers[pool], node)
    return NodeReason(
        name, node.pool, why or "", node.whole, min(node.cpu, node.later_cpu),
        min(node.memory, node.later_memory),
    )  # fmt: skip


def _text(
    ask: AskClass, verdict: Unplaced | None, pools: tuple[PoolReason, ...],
    queues: tuple[QueueReason, ...], nodes: tuple[NodeReason, ...],
) -> tuple[str, ...]:  # fmt: skip
    lines = [wants(ask)]
    if verdict is None:
        lines.append("it would be placed now if nobody were before it")
    else:
        lines += [f"it waits ({verdict.code.value}): {reason}" for reason in verdict.reasons]
    lines += [
        f"node pool {p.pool or 'of all nodes'}: it fits once those have gone that leave"
        for p in pools
        if p.fits_later and not p.fits
    ]
    said = verdict.reasons if verdict is not None else ()
    for q in queues:
        s, unit = q.share, "project" if q.queue == ask.queue else "department"
        lines.append(
            f"{unit} {q.queue} in node pool {s.pool}: has {s.allocated.gpus:g} GPU(s), "
            f"{_bound('quota', s.quota.deserved.gpus)}, fair share {s.fair.gpus:g}, "
            f"{_bound('limit', s.quota.limit.gpus)}" + (f"; {q.why}" if q.why and q.why not in said else "")
        )
    alike: dict[str, list[str]] = {}
    for n in nodes:
        alike.setdefault(n.why or "one member fits", []).append(n.node)
    lines += [f"node {_some(names)}: {why}" for why, names in alike.items()]
    return tuple(lines)


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:MOST_NAMED])} and {more} more"


def _bound(what: str, gpus: float) -> str:
    return f"no {what} that binds" if gpus == inf else f"{what} {gpus:g}"


def wants(ask: AskClass) -> str:
    """What it asks for, in words."""
    each = [f"{ask.cpu:g} CPU core(s)", f"{ask.memory_mib} MiB memory"]
    if ask.gpu_count:
        product = f" {ask.gpu_product}" if ask.gpu_product else ""
        if ask.mig_profile:
            gpus = f"{ask.gpu_count} MIG instance(s) {ask.mig_profile}"
        elif ask.gpu_memory_mib is not None:
            gpus = f"{ask.gpu_memory_mib} MiB of each of {ask.gpu_count}{product} GPU(s)"
        elif ask.gpu_portion < 1:
            gpus = f"{ask.gpu_portion:g} of each of {ask.gpu_count}{product} GPU(s)"
        else:
            gpus = f"{ask.gpu_count}{product} GPU(s)"
        each.insert(0, gpus)
    members = f"{ask.members} members, each with " if ask.members > 1 else ""
    return f"asks for {members}{', '.join(each)}"
