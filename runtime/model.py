"""Values that cross the driver seam."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """
    One attempt, ready to launch. Everything a label must say is in it, so that
    a restarted server can adopt the container.

    Args:
        command: argv; replaces the image's entrypoint. Empty: the image decides.
        cpu_cores: limit, in cores; the driver caps it at what the host has.
        memory_mib: limit, in MiB.
        shm_mib: size of /dev/shm in MiB; None leaves the engine's default.
        gpu_uuids: real devices to hand over, by UUID; simulated ones are not listed.
    """

    instance: str
    workload_id: str
    replica_id: str
    attempt: int
    generation: int
    image: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    cpu_cores: float = 1.0
    memory_mib: int = 512
    shm_mib: int | None = None
    gpu_uuids: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Unique per attempt: creating it twice is a conflict, and a conflict means adopt."""
        return f"hp-{self.instance}-{self.replica_id}-{self.attempt}"


@dataclass(frozen=True, slots=True)
class Handle:
    """A container that exists. `id` is the driver's own (container id, process id)."""

    id: str
    name: str


class ContainerState(Enum):
    CREATED = "created"  # exists, was never started: the start may be repeated
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Observed:
    """
    What the driver sees of one container of ours.

    Args:
        exit_code: None unless exited; 128+n after signal n.
        started_at_ms, finished_at_ms: Unix milliseconds, None where it has not happened.
        error: the engine's own words where a start failed, else "".
    """

    handle: Handle
    workload_id: str
    replica_id: str
    attempt: int
    generation: int
    state: ContainerState
    exit_code: int | None = None
    oom_killed: bool = False
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU. The UUID is its identity, never the index."""

    uuid: str
    product: str
    memory_mib: int
    is_simulated: bool = False
    driver_version: str = ""
    cuda_version: str = ""
