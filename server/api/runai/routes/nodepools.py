"""Node pools: nodes of one label, with quotas of their own. A Lepton node group is one."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from ....domain.org import NodePool
from ....services import org
from .. import lists
from ..call import Call
from ..lists import Read
from ..registry import Routes
from ..translate import nodes as translate
from ..wire import NodePoolCreation, NodePoolUpdate, check_fixed, check_parts
from .deps import check_cluster, cluster_id, units

routes = Routes()
PATH = "/api/v1/node-pools"
ONE = f"{PATH}/{{nodepool_id}}"


def _fields(call: Call) -> Mapping[str, Read[NodePool]]:
    cluster, nodes = cluster_id(call), org.nodes_now(call.ctx.services)

    def stored(name: str, default: str | None = None) -> Read[NodePool]:
        return lambda pool: translate.pool_extras(pool).get(name, default)

    def optimization(name: str) -> Read[NodePool]:
        return lambda pool: bool(
            translate.pool_extras(pool).get("gpuResourceOptimization", {}).get(name, False)
        )

    return {
        "name": lambda p: p.name,
        "clusterId": lambda _p: cluster,
        "phase": lambda p: translate.pool_phase([n.id for n in nodes if n.node_group == p.name]),
        "createdAt": lambda p: lists.at(p.stamp.created_at_ms),
        "updatedAt": lambda p: lists.at(p.stamp.updated_at_ms),
        "gpuNetworkAccelerationDetection": stored("gpuNetworkAccelerationDetection", "Auto"),
        "gpuNetworkAccelerationLabelKey": stored("gpuNetworkAccelerationLabelKey"),
        "networkTopologyName": lambda _p: None,
        "gpuNetworkAccelerationDetected": lambda _p: False,
        "swapEnabled": optimization("swapEnabled"),
        "nodeLevelSchedulerEnabled": optimization("nodeLevelSchedulerEnabled"),
    }


def _to_wire(call: Call, pool: NodePool) -> dict[str, Any]:
    nodes = org.nodes_now(call.ctx.services)
    return translate.pool_to_wire(pool, nodes, cluster_id(call), translate.CLUSTER_NAME)


@routes.get(PATH)
async def list_node_pools(call: Call) -> Response:
    page = call.page(units(call).pools, _fields(call), search=("name",))
    return call.answer(lists.wrap("nodepools", [_to_wire(call, p) for p in page.items], page.next))


@routes.get(f"{PATH}/count")
async def count_node_pools(call: Call) -> Response:
    return call.answer({"count": len(call.select(units(call).pools, _fields(call), search=("name",)))})


@routes.post(PATH)
async def create_node_pool(call: Call) -> Response:
    sent = call.read(NodePoolCreation)
    check_parts(sent)
    check_cluster(call, sent.clusterId)
    draft = translate.pool_to_domain(sent)
    made = await org.create_node_pool(call.ctx.services, draft, by=call.who.name)
    return call.answer(_to_wire(call, made))


@routes.get(ONE)
async def get_node_pool(call: Call) -> Response:
    return call.answer(_to_wire(call, org.get_node_pool(call.ctx.services, call.params["nodepool_id"])))


@routes.put(ONE)
async def replace_node_pool(call: Call) -> Response:
    return await _change(call, is_whole=True)


@routes.patch(ONE)
async def merge_node_pool(call: Call) -> Response:
    return await _change(call, is_whole=False)


async def _change(call: Call, *, is_whole: bool) -> Response:
    sent = call.read(NodePoolUpdate)
    check_parts(sent)
    before = org.get_node_pool(call.ctx.services, call.params["nodepool_id"])
    fixed = {"id": before.id, "name": before.name, "clusterId": cluster_id(call)}
    check_fixed(sent, fixed, "node pool")

    def change(before: NodePool) -> NodePool:
        return translate.change_pool(before, sent, is_whole=is_whole)

    services, pool_id = call.ctx.services, call.params["nodepool_id"]
    changed = await org.update_node_pool(services, pool_id, change, by=call.who.name)
    return call.answer(_to_wire(call, changed))


@routes.delete(ONE)
async def delete_node_pool(call: Call) -> Response:
    await org.delete_node_pool(call.ctx.services, call.params["nodepool_id"])
    return call.answer()
