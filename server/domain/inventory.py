"""Nodes, node groups, GPUs and the shapes made from them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeGpu:
    """
    Args:
        mig_profile: set for one instance of a partitioned device, for instance `1g.10gb`.
        parent_uuid: of the device that the instance is a part of.
    """

    uuid: str
    product: str
    memory_mib: int
    is_simulated: bool
    mig_profile: str = ""
    parent_uuid: str = ""


@dataclass(frozen=True, slots=True)
class HostNode:
    """
    Args:
        cpu_cores, memory_mib: what the host has.
        overcommit: promised CPU and memory may exceed it by this factor; a
            container's own limits hold all the same.
        labels: name and value. taints: key, value, effect.
        tainted_at_ms: key and effect of the taints that people gave it, and since when each is there.
        segment: nodes of one segment are near each other.
        is_simulated: nothing on it is executed.
    """

    id: str
    node_group: str
    cpu_cores: float
    memory_mib: int
    gpus: tuple[NodeGpu, ...]
    overcommit: float = 16.0
    driver_version: str = ""
    cuda_version: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[tuple[str, str, str], ...] = ()
    segment: str = ""
    is_simulated: bool = False
    tainted_at_ms: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """
    CPU in cores, memory in MiB, both per replica.

    Args:
        mig_profile: its one GPU is an instance of this profile.
    """

    name: str
    cpu_cores: float
    memory_mib: int
    gpu_count: int = 0
    gpu_product: str | None = None
    gpu_memory_mib: int = 0
    mig_profile: str = ""


MIG_SLICES = 7  # of one GPU. Source: NVIDIA's MIG user guide
# Source: NVIDIA's product page, as in contracts section 7: cpu.small is 1 core and 4 GB.
CPU_SHAPES = (
    Shape("cpu.small", 1, 4096),
    Shape("cpu.medium", 2, 8192),
    Shape("cpu.large", 4, 16384),
)
# Names that clients know for a product; any other is made from the product's own words.
KNOWN_PRODUCTS = (
    ("H100", "h100-sxm"), ("H200", "h200"), ("A100-SXM4-80GB", "a100-80gb"), ("A100-80GB", "a100-80gb"),
    ("A100", "a100-40gb"), ("A10", "a10"), ("B200", "b200"), ("L40S", "l40s"), ("L4", "l4"), ("T4", "t4"),
)  # fmt: skip


def shape_type(product: str) -> str:
    """`NVIDIA H100 80GB HBM3` -> `h100-sxm`."""
    words = product.replace(" ", "-").upper()
    for needle, name in KNOWN_PRODUCTS:
        if needle in words:
            return name
    return product.lower().removeprefix("nvidia ").replace(" ", "-")


def mig_slices(profile: str) -> int:
    """`3g.40gb` has 3 compute slices of its GPU, `1c.3g.40gb` one of those; where no name tells it, all."""
    found = re.search(r"(\d+)c\.", profile) or re.search(r"(\d+)g\.", profile)
    return int(found[1]) if found else MIG_SLICES


def device_part(gpu: NodeGpu) -> float:
    """What it counts for in GPUs, wherever they are counted: a MIG instance of `g` slices g/7."""
    return profile_part(gpu.mig_profile)


def profile_part(mig_profile: str) -> float:
    """As `device_part`; "" is a whole device."""
    return mig_slices(mig_profile) / MIG_SLICES if mig_profile else 1.0


def gpus_held(uuids: Iterable[str], portion: float, there: Iterable[NodeGpu]) -> float:
    """
    What those devices count for in GPUs; one that is not there any more for nothing.

    Args:
        portion: of each. there: the devices of the node.
    """
    held = frozenset(uuids)
    return sum(device_part(g) for g in there if g.uuid in held) * portion if held else 0.0


def product_of(gpu: NodeGpu) -> str:
    """By which people know it; of an instance of a partitioned one with its profile."""
    return f"{gpu.product} {gpu.mig_profile}" if gpu.mig_profile else gpu.product


def placed_on(node: str, products: Sequence[str], portion: float) -> str:
    """
    A place in words.

    Args:
        products: of its GPUs there. portion: of each of them, 0..1.
    """
    if not products:
        return node
    counts = {product: products.count(product) for product in products}
    part = f"{portion:g} of " if portion < 1 else ""
    return f"{node} with {part}{' and '.join(f'{n} {product}' for product, n in counts.items())}"


def shapes_of(nodes: Sequence[HostNode]) -> tuple[Shape, ...]:
    """
    CPU shapes; 1, 2, 4 and 8 of each GPU product as far as one node has them; and one instance of
    each MIG profile.
    """
    found: dict[str, Shape] = {s.name: s for s in CPU_SHAPES}
    for node in nodes:
        whole = [g for g in node.gpus if not g.mig_profile]
        # A GPU shape shares its node's CPU and memory by GPU count.
        devices = len({g.parent_uuid or g.uuid for g in node.gpus})
        for product in dict.fromkeys(g.product for g in whole):
            alike = [g for g in whole if g.product == product]
            for count in (1, 2, 4, 8):
                if count > len(alike):
                    break
                kind = shape_type(product)
                name = f"gpu.{kind}" if count == 1 else f"gpu.{count}x{kind}"
                found[name] = _gpu_shape(name, node, count / devices, alike[:count])
        for gpu in node.gpus:
            if gpu.mig_profile:
                name = f"gpu.{shape_type(gpu.product)}.{gpu.mig_profile}"
                share = mig_slices(gpu.mig_profile) / MIG_SLICES / devices
                found.setdefault(name, _gpu_shape(name, node, share, [gpu]))
    return tuple(found.values())


def _gpu_shape(name: str, node: HostNode, share: float, gpus: Sequence[NodeGpu]) -> Shape:
    return Shape(
        name,
        max(1.0, node.cpu_cores * share),
        max(512, int(node.memory_mib * share)),
        len(gpus),
        gpus[0].product,
        gpus[0].memory_mib * len(gpus),
        gpus[0].mig_profile,
    )
