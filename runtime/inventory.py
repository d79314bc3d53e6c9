"""What the machine has: NVML's GPUs, or declared ones, and the host's CPU and memory."""

import os
import re

from .model import Device

# Memory of products that are declared without hardware, in MiB; a size in the name wins.
DECLARED_MIB = {
    "H100": 81559,
    "H200": 143771,
    "A100": 40960,
    "A10": 23028,
    "L4": 23034,
    "T4": 15360,
    "B200": 183359,
}


def real_devices() -> tuple[Device, ...]:
    """NVML's list; empty where there is no NVIDIA driver. Source: NVML API reference."""
    import pynvml  # costs start-up time, and most machines in CI have no driver

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        version = str(pynvml.nvmlSystemGetDriverVersion())
        cuda = int(pynvml.nvmlSystemGetCudaDriverVersion())
        found: list[Device] = []
        for index in range(int(pynvml.nvmlDeviceGetCount())):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            total = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
            found.append(
                Device(
                    uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
                    product=str(pynvml.nvmlDeviceGetName(handle)),
                    memory_mib=total // 2**20,
                    driver_version=version,
                    cuda_version=f"{cuda // 1000}.{cuda % 1000 // 10}",
                )
            )
        return tuple(found)
    finally:
        pynvml.nvmlShutdown()


def declared_devices(text: str) -> tuple[Device, ...]:
    """
    `4xA100-80GB` -> four simulated devices with stable UUIDs.

    Raises:
        ValueError: `text` is not of the form NxTYPE with N from 1 to 64.
    """
    match = re.fullmatch(r"(\d+)x([A-Za-z0-9][A-Za-z0-9-]*)", text)
    if match is None or not 1 <= int(match[1]) <= 64:
        raise ValueError(f"{text!r} is not of the form NxTYPE, for example 8xH100")
    product = match[2]
    size = re.search(r"(\d+)GB$", product)
    known = next((mib for name, mib in DECLARED_MIB.items() if name in product.upper()), 16384)
    memory_mib = int(size[1]) * 1024 if size else known
    return tuple(
        Device(f"GPU-simulated-{product.lower()}-{i:02d}", f"NVIDIA {product}", memory_mib, is_simulated=True)
        for i in range(int(match[1]))
    )


def choose_devices(gpus: str) -> tuple[Device, ...]:
    """`auto`: the real ones, else 8 simulated H100; `none`; or NxTYPE."""
    if gpus == "none":
        return ()
    if gpus == "auto":
        return real_devices() or declared_devices("8xH100-80GB")
    return declared_devices(gpus)


def host_cpu_cores() -> int:
    return os.cpu_count() or 1


def host_memory_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
