"""Workloads as this dialect sees them, from the store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ....domain.inventory import HostNode
from ....domain.org import Org
from ....domain.workload import Phase
from ....errors import NotFound
from ....services import org
from ....services.access import ADMIN, Caller
from ....store.found import Found
from ....store.host_ports import host_ports_of
from .. import ids, lists
from ..call import Call
from ..translate.phases import states_of
from ..translate.seen import Seen
from ..translate.where import Where, where_of

CHUNK = 500  # rows read at a time; the API shares this thread
QUIET = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.STOPPED, Phase.ARCHIVED})


@dataclass(slots=True)
class _Known:
    org: Org | None = None
    nodes: Sequence[HostNode] = ()
    where: Where | None = None


def where(call: Call) -> Where:
    """The same object as long as no org unit and no node has changed."""
    services = call.ctx.services
    units, nodes = org.get_org(services), org.nodes_now(services)
    known = services.memo.setdefault(_Known, _Known())
    assert isinstance(known, _Known)
    if known.where is None or known.org is not units or known.nodes is not nodes:
        known.org, known.nodes = units, nodes
        known.where = where_of(
            org.get_cluster_id(services), units, nodes, services.shapes, call.ctx.gateway_url,
            call.ctx.host, is_local=call.ctx.is_local,
        )  # fmt: skip
    return known.where


def caller(call: Call, workspace: str) -> Caller:
    """Applications act for the whole tenant."""
    return Caller(workspace, ADMIN, call.who.sha256)


def look(call: Call, found: Sequence[Found]) -> list[Seen]:
    ctx, place = call.ctx, where(call)
    now = ctx.services.clock.now_ms()
    attempts = ctx.services.store.reads.attempts([f.id for f in found]) if found else {}
    with_ports = [f.id for f in found if f.workload.spec.keeps_host_ports]
    ports = ctx.services.store.read(lambda s: host_ports_of(s, with_ports)) if with_ports else {}
    return [
        Seen(
            f.workload, f.phase, attempts[f.id], place, now,
            waiting=None if f.phase in QUIET else ctx.waiting(f.id),
            idle=f.phase not in QUIET and ctx.metrics.gpu_percent(f.id) == 0,
            host_ports=ports.get(f.id, {}),
        )
        for f in found
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What of a request's filters the store can look for itself; None: it does not matter."""

    name: str | None = None
    workspace: str | None = None
    phases: tuple[Phase, ...] | None = None


def narrowed(call: Call, *, deleted: bool) -> Narrowed:
    """The filters are applied to what is found all the same; this only spares looking at the rest."""
    found = Narrowed()
    by_id = {p.id: name for name, p in where(call).projects.items()}
    for rule in lists.parse_filters(call.query, call.operation):
        match (rule.field, rule.op):
            case ("name", "=="):
                found = replace(found, name=rule.value)
            case ("projectName", "=="):
                found = replace(found, workspace=rule.value)
            case ("projectId", "=="):
                found = replace(found, workspace=by_id.get(rule.value, ""))
            case ("phase", "==") if not deleted:
                found = replace(found, phases=states_of(rule.value))
            case _:
                pass
    return found


async def everything(call: Call, *, deleted: bool, only: Narrowed | None = None) -> list[Seen]:
    """Oldest first: all that are there, or those that are not any more."""
    services, only = call.ctx.services, only or Narrowed()
    seen: list[Seen] = []
    after = 0
    while True:
        page = services.store.reads.everywhere(
            archived=deleted, after=after, size=CHUNK, name=only.name, workspace=only.workspace,
            phases=only.phases,
        )  # fmt: skip
        seen += look(call, page)
        if len(page) < CHUNK:
            return seen
        after = page[-1].seq
        await services.clock.rest(0)


def find(call: Call, types: Iterable[str] = (), param: str = "workload_id") -> Seen:
    """
    The one that the path names.

    Args:
        types: of which it has to be; empty: any.

    Raises:
        NotFound: there is none, or it is of another type.
    """
    found = ids.find(call.ctx.services, call.params[param])
    wanted = tuple(types)
    if found is not None:
        (seen,) = look(call, [found])
        if not wanted or seen.type in wanted:
            return seen
    raise NotFound(" or ".join(wanted).lower() or "workload", call.params[param])
