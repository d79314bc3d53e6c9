"""From a committed attempt to a running container, and what becomes of a launch that fails."""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ...runtime.clock import Clock
from ...runtime.driver import Driver
from ...runtime.errors import DriverError, ImagePullFailed, LaunchRefused, NodeLost, PortTaken, PullFailure
from ...runtime.model import ContainerSpec, Mount, Origin
from ...runtime.mps import Mps
from ...runtime.prober import Prober
from ..crashpoints import CrashPoints
from ..domain.expansion import expanded
from ..domain.inventory import HostNode
from ..domain.org import Org
from ..domain.registries import PullLogins
from ..domain.runs import NODE_LOST
from ..domain.workload import Attempt, AttemptState, Workload
from ..routing import Route
from ..store.host_ports import PortKey
from ..store.log_files import LogFiles
from ..store.store import Store
from ..traffic import Traffic
from .autoscale import GpuPercent, ZeroRules
from .exposed_routes import Known, Load
from .gpus import hand_over
from .health import GpuHealth
from .host_ports import HostPorts, ports_of, wanted_ports
from .pulls import remedy
from .replicas import Record

PULL_BACKOFF_S = (10.0, 300.0)  # first and longest pause between pulls of an image that fails

Environment = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Machine:
    """
    The parts of the world that the loop acts on.

    Args:
        show_routes: gives the gateway its table, and returns once it has it.
        environment: what a dialect gives its workloads, by attempt.
        secrets: the values of a workload's `secret_env`, now.
        secret_values: of those that it has as files, by their names, now.
        mounts: its mounts as directories of this host, now. All raise a
            DriverError where something is gone that was there when it was asked for.
        pull_logins: those to pull an image of a workload's with, now.
        traffic: what the gateway tells.
        gpu_percent: how busy a workload's GPUs are. zero: what becomes of what has no traffic.
        ingress_rpm: requests per minute that an ingress with a rate limit takes.
        nodes_now: its nodes with what people have said of them, and their pool as `node_group`.
        org: who shares them.
        gpus: who looks after them; None: nobody. `unhealthy` tells what of it concerns placing.
        down_nodes: those that cannot be reached now.
        known: whose tokens there are, for exposed ports.
        find_mps: the MPS daemon of this machine, by which shared GPUs are kept apart; None: there is none.
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
    pull_logins: Callable[[Workload, str], PullLogins]
    host_ports: HostPorts
    traffic: Traffic
    gpu_percent: GpuPercent = lambda _workload_id: None
    zero: ZeroRules = field(default_factory=ZeroRules)
    ingress_rpm: float = 600
    gpus: GpuHealth | None = None
    nodes_now: Callable[[], Sequence[HostNode]] = field(kw_only=True)
    org: Callable[[], Org] = field(kw_only=True)
    find_mps: Callable[[], Mps | None] = lambda: None
    down_nodes: Callable[[], frozenset[str]] = frozenset
    secret_values: Callable[[Workload], Environment] = lambda _workload: ()
    known: Load = Known

    def node(self, node_id: str) -> HostNode | None:
        return self._by_id.get(node_id)

    @cached_property
    def _by_id(self) -> Mapping[str, HostNode]:
        return {node.id: node for node in self.nodes}

    def unhealthy(self) -> Mapping[str, str]:
        """Why, by UUID, a GPU is given no new work now; a MIG instance has a UUID of its own."""
        return self.gpus.unhealthy() if self.gpus is not None else {}


def alias(workload: Workload, index: int) -> str:
    """By this name the workers of a job find each other. Source: NVIDIA's page on distributed jobs."""
    if workload.spec.member_names:
        return workload.spec.member_names[index]
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
    gpus = hand_over(machine.node(attempt.node), attempt, machine.find_mps)
    member = spec.member(attempt.index)
    own = (*machine.environment(workload, attempt), *member.env, *machine.secrets(workload))
    home = (("HOME", spec.options.home),) if spec.options.home else ()
    env = (*gpus.defaults, *home, *own, *gpus.env)
    told = {name: dict(env)[name] for name in spec.expands if name in dict(env)}
    group = group_of(workload)
    return ContainerSpec(
        instance=machine.instance, workload_id=workload.id, replica_id=attempt.replica_id,
        attempt=attempt.number, generation=attempt.generation, image=member.image,
        command=expanded(member.command, told), env=tuple(dict(env).items()), 
        cpu_cores=spec.cpu_limit_cores or attempt.cpu_cores,
        memory_mib=spec.memory_limit_mib or attempt.memory_mib,
        shm_mib=spec.shm_mib, gpu_uuids=gpus.real, mps_pipes=gpus.mps_pipes,
        mounts=machine.mounts(workload, attempt),
        ports=ports_of(workload, attempt, leased),
        group=group, serves=spec.serving is not None or bool(spec.exposures),
        stays=spec.keeps_stdin or (spec.serving is not None and spec.serving.is_kept_alive),
        args=expanded(member.args, told), working_dir=member.working_dir, pull=spec.pull,
        aliases=(alias(workload, attempt.index),) if group else (),
        peers=tuple(alias(workload, i) for i in range(spec.completions)) if group else (),
        node=attempt.node, options=spec.options, secret_values=machine.secret_values(workload),
        origin=Origin(workload.kind, workload.name, spec.shape, workload.workspace),
    )  # fmt: skip


def moved_port(attempt: Attempt, error: PortTaken, now_ms: int) -> Record:
    """Another port has been leased in place of the one that was taken, and is tried at once."""
    again = replace(attempt, failures=attempt.failures + 1, next_try_ms=now_ms)
    return Record(again, "HostPortTaken", str(error), is_warning=True)


def failed_launch(
    attempt: Attempt, error: DriverError, now_ms: int, pull_secrets: Sequence[str] = ()
) -> Record:
    """
    A pull is tried again with growing pauses, unless no image can have that name; any other refusal ends
    the attempt.
    """
    told = str(error)
    if isinstance(error, ImagePullFailed):
        told = "; ".join(filter(None, (told, remedy(error, pull_secrets))))
    if isinstance(error, ImagePullFailed) and error.failure is not PullFailure.INVALID:
        first, longest = PULL_BACKOFF_S
        pause_s = min(first * 2 ** min(attempt.failures, 16), longest)
        again = replace(
            attempt, failures=attempt.failures + 1, next_try_ms=now_ms + int(pause_s * 1000),
            reason="ImagePullBackOff", message=told,
        )  # fmt: skip
        return Record(again, again.reason, f"{told}; next try in {pause_s:g} s", is_warning=True)
    reason = NODE_LOST if isinstance(error, NodeLost) else error.code
    over = replace(attempt, state=AttemptState.ENDED, reason=reason, message=told, finished_at_ms=now_ms)
    return Record(over, NODE_LOST if reason == NODE_LOST else "FailedToStart", told, is_warning=True)
