"""What a pod asks of the machine."""

from collections.abc import Sequence
from dataclasses import dataclass

from ....domain.inventory import HostNode, Shape
from ....errors import Invalid
from ..wire_workloads import Compute
from .quantities import mib_of

# What Run:ai's own form suggests for a pod that asks for no CPU. Without any a node would take endless pods.
CPU_CORES, MEMORY_MIB = 0.1, 96
WHERE = "spec.compute"
LEAST_PORTION = 0.01  # of a device; a bound of our own


@dataclass(frozen=True, slots=True)
class Resources:
    """Fields as those of WorkloadSpec."""

    cpu_cores: float
    memory_mib: int
    cpu_limit_cores: float
    memory_limit_mib: int
    gpu_count: int = 0
    gpu_portion: float = 1.0
    gpu_memory_mib: int | None = None
    shm_mib: int | None = None
    shape: str = ""


def resources_of(
    compute: Compute, nodes: Sequence[HostNode], shapes: Sequence[Shape], where: str = WHERE
) -> Resources:
    """
    Without a limit a container may use all that its host has.

    Raises:
        Invalid: what is asked for contradicts itself.
    """
    most_cores = max((n.cpu_cores for n in nodes), default=1.0)
    most_mib = max((n.memory_mib for n in nodes), default=1024)
    cpu = compute.cpu_core_request
    if cpu is None:
        cpu = min(CPU_CORES, compute.cpu_core_limit or CPU_CORES)
    if compute.cpu_core_limit and compute.cpu_core_limit < cpu:
        raise Invalid(
            f"{where}.cpuCoreLimit", f"{compute.cpu_core_limit:g} is less than the request, {cpu:g}"
        )
    limit = compute.cpu_core_limit or most_cores
    if limit < cpu:
        raise Invalid(
            f"{where}.cpuCoreRequest",
            f"{cpu:g} is more than the largest node has, {most_cores:g}; ask for less",
        )
    top = mib_of(compute.cpu_memory_limit, f"{where}.cpuMemoryLimit") if compute.cpu_memory_limit else 0
    if compute.cpu_memory_request is None:
        memory = min(MEMORY_MIB, top or MEMORY_MIB)
    else:
        memory = mib_of(compute.cpu_memory_request, f"{where}.cpuMemoryRequest")
    if top and top < memory:
        raise Invalid(f"{where}.cpuMemoryLimit", f"{compute.cpu_memory_limit} is less than the request")
    count, portion, gpu_memory = _gpus(compute, where)
    top = top or max(most_mib, memory)
    return Resources(
        cpu, memory, limit, top, count, portion, gpu_memory,
        shm_mib=max(64, top // 2) if compute.large_shm_request else None,
        shape=shape_of(count, cpu, memory, shapes),
    )  # fmt: skip


def _gpus(compute: Compute, where: str) -> tuple[int, float, int | None]:
    """Devices, the portion of each, and the memory of one in MiB instead."""
    asks = (
        compute.gpu_devices_request
        or compute.gpu_portion_request
        or compute.gpu_memory_request
        or compute.gpu_request_type
    )
    count = (1 if asks else 0) if compute.gpu_devices_request is None else compute.gpu_devices_request
    if count == 0:
        for name, value in (("gpuPortionRequest", compute.gpu_portion_request),
                            ("gpuMemoryRequest", compute.gpu_memory_request)):  # fmt: skip
            if value:
                raise Invalid(f"{where}.{name}", "gpuDevicesRequest is 0; leave one of the two out")
        return 0, 1.0, None
    if compute.gpu_request_type == "memory":
        if compute.gpu_portion_request is not None:
            raise Invalid(f"{where}.gpuPortionRequest", "gpuRequestType is memory; leave it out")
        if compute.gpu_memory_request is None:
            raise Invalid(f"{where}.gpuMemoryRequest", "gpuRequestType memory needs it, for example 20Gi")
        if count > 1:
            raise Invalid(f"{where}.gpuDevicesRequest", "memory can be asked for of one device only")
        mib = mib_of(compute.gpu_memory_request, f"{where}.gpuMemoryRequest")
        if mib == 0:
            raise Invalid(f"{where}.gpuMemoryRequest", "must be more than 0")
        if compute.gpu_memory_limit is not None:
            _check_limit(
                mib, mib_of(compute.gpu_memory_limit, f"{where}.gpuMemoryLimit"), f"{where}.gpuMemoryLimit"
            )
        return 1, 1.0, mib
    if compute.gpu_memory_request is not None:
        raise Invalid(f"{where}.gpuMemoryRequest", "needs gpuRequestType memory")
    portion = 1.0 if compute.gpu_portion_request is None else compute.gpu_portion_request
    if portion < LEAST_PORTION:
        raise Invalid(f"{where}.gpuPortionRequest", f"must be at least {LEAST_PORTION:g}, and at most 1")
    if compute.gpu_portion_limit is not None:
        _check_limit(portion, compute.gpu_portion_limit, f"{where}.gpuPortionLimit")
    return count, portion, None


def _check_limit(request: float, limit: float, field: str) -> None:
    if limit < request:
        raise Invalid(field, f"{limit:g} is less than the request, {request:g}")


def shape_of(gpu_count: int, cpu_cores: float, memory_mib: int, shapes: Sequence[Shape]) -> str:
    """
    The smallest shape that holds as much, by which bills and lists know it; "" where none does.

    A part of a GPU goes by the shape of one.
    """
    fit = [
        s
        for s in shapes
        if s.gpu_count >= gpu_count
        and bool(s.gpu_count) == bool(gpu_count)
        and not s.mig_profile  # an instance is no device, and is asked for by its profile
        and (gpu_count or (s.cpu_cores >= cpu_cores and s.memory_mib >= memory_mib))
    ]
    return min(fit, key=lambda s: (s.gpu_count, s.cpu_cores, s.memory_mib, s.name)).name if fit else ""
