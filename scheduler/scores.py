"""Preferences as numbers: of two nodes the one with the smaller key is taken."""

from dataclasses import dataclass

from .layout import EPSILON
from .model import AskClass, Strategy
from .nodes import DIGITS, NodeState

Key = tuple[float, ...]
Devices = tuple[tuple[int, ...], float]  # positions, and the portion of each


@dataclass(frozen=True, slots=True)
class Shape:
    """What one member takes of a node. Asks of one shape share their candidates."""

    cpu: float
    memory_mib: int
    gpu_count: int
    gpu_product: str | None
    gpu_portion: float
    gpu_memory_mib: int | None
    mig_profile: str

    @property
    def is_fraction(self) -> bool:
        return bool(self.gpu_count) and (self.gpu_memory_mib is not None or self.gpu_portion < 1 - EPSILON)


def shape_of(ask: AskClass) -> Shape:
    """What does not matter is left out, so that equal shapes are equal."""
    if not ask.gpu_count:
        return Shape(ask.cpu, ask.memory_mib, 0, None, 1.0, None, "")
    memory = None if ask.mig_profile else ask.gpu_memory_mib
    portion = 1.0 if ask.mig_profile or memory is not None else ask.gpu_portion
    return Shape(
        ask.cpu, ask.memory_mib, ask.gpu_count, ask.gpu_product, portion, memory, ask.mig_profile
    )  # fmt: skip


class Scorer:
    """
    How good a node is for one shape under the strategies of its pool.

    Binpack fills the node that has least left, spread goes where most is left. Parts of devices: binpack
    opens a new device only where no shared one fits and takes the fullest that does, spread takes the
    emptiest. Work without GPUs prefers nodes without, then those with few that are free.
    Source: Run:ai, node pool placement strategy; KAI, docs/gpu-sharing.
    """

    __slots__ = ("_cpu_side", "_found", "_gpu_side", "gpu", "is_whole", "shape")

    def __init__(self, shape: Shape, gpu: Strategy, cpu: Strategy) -> None:
        self.shape, self.gpu = shape, gpu
        self._gpu_side = 1 if gpu is Strategy.BINPACK else -1
        self._cpu_side = 1 if cpu is Strategy.BINPACK else -1
        self._found: dict[tuple[int, bool], tuple[int, Devices | None]] = {}  # parts, by node and its version
        self.is_whole = bool(shape.gpu_count) and not shape.mig_profile and not shape.is_fraction

    def key(self, node: NodeState, with_leaving: bool) -> Key | None:
        """None where it does not fit."""
        shape = self.shape
        cpu, memory = node.later_cpu, node.later_memory
        whole = node.later_whole
        if not with_leaving:
            whole = node.whole
            if node.cpu < cpu:
                cpu = node.cpu
            if node.memory < memory:
                memory = node.memory
        if shape.cpu > cpu + EPSILON or shape.memory_mib > memory:
            return None
        side = self._cpu_side
        if self.is_whole:
            if shape.gpu_product is not None and shape.gpu_product != node.product:
                whole = len(whole_devices(shape, node, with_leaving))
            if whole < shape.gpu_count:
                return None
            return (self._gpu_side * whole, side * cpu, side * memory)
        if not shape.gpu_count:
            return (bool(node.node.gpus), whole if side > 0 else 0, side * cpu, side * memory)
        if shape.mig_profile:
            left = len(_slices(shape, node, with_leaving))
            return None if left < shape.gpu_count else (self._gpu_side * left, side * cpu, side * memory)
        devices = self._parts(node, with_leaving)
        if devices is None:
            return None
        left, opened = 0.0, 0
        free, later = node.free, node.later
        for p in devices[0]:
            there = later[p] if with_leaving or later[p] < free[p] else free[p]
            left += there
            opened += there >= 1 - EPSILON
        if self._gpu_side > 0:
            return (opened, round(left, DIGITS), whole, side * cpu, side * memory)
        return (-round(left, DIGITS), -whole, side * cpu, side * memory)

    def has_devices(self, node: NodeState, with_leaving: bool) -> bool:
        """Whether `devices` finds enough."""
        if self.is_whole and self.shape.gpu_product in (None, node.product):
            return (node.later_whole if with_leaving else node.whole) >= self.shape.gpu_count
        return self.devices(node, with_leaving) is not None

    def devices(self, node: NodeState, with_leaving: bool) -> Devices | None:
        """The devices of a node that one member gets; None where there are not enough."""
        shape = self.shape
        count = shape.gpu_count
        if not count:
            return (), 1.0
        if self.is_whole:
            found = whole_devices(shape, node, with_leaving, count)
        elif shape.mig_profile:
            found = _slices(shape, node, with_leaving)[:count]
        else:
            return self._parts(node, with_leaving)
        return (tuple(found), 1.0) if len(found) == count else None

    def _parts(self, node: NodeState, with_leaving: bool) -> Devices | None:
        known = self._found.get((node.order, with_leaving))
        if known is not None and known[0] == node.version:
            return known[1]
        found = self._look(node, with_leaving)
        self._found[node.order, with_leaving] = node.version, found
        return found

    def _look(self, node: NodeState, with_leaving: bool) -> Devices | None:
        shape = self.shape
        if shape.gpu_memory_mib is None:
            portion = shape.gpu_portion
            found = self._with_room(node, with_leaving, portion, None)
            return None if found is None else (tuple([p for _, _, p in found]), portion)
        best: tuple[list[tuple[float, int, int]], float] | None = None
        for size in node.layout.sizes:
            portion = portion_of(shape, size)
            found = None if portion is None else self._with_room(node, with_leaving, portion, size)
            if portion is not None and found is not None and (best is None or found < best[0]):
                best = found, portion
        return None if best is None else (tuple([p for _, _, p in best[0]]), best[1])

    def _with_room(
        self, node: NodeState, with_leaving: bool, portion: float, memory_mib: int | None
    ) -> list[tuple[float, int, int]] | None:
        """The best of those devices, all of one size, that have so much of themselves left."""
        gpus, side, least = node.node.gpus, self._gpu_side, portion - EPSILON
        free, later = node.free, node.later
        product, count = self.shape.gpu_product, self.shape.gpu_count
        if product == node.product:
            product = None
        best: tuple[float, int, int] | None = None
        fitting: list[tuple[float, int, int]] = []
        for place, p in enumerate(node.usable):
            left = later[p] if with_leaving or later[p] < free[p] else free[p]
            if left >= least:
                if product is not None and product != gpus[p].product:
                    continue
                if memory_mib is not None and memory_mib != gpus[p].memory_mib:
                    continue
                if count > 1:
                    fitting.append((side * left, place, p))
                elif best is None or side * left < best[0]:
                    best = side * left, place, p
        if count == 1:
            return None if best is None else [best]
        return None if len(fitting) < count else sorted(fitting)[:count]


def portion_of(shape: Shape, device_memory_mib: int) -> float | None:
    """Of one device; None where it has not that much memory."""
    if shape.gpu_memory_mib is None:
        return shape.gpu_portion
    if not 0 < shape.gpu_memory_mib <= device_memory_mib:
        return None
    return shape.gpu_memory_mib / device_memory_mib


def whole_devices(shape: Shape, node: NodeState, with_leaving: bool, most: int = 1_000_000) -> list[int]:
    """Usable devices of its product that nobody has any part of."""
    gpus, least, product = node.node.gpus, 1 - EPSILON, shape.gpu_product
    free, later = node.free, node.later
    found: list[int] = []
    for p in node.usable:
        if later[p] >= least and (with_leaving or free[p] >= least):
            if product is not None and gpus[p].product != product:
                continue
            found.append(p)
            if len(found) == most:
                break
    return found


def _slices(shape: Shape, node: NodeState, with_leaving: bool) -> list[int]:
    gpus = node.node.gpus
    return [
        p for p in node.slices.get(shape.mig_profile, ())
        if node.available(p, with_leaving) >= 1 - EPSILON and shape.gpu_product in (None, gpus[p].product)
    ]  # fmt: skip


def slots(shape: Shape, node: NodeState, with_leaving: bool) -> int:
    """How many members of a shape fit on a node, each on devices of its own or on parts of some."""
    cpu = node.later_cpu if with_leaving else min(node.cpu, node.later_cpu)
    memory = node.later_memory if with_leaving else min(node.memory, node.later_memory)
    bounds: list[float] = []
    if shape.cpu > 0:
        bounds.append((cpu + EPSILON) // shape.cpu)
    if shape.memory_mib > 0:
        bounds.append(memory // shape.memory_mib)
    if shape.gpu_count:
        if shape.mig_profile:
            units = len(_slices(shape, node, with_leaving))
        elif shape.is_fraction:
            units = sum(_parts_of(shape, node, p, with_leaving) for p in node.usable)
        else:
            units = len(whole_devices(shape, node, with_leaving))
        bounds.append(units // shape.gpu_count)
    return max(0, int(min(bounds, default=1_000_000)))


def _parts_of(shape: Shape, node: NodeState, position: int, with_leaving: bool) -> int:
    gpu = node.node.gpus[position]
    portion = portion_of(shape, gpu.memory_mib)
    if portion is None or portion <= 0 or shape.gpu_product not in (None, gpu.product):
        return 0
    return int((node.available(position, with_leaving) + EPSILON) // portion)
