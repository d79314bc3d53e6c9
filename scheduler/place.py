"""One ask against the nodes: best fit, all members or none."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from .filters import refusal, usable_gpus
from .model import AskClass, Node, Placement, Unplaced


def place(ask: AskClass, nodes: Sequence[Node]) -> tuple[tuple[Placement, ...], tuple[Node, ...]] | Unplaced:
    """The members' placements and the nodes as they are afterwards, or why not."""
    left = {node.name: node for node in nodes}
    placements: list[Placement] = []
    for member in range(ask.members):
        failures: Counter[str] = Counter()
        feasible: list[Node] = []
        for node in left.values():
            reason = refusal(ask, node)
            if reason is None:
                feasible.append(node)
            else:
                failures[reason] += 1
        if not feasible:
            gang = f"member {member + 1} of {ask.members}: " if ask.members > 1 else ""
            ordered = sorted(failures.items(), key=lambda item: (-item[1], item[0]))
            return Unplaced(tuple(f"{gang}{n} node(s): {r}" for r, n in ordered) or ("there are no nodes",))
        best = min(feasible, key=lambda n: _preference(ask, n))
        taken = tuple(sorted(g.uuid for g in usable_gpus(ask, best))[: ask.gpu_count])
        placements.append(Placement(best.name, taken))
        left[best.name] = replace(
            best,
            free_cpu=best.free_cpu - ask.cpu,
            free_memory_mib=best.free_memory_mib - ask.memory_mib,
            free_gpus=tuple(g for g in best.free_gpus if g.uuid not in taken),
            tenants=best.tenants | {ask.spread} if ask.spread else best.tenants,
        )
    return tuple(placements), tuple(left.values())


def _preference(ask: AskClass, node: Node) -> tuple[bool, int, float, int, str]:
    """Apart from others of its group, then where it fits best."""
    fit = (len(usable_gpus(ask, node)), node.free_cpu, node.free_memory_mib, node.name)
    return (bool(ask.spread) and ask.spread in node.tenants, *fit)
