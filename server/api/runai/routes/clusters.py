"""The cluster: there is one, and it is this machine."""

from typing import Any

from starlette.responses import Response

from ....services import org
from ..call import Call
from ..registry import Routes
from ..translate.nodes import CLUSTER_NAME, cluster_to_wire
from .deps import cluster_in_path

routes = Routes()


def cluster(call: Call) -> dict[str, Any]:
    ctx = call.ctx
    return cluster_to_wire(
        org.get_cluster_id(ctx.services), CLUSTER_NAME, ctx.version, ctx.created_at_ms,
        ctx.services.clock.now_ms(), ctx.gateway_url,
    )  # fmt: skip


def _as_verbose(call: Call, told: dict[str, Any]) -> dict[str, Any]:
    """`metadata` leaves the status out."""
    if call.query.one_of("verbosity", ("metadata", "full"), "full") == "metadata":
        told.pop("status")
    return told


@routes.get("/api/v1/clusters")
async def list_clusters(call: Call) -> Response:
    """A bare list, without paging."""
    return call.answer([_as_verbose(call, cluster(call))])


@routes.get("/api/v1/clusters/{cluster_uuid}")
async def get_cluster(call: Call) -> Response:
    cluster_in_path(call)
    return call.answer(_as_verbose(call, cluster(call)))
