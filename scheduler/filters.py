"""Hard constraints. Each returns None, or the reason in words."""

from collections.abc import Callable

from .domains import has_domains
from .layout import EPSILON
from .model import AskClass, Effect, LabelMatch, Node, Operator, Taint, Toleration
from .nodes import NodeState
from .scores import Scorer, Shape, portion_of, whole_devices

Filter = Callable[[AskClass, Node], str | None]


def is_ready(_ask: AskClass, node: Node) -> str | None:
    return None if node.is_ready else "node not ready"


def is_named(ask: AskClass, node: Node) -> str | None:
    return None if not ask.nodes or node.name in ask.nodes else "not among the nodes asked for"


def is_reserved(ask: AskClass, node: Node) -> str | None:
    """A reserved node takes only what names its reservation, and what names one goes to no other node."""
    if ask.reservation == node.reservation or is_burst(ask, node):
        return None
    if ask.reservation:
        return f"not a node of reservation {ask.reservation}"
    return f"kept for reservation {node.reservation}"


def is_burst(ask: AskClass, node: Node) -> bool:
    """Whether it may go to the node of another reservation than its own."""
    return bool(
        ask.may_burst and ask.reservation and node.reservation and ask.reservation != node.reservation
    )


def has_labels(ask: AskClass, node: Node) -> str | None:
    """Alternatives, of one of which every match holds. Source: Kubernetes, node affinity (required)."""
    if not ask.affinity:
        return None
    labels = dict(node.labels)
    if any(all(matches(m, labels) for m in term) for term in ask.affinity):
        return None
    keys = sorted({m.key for term in ask.affinity for m in term})
    return f"its labels do not match the affinity asked for ({', '.join(keys)})"


def matches(match: LabelMatch, labels: dict[str, str]) -> bool:
    """One requirement, as Kubernetes reads it: NotIn holds also where there is no such label."""
    value = labels.get(match.key)
    match match.operator:
        case Operator.IN:
            return value in match.values
        case Operator.NOT_IN:
            return value is None or value not in match.values
        case Operator.EXISTS:
            return value is not None
        case Operator.DOES_NOT_EXIST:
            return value is None
        case Operator.GT | Operator.LT:
            return _compares(match, value)


def _compares(match: LabelMatch, value: str | None) -> bool:
    try:
        have, bound = int(value or ""), int(match.values[0])
    except (ValueError, IndexError):
        return False  # only whole numbers are compared
    return have > bound if match.operator is Operator.GT else have < bound


def is_tolerated(ask: AskClass, node: Node) -> str | None:
    for taint in sorted(node.taints, key=lambda t: (t.key, t.value)):
        if taint.effect is not Effect.PREFER_NO_SCHEDULE and not tolerates(ask, taint):
            value = f"={taint.value}" if taint.value else ""
            return f"has the taint {taint.key}{value}:{taint.effect.value}, which is not tolerated"
    return None


def tolerates(ask: AskClass, taint: Taint) -> bool:
    return any(covers(t, taint) for t in ask.tolerations)


def covers(toleration: Toleration, taint: Taint) -> bool:
    """Source: Kubernetes, taints and tolerations."""
    return (
        toleration.key in ("", taint.key)
        and toleration.value in (None, taint.value)
        and toleration.effect in (None, taint.effect)
    )


# Cheapest first; the first reason is the one the user sees for that node. These never change within a cycle.
FIXED: tuple[Filter, ...] = (is_ready, is_named, is_reserved, is_tolerated, has_labels, has_domains)


def may_be_anywhere(ask: AskClass) -> bool:
    """Nothing but devices and room decide on which of the nodes that are open to all it may be."""
    return not ask.nodes and not ask.affinity and ask.reservation is None and not ask.topology


def is_open_to_all(node: Node) -> bool:
    return node.is_ready and node.reservation is None and not node.taints


def fixed_refusal(ask: AskClass, node: Node) -> str | None:
    """Why it can never be there, whatever becomes free."""
    return next((reason for f in FIXED if (reason := f(ask, node))), None)


def penalty(ask: AskClass, node: Node) -> int:
    """Preferred nodes come first: those of the own reservation, then those without taints to be avoided."""
    avoided = sum(t.effect is Effect.PREFER_NO_SCHEDULE and not tolerates(ask, t) for t in node.taints)
    return 1000 * is_burst(ask, node) + avoided


def refusal(ask: AskClass, scorer: Scorer, node: NodeState, with_leaving: bool = False) -> str | None:
    """Why one member does not fit on a node that it may be on, as things stand."""
    if ask.must_spread and ask.spread and not ask.topology and node.is_tenant(ask.spread, with_leaving):
        return "has a replica of it already, and each has to have a node of its own"
    shape = scorer.shape
    if shape.gpu_count and not scorer.has_devices(node, with_leaving):
        return _short_of_gpus(shape, scorer, node, with_leaving)
    cpu = node.later_cpu if with_leaving else min(node.cpu, node.later_cpu)
    if shape.cpu > cpu + EPSILON:
        return f"short of {shape.cpu - cpu:g} CPU core(s)"
    memory = node.later_memory if with_leaving else min(node.memory, node.later_memory)
    if shape.memory_mib > memory:
        return f"short of {shape.memory_mib - memory} MiB memory"
    return None


def _short_of_gpus(shape: Shape, scorer: Scorer, node: NodeState, with_leaving: bool) -> str:
    gpus, healthy = node.node.gpus, len(node.usable)
    if scorer.is_whole and shape.gpu_product is None and healthy == len(gpus):  # mostly
        return f"short of {shape.gpu_count - (node.later_whole if with_leaving else node.whole)} free GPU(s)"
    product = f" {shape.gpu_product}" if shape.gpu_product else ""
    ill = 0
    if node.slices:
        healthy += sum(map(len, node.slices.values()))
    if len(gpus) > healthy:
        ill = sum(not g.is_healthy and shape.gpu_product in (None, g.product) for g in gpus)
    note = f" ({ill} of its GPU(s) unhealthy)" if ill else ""
    if shape.mig_profile:
        there = node.slices.get(shape.mig_profile, ())
        free = sum(node.available(p, with_leaving) >= 1 - EPSILON for p in there)
        return f"short of {shape.gpu_count - free} free MIG instance(s) {shape.mig_profile}{note}"
    if not shape.is_fraction:
        if shape.gpu_product in (None, node.product):
            whole = node.later_whole if with_leaving else node.whole
        else:
            whole = len(whole_devices(shape, node, with_leaving))
        return f"short of {shape.gpu_count - whole} free{product} GPU(s){note}"
    wanted = f"{shape.gpu_portion:g}" if shape.gpu_memory_mib is None else f"{shape.gpu_memory_mib} MiB"
    fitting = _with_room(shape, node, with_leaving)
    return f"short of {shape.gpu_count - fitting}{product} GPU(s) with {wanted} free{note}"


def _with_room(shape: Shape, node: NodeState, with_leaving: bool) -> int:
    """How many of its devices have enough of themselves left for a part."""
    gpus, free, later, product = node.node.gpus, node.free, node.later, shape.gpu_product
    fitting = 0
    for p in node.usable:
        if product is None or product == gpus[p].product:
            portion = shape.gpu_portion
            if shape.gpu_memory_mib is not None:
                portion = portion_of(shape, gpus[p].memory_mib)
            left = later[p] if with_leaving or later[p] < free[p] else free[p]
            fitting += portion is not None and left >= portion - EPSILON
    return fitting
