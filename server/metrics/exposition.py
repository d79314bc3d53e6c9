"""What Prometheus scrapes. Imported at the first scrape: prometheus_client costs start-up time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from ...runtime.metrics import GpuUsage
from ..domain.inventory import HostNode
from ..routing import LATENCY_BOUNDS_MS, TrafficCounters
from ..services.context import Services
from ..services.metrics import Replica, Row
from ..store.metrics import count_attempts, count_phases

__all__ = ["CONTENT_TYPE", "ServerFigures", "text"]
BOUNDS = [*(f"{ms / 1000:g}" for ms in LATENCY_BOUNDS_MS), "+Inf"]
ENDPOINT = ("workspace", "endpoint")
REPLICA = ("workspace", "workload", "replica")


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """`passes`, `pass_s`: of the reconcile loop since this server began."""

    version: str
    runtime: str
    passes: int
    pass_s: float


def text(
    services: Services,
    rows: Iterable[Row],
    counters: Mapping[str, TrafficCounters],
    server: ServerFigures,
    workspace: str,
) -> bytes:
    """
    Args:
        rows: what of the workspace is not over.
        counters: the gateway's, by key; those of other workspaces are left out.
    """
    rows = list(rows)
    mine = {k: c for k, c in counters.items() if k.partition("/")[0] == workspace}

    class Now(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _server(services, server, workspace)
            yield from _gpus(services)
            yield from _traffic(mine)
            yield from _replicas(rows)

    registry = CollectorRegistry()
    registry.register(Now())
    return generate_latest(registry)


def _server(services: Services, server: ServerFigures, workspace: str) -> Iterator[Metric]:
    about = InfoMetricFamily("homeport_build", "Version and runtime of this server.")
    about.add_metric((), {"version": server.version, "runtime": server.runtime})
    yield about
    phases = GaugeMetricFamily(
        "homeport_workloads", "Workloads that are not archived.", labels=("workspace", "kind", "phase")
    )
    for (kind, phase), count in services.store.read(lambda s: count_phases(s, workspace)).items():
        phases.add_metric((workspace, kind, phase), count)
    yield phases
    yield CounterMetricFamily(
        "homeport_attempts", "Container runs that were ever placed.", services.store.read(count_attempts)
    )
    store = services.store
    yield CounterMetricFamily("homeport_store_commits", "Commits since the server began.", store.commits)
    yield GaugeMetricFamily(
        "homeport_store_queue_length", "Writes that wait for a commit.", store.queued_writes
    )
    yield SummaryMetricFamily(
        "homeport_reconcile_pass_seconds", "Passes of the reconcile loop, and the time they took.",
        count_value=server.passes, sum_value=server.pass_s,
    )  # fmt: skip


def _gpus(services: Services) -> Iterator[Metric]:
    live = services.store.reads.live_attempts()
    yield GaugeMetricFamily("homeport_attempts_live", "Container runs that hold their place.", len(live))
    taken = {uuid for attempt in live for uuid in attempt.gpu_uuids}
    labels = ("node", "product", "simulated")
    total = GaugeMetricFamily("homeport_gpus", "GPUs that there are.", labels=labels)
    used = GaugeMetricFamily("homeport_gpus_taken", "GPUs that a container run holds.", labels=labels)
    for node in services.nodes:
        for product, simulated in _products(node):
            uuids = {g.uuid for g in node.gpus if (g.product, g.is_simulated) == (product, simulated)}
            values = (node.id, product, str(simulated).lower())
            total.add_metric(values, len(uuids))
            used.add_metric(values, len(uuids & taken))
    yield from (total, used)


def _products(node: HostNode) -> list[tuple[str, bool]]:
    return sorted({(g.product, g.is_simulated) for g in node.gpus})


def _traffic(counters: Mapping[str, TrafficCounters]) -> Iterator[Metric]:
    """Since the gateway began, which may be before this server did."""
    requests = CounterMetricFamily(
        "homeport_endpoint_requests", "Requests that were answered.", labels=(*ENDPOINT, "status")
    )
    latency = HistogramMetricFamily(
        "homeport_endpoint_request_duration_seconds", "From a request to its answer's end.", labels=ENDPOINT
    )
    refused = CounterMetricFamily(
        "homeport_endpoint_unauthorized",
        "Requests without a valid token, or from elsewhere.",
        labels=ENDPOINT,
    )
    received = CounterMetricFamily("homeport_endpoint_received_bytes", "Bodies of requests.", labels=ENDPOINT)
    sent = CounterMetricFamily("homeport_endpoint_sent_bytes", "Bodies of answers.", labels=ENDPOINT)
    is_open = GaugeMetricFamily("homeport_endpoint_open_requests", "Requests under way.", labels=ENDPOINT)
    held = GaugeMetricFamily(
        "homeport_endpoint_held_requests", "Requests that wait for a replica.", labels=ENDPOINT
    )
    for key, told in sorted(counters.items()):
        names = tuple(key.split("/", 1))
        for status, count in sorted(told.by_status.items()):
            requests.add_metric((*names, str(status)), count)
        buckets = list(zip(BOUNDS, accumulate(told.latency), strict=True))
        latency.add_metric(names, buckets, sum_value=told.latency_ms / 1000)
        for family, value in (
            (refused, told.unauthorized),
            (received, told.bytes_in),
            (sent, told.bytes_out),
            (is_open, told.open),
            (held, told.held),
        ):
            family.add_metric(names, value)
    yield from (requests, latency, refused, received, sent, is_open, held)


def _replicas(rows: Iterable[Row]) -> Iterator[Metric]:
    ready = GaugeMetricFamily(
        "homeport_endpoint_replicas_ready", "Replicas that take requests.", labels=ENDPOINT
    )
    wanted = GaugeMetricFamily(
        "homeport_endpoint_replicas_wanted", "Replicas that it is to have.", labels=ENDPOINT
    )
    cpu = CounterMetricFamily("homeport_replica_cpu_seconds", "CPU time since the start.", labels=REPLICA)
    memory = GaugeMetricFamily("homeport_replica_memory_bytes", "Memory in use.", labels=REPLICA)
    labels = (*REPLICA, "gpu", "simulated")
    busy = GaugeMetricFamily(
        "homeport_replica_gpu_utilization_ratio", "Part of the time in which a kernel ran.", labels=labels
    )
    used = GaugeMetricFamily("homeport_replica_gpu_memory_used_bytes", "GPU memory in use.", labels=labels)
    total = GaugeMetricFamily("homeport_replica_gpu_memory_bytes", "GPU memory that there is.", labels=labels)
    heat = GaugeMetricFamily("homeport_replica_gpu_temperature_celsius", "Of the GPU.", labels=labels)
    for row in rows:
        if row.last_minute is not None:
            names = (row.workload.workspace, row.workload.name)
            ready.add_metric(names, row.ready)
            wanted.add_metric(names, row.wanted)
        for replica in row.replicas:
            names = (row.workload.workspace, row.workload.id, replica.id)
            _add(cpu, names, replica.usage and replica.usage.cpu_s)
            _add(memory, names, replica.usage and replica.usage.memory_bytes)
            for gpu in _gpus_of(replica):
                which = (*names, gpu.uuid, str(gpu.is_simulated).lower())
                _add(busy, which, None if gpu.percent is None else gpu.percent / 100)
                _add(used, which, gpu.memory_used_bytes)
                _add(total, which, gpu.memory_total_bytes)
                _add(heat, which, gpu.temperature_c)
    yield from (ready, wanted, cpu, memory, busy, used, total, heat)


def _gpus_of(replica: Replica) -> tuple[GpuUsage, ...]:
    return replica.usage.gpus if replica.usage else ()


def _add(
    family: CounterMetricFamily | GaugeMetricFamily, labels: tuple[str, ...], value: float | None
) -> None:
    """What is not known has no sample: zero would be a figure."""
    if value is not None:
        family.add_metric(labels, value)
