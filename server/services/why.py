"""Why something waits, and who is before it: what the scheduler last said, for people and programs."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...scheduler.after import all_shares, decided
from ...scheduler.explain import Explanation, explain, wants
from ...scheduler.model import AskClass, Running, Share, Snapshot, Unplaced
from ...scheduler.state import State
from ..domain.evictions import evicted_for, is_by_taint
from ..domain.inventory import placed_on, product_of, shapes_of
from ..domain.reservations import ReservationPhase
from ..domain.times import utc
from ..domain.workload import Phase, Workload
from ..errors import Conflict, NotFound
from ..reconcile.placing import Waiting
from ..reconcile.taints import barred, tainted
from ..snapshot.asks import workload_of
from ..snapshot.work import Work
from ..store.found import Found
from . import org
from .access import Caller
from .context import Services
from .workloads import find_workload

MOST_LISTED = 100
MOST_TRIED = 20  # waiting asks for which it is worked out who would have to end


@dataclass(frozen=True, slots=True)
class Ending:
    """
    A workload that ends, or would have to, so that another has its place.

    Args:
        workload: its id; None where the caller may not see it.
    """

    workload: str | None
    project: str
    is_preemptible: bool


@dataclass(frozen=True, slots=True)
class InLine:
    """
    One ask that waits.

    Args:
        position: in the order in which the scheduler looked, from 1.
        workload: its id; None where the caller may not see it.
        wants: what it asks for, in words.
        ending: who has been told to make room for it, and has not ended yet.
        would_have_to_end: with whose end it would have its place, whatever the rules say; None where
            nobody's end would help, or it was not worked out.
    """

    position: int
    workload: str | None
    project: str
    priority: int
    members: int
    wants: str
    code: str
    reasons: tuple[str, ...]
    ending: tuple[Ending, ...]
    would_have_to_end: tuple[Ending, ...] | None


@dataclass(frozen=True, slots=True)
class Line:
    """`count`: of all that wait; `waiting` has the first of them."""

    shares: tuple[Share, ...]
    count: int
    waiting: tuple[InLine, ...]


def get_line(last: Waiting, who: Caller, *, most: int = MOST_LISTED) -> Line:
    """The order of what waits, and what each project and department has of each node pool."""
    waiting = [ask_id for ask_id in last.plan.order if ask_id in last.plan.unplaced]
    asked, after = _classes(last.snapshot), decided(last.snapshot, last.plan) if waiting else None
    listed = [
        _in_line(last, who, ask_id, at, asked, after if at <= MOST_TRIED else None)
        for at, ask_id in enumerate(waiting[:most], start=1)
        if ask_id in asked and workload_of(ask_id) in last.works
    ]
    return Line(all_shares(last.snapshot, last.plan), len(waiting), tuple(listed))


def get_place(last: Waiting, who: Caller, workload_id: str) -> tuple[InLine, Explanation] | None:
    """Where a workload stands in line, what each node and each queue says to it; None: it does not wait."""
    waiting = [ask_id for ask_id in last.plan.order if ask_id in last.plan.unplaced]
    asked = _classes(last.snapshot)
    mine = next((i for i in waiting if workload_of(i) == workload_id and i in asked), None)
    if mine is None or workload_id not in last.works:
        return None
    after = decided(last.snapshot, last.plan)
    line = _in_line(last, who, mine, waiting.index(mine) + 1, asked, after)
    return line, explain(asked[mine], last.snapshot)


def remarks(services: Services, workload: Workload) -> tuple[str, ...]:
    """What changes something about what waits: time, its reservation, or whoever gave a taint to its node."""
    now_ms, told = services.clock.now_ms(), list(_barred(services, workload))
    if not workload.is_due and workload.spec.start_at_ms is not None:
        told.append(f"it is to start at {utc(workload.spec.start_at_ms)}")
    if workload.spec.reservation is None:
        return tuple(told)
    name = f"reservation {workload.spec.reservation}"
    held = services.store.reads.reservations()
    found = next((r for r in held if r.id == workload.spec.reservation), None)
    if found is None:
        told.append(f"there is no {name} any more: submit it anew, with another or with none")
    elif found.phase(now_ms) is ReservationPhase.WAITING:
        told.append(f"{name} begins at {utc(found.starts_at_ms)}")
    elif found.phase(now_ms) is ReservationPhase.EXPIRED:
        over = f"{name} has been over since {utc(found.ends_at_ms)}"
        told.append(f"{over}: submit it anew, with another or with none")
    return tuple(told)


def placed(services: Services, workload: Workload) -> tuple[str, ...]:
    """On what each of its replicas is; and by what it goes where it asked for no product of GPUs."""
    gpus = {g.uuid: g for n in org.nodes_now(services) for g in n.gpus}
    told: list[str] = []
    found: set[str] = set()
    for attempt in services.store.attempts_of(workload.id):
        if attempt.is_live:
            there = [gpus[uuid] for uuid in attempt.gpu_uuids if uuid in gpus]
            on = placed_on(attempt.node, [product_of(g) for g in there], attempt.gpu_portion)
            told.append(f"{attempt.replica_id} is on {on}")
            found.update(g.product for g in there)
    spec = workload.spec
    by_name = {s.name: s for s in shapes_of(org.nodes_now(services))}
    shape = by_name.get(spec.shape)
    if spec.gpu_product is None and shape is not None and found - {shape.gpu_product}:
        told.append(
            "it asked for no product of GPUs, so it may be on any; it goes by the name and the price of "
            f"{shape.name}, the smallest shape with as many"
        )
    return tuple(told)


def _barred(services: Services, workload: Workload) -> Iterator[str]:
    """By which taints it was evicted, as long as they are there."""
    nodes = tainted(org.nodes_now(services))
    last = {a.index: a for a in services.store.attempts_of(workload.id)}  # oldest first
    left = {a.node for a in last.values() if not a.is_live and is_by_taint(a)}
    for node in sorted(left & nodes.keys()):
        if one := barred(workload.spec.tolerations, nodes[node], 0):
            yield f"it was evicted for {one.why}: {one.remedy}"


def find_anywhere(services: Services, who: Caller, name_or_id: str) -> Found:
    """
    In the caller's workspace; for whoever runs the server in every other, too.

    Raises:
        NotFound: nobody whom the caller may see has that name.
        Conflict: several workspaces have it, and none of them as an id.
    """
    others = [p.name for p in org.list_projects(services) if p.name != who.workspace]
    named: list[Found] = []
    for workspace in (who.workspace, *(others if who.runs_server else ())):
        with contextlib.suppress(NotFound):
            named.append(find_workload(services, replace(who, workspace=workspace), name_or_id))
    if by_id := [f for f in named if f.id == name_or_id]:
        return by_id[0]
    there = [f for f in named if f.phase is not Phase.ARCHIVED] or named
    if not there:
        raise NotFound("workload", name_or_id)
    if len(there) > 1:
        each = ", ".join(f"{f.id} of project {f.workload.workspace}" for f in there)
        raise Conflict(f"{len(there)} workloads are named {name_or_id!r}: {each}; say which by its id")
    return there[0]


def _classes(snapshot: Snapshot) -> dict[str, AskClass]:
    return {ask_id: wanted for wanted, ids in snapshot.pending.items() for ask_id in ids}


def _in_line(
    last: Waiting,
    who: Caller,
    ask_id: str,
    position: int,
    asked: Mapping[str, AskClass],
    after: State | None,
) -> InLine:
    """
    Args:
        after: the state once the plan has been carried out; None: who would have to end is not asked.
    """
    work, why, ask = last.works[workload_of(ask_id)], last.plan.unplaced[ask_id], asked[ask_id]
    names = _told_to_end(last, work.workload.id)
    if names or after is None:
        would = tuple(names) or None
    else:
        is_promised = ask_id in last.plan.promised
        state = decided(last.snapshot, last.plan, ask_id) if is_promised else after
        would = _with_whose_end(ask, state, work.workload.id)
    return InLine(
        position, _id(who, work.workload), work.workload.workspace, ask.priority, ask.members, wants(ask),
        why.code.value, why.reasons, _endings(last, who, names),
        None if would is None else _endings(last, who, would),
    )  # fmt: skip


def _told_to_end(last: Waiting, asker: str) -> list[str]:
    """Workloads that make room for it, told in this plan or before."""
    planned = [e.workload for e in last.plan.evicted if workload_of(e.by) == asker]
    leaving = [w.workload.id for w in last.works.values() if w.running and _makes_room(w, asker)]
    return list(dict.fromkeys([*planned, *leaving]))


def _makes_room(work: Work, asker: str) -> bool:
    return any(a.evicting_at_ms is not None and evicted_for(a) == asker for a in work.live)


def _with_whose_end(ask: AskClass, state: State, asker: str) -> tuple[str, ...] | None:
    """
    Workloads with whose end it would fit, none of which could stay: what can be preempted, is of low
    priority and came last is asked first.

    Args:
        state: as it is once the plan has been carried out; it is left as it was.
        asker: the workload whose ask it is; its own members run for it.
    """
    by_workload: dict[str, list[Running]] = {}
    for member in state.running:
        by_workload.setdefault(member.workload, []).append(member)
    order = sorted(
        (members for id_, members in by_workload.items() if id_ != asker),
        key=lambda m: (not m[0].ask.is_preemptible, m[0].ask.priority, -m[0].rank, m[0].workload),
    )

    def fits(chosen: Sequence[Sequence[Running]]) -> bool:
        mark = state.mark()
        for members in chosen:
            for member in members:
                state.release(member)
        answer = state.place(ask, with_leaving=True)
        state.rollback(mark)
        return not isinstance(answer, Unplaced)

    if not fits(order):
        return None
    low, high = 0, len(order)  # the fewest of the first that are enough
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(order[:middle]) else (middle + 1, high)
    chosen = order[:low]
    for members in list(chosen):
        if fits(rest := [m for m in chosen if m is not members]):
            chosen = rest
    return tuple(members[0].workload for members in chosen)


def _endings(last: Waiting, who: Caller, names: Sequence[str]) -> tuple[Ending, ...]:
    works = [last.works[name].workload for name in names if name in last.works]
    return tuple(Ending(_id(who, w), w.workspace, w.spec.is_preemptible) for w in works)


def _id(who: Caller, workload: Workload) -> str | None:
    return workload.id if may_know(who, workload) else None


def may_know(who: Caller, workload: Workload) -> bool:
    """Whoever runs the server sees all that waits; others what they see in their own workspace."""
    if who.runs_server:
        return True
    return workload.workspace == who.workspace and (who.is_admin or who.is_shown(workload))
