"""What the machine has: NVML's GPUs, or declared ones, and the host's CPU and memory."""

import ctypes
import logging
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .model import Device

log = logging.getLogger(__name__)
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
MOST_DECLARED = 64
# Source: NVIDIA's MIG user guide: a GPU has seven compute slices, and memory as its size allows.
MIG_SLICES = 7
PROFILE = re.compile(r"([1-7])g\.([1-9]\d*)gb")
SIMULATED = "simulated"  # in the UUID of what is declared
FORM = "NxTYPE, for example 8xH100, or NxTYPE:PROFILES as in 1xH100-80GB:7x1g.10gb"


def _may_have_driver() -> bool:
    """A look at the library alone: pynvml takes as long to import as a tenth of the server, to find none."""
    if sys.platform != "linux" or "pynvml" in sys.modules:
        return True
    try:
        ctypes.CDLL("libnvidia-ml.so.1")  # as pynvml itself looks for it
    except OSError:
        return False
    return True


def real_devices() -> tuple[Device, ...]:
    """
    NVML's list; empty where there is no NVIDIA driver. Of a partitioned GPU its MIG instances are
    listed in its place, since nothing can run on the GPU itself. Source: NVML API reference.
    """
    if not _may_have_driver():
        return ()
    import pynvml  # costs start-up time

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
            device = Device(
                uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
                product=str(pynvml.nvmlDeviceGetName(handle)),
                memory_mib=total // 2**20,
                driver_version=version,
                cuda_version=f"{cuda // 1000}.{cuda % 1000 // 10}",
            )
            found.extend(_instances(pynvml, handle, device) if _is_partitioned(pynvml, handle) else [device])
        return tuple(found)
    finally:
        pynvml.nvmlShutdown()


def _is_partitioned(pynvml: Any, handle: Any) -> bool:
    """Now; that it will be after a reset changes nothing yet."""
    try:
        return pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    except pynvml.NVMLError:  # most products have no MIG
        return False


def _instances(pynvml: Any, handle: Any, device: Device) -> list[Device]:
    found: list[Device] = []
    for index in range(int(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle))):
        try:
            instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except pynvml.NVMLError_NotFound:  # places of instances have gaps
            continue
        total_mib = int(pynvml.nvmlDeviceGetMemoryInfo(instance).total) // 2**20
        found.append(
            replace(
                device,
                uuid=str(pynvml.nvmlDeviceGetUUID(instance)),
                memory_mib=total_mib,
                mig_profile=_profile(pynvml, instance, total_mib),
                parent_uuid=device.uuid,
            )
        )
    if not found:
        log.warning("%s is in MIG mode and has no instance: nothing can run on it", device.uuid)
    return found


def _profile(pynvml: Any, instance: Any, total_mib: int) -> str:
    """`NVIDIA H100 80GB HBM3 MIG 1g.10gb` -> `1g.10gb`; made from its size where no profile is named."""
    _, is_named, profile = str(pynvml.nvmlDeviceGetName(instance)).rpartition(" MIG ")
    if is_named:
        return profile
    slices = int(pynvml.nvmlDeviceGetAttributes_v2(instance).gpuInstanceSliceCount)
    return f"{slices}g.{round(total_mib / 1024)}gb"


def declared_devices(text: str, node: str = "") -> tuple[Device, ...]:
    """
    `4xA100-80GB` -> four simulated devices with stable UUIDs.

    `1xH100-80GB:7x1g.10gb` -> the seven instances of one that is partitioned; `+` joins several
    profiles, a comma several declarations.

    Args:
        node: a name that makes the UUIDs differ from those of another node.

    Raises:
        ValueError: `text` is not of that form, names over 64 devices, or more than a device holds.
    """
    devices: list[Device] = []
    count = 0
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)x([A-Za-z0-9][A-Za-z0-9-]*)(?::(.+))?", part.strip())
        if match is None or int(match[1]) < 1:
            raise ValueError(f"{text!r} is not of the form {FORM}")
        before, count = count, count + int(match[1])
        if count > MOST_DECLARED:
            raise ValueError(f"{text!r} declares {count} devices; a node has {MOST_DECLARED} at most")
        for index in range(before, count):
            device = _declared(match[2], index, node)
            profiles = list(_layout(match[3], device)) if match[3] else []
            devices.extend(_simulated_instances(device, profiles) if profiles else [device])
    return tuple(devices)


def is_declared(uuid: str) -> bool:
    """Whether it is of a device that `declared_devices` has made, or of an instance of one."""
    return uuid.partition("-")[2].startswith(SIMULATED)


def _declared(product: str, index: int, node: str) -> Device:
    size = re.search(r"(\d+)GB$", product)
    known = next((mib for name, mib in DECLARED_MIB.items() if name in product.upper()), 16384)
    memory_mib = int(size[1]) * 1024 if size else known
    name = "-".join(filter(None, (node, product.lower(), f"{index:02d}")))
    return Device(f"GPU-{SIMULATED}-{name}", f"NVIDIA {product}", memory_mib, is_simulated=True)


def _layout(text: str, device: Device) -> Iterator[str]:
    """`3x1g.10gb+2x2g.20gb` -> five profiles."""
    slices = memory_gb = 0
    size_gb = round(device.memory_mib / 1024)  # profiles are named by what the GPU is sold with
    for part in text.split("+"):
        number, _, profile = part.strip().rpartition("x")
        match = PROFILE.fullmatch(profile)
        if match is None or not (number or "1").isdecimal() or int(number or "1") < 1:
            raise ValueError(f"{part!r} is no MIG profile with its number, for example 7x1g.10gb")
        many = int(number or "1")
        slices, memory_gb = slices + many * int(match[1]), memory_gb + many * int(match[2])
        if slices > MIG_SLICES or memory_gb > size_gb:
            holds = f"{MIG_SLICES} slices and {size_gb} GB"
            raise ValueError(f"{text!r} is more than a {device.product} holds: {holds}")
        yield from [profile] * many


def _simulated_instances(device: Device, profiles: list[str]) -> Iterator[Device]:
    for place, profile in enumerate(profiles):
        match = PROFILE.fullmatch(profile)
        assert match is not None, profile
        yield replace(
            device,
            uuid=f"MIG-{device.uuid.removeprefix('GPU-')}-{place}",
            memory_mib=int(match[2]) * 1024,
            mig_profile=profile,
            parent_uuid=device.uuid,
        )


def choose_devices(gpus: str) -> tuple[Device, ...]:
    """`auto`: the real ones, else 8 simulated H100; `none`; or what is declared."""
    if gpus == "none":
        return ()
    if gpus == "auto":
        return real_devices() or declared_devices("8xH100-80GB")
    return declared_devices(gpus)


def host_cpu_cores() -> int:
    return os.cpu_count() or 1


def host_memory_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
