"""Live logs of replicas, and the history of all of them."""

import codecs
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse

from ....domain.workload import Attempt, Workload
from ....errors import Invalid, NotFound
from ....services import attempt_logs, endpoints, workloads
from ....services.access import Caller
from ....services.attempt_logs import LogLine
from ..context import LeptonContext
from ..translate import logs as translate
from .deps import Authorized, Context

router = APIRouter()
RUN_NAME = re.compile(r"(?P<job>.+)-run-(?P<number>\d+)")
DAY_NS = 24 * 3600 * 10**9


@router.get("/{ws}/jobs/{job_id}/replicas/{replica_id}/log")
async def get_job_log(job_id: str, replica_id: str, who: Authorized, ctx: Context) -> Response:
    _, attempts = workloads.get_workload(ctx.services, who, job_id)
    return live_log(ctx, attempts, replica_id)


def live_log(ctx: LeptonContext, attempts: Sequence[Attempt], replica_id: str) -> Response:
    """Of the replica's newest attempt, until it ends."""
    mine = [a for a in attempts if a.replica_id == replica_id]
    if not mine:
        raise NotFound("replica", replica_id)
    chunks = attempt_logs.follow_log(ctx.logs, mine[-1])
    return StreamingResponse(whole_characters(chunks), media_type="text/plain; charset=utf-8")


async def whole_characters(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The clients decode each chunk by itself, so no character may span two."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for chunk in chunks:
        if text := decoder.decode(chunk):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text


Ns = Annotated[int | None, Query(ge=0)]
Direction = Literal["forward", "backward"]


def _attempts(
    ctx: LeptonContext,
    who: Caller,
    job: str | None,
    run: str | None,
    served: str | None,
    replica: str | None,
) -> list[Attempt]:
    """
    Those whose lines are asked for; all runs of a job, or the one that was named.

    Args:
        served: name of an endpoint or a pod.
    """
    if served is not None and job is None and run is None:
        found, attempts = endpoints.get_endpoint(ctx.services, who, served)
        return _of_replica(found.workload, attempts, replica)
    name, number = job, None
    if run is not None:
        match = RUN_NAME.fullmatch(run)
        if match is None:
            raise NotFound("run", run)
        name, number = match["job"], int(match["number"])
    if name is None:
        if replica is None:
            raise Invalid("job", "name a job, job_history_name, endpoint, deployment or replica")
        name = replica.rpartition("-")[0].rpartition("-")[0]  # <job id>-<index>-<suffix>
    found, attempts = workloads.get_workload(ctx.services, who, name)
    if number is not None:
        begins = [r.first_attempt for r in found.workload.history] + [found.workload.first_attempt]
        if not 1 <= number < len(begins):
            raise NotFound("run", str(run))
        attempts = [a for a in attempts if begins[number - 1] <= a.number < begins[number]]
    return _of_replica(found.workload, attempts, replica)


def _of_replica(workload: Workload, attempts: list[Attempt], replica: str | None) -> list[Attempt]:
    """None where nothing is collected: such a log can only be followed."""
    if replica is not None:
        attempts = [a for a in attempts if a.replica_id == replica]
        if not attempts:
            raise NotFound("replica", replica)
    return attempts if workload.spec.collects_logs else []


async def _lines(
    ctx: LeptonContext, attempts: list[Attempt], start: int | None, end: int | None, limit: int, q: str,
    direction: Direction,
) -> list[LogLine]:  # fmt: skip
    now_ns = ctx.services.clock.now_ms() * 10**6
    end_ns = now_ns + 10**9 if end is None else end
    start_ns = max(0, end_ns - DAY_NS) if start is None else start
    if end_ns < start_ns:
        raise Invalid("end", "must not be earlier than start; both are Unix nanoseconds")
    # 0.27.3 asks for no time at all, cli.log.fetch_all_within_time_slot: after a line at a slot's start.
    await attempt_logs.settle(ctx.logs, attempts)
    return attempt_logs.list_lines(
        ctx.logs, attempts, start_ns=start_ns, end_ns=end_ns, limit=limit, needle=q,
        newest_first=direction == "backward",
    )  # fmt: skip


@router.get("/{ws}/logs")
async def list_log_lines(
    who: Authorized,
    ctx: Context,
    start: Ns = None,
    end: Ns = None,
    job: str | None = None,
    job_history_name: str | None = None,
    replica: str | None = None,
    deployment: str | None = None,
    endpoint: str | None = None,
    q: str = "",
    limit: Annotated[int, Query(ge=1, le=10_000)] = 5000,
    direction: Direction = "backward",
) -> Response:
    """Lines in [start, end) in the form of a Loki range query, a stream for each replica."""
    attempts = _attempts(ctx, who, job, job_history_name, deployment or endpoint, replica)
    lines = await _lines(ctx, attempts, start, end, limit, q, direction)
    return JSONResponse(translate.lines_to_wire({a.key: a for a in attempts}, lines))


@router.get("/{ws}/logs/timeseries")
async def count_log_lines(
    who: Authorized,
    ctx: Context,
    start: Ns = None,
    end: Ns = None,
    job: str | None = None,
    job_history_name: str | None = None,
    replica: str | None = None,
    deployment: str | None = None,
    endpoint: str | None = None,
    q: str = "",
    interval_ms: Annotated[int, Query(ge=1)] = 60_000,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 5000,
    direction: Direction = "backward",
) -> Response:
    """How many lines each replica wrote in each interval; at most `limit` points for each."""
    attempts = _attempts(ctx, who, job, job_history_name, deployment or endpoint, replica)
    lines = await _lines(ctx, attempts, start, end, 2**31, q, direction)
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for line in lines:
        counts[line.replica_id][line.at_ns // (interval_ms * 10**6) * interval_ms] += 1
    return JSONResponse(translate.counts_to_wire(counts, limit, newest_first=direction == "backward"))
