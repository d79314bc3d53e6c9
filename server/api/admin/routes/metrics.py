"""Figures: what runs now, the minutes of one workload, and all of it for Prometheus."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from .....runtime.metrics import GpuUsage
from ....domain.metrics import QUANTILES, GpuFigures, Minute, Traffic
from ....domain.times import parse_time_ms
from ....services import endpoints, metrics, workloads
from ....services.metrics import Replica, Row, mean
from .deps import Bearer, Context

router = APIRouter()
prometheus = APIRouter()  # for /metrics, beside /homeport
Json = dict[str, Any]


@router.get("/top")
async def get_top(ctx: Context, who: Bearer) -> Response:
    """
    What is not over, with the traffic of the last minute and what its replicas use now: of the caller's
    workspace; for whoever runs the server of all others, too.
    """
    rows = metrics.list_rows(ctx.services, ctx.metrics, who, is_everywhere=True)
    taken = len({uuid for a in ctx.services.store.reads.live_attempts() for uuid in a.gpu_uuids})
    gpus = {"total": sum(len(n.gpus) for n in ctx.services.nodes), "taken": taken}
    return JSONResponse({"gpus": gpus, "workloads": [row_to_wire(row) for row in rows]})


@router.get("/metrics/{name}")
async def get_history(name: str, ctx: Context, who: Bearer, since: str = "1h") -> Response:
    """The minutes of one workload, by name or id; archived ones by id."""
    found = workloads.find_workload(ctx.services, who, name).workload
    since_ms = parse_time_ms("since", since, ctx.services.clock.now_ms())
    key = f"{who.workspace}/{found.name}" if found.archived_at_ms is None else ""  # it may be another's now
    minutes = ctx.metrics.history(found.id, key, since_ms)
    told = [minute_to_wire(at_ms, minute) for at_ms, minute in minutes.items()]
    return JSONResponse({"id": found.id, "kind": found.kind, "minutes": told})


@prometheus.get("/metrics")
async def scrape(ctx: Context, who: Bearer) -> Response:
    from ....metrics import exposition  # with prometheus_client, which costs start-up time

    rows = metrics.list_rows(ctx.services, ctx.metrics, who)
    server = exposition.ServerFigures(ctx.version, ctx.runtime, ctx.loop.passes, ctx.loop.pass_s)
    hidden = endpoints.hidden_keys(ctx.services, who)
    counters = {key: told for key, told in ctx.metrics.counters().items() if key not in hidden}
    text = exposition.text(ctx.services, rows, counters, server, who.workspace)
    return Response(text, headers={"Content-Type": exposition.CONTENT_TYPE})


def row_to_wire(row: Row) -> Json:
    answer: Json = {
        "id": row.workload.id,
        "name": row.workload.name,
        "kind": row.workload.kind,
        "workspace": row.workload.workspace,
        "phase": row.phase.value,
        "shape": row.workload.spec.shape,
        "replicas": {"ready": row.ready, "wanted": row.wanted},
        "gpu_percent": mean(gpu.percent for gpu in row.gpus),
        "replica_usage": [replica_to_wire(r) for r in row.replicas],
    }
    if row.last_minute is not None:
        traffic = row.last_minute.traffic
        answer["last_minute"] = {"qps": row.last_minute.qps} | traffic_to_wire(traffic)
    return answer


def replica_to_wire(replica: Replica) -> Json:
    usage = replica.usage
    return {
        "id": replica.id,
        "ready": replica.is_ready,
        "cpu_cores": usage.cpu_cores if usage else None,
        "memory_bytes": usage.memory_bytes if usage else None,
        "gpus": [gpu_to_wire(gpu) for gpu in (usage.gpus if usage else ())],
    }


def gpu_to_wire(gpu: GpuUsage) -> Json:
    return {
        "uuid": gpu.uuid,
        "percent": gpu.percent,
        "memory_used_bytes": gpu.memory_used_bytes,
        "memory_total_bytes": gpu.memory_total_bytes,
        "temperature_c": gpu.temperature_c,
        "simulated": gpu.is_simulated,
    }


def traffic_to_wire(traffic: Traffic) -> Json:
    return {
        "requests": traffic.requests,
        "errors": traffic.errors,
        "statuses": {str(status): count for status, count in sorted(traffic.statuses.items())},
        "bytes_in": traffic.bytes_in,
        "bytes_out": traffic.bytes_out,
        "latency_ms": {name: traffic.quantile_ms(q) for name, q in QUANTILES},
    }


def minute_to_wire(at_ms: int, minute: Minute) -> Json:
    return {
        "at": at_ms,
        "traffic": traffic_to_wire(minute.traffic),
        "paths": {path: traffic_to_wire(traffic) for path, traffic in sorted(minute.paths.items())},
        "replicas": {
            replica: {
                "cpu_cores": figures.cpu_cores.value,
                "memory_bytes": figures.memory_bytes,
                "gpus": [gpu_figures_to_wire(uuid, gpu) for uuid, gpu in figures.gpus.items()],
            }
            for replica, figures in minute.replicas.items()
        },
    }


def gpu_figures_to_wire(uuid: str, gpu: GpuFigures) -> Json:
    return {
        "uuid": uuid,
        "percent": gpu.percent.value,
        "memory_used_bytes": gpu.memory_used_bytes,
        "memory_total_bytes": gpu.memory_total_bytes,
        "temperature_c": gpu.temperature_c,
        "simulated": gpu.is_simulated,
    }
