"""Pods of all workloads, and of one."""

from collections.abc import Callable, Iterable, Sequence

from starlette.responses import Response

from ....errors import Invalid
from .. import lists
from ..call import Call
from ..registry import Routes
from ..translate import pods as translate
from ..translate.pods import Pod
from ..translate.seen import Seen
from . import looking

routes = Routes()
OVER = ("Succeeded", "Failed")


async def _pods(call: Call) -> list[Pod]:
    """Those that are there, or those that are not any more; what was deleted has only the latter."""
    deleted = call.query.flag("deleted")
    seen = await looking.everything(call, deleted=False)
    if deleted:
        seen += await looking.everything(call, deleted=True)
    return _kept(call, seen, deleted)


def _kept(call: Call, seen: Iterable[Seen], deleted: bool) -> list[Pod]:
    accepts = _by_end(call)
    return [p for s in seen for p in translate.pods_of(s) if p.is_over == deleted and accepts(p)]


def _by_end(call: Call) -> Callable[[Pod], bool]:
    wanted = call.query.text("completed", "all").lower()
    if wanted not in ("true", "false", "all"):
        raise Invalid("completed", f"{wanted!r} must be true, false or all")
    return lambda pod: wanted == "all" or (pod.phase in OVER) == (wanted == "true")


def _answer(call: Call, pods: Sequence[Pod]) -> Response:
    page = call.page(pods, translate.FIELDS, search=translate.SEARCHED)
    is_full = call.query.one_of("verbosity", ("brief", "full"), "brief") == "full"
    wired = [translate.pod_to_wire(p, is_full=is_full) for p in page.items]
    return call.answer(lists.wrap("pods", wired, page.next))


@routes.get("/api/v1/workloads/pods")
async def list_pods(call: Call) -> Response:
    return _answer(call, await _pods(call))


@routes.get("/api/v1/workloads/pods/count")
async def count_pods(call: Call) -> Response:
    pods = call.select(await _pods(call), translate.FIELDS, search=translate.SEARCHED)
    return call.answer({"count": len(pods)})


@routes.get("/api/v1/workloads/{workload_id}/pods")
async def list_workload_pods(call: Call) -> Response:
    return _answer(call, _kept(call, [looking.find(call)], call.query.flag("deleted")))
