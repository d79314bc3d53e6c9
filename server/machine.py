"""What this server runs on: the driver that fits, and the node it makes of this host."""

import logging
import platform
from pathlib import Path

from sqlmodel import Session

from ..runtime import inventory
from ..runtime.clock import Clock
from ..runtime.driver import Driver
from ..runtime.errors import RuntimeUnavailable
from ..runtime.metrics import MachineUsage, ScriptedUsage, UsageReader
from ..runtime.usage import used_by_containers, used_by_processes
from .domain.inventory import HostNode, NodeGpu
from .errors import Invalid
from .settings import Settings
from .store.store import Store
from .store.tables import SettingRow

log = logging.getLogger(__name__)


async def choose_driver(settings: Settings, instance: str, clock: Clock) -> tuple[Driver, str]:
    """The driver, and a line saying what is weaker about it ("" when nothing is)."""
    why = ""
    if settings.runtime == "simulated":
        from ..runtime.drivers.simulated import SimulatedDriver

        journal = settings.data_dir / "simulated.jsonl"
        return SimulatedDriver(instance, clock, journal=journal), "simulated runtime: nothing is executed"
    if settings.runtime in ("auto", "docker"):
        from ..runtime.drivers.docker import DockerDriver

        docker = DockerDriver(
            instance,
            clock,
            stage=settings.data_dir / "mounts",
            network_pool=settings.network_pool,
            publish_host=settings.host,
        )
        try:
            await docker.ping()
            return docker, ""
        except RuntimeUnavailable as error:
            if settings.runtime == "docker":
                log.warning("%s; starting all the same, jobs wait until it does", error)
                return docker, str(error)
            why = str(error)
            await docker.close()
    from ..runtime.drivers.process import ProcessDriver

    note = "process runtime: no images, no isolation, limits are not enforced" + (f" ({why})" if why else "")
    return ProcessDriver(instance, clock, settings.data_dir / "processes"), note


def usage_reader(driver: Driver, clock: Clock, data_dir: Path) -> UsageReader:
    """What tells the use of GPUs, CPU and memory where this driver runs things."""
    if driver.kind == "docker":
        return MachineUsage(clock, used_by_containers)
    if driver.kind == "process":
        return MachineUsage(clock, lambda handles: used_by_processes(handles, data_dir / "processes"))
    from ..runtime.drivers.simulated import SimulatedDriver

    assert isinstance(driver, SimulatedDriver), driver.kind
    return ScriptedUsage(driver.gpu_percent, lambda: driver.has_gpu_script)


def stay_on_runtime(settings: Settings, store: Store) -> Settings:
    """What is under way is looked for on the runtime that has it, also while that does not answer."""
    before = store.setting("runtime")
    if before in (None, settings.runtime) or not store.reads.live_attempts():
        return settings
    if settings.runtime != "auto":
        raise Invalid(
            "--runtime",
            f"jobs of {settings.data_dir} are under way on the {before} runtime; "
            "start with it and stop them first, or use another --data-dir",
        )
    return settings.model_copy(update={"runtime": before})


async def remember(store: Store, name: str, value: str) -> None:
    """A fact for the next server on this data directory."""

    def save(session: Session) -> None:
        session.merge(SettingRow(name=name, value=value))

    if store.setting(name) != value:
        await store.write(save)


def local_node(settings: Settings) -> HostNode:
    try:
        devices = inventory.choose_devices(settings.gpus)
    except ValueError as error:
        raise Invalid("--gpus", str(error)) from error
    return HostNode(
        id=platform.node() or "local",
        node_group="default",
        cpu_cores=float(inventory.host_cpu_cores()),
        memory_mib=inventory.host_memory_mib(),
        gpus=tuple(NodeGpu(d.uuid, d.product, d.memory_mib, d.is_simulated) for d in devices),
        overcommit=settings.overcommit,
        driver_version=devices[0].driver_version if devices else "",
        cuda_version=devices[0].cuda_version if devices else "",
    )
