"""All workloads, whatever their type and the dialect they were made in."""

import uuid
from typing import Any

from starlette.responses import Response

from ....errors import HomeportError, NotFound
from .. import ids, lists
from .. import wire_workloads as wire
from ..call import Call
from ..registry import Routes
from ..translate import workloads as translate
from ..translate.seen import Seen
from . import looking
from .acting import act

routes = Routes()
WORKED_OUT = ("filterBy", "search", "sortBy", "sortOrder")  # needs a look at more than the page


@routes.get("/api/v1/workloads")
async def list_workloads(call: Call) -> Response:
    deleted = call.query.flag("deleted")
    if any(call.query.has(name) for name in WORKED_OUT):
        found = await looking.everything(call, deleted=deleted, only=looking.narrowed(call, deleted=deleted))
        page = call.page(found, translate.FIELDS, search=translate.SEARCHED)
        return call.answer(lists.wrap("workloads", [translate.record(s) for s in page.items], page.next))
    limit = call.query.number("limit", lists.DEFAULT_LIMIT, least=1, most=lists.MOST)
    offset = call.query.number("offset", 0)
    reads = call.ctx.services.store.reads
    rows = reads.everywhere(archived=deleted, after=0, size=limit + 1, offset=offset)
    wired = [translate.record(s) for s in looking.look(call, rows[:limit])]
    return call.answer(lists.wrap("workloads", wired, offset + limit if len(rows) > limit else None))


@routes.get("/api/v1/workloads/count")
async def count_workloads(call: Call) -> Response:
    deleted = call.query.flag("deleted")
    if not any(call.query.has(name) for name in WORKED_OUT):
        return call.answer({"count": call.ctx.services.store.reads.count_everywhere(archived=deleted)})
    found = await looking.everything(call, deleted=deleted, only=looking.narrowed(call, deleted=deleted))
    return call.answer({"count": len(call.select(found, translate.FIELDS, search=translate.SEARCHED))})


@routes.get("/api/v1/workloads/{workload_id}")
async def get_workload(call: Call) -> Response:
    return call.answer(translate.record(looking.find(call)))


@routes.post("/api/v1/workloads/batch")
async def batch_workloads(call: Call) -> Response:
    """Each on its own: one that fails does not keep the others from it."""
    batch = call.read(wire.Batch)
    succeeded: list[str] = []
    failed: list[dict[str, Any]] = []
    for wanted in dict.fromkeys(batch.ids):
        try:
            await act(call, _find(call, wanted), batch.action)
            succeeded.append(wanted)
        except HomeportError as error:
            failed.append({"id": wanted, "code": error.status, "message": str(error)})
    return call.answer({"id": str(uuid.uuid4()), "succeeded": succeeded, "failed": failed})


def _find(call: Call, workload_id: str) -> Seen:
    found = ids.find(call.ctx.services, workload_id)
    if found is None:
        raise NotFound("workload", workload_id)
    return looking.look(call, [found])[0]
