"""Revisions of inferences, and their pods."""

from starlette.responses import Response

from ....errors import NotFound
from .. import ids
from ..call import Call
from ..registry import Routes
from ..translate import pods
from ..translate import revisions as translate
from ..translate.inference import TYPE
from ..translate.revisions import Revision
from ..translate.seen import Seen
from . import looking

routes = Routes()
OF_ONE = "/api/v1/workloads/inferences/{workload_id}/revisions"
ONE = "/api/v1/workloads/inferences/revisions/{revision_id}"


def _listed(call: Call) -> tuple[Seen, list[Revision]]:
    """Oldest first. They are deleted with their inference, and not before."""
    seen = looking.find(call, (TYPE,))
    is_deleted = seen.workload.archived_at_ms is not None
    return seen, translate.revisions_of(seen) if call.query.flag("deleted") == is_deleted else []


@routes.get(OF_ONE)
async def list_revisions(call: Call) -> Response:
    seen, found = _listed(call)
    return call.answer({"revisions": [translate.revision_to_wire(seen, r, found) for r in found]})


@routes.get(f"{OF_ONE}/count")
async def count_revisions(call: Call) -> Response:
    return call.answer({"count": len(_listed(call)[1])})


@routes.get(ONE)
async def get_revision(call: Call) -> Response:
    seen, revision = _find(call)
    return call.answer(translate.revision_to_wire(seen, revision, translate.revisions_of(seen)))


@routes.get(f"{ONE}/pods")
async def list_pods(call: Call) -> Response:
    """Those that are there, or with `deleted` those that are not any more."""
    seen, revision = _find(call)
    deleted, wanted = call.query.flag("deleted"), revision.id_of(seen.workload)
    found = [p for p in pods.pods_of(seen) if p.revision_id == wanted and p.is_over == deleted]
    return call.answer({"pods": [pods.pod_to_wire(p) for p in found]})


def _find(call: Call) -> tuple[Seen, Revision]:
    wanted = call.params["revision_id"]
    if (known := ids.find_of_revision(call.ctx.services, wanted)) is not None:
        (seen,) = looking.look(call, [known[0]])
        if seen.type == TYPE:
            for revision in translate.revisions_of(seen):
                if revision.number % ids.MOST_REVISIONS == known[1]:
                    return seen, revision
    raise NotFound("revision", wanted)
