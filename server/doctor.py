"""What works on this machine, what is weaker, and what to do about it."""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..runtime.clock import SystemClock
from ..runtime.errors import RuntimeUnavailable
from .background import is_answering
from .errors import Invalid
from .findings import Finding
from .gpu_findings import gpu_findings
from .serving import listen
from .settings import Settings

LITTLE_DISK_BYTES = 5 * 2**30
CLOCK_OFF_S = 5
# Of a container's own /etc/hosts, /etc/hostname or /etc/resolv.conf, wherever the engine keeps its data.
OWN_FILES = re.compile(r"/containers/([0-9a-f]{64})/(?:hostname|hosts|resolv\.conf) /etc/")
SAME_PATH = "mount it at the same path: `-v {0}:{0}`, as docker-compose.yml does"
EARLIEST_MS = 1_735_689_600_000  # 2025: before Homeport, so no machine that has it can be there


def examine(settings: Settings) -> list[Finding]:
    place = next(p for p in (settings.data_dir, *settings.data_dir.parents) if p.exists())
    return [
        asyncio.run(_docker()),
        *asyncio.run(_container(settings.data_dir)),
        *gpu_findings(settings.gpus),
        _disk(settings.data_dir, place),
        _port(settings),
        _clock(place),
    ]


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


def own_container(mountinfo: str) -> str | None:
    """
    The id of the container that we are in, by what the engine mounts into each; None outside of any.

    Args:
        mountinfo: /proc/self/mountinfo. Its hostname would not do: on the host's network it is the host's.
    """
    found = OWN_FILES.search(mountinfo)
    return found[1] if found else None


def data_dir_mount(data_dir: Path, mounts: Sequence[Mapping[str, Any]]) -> Finding:
    """
    Args:
        mounts: of our own container, as the engine's inspect has them.
    """
    bearing = [m for m in mounts if data_dir.is_relative_to(m["Destination"])]
    if not bearing:
        what = f"{data_dir} lies inside this container: it goes with it, and workloads cannot mount from it"
        return Finding(False, what, SAME_PATH.format(data_dir))
    mount = max(bearing, key=lambda m: len(m["Destination"]))
    outside = Path(mount["Source"]) / data_dir.relative_to(mount["Destination"])
    if outside != data_dir:
        what = f"{data_dir} is {outside} outside of this container, where the engine looks for what it mounts"
        return Finding(False, what, SAME_PATH.format(data_dir))
    return Finding(True, f"{data_dir} is the same directory inside and outside of this container")


async def _container(data_dir: Path) -> list[Finding]:
    """Nothing where this is no container, or no engine answers: that is told elsewhere."""
    try:
        own = own_container(Path("/proc/self/mountinfo").read_text())
    except OSError:  # no Linux
        own = None
    if own is None:
        return []
    from docker.errors import APIError, NotFound

    from ..runtime.drivers.docker_engine import Engine

    engine = Engine(None, launches=1)
    try:
        told = await engine.call("call", lambda: engine.quick.inspect_container(own))
        return [data_dir_mount(data_dir, told["Mounts"])]
    except NotFound:
        what = "the engine that answers does not know this container: its machine is another one"
        return [Finding(False, what, "mount the socket of the engine that runs this container")]
    except (APIError, RuntimeUnavailable):
        return []
    finally:
        engine.close()


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
