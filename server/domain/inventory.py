"""Nodes, node groups, GPUs and the shapes made from them."""

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class Shape:
    """CPU in cores, memory in MiB, both per replica."""

    name: str
    cpu_cores: float
    memory_mib: int
    gpu_count: int = 0
    gpu_product: str | None = None
    gpu_memory_mib: int = 0


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


def shapes_of(nodes: Sequence[HostNode]) -> tuple[Shape, ...]:
    """CPU shapes, and 1, 2, 4 and 8 of each GPU product as far as one node has them."""
    found: dict[str, Shape] = {s.name: s for s in CPU_SHAPES}
    for node in nodes:
        for product in dict.fromkeys(g.product for g in node.gpus):
            alike = [g for g in node.gpus if g.product == product]
            for count in (1, 2, 4, 8):
                if count > len(alike):
                    break
                kind = shape_type(product)
                name = f"gpu.{kind}" if count == 1 else f"gpu.{count}x{kind}"
                # A GPU shape shares its node's CPU and memory by GPU count.
                share = count / len(node.gpus)
                found[name] = Shape(
                    name,
                    max(1.0, node.cpu_cores * share),
                    max(512, int(node.memory_mib * share)),
                    count,
                    product,
                    alike[0].memory_mib * count,
                )
    return tuple(found.values())
