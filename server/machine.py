"""What this server runs on: the driver that fits, its nodes, and what of it may be disturbed."""

import logging
import platform
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlmodel import Session

from ..runtime import inventory
from ..runtime.clock import Clock
from ..runtime.driver import Driver
from ..runtime.drivers.faulty import FaultyDriver
from ..runtime.errors import RuntimeUnavailable
from ..runtime.faults import Faults
from ..runtime.metrics import MachineUsage, ScriptedUsage, UsageReader
from ..runtime.prober import NetworkProber, Prober
from ..runtime.usage import used_by_containers, used_by_processes
from .domain.inventory import HostNode, NodeGpu
from .errors import Invalid, StoreRefused
from .levers import Levers, steerable
from .settings import Settings
from .store.store import Store
from .store.tables import SettingRow
from .world import World

if TYPE_CHECKING:
    from ..runtime.drivers.simulated import Rule, SimulatedDriver

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ground:
    """
    What a server stands on.

    Args:
        driver: with faults in front of it where they may be injected.
        note: what is weaker about it, "" when nothing is.
    """

    driver: Driver
    nodes: tuple[HostNode, ...]
    levers: Levers
    prober: Prober
    usage: UsageReader
    note: str = ""


def simulation(
    settings: Settings,
    world: World,
    instance: str,
    clock: Clock,
    rules: "Sequence[Rule]" = (),
    *,
    keeps: bool,
) -> "SimulatedDriver":
    """
    The simulated runtime of that world.

    Args:
        rules: those that go before the world's.
        keeps: what happens, and the rules and faults that are added, outlive the server.
    """
    from ..runtime.drivers.simulated import RuleBook, SimulatedDriver  # where all is real it costs nothing

    folder = settings.data_dir

    def kept(name: str) -> Path | None:
        return folder / name if keeps else None

    added, journal = kept("simulated-rules.json"), kept("simulated.jsonl")
    with _named(added, "the rules that were added", "they are then gone"):
        book = RuleBook((*rules, *world.rules), world.seed, added)
    faults = _faults(kept("faults.json"))
    with _named(journal, "what the simulated machine runs", "its containers are then gone"):
        return SimulatedDriver(instance, clock, book, journal, faults)


def _faults(path: Path | None) -> Faults:
    with _named(path, "the faults that are in force", "they have then ended"):
        return Faults(path)


@contextmanager
def _named(path: Path | None, what: str, without: str) -> Generator[None]:
    """
    Args:
        path: of the file that is read meanwhile, which keeps `what`. without: what follows from its removal.

    Raises:
        StoreRefused: it is damaged.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if path is None:
            raise
        raise StoreRefused(
            f"{path} cannot be read: {error}; it keeps {what}. Mend it, or remove it: {without}"
        ) from error


async def choose_ground(settings: Settings, world: World, instance: str, clock: Clock) -> Ground:
    if settings.runtime == "simulated":
        made = simulation(settings, world, instance, clock, keeps=True)
        return simulated_ground(settings, world, made, clock, "simulated runtime: nothing is executed")
    driver, note = await _choose_real(settings, instance, clock)
    nodes = (local_node(settings), *world.nodes)
    usage, prober = _measured(driver, clock, settings.data_dir), NetworkProber()
    faults = _faults(settings.data_dir / "faults.json") if settings.testing else None
    if not world.nodes:
        levers = Levers(driver.kind, faults, clock=steerable(clock))
        return Ground(_with_faults(driver, faults, clock), nodes, levers, prober, usage, note)
    from ..runtime.drivers.routed import RoutedDriver, RoutedUsage
    from ..runtime.drivers.simulated.probing import AnswerProber

    made = simulation(settings, world, instance, clock, keeps=True)
    simulated = frozenset(node.id for node in world.nodes)
    if nodes[0].id in simulated:
        raise _named_as_host(nodes[0])
    routed = RoutedDriver(driver, made, simulated)
    levers = Levers(driver.kind, made.faults, made.rules, steerable(clock), simulated)
    beside = f"{len(simulated)} simulated nodes beside this machine: nothing is executed there"
    return Ground(
        FaultyDriver(routed, made.faults, clock), nodes, levers, AnswerProber(prober, prober),
        RoutedUsage(usage, _scripted(made), made), "; ".join(filter(None, (note, beside))),
    )  # fmt: skip


def simulated_ground(
    settings: Settings, world: World, driver: "SimulatedDriver", clock: Clock, note: str = ""
) -> Ground:
    """Where nothing is real, everything may be disturbed."""
    from ..runtime.drivers.simulated.probing import AnswerProber

    own: tuple[HostNode, ...] = ()
    if world.has_host:
        own = (replace(local_node(settings), is_simulated=True),)
    nodes = (*own, *world.nodes)
    if len({n.id for n in nodes}) < len(nodes):
        raise _named_as_host(nodes[0])
    levers = Levers(driver.kind, driver.faults, driver.rules, steerable(clock), {n.id for n in nodes})
    front = FaultyDriver(driver, driver.faults, clock)
    return Ground(front, nodes, levers, AnswerProber(NetworkProber()), _scripted(driver), note)


def _named_as_host(host: HostNode) -> Invalid:
    return Invalid("--seed", f"{host.id!r} is the name of this machine; rename that node")


def _with_faults(driver: Driver, faults: Faults | None, clock: Clock) -> Driver:
    return driver if faults is None else FaultyDriver(driver, faults, clock)


async def _choose_real(settings: Settings, instance: str, clock: Clock) -> tuple[Driver, str]:
    """The driver, and a line saying what is weaker about it ("" when nothing is)."""
    why = ""
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


def _measured(driver: Driver, clock: Clock, data_dir: Path) -> UsageReader:
    """What tells the use of GPUs, CPU and memory where this driver runs things."""
    if driver.kind == "docker":
        return MachineUsage(clock, used_by_containers)
    return MachineUsage(clock, lambda handles: used_by_processes(handles, data_dir / "processes"))


def _scripted(driver: "SimulatedDriver") -> UsageReader:
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
        gpus=tuple(
            NodeGpu(d.uuid, d.product, d.memory_mib, d.is_simulated, d.mig_profile, d.parent_uuid)
            for d in devices
        ),
        overcommit=settings.overcommit,
        driver_version=devices[0].driver_version if devices else "",
        cuda_version=devices[0].cuda_version if devices else "",
    )
