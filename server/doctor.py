"""What works on this machine, what is weaker, and what to do about it."""

import asyncio
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..runtime import inventory
from ..runtime.clock import SystemClock
from ..runtime.errors import RuntimeUnavailable
from .background import is_answering
from .errors import Invalid
from .serving import listen
from .settings import Settings

LITTLE_DISK_BYTES = 5 * 2**30
CLOCK_OFF_S = 5
EARLIEST_MS = 1_735_689_600_000  # 2025: before Homeport, so no machine that has it can be there


@dataclass(frozen=True, slots=True)
class Finding:
    is_ok: bool
    what: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    place = next(p for p in (settings.data_dir, *settings.data_dir.parents) if p.exists())
    return [asyncio.run(_docker()), _gpus(), _disk(settings.data_dir, place), _port(settings), _clock(place)]


async def _docker() -> Finding:
    from ..runtime.drivers.docker import DockerDriver

    driver = DockerDriver("doctor", SystemClock())
    try:
        await driver.ping()
        return Finding(True, "Docker answers: jobs run as containers")
    except RuntimeUnavailable as error:
        weaker = "jobs run as local processes, without images, isolation or limits"
        return Finding(False, f"{error}: {weaker}", "install docker.io, start dockerd, join the group docker")
    finally:
        await driver.close()


def _gpus() -> Finding:
    if gpus := inventory.real_devices():
        first = gpus[0]
        return Finding(True, f"NVML finds {len(gpus)} GPU(s): {first.product}, driver {first.driver_version}")
    what = "NVML finds no GPU: a node of 8 simulated H100 is declared"
    return Finding(False, what, "install the NVIDIA driver, if there is a GPU")


def _disk(data_dir: Path, place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    what = f"{free / 2**30:.1f} GiB free for {data_dir}"
    if not os.access(place, os.W_OK):
        return Finding(False, f"{place} cannot be written", "choose another --data-dir")
    return Finding(True, what) if free > LITTLE_DISK_BYTES else Finding(False, what, "free some disk space")


def _port(settings: Settings) -> Finding:
    try:
        listen(settings).close()
        return Finding(True, f"{settings.host}:{settings.port} is free for a server")
    except Invalid as error:
        if is_answering(settings.data_dir):
            return Finding(True, f"a server answers for {settings.data_dir}")
        return Finding(False, str(error), "choose another --port, or end what listens there")


def _clock(place: Path) -> Finding:
    """Against the disk's idea of now: containers, logs and tokens are all dated."""
    now_ms = SystemClock().now_ms()
    try:
        with tempfile.NamedTemporaryFile(dir=place) as file:
            off_s = now_ms / 1000 - os.stat(file.name).st_mtime
    except OSError:
        off_s = 0.0
    if abs(off_s) < CLOCK_OFF_S and now_ms > EARLIEST_MS:
        return Finding(True, "the clock is plausible")
    what = (
        f"the clock is {off_s:+.0f} s off the disk's" if now_ms > EARLIEST_MS else "the clock is years late"
    )
    return Finding(False, what, "set the time, for example with NTP")
