"""What happened to a workload."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.responses import Response

from .. import lists
from ..call import Call
from ..registry import Routes
from ..translate import events as translate
from . import looking

routes = Routes()
Json = dict[str, Any]
NOTHING: Mapping[str, Callable[[Json], lists.Value]] = {}


@routes.get("/api/v1/workloads/{workload_id}/events")
async def list_events(call: Call) -> Response:
    """Newest first, unless asked otherwise."""
    seen = looking.find(call)
    rows = call.ctx.services.store.events_of(seen.workload.id)
    is_rising = call.query.one_of("sortOrder", ("asc", "desc"), "desc") == "asc"
    wired = [translate.event_to_wire(row, seen) for row in rows]
    return _page(call, "events", wired if is_rising else wired[::-1])


@routes.get("/api/v1/workloads/{workload_id}/history")
async def list_history(call: Call) -> Response:
    """Oldest first."""
    seen = looking.find(call)
    rows = call.ctx.services.store.events_of(seen.workload.id)
    return _page(call, "records", list(translate.history(rows, seen)))


def _page(call: Call, key: str, items: Sequence[Json]) -> Response:
    limit = call.query.number("limit", lists.DEFAULT_LIMIT, least=1, most=lists.MOST)
    begin = call.query.number("offset", 0)
    end = begin + limit
    return call.answer(lists.wrap(key, items[begin:end], end if end < len(items) else None))
