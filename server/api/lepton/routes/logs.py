"""Live logs of replicas, and the history of all of them."""

import codecs
from collections.abc import AsyncIterator

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from .....runtime.errors import DriverError
from ....errors import NotFound
from ....services import attempt_logs, workloads
from .deps import Authorized, Context

router = APIRouter()


@router.get("/{ws}/jobs/{job_id}/replicas/{replica_id}/log")
async def get_job_log(job_id: str, replica_id: str, who: Authorized, ctx: Context) -> Response:
    _, attempts = workloads.get_workload(ctx.services, who.workspace, job_id)
    mine = [a for a in attempts if a.replica_id == replica_id]
    if not mine:
        raise NotFound("replica", replica_id)
    try:
        chunks = attempt_logs.follow_log(ctx.logs, mine[-1])
        return StreamingResponse(_whole_characters(chunks), media_type="text/plain; charset=utf-8")
    except DriverError as error:
        raise HTTPException(503, str(error)) from error


async def _whole_characters(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The clients decode each chunk by itself, so no character may span two."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for chunk in chunks:
        if text := decoder.decode(chunk):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text
