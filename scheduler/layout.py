"""What a node has, worked out once for as long as it stays the same, however often it is planned with."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Gpu

EPSILON = 1e-9  # portions are sums of fractions
SLICES = 7.0


class Layout:
    """
    The devices of one node, by their positions among its GPUs. Many share it: nobody may change it.

    Args:
        free: the portion of each that nobody has, unhealthy ones too.
        usable: the healthy ones in the order of their UUIDs, without the instances of partitioned ones.
        slices: those instances by profile, in that order too.
        product: the one that all usable ones are of; None where they differ, or there are none.
        whole: how many usable ones nobody has any part of.
        amount: GPUs that the healthy ones count for.
    """

    def __init__(self, gpus: Sequence["Gpu"]) -> None:
        usable: list[int] = []
        slices: dict[str, list[int]] = {}
        products: set[str] = set()
        self.free: Sequence[float] = [g.free for g in gpus]
        self.whole = 0
        for position in sorted(range(len(gpus)), key=[g.uuid for g in gpus].__getitem__):
            gpu = gpus[position]
            if not gpu.is_healthy:
                continue
            if gpu.mig_profile:
                slices.setdefault(gpu.mig_profile, []).append(position)
                continue
            usable.append(position)
            products.add(gpu.product)
            if gpu.free >= 1 - EPSILON:
                self.whole += 1
        self._gpus = gpus
        self.usable: Sequence[int] = usable
        self.slices: Mapping[str, Sequence[int]] = slices
        self.product = products.pop() if len(products) == 1 else None
        self.amount: float = len(usable)
        if slices:
            self.amount += sum(slice_part(profile) * len(there) for profile, there in slices.items())

    @cached_property
    def by_uuid(self) -> Mapping[str, int]:
        """The position of each device."""
        return {gpu.uuid: p for p, gpu in enumerate(self._gpus)}

    @cached_property
    def sizes(self) -> Sequence[int]:
        """The different amounts of memory, in MiB, of usable devices, smallest first."""
        return sorted({self._gpus[p].memory_mib for p in self.usable})


def slice_part(profile: str) -> float:
    """What an instance counts for in GPUs: `3g.40gb` has 3 of the 7 slices of its device. Decided here."""
    slices = profile.partition("g.")[0]
    return int(slices) / SLICES if slices.isdecimal() else 1.0
