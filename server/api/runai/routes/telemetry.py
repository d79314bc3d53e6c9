"""Workloads as numbers: how many there are and what they hold now, and what they used over time."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from starlette.responses import Response

from ....domain.metrics import Minute
from ....errors import Invalid, NotFound, NotImplementedYet
from .. import media, telemetry
from ..call import Call
from ..registry import Routes
from ..telemetry import Group
from ..translate import measures as translate
from ..translate import traffic
from ..translate.nodes import CLUSTER_NAME
from ..translate.pods import pods_of
from ..translate.seen import Seen
from . import looking

routes = Routes()
Json = dict[str, Any]
Measure = Callable[[Sequence[str], Mapping[int, Minute], Sequence[int]], list[Json]]
KINDS = ("WORKLOADS_COUNT", "GPU_ALLOCATION", "PENDING_TIME_DISTRIBUTION")
GROUPS = ("ClusterId", "DepartmentId", "ProjectId", "Type", "CurrentNodepools", "Phase", "Category")
PHASES = (
    "Creating", "Initializing", "Resuming", "Pending", "Deleting", "Running", "Updating", "Stopped",
    "Stopping", "Degraded", "Failed", "Completed", "Terminating", "Unknown",
)  # fmt: skip
SAMPLES, MOST_SAMPLES = 20, 1000


@routes.get("/api/v1/workloads/telemetry")
async def get_telemetry(call: Call) -> Response:
    kind, groups = telemetry.kind_and_groups(call, KINDS, GROUPS)
    if kind == "PENDING_TIME_DISTRIBUTION":
        raise NotImplementedYet(f"telemetryType {kind}")
    phases = call.query.some_of("filterByPhases", PHASES)
    pool, department = call.query.text("nodepoolName"), call.query.text("departmentId")
    cluster = call.query.text("clusterId")
    seen = [
        s
        for s in await looking.everything(call, deleted=False)
        if (not phases or s.phase in phases)
        and (not pool or pool in (s.pools or s.asked_pools))
        and department in ("", s.department.id)
        and cluster in ("", s.where.cluster_id)
    ]
    values = [([_group(s, name) for name in groups], 1.0 if kind == KINDS[0] else s.gpus) for s in seen]
    return media.telemetry(call.accept, telemetry.answer(call, kind, values))


def _group(seen: Seen, name: str) -> Group:
    known: Mapping[str, tuple[str, str]] = {
        "ClusterId": (seen.where.cluster_id, CLUSTER_NAME),
        "DepartmentId": (seen.department.id, seen.department.name),
        "ProjectId": (seen.project.id, seen.project.name),
        "Type": (seen.type, ""),
        "CurrentNodepools": (",".join(seen.pools), ""),
        "Phase": (seen.phase, ""),
        "Category": (seen.category, ""),
    }
    return Group(name, *known[name])


@routes.get("/api/v1/workloads/{workload_id}/metrics")
async def get_workload_metrics(call: Call) -> Response:
    return _measured(call, looking.find(call), None)


@routes.get("/api/v1/workloads/{workload_id}/pods/{pod_id}/metrics")
async def get_pod_metrics(call: Call) -> Response:
    seen = looking.find(call)
    found = next((p for p in pods_of(seen) if p.id == call.params["pod_id"]), None)
    if found is None:
        raise NotFound("pod", call.params["pod_id"])
    return _measured(call, seen, found.index)


@routes.get("/api/v1/workloads/inferences/{workload_id}/metrics")
async def get_inference_metrics(call: Call) -> Response:
    seen = looking.find(call, ("Inference",))

    def measure(kinds: Sequence[str], minutes: Mapping[int, Minute], times: Sequence[int]) -> list[Json]:
        return traffic.measure(kinds, minutes, times, seen.now_ms)

    return _answer(call, seen, traffic.MEASURES, measure)


def _measured(call: Call, seen: Seen, index: int | None) -> Response:
    def measure(kinds: Sequence[str], minutes: Mapping[int, Minute], times: Sequence[int]) -> list[Json]:
        return translate.measure(kinds, seen, index, minutes, times)

    return _answer(call, seen, translate.MEASURES, measure)


def _answer(call: Call, seen: Seen, names: Collection[str], measure: Measure) -> Response:
    """
    207 where some of what was asked for is not measured; 501 where nothing of it is. As CSV it is all or
    nothing.
    """
    asked = call.query.items("metricType")
    if not asked:
        raise Invalid("metricType", f"is missing; there are {', '.join(names)}")
    known = [name for name in asked if name in names]
    if not known:
        raise NotImplementedYet(f"metricType {', '.join(asked)}")
    begin, end = call.query.required_time("start"), call.query.required_time("end")
    if end < begin:
        raise Invalid("end", "is before start")
    count = call.query.number("numberOfSamples", SAMPLES, most=MOST_SAMPLES)
    begin_ms, end_ms = (int(t.timestamp() * 1000) for t in (begin, end))
    key = seen.workload.route_key
    margin_ms = int(timedelta(minutes=1).total_seconds() * 1000)
    minutes = call.ctx.metrics.history(seen.workload.id, key, begin_ms - margin_ms)
    times = translate.sample_times(begin_ms, min(end_ms, seen.now_ms), count)
    told = measure(known, minutes, times)
    return media.metrics(call.accept, told, [name for name in asked if name not in known])
