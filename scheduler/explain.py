"""Why something waits, as values and in words: per node pool, per queue and per node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

from .domains import told
from .filters import fixed_refusal, refusal
from .model import AskClass, Code, Node, Share, Snapshot, Unplaced
from .needs import EVERYWHERE
from .state import State
from .topology import occupancy_of

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
    if verdict is not None and verdict.code is Code.NO_PLACE:
        text = (*text, *_hints(ask, snapshot, state))
    return Explanation(verdict, pools, queues, nodes, text)


def _hints(ask: AskClass, snapshot: Snapshot, state: State) -> tuple[str, ...]:
    """What to do where nobody's end would help."""
    if _would_fit_alone(state, ask):
        return ()
    alone = "it would not fit if nothing else ran either"
    if ask.reservation and all(n.reservation != ask.reservation for n in snapshot.nodes):
        return (f"{alone}: no node is kept for reservation {ask.reservation} now",)
    down = [n.name for n in snapshot.nodes if not n.is_ready]
    if down and _fits_once(ask, snapshot, lambda n: replace(n, is_ready=True)):
        return (f"{alone}, but will once these are ready again: {_some(down)}",)
    ill = sum(not g.is_healthy for n in snapshot.nodes for g in n.gpus)
    if ill and _fits_once(ask, snapshot, _healed):
        return (f"{alone}, but will once its GPU(s) are healthy again: {ill} are not",)
    has_kept = not ask.reservation and any(n.reservation for n in snapshot.nodes)
    if has_kept and _fits_once(ask, snapshot, lambda n: replace(n, reservation=None)):
        return (f"{alone}, but will once nodes are kept for reservations no more",)
    return (f"{alone}: ask for less, or elsewhere",)


def _fits_once(ask: AskClass, snapshot: Snapshot, change: Callable[[Node], Node]) -> bool:
    """Whether it would fit if nothing else ran, and each node were as `change` makes it."""
    nodes = tuple(change(n) for n in snapshot.nodes)
    return _would_fit_alone(State(replace(snapshot, nodes=nodes)), ask)


def _healed(node: Node) -> Node:
    gpus = tuple(replace(g, is_healthy=True) for g in node.gpus)
    return replace(node, is_ready=True, gpus=gpus)


def _would_fit_alone(state: State, ask: AskClass) -> bool:
    mark = state.mark()
    for running in state.running:
        state.release(running)
    found = state.place_later(ask)
    state.rollback(mark)
    return found is not None


def _pool(state: State, ask: AskClass, pool: str) -> PoolReason:
    alone = replace(ask, pools=(pool,)) if pool else ask
    now, later = state.place(alone), state.place_later(alone)
    why = now.reasons if isinstance(now, Unplaced) else ()
    return PoolReason(pool, not isinstance(now, Unplaced), later is not None, why)


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
        why: str | None = f"not in node pool {', '.join(sorted(ask.pools))}"
    else:
        there = occupancy_of(state, need, pool, with_leaving=False) if ask.topology else None
        why = fixed_refusal(ask, node.node) or (there and there.refusal_at(node.node))
        why = why or refusal(ask, need.scorers[pool], node)
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
        who = f"{unit} {q.queue} in node pool {s.pool}"
        lines.append(f"{who}: {_has(s, 'gpus', 'GPU(s)')}")
        for resource, name in (("cpu", "CPU core(s)"), ("memory_mib", "MiB of memory")):
            bounds = (getattr(s.quota.deserved, resource), getattr(s.quota.limit, resource))
            if bounds != (inf, inf):
                lines.append(f"{who}: {_has(s, resource, name)}")
        if q.why and q.why not in said:
            lines.append(f"{who}: {q.why}")
    alike: dict[str, list[str]] = {}
    for n in nodes:
        alike.setdefault(n.why or "one member fits", []).append(n.node)
    lines += [f"node {_some(names)}: {why}" for why, names in alike.items()]
    return tuple(lines)


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:MOST_NAMED])} and {more} more"


def _has(share: Share, resource: str, unit: str) -> str:
    has, fair = (getattr(amounts, resource) for amounts in (share.allocated, share.fair))
    quota, limit = (getattr(bound, resource) for bound in (share.quota.deserved, share.quota.limit))
    told = [
        f"has {_number(has)} {unit}",
        "quota without bounds" if quota == inf else f"quota {_number(quota)}",
    ]
    told += [f"fair share {_number(fair)}"] if fair != inf else []
    return ", ".join([*told, "no limit" if limit == inf else f"limit {_number(limit)}"])


def _number(amount: float) -> str:
    """MiB have many digits before the point, portions of a GPU some behind it."""
    return f"{round(amount, 4):.12g}"


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
    one = "one more member, with " if ask.is_extra else ""
    members = f"{ask.members} members, each with " if ask.members > 1 else one
    rules = [told(rule) for rule in ask.topology]
    return f"asks for {members}{', '.join([*each, *rules])}"
