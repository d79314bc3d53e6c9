"""Hard constraints. Each returns None, or the reason in words."""

from collections.abc import Callable

from .model import AskClass, Gpu, Node

Filter = Callable[[AskClass, Node], str | None]


def is_ready(_ask: AskClass, node: Node) -> str | None:
    return None if node.is_ready else "node not ready"


def in_node_group(ask: AskClass, node: Node) -> str | None:
    if not ask.node_groups or node.node_group in ask.node_groups:
        return None
    return f"not in node group {', '.join(sorted(ask.node_groups))}"


def is_named(ask: AskClass, node: Node) -> str | None:
    return None if not ask.nodes or node.name in ask.nodes else "not among the nodes asked for"


def is_reserved(ask: AskClass, node: Node) -> str | None:
    """A reserved node takes only what names its reservation, and what names one goes to no other node."""
    if ask.reservation == node.reservation or (ask.may_burst and ask.reservation and node.reservation):
        return None
    if ask.reservation:
        return f"not a node of reservation {ask.reservation}"
    return f"kept for reservation {node.reservation}"


def is_apart(ask: AskClass, node: Node) -> str | None:
    if not (ask.must_spread and ask.spread in node.tenants):
        return None
    return "has a replica of it already, and each has to have a node of its own"


def usable_gpus(ask: AskClass, node: Node) -> tuple[Gpu, ...]:
    return tuple(g for g in node.free_gpus if ask.gpu_product in (None, g.product))


def has_gpus(ask: AskClass, node: Node) -> str | None:
    short = ask.gpu_count - len(usable_gpus(ask, node))
    if short <= 0:
        return None
    product = f" {ask.gpu_product}" if ask.gpu_product else ""
    return f"short of {short} free{product} GPU(s)"


def has_cpu(ask: AskClass, node: Node) -> str | None:
    short = ask.cpu - node.free_cpu
    return None if short <= 1e-9 else f"short of {short:g} CPU core(s)"


def has_memory(ask: AskClass, node: Node) -> str | None:
    short = ask.memory_mib - node.free_memory_mib
    return None if short <= 0 else f"short of {short} MiB memory"


# Cheapest first; the first reason is the one the user sees for that node.
FILTERS: tuple[Filter, ...] = (
    is_ready, in_node_group, is_named, is_reserved, is_apart, has_gpus, has_cpu, has_memory,
)  # fmt: skip


def refusal(ask: AskClass, node: Node) -> str | None:
    return next((reason for f in FILTERS if (reason := f(ask, node))), None)
