"""What doctor says of the GPUs: which there are, how they are, how they are shared."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..runtime import inventory
from ..runtime.health import Health, fold
from ..runtime.health_reader import NvmlHealth
from ..runtime.model import Device
from ..runtime.mps import Mps, find_mps
from .findings import Finding

# systemd takes devices away that it does not know of; it knows those that have a link here.
# Source: NVIDIA/nvidia-container-toolkit#48, `nvidia-ctk system create-dev-char-symlinks`.
CONTROL_LINK = Path("/dev/char/195:255")


def gpu_findings(gpus: str) -> list[Finding]:
    """
    Args:
        gpus: the setting `--gpus`.
    """
    devices = inventory.real_devices()
    if not devices:
        what = "NVML finds no GPU: a node of 8 simulated H100 is declared"
        return [Finding(False, what, "install the NVIDIA driver, if there is a GPU")]
    first = devices[0]
    whole = [d for d in devices if not d.mig_profile]
    parts = [d for d in devices if d.mig_profile]
    counts = [f"{len(whole)} GPU(s)"] if whole or not parts else []
    if parts:
        profiles = ", ".join(sorted({d.mig_profile for d in parts}))
        counts.append(f"{len(parts)} MIG instance(s) ({profiles})")
    found = [
        Finding(True, f"NVML finds {' and '.join(counts)}: {first.product}, driver {first.driver_version}")
    ]
    if gpus != "auto":
        found.append(Finding(True, f"--gpus {gpus}: the real ones are not used"))
    return [*found, *health_findings(devices), sharing_finding(find_mps()), *_exposure()]


def health_findings(devices: Sequence[Device]) -> Iterator[Finding]:
    """One look at each; what only shows over time, such as Xid errors, a running server tells."""
    nvml = NvmlHealth({d.uuid: d.parent_uuid for d in devices})
    try:
        readings = nvml.read()
    finally:
        nvml.close()
    for uuid, reading in readings.items():
        health = fold(Health(), reading, 0)
        if not health.is_healthy:
            remedy = f"`nvidia-smi -q -i {uuid}` says more; nothing is placed there until it is well"
            yield Finding(False, f"GPU {uuid} is unhealthy: {health.message}", remedy)
        elif reading.throttles:
            what = f"GPU {uuid} is slowed down by its hardware: {', '.join(reading.throttles)}"
            yield Finding(False, what, "look after its cooling and its power")


def sharing_finding(mps: Mps | None) -> Finding:
    if mps is not None:
        return Finding(True, f"an MPS daemon runs at {mps.pipes}: shares of a GPU are kept apart by it")
    what = "no MPS daemon runs: shares of a GPU are by time only, nothing keeps memory apart"
    return Finding(True, f"{what} (`nvidia-cuda-mps-control -d` starts one)")


def _exposure() -> list[Finding]:
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    from ..runtime.drivers.docker_engine import Engine

    engine = Engine(None, launches=1)
    try:
        info = engine.quick.info()
    except (DockerException, RequestException, OSError):
        return []  # told elsewhere
    finally:
        engine.close()
    return exposure_findings(info, CONTROL_LINK.exists())


def exposure_findings(info: dict[str, Any], has_links: bool) -> list[Finding]:
    """
    Whether `systemctl daemon-reload` takes the GPUs of running containers away.

    Args:
        info: the engine's. has_links: systemd can know of the devices.
    """
    if info.get("CgroupDriver") != "systemd" or has_links or info.get("CDISpecDirs"):
        return []  # CDI tells the engine, and so systemd, of each device
    what = "`systemctl daemon-reload` takes the GPUs of running containers away on this host"
    remedy = "run `nvidia-ctk system create-dev-char-symlinks --create-all` at each boot"
    return [Finding(False, what, remedy)]
