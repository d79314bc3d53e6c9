"""What runs and stays, found by its node, its workload or its project."""

from collections.abc import Callable, Mapping, Sequence, Set
from functools import cached_property

from .model import Running

Groups = Mapping[str, Sequence[Running]]


class Staying:
    """
    What is neither leaving nor released, always in the snapshot's order. What it is grouped by is worked out
    when somebody asks for it: where all find a place nobody does.

    Args:
        released: ids of those that were told to end in this cycle; others are added and taken away meanwhile.
    """

    def __init__(self, running: Sequence[Running], released: Set[str]) -> None:
        self._running, self._released = running, released

    @property
    def all(self) -> list[Running]:
        return self._of(self._running)

    def in_queue(self, queue: str) -> list[Running]:
        return self._of(self._by_queue.get(queue, ()))

    def of_workload(self, workload: str) -> list[Running]:
        return self._of(self._by_workload.get(workload, ()))

    def on_node(self, node: str) -> list[Running]:
        return self._of(self._by_node.get(node, ()))

    def _of(self, some: Sequence[Running]) -> list[Running]:
        released = self._released
        return [r for r in some if not r.is_leaving and r.id not in released]

    @cached_property
    def _by_queue(self) -> Groups:
        return _grouped(self._running, lambda r: r.ask.queue)

    @cached_property
    def _by_workload(self) -> Groups:
        return _grouped(self._running, lambda r: r.workload)

    @cached_property
    def _by_node(self) -> Groups:
        return _grouped(self._running, lambda r: r.placement.node)


def _grouped(running: Sequence[Running], key: Callable[[Running], str]) -> Groups:
    groups: dict[str, list[Running]] = {}
    for r in running:
        groups.setdefault(key(r), []).append(r)
    return groups
