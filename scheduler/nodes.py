"""One node of a working copy: what of it is free now, and what later."""

from collections.abc import Sequence

from .layout import EPSILON
from .model import AskClass, Node, Placement, Running

DIGITS = 9


class NodeState:
    """
    Devices are counted by their position among the node's GPUs; `usable`, `slices` and `product` are those of
    its layout.

    Args:
        order: among all nodes; the last word where two are equally good.
        free, later: portion of each device, 0..1, unhealthy ones too.
        whole, later_whole: how many usable devices nobody has any part of.
        tenants: members of each spread group: now, later. Who is promised a place here comes later.
        version: another one after each change.
    """

    __slots__ = (
        "cpu", "free", "later", "later_cpu", "later_memory", "later_whole", "layout", "memory", "node",
        "order", "pool", "product", "slices", "tenants", "usable", "version", "whole",
    )  # fmt: skip

    def __init__(self, node: Node, order: int) -> None:
        layout = node.layout
        self.node, self.order, self.pool, self.layout = node, order, node.node_group, layout
        self.cpu = self.later_cpu = node.free_cpu
        self.memory = self.later_memory = node.free_memory_mib
        self.free, self.later = [*layout.free], [*layout.free]
        self.usable, self.slices, self.product = layout.usable, layout.slices, layout.product
        self.whole = self.later_whole = layout.whole
        self.tenants: dict[str, tuple[int, int]] = {}  # where they differ from the node's
        self.version = 0

    def _count(self) -> None:
        free, later, least = self.free, self.later, 1 - EPSILON
        whole = later_whole = 0
        for p in self.usable:
            if later[p] >= least:
                later_whole += 1
                if free[p] >= least:
                    whole += 1
        self.whole, self.later_whole = whole, later_whole

    def available(self, position: int, with_leaving: bool) -> float:
        """The portion of a device that can be given."""
        later = self.later[position]
        return later if with_leaving else min(later, self.free[position])

    def positions(self, uuids: Sequence[str]) -> tuple[int, ...]:
        """Of those of them that the node has."""
        if not uuids:
            return ()
        found = self.layout.by_uuid
        return tuple(found[u] for u in uuids if u in found)

    def settle(self, running: Running) -> None:
        """What ran at the start, of a spread group or leaving: that is not free now in any case."""
        group = running.ask.spread
        if group:
            now, later = self.tenants.get(group, (0, 0))
            self.tenants[group] = (now + 1, later + (not running.is_leaving))
        if running.is_leaving:
            self._return(running.ask, running.placement)

    def take(self, ask: AskClass, positions: Sequence[int], portion: float, promised: bool) -> None:
        """One member; its devices by position."""
        later = self.later
        self.later_cpu -= ask.cpu
        self.later_memory -= ask.memory_mib
        if not promised:
            self.cpu -= ask.cpu
            self.memory -= ask.memory_mib
        free, least, is_slice = self.free, 1 - EPSILON, ask.mig_profile
        for p in positions:
            if later[p] >= least and not is_slice:
                self.later_whole -= 1
                self.whole -= free[p] >= least
            later[p] = round(later[p] - portion, DIGITS) if portion != 1.0 else later[p] - 1.0
            if not promised:
                free[p] = round(free[p] - portion, DIGITS) if portion != 1.0 else free[p] - 1.0
        if ask.spread:
            now, after = self.tenancy(ask.spread)
            self.tenants[ask.spread] = (now + (not promised), after + 1)
        self.version += 1

    def give_back(self, ask: AskClass, placement: Placement) -> None:
        """A member leaves: free later."""
        self._return(ask, placement)
        if ask.spread:
            now, later = self.tenancy(ask.spread)
            self.tenants[ask.spread] = (now, max(0, later - 1))
        self.version += 1

    def _return(self, ask: AskClass, placement: Placement) -> None:
        self.later_cpu += ask.cpu
        self.later_memory += ask.memory_mib
        for p in self.positions(placement.gpu_uuids):
            self.later[p] = min(1.0, round(self.later[p] + placement.gpu_portion, DIGITS))
        self._count()

    def is_tenant(self, group: str, with_leaving: bool) -> bool:
        """Whether a member of a spread group is here, or comes."""
        return self.most_of(group, with_leaving) > 0

    def most_of(self, group: str, with_leaving: bool) -> int:
        """How many members of a spread group there may be: now those that come are counted, too."""
        now, later = self.tenancy(group)
        return later if with_leaving else max(now, later)

    def tenancy(self, group: str) -> tuple[int, int]:
        """How many members of a spread group are here, now and later."""
        known = self.tenants.get(group)
        if known is None:
            known = (1, 1) if group in self.node.tenants else (0, 0)
        return known

    def saved(self, group: str) -> tuple[object, ...]:
        """All that a change for a member of that spread group ("": none) can touch, to be restored."""
        return (
            self.cpu, self.later_cpu, self.memory, self.later_memory, self.whole, self.later_whole,
            self.free.copy(), self.later.copy(), group, self.tenancy(group) if group else None,
        )  # fmt: skip

    def restore(self, saved: object) -> None:
        """As it was; its version goes on, so that nobody takes it for what it was in between."""
        assert isinstance(saved, tuple)
        (
            self.cpu, self.later_cpu, self.memory, self.later_memory, self.whole, self.later_whole,
            self.free, self.later, group, tenancy,
        ) = saved  # fmt: skip
        if group:
            self.tenants[group] = tenancy
        self.version += 1
