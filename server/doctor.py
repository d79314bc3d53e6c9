"""What works on this machine, what is weaker, and what to do about it."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..runtime import inventory
from ..runtime.clock import SystemClock
from ..runtime.errors import RuntimeUnavailable

LITTLE_DISK_BYTES = 5 * 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    is_ok: bool
    what: str
    remedy: str = ""


async def _docker() -> Finding:
    from ..runtime.drivers.docker import DockerDriver

    driver = DockerDriver("doctor", SystemClock())
    try:
        await driver.ping()
        return Finding(True, "Docker answers: jobs run as containers")
    except RuntimeUnavailable as error:
        return Finding(False, f"{error}: jobs run as local processes", "install docker.io, start dockerd")
    finally:
        await driver.close()


def examine(data_dir: Path) -> list[Finding]:
    findings = [asyncio.run(_docker())]
    gpus = inventory.real_devices()
    if gpus:
        findings.append(
            Finding(
                True, f"NVML finds {len(gpus)} GPU(s): {gpus[0].product}, driver {gpus[0].driver_version}"
            )
        )
    else:
        findings.append(
            Finding(
                False,
                "NVML finds no GPU: a node of 8 simulated H100 is declared",
                "install the NVIDIA driver, if there is a GPU",
            )
        )
    place = next(p for p in (data_dir, *data_dir.parents) if p.exists())
    free = shutil.disk_usage(place).free
    findings.append(
        Finding(
            free > LITTLE_DISK_BYTES,
            f"{free / 2**30:.1f} GiB free for {data_dir}",
            "" if free > LITTLE_DISK_BYTES else "free some disk space",
        )
    )
    return findings
