"""What departments and projects have in common."""

from starlette.responses import Response

from ..call import Call
from ..registry import Routes
from ..translate.org import ranks_to_wire

routes = Routes()


@routes.get("/api/v1/org-unit/priorities")
async def list_priorities(call: Call) -> Response:
    """The ranks by which org units share what lies beyond their quotas."""
    return call.answer({"priorities": ranks_to_wire()})
