"""Values that cross the driver seam."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from .container_options import NOTHING, ContainerOptions


@dataclass(frozen=True, slots=True)
class Mount:
    """
    A directory given to a container.

    Args:
        target: absolute path in the container.
        root: directory of this host that `path` can never leave; made when missing.
        path: below `root`, `/` is the root itself; made when missing.
        nfs: `server:/export`. Where it is set the engine mounts `path` of that
            export, and `root` is None.
    """

    target: str
    root: Path | None
    path: str = "/"
    is_read_only: bool = False
    nfs: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """`host_port`: None is not published, 0 takes a free one of the host."""

    container_port: int
    protocol: str = "tcp"
    host_port: int | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """`data` ends with a newline, except in an unfinished or overlong line. `at_ns`: Unix nanoseconds."""

    at_ns: int
    data: bytes


# For what stays and has no command of its own. The trap: a shell that only sleeps would not hear SIGTERM.
WAITS = ("/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a container was made from, in its user's words; only a simulation asks, to match its rules."""

    kind: str = ""
    name: str = ""
    shape: str = ""
    project: str = ""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """
    One attempt, ready to launch. Everything a label must say is in it, so that
    a restarted server can adopt the container.

    Args:
        command: argv; replaces the image's entrypoint. Empty: the image decides.
        args: follow the command, or the image's entrypoint in place of its own arguments.
        working_dir: absolute; "": the image decides.
        pull: "Always": also where the image is present. "Never": only if it is. "": where it is not.
        cpu_cores: limit, in cores; the driver caps it at what the host has.
        memory_mib: limit, in MiB.
        shm_mib: size of /dev/shm in MiB; None leaves the engine's default.
        gpu_uuids: real devices to hand over, by UUID; simulated ones are not listed.
        mps_pipes: directory by which programs reach the MPS daemon of this host; None: they do not.
        group: name of a network of its own that the members of a group share;
            "" for a container that stands alone.
        aliases: names by which the others of the group find this one.
        peers: all names of the group, this one's too; an engine that resolves names itself needs none.
        stays: it is to run on without a command: its standard input stays open, so that the shell
            which many images begin does not end, and what has no command at all waits.
        serves: it is meant to run until it is stopped; only a simulation has to be told.
        node: that it was placed on; "" where there is only one.
        options: what it has for itself. secret_values: by the names in it; they are shown nowhere.
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
    mps_pipes: Path | None = None
    mounts: tuple[Mount, ...] = ()
    ports: tuple[Port, ...] = ()
    group: str = ""
    aliases: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    stays: bool = False
    serves: bool = False
    args: tuple[str, ...] = ()
    working_dir: str = ""
    pull: str = ""
    node: str = ""
    origin: Origin = Origin()
    options: ContainerOptions = NOTHING
    secret_values: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """Unique per attempt: creating it twice is a conflict, and a conflict means adopt."""
        return f"hp-{self.instance}-{self.replica_id}-{self.attempt}"


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """
    A login for a pull; it goes to the engine with the pull and nowhere else.

    Args:
        name: what its user calls it.
        server: host[:port] of the registry; `docker.io` is Docker Hub.
    """

    name: str
    server: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Handle:
    """A container that exists. `id` is the driver's own (container id, process id)."""

    id: str
    name: str


class ContainerState(Enum):
    CREATED = "created"  # exists, was never started: the start may be repeated
    RUNNING = "running"
    PAUSED = "paused"  # its processes stand still and keep what they have
    EXITED = "exited"
    LOST = "lost"  # its node is gone, and whether it runs there is not known


@dataclass(frozen=True, slots=True)
class Observed:
    """
    What the driver sees of one container of ours.

    Args:
        exit_code: None unless exited; 128+n after signal n.
        started_at_ms, finished_at_ms: Unix milliseconds, None where it has not happened.
        error: the engine's own words where a start failed, else "".
        ports: the published ones, with the host's port.
        address: IP address at which this host reaches its ports while it runs, else "".
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
    ports: tuple[Port, ...] = ()
    address: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """
    One GPU, or one instance of a GPU that is partitioned (MIG). The UUID is its identity, never the index.

    Args:
        mig_profile: of an instance, for instance `1g.10gb`.
        parent_uuid: of the GPU that the instance is a part of.
    """

    uuid: str
    product: str
    memory_mib: int
    is_simulated: bool = False
    driver_version: str = ""
    cuda_version: str = ""
    mig_profile: str = ""
    parent_uuid: str = ""
