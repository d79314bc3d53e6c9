"""From a committed attempt to a running container, and what becomes of a launch that fails."""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...runtime.clock import Clock
from ...runtime.driver import Driver
from ...runtime.errors import DriverError, ImagePullFailed, LaunchRefused, PortTaken
from ...runtime.model import ContainerSpec, Mount, Port
from ...runtime.prober import Prober
from ..crashpoints import CrashPoints
from ..domain.inventory import HostNode
from ..domain.registries import PullLogin
from ..domain.workload import Attempt, AttemptState, Workload
from ..routing import Route
from ..store.host_ports import PortKey
from ..store.log_files import LogFiles
from ..store.store import Store
from ..traffic import Traffic
from .autoscale import GpuPercent, ZeroRules
from .host_ports import HostPorts, wanted_ports
from .pulls import remedy
from .replicas import Record

PULL_BACKOFF_S = (10.0, 300.0)  # first and longest pause between pulls of an image that fails

Environment = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """
    The parts of the world that the loop acts on.

    Args:
        show_routes: gives the gateway its table, and returns once it has it.
        environment: what a dialect gives its workloads, by attempt.
        secrets: the values of a workload's `secret_env`, now.
        mounts: its mounts as directories of this host, now. Both raise a
            DriverError where something is gone that was there when it was asked for.
        pull_login: the login to pull a workload's image with, now.
        traffic: what the gateway tells.
        gpu_percent: how busy a workload's GPUs are. zero: what becomes of what has no traffic.
        ingress_rpm: requests per minute that an ingress with a rate limit takes.
    """

    store: Store
    driver: Driver
    prober: Prober
    clock: Clock
    nodes: tuple[HostNode, ...]
    instance: str
    logs: LogFiles
    crash: CrashPoints
    show_routes: Callable[[Iterable[Route]], Coroutine[Any, Any, None]]
    environment: Callable[[Workload, Attempt], Environment]
    secrets: Callable[[Workload], Environment]
    mounts: Callable[[Workload, Attempt], tuple[Mount, ...]]
    pull_login: Callable[[Workload], PullLogin]
    host_ports: HostPorts
    traffic: Traffic
    gpu_percent: GpuPercent = lambda _workload_id: None
    zero: ZeroRules = field(default_factory=ZeroRules)
    ingress_rpm: float = 600


def alias(workload: Workload, index: int) -> str:
    """By this name the workers of a job find each other. Source: NVIDIA's page on distributed jobs."""
    return f"worker-{index}.{workload.id}-job-svc"


def group_of(workload: Workload) -> str:
    """Only workloads of several replicas have a network of their own."""
    return workload.id if workload.spec.completions > 1 else ""


def container_spec(
    machine: Machine, workload: Workload, attempt: Attempt, leased: Mapping[PortKey, int]
) -> ContainerSpec:
    """
    Args:
        leased: ports of the host, by container port and protocol.

    Raises:
        DriverError: something that it asks for is not there now.
    """
    spec = workload.spec
    if missing := [f"{port}/{protocol}" for port, protocol in wanted_ports(workload).keys() - leased.keys()]:
        raise LaunchRefused(f"port {', '.join(sorted(missing))} has no port of the host; see its events")
    simulated = {g.uuid for n in machine.nodes for g in n.gpus if g.is_simulated}
    real = tuple(u for u in attempt.gpu_uuids if u not in simulated)
    env = [*machine.environment(workload, attempt), *spec.env, *machine.secrets(workload)]
    if len(real) < len(attempt.gpu_uuids):
        env.append(("HOMEPORT_SIMULATED_GPU", "1"))
    group = group_of(workload)
    return ContainerSpec(
        instance=machine.instance, workload_id=workload.id, replica_id=attempt.replica_id,
        attempt=attempt.number, generation=attempt.generation, image=spec.image, command=spec.command,
        env=tuple(dict(env).items()), cpu_cores=attempt.cpu_cores, memory_mib=attempt.memory_mib,
        shm_mib=spec.shm_mib, gpu_uuids=real, mounts=machine.mounts(workload, attempt),
        ports=tuple(Port(p, protocol, leased.get((p, protocol), host)) for p, protocol, host in spec.ports),
        group=group, serves=spec.serving is not None,
        stays=spec.serving is not None and spec.serving.is_kept_alive,
        aliases=(alias(workload, attempt.index),) if group else (),
        peers=tuple(alias(workload, i) for i in range(spec.completions)) if group else (),
    )  # fmt: skip


def moved_port(attempt: Attempt, error: PortTaken, now_ms: int) -> Record:
    """Another port has been leased in place of the one that was taken, and is tried at once."""
    again = replace(attempt, failures=attempt.failures + 1, next_try_ms=now_ms)
    return Record(again, "HostPortTaken", str(error), is_warning=True)


def failed_launch(
    attempt: Attempt, error: DriverError, now_ms: int, pull_secrets: Sequence[str] = ()
) -> Record:
    """A pull is tried again with growing pauses; any other refusal ends the attempt."""
    if isinstance(error, ImagePullFailed):
        first, longest = PULL_BACKOFF_S
        pause_s = min(first * 2 ** min(attempt.failures, 16), longest)
        told = "; ".join(filter(None, (str(error), remedy(error, pull_secrets))))
        again = replace(
            attempt, failures=attempt.failures + 1, next_try_ms=now_ms + int(pause_s * 1000),
            reason="ImagePullBackOff", message=told,
        )  # fmt: skip
        return Record(again, again.reason, f"{told}; next try in {pause_s:g} s", is_warning=True)
    over = replace(
        attempt, state=AttemptState.ENDED, reason=error.code, message=str(error), finished_at_ms=now_ms
    )
    return Record(over, "FailedToStart", str(error), is_warning=True)
