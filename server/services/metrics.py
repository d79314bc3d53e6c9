"""What runs now and what it does, for `homeport top` and Prometheus."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...runtime.metrics import GpuUsage, Key, ReplicaUsage
from ..domain.endpoints import is_ready, wanted_replicas
from ..domain.metrics import Minute, Traffic
from ..domain.workload import TERMINAL, Attempt, AttemptState, Phase, Workload
from .access import Caller
from .context import Services
from .endpoints import BOTH


class LastMinute(Protocol):
    @property
    def traffic(self) -> Traffic: ...

    @property
    def qps(self) -> float: ...


class Figures(Protocol):
    """What is measured, as `app.py` gives it."""

    def usage(self) -> Mapping[Key, ReplicaUsage]: ...

    def last_minute(self, key: str) -> LastMinute: ...

    def history(self, workload_id: str, key: str, since_ms: int) -> Mapping[int, Minute]: ...


@dataclass(frozen=True, slots=True)
class Replica:
    """`usage` None: nothing is known, or nothing may be asked."""

    id: str
    attempt: int
    is_ready: bool
    usage: ReplicaUsage | None


@dataclass(frozen=True, slots=True)
class Row:
    """
    Args:
        wanted: as many replicas as it is to have now. last_minute: None for what takes no requests.
    """

    workload: Workload
    phase: Phase
    wanted: int
    replicas: tuple[Replica, ...]
    last_minute: LastMinute | None

    @property
    def key(self) -> str:
        return f"{self.workload.workspace}/{self.workload.name}"

    @property
    def ready(self) -> int:
        return sum(r.is_ready for r in self.replicas)

    @property
    def gpus(self) -> list[GpuUsage]:
        return [gpu for replica in self.replicas if replica.usage for gpu in replica.usage.gpus]


def list_rows(services: Services, figures: Figures, who: Caller, *, is_everywhere: bool = False) -> list[Row]:
    """
    What the caller may see and is not over: what serves first, in the order of names; then the
    rest, newest first.

    Args:
        is_everywhere: of all workspaces, where the caller runs the server.
    """
    has_all = is_everywhere and who.runs_server
    reads = services.store.reads
    found = [
        f
        for f in reads.active(services.clock.now_ms())
        if f.phase not in TERMINAL and (has_all or f.workload.workspace == who.workspace) and who.may_see(f)
    ]
    attempts = reads.attempts([f.id for f in found]) if found else {}
    usage = figures.usage()
    rows = [_row(f.workload, f.phase, attempts[f.id], usage, figures) for f in found]
    serving = sorted((r for r in rows if r.workload.kind in BOTH), key=lambda r: r.workload.name)
    return serving + [r for r in reversed(rows) if r.workload.kind not in BOTH]


def _row(
    workload: Workload,
    phase: Phase,
    attempts: Sequence[Attempt],
    usage: Mapping[Key, ReplicaUsage],
    figures: Figures,
) -> Row:
    serving = workload.spec.serving
    live = [a for a in attempts if a.is_live]
    replicas = tuple(
        Replica(
            a.replica_id,
            a.number,
            is_ready(workload, a) if serving else a.state is AttemptState.RUNNING,
            usage.get(a.key),
        )
        for a in live
    )
    takes_requests = serving is not None and serving.port is not None
    last = figures.last_minute(f"{workload.workspace}/{workload.name}") if takes_requests else None
    return Row(workload, phase, _wanted(workload), replicas, last)


def _wanted(workload: Workload) -> int:
    if not workload.is_wanted:
        return 0
    if workload.spec.serving is None:
        return min(workload.spec.parallelism, workload.spec.completions)
    return wanted_replicas(workload)


def mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None
