"""Nodes, and what is taken of them now."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from ....domain.inventory import HostNode
from ....services import org
from .. import lists, media
from ..call import Call
from ..lists import Read
from ..registry import Routes
from ..telemetry import node_telemetry
from ..translate import nodes as translate
from .deps import cluster_id, cluster_in_path

routes = Routes()
SEARCHED = ("name",)


def _fields(call: Call) -> Mapping[str, Read[HostNode]]:
    cluster, down = cluster_id(call), call.ctx.down()
    return {
        "name": lambda n: n.id,
        "status": lambda n: translate.node_status(n, down),
        "nodePool": lambda n: n.node_group,
        "gpuType": lambda n: translate.gpu_type(n) or None,
        "clusterUuid": lambda _n: cluster,
        "nvLinkDomainUid": lambda n: n.segment or None,
        "nvLinkCliqueId": lambda _n: None,
    }


def _to_wire(call: Call, node: HostNode) -> dict[str, Any]:
    ctx = call.ctx
    return translate.node_to_wire(
        node, cluster_id(call), ctx.created_at_ms, ctx.down(), ctx.services.unhealthy()
    )


def _list(call: Call) -> Response:
    named = call.query.text("nodeName")
    nodes = [n for n in org.nodes_now(call.ctx.services) if named in ("", n.id)]
    page = call.page(nodes, _fields(call), search=SEARCHED)
    return call.answer(lists.wrap("nodes", [_to_wire(call, n) for n in page.items], page.next))


def _count(call: Call) -> Response:
    found = call.select(org.nodes_now(call.ctx.services), _fields(call), search=SEARCHED)
    return call.answer({"count": len(found)})


@routes.get("/api/v1/nodes")
async def list_nodes(call: Call) -> Response:
    return _list(call)


@routes.get("/api/v1/nodes/count")
async def count_nodes(call: Call) -> Response:
    return _count(call)


@routes.get("/api/v1/clusters/{cluster_uuid}/nodes")
async def list_nodes_of_cluster(call: Call) -> Response:
    cluster_in_path(call)
    return _list(call)


@routes.get("/api/v1/clusters/{cluster_uuid}/nodes/count")
async def count_nodes_of_cluster(call: Call) -> Response:
    cluster_in_path(call)
    return _count(call)


@routes.get("/api/v1/nodes/telemetry")
async def get_node_telemetry(call: Call) -> Response:
    return media.telemetry(call.accept, node_telemetry(call))
