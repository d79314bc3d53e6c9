"""Ends what has run, or has been idle, for as long as its project allows; or has it make room."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sqlmodel import Session

from ...scheduler.after import decided
from ...scheduler.model import AskClass, Code, Plan, Running, Snapshot, Unplaced
from ...scheduler.state import State
from ..domain.evictions import evicting, how_evicted, named_for
from ..domain.org import Org, Rules
from ..domain.rules import Remedy, Verdict, began_ms, givers, in_force, verdicts
from ..domain.workload import Workload
from ..snapshot.asks import workload_of
from ..snapshot.work import Work
from ..store.store import Store
from ..store.writes import add_event, load_attempts, load_workload, save_attempt, save_workload
from .autoscale import GpuPercent
from .evictions import waiting_asker

LOOK_S = 10.0  # between looks at whether GPUs are idle
IDLE = "idle"  # how it was evicted
NO_RULES = Rules()
MOST_TRIED = 50  # waiting classes for which it is tried whether idle work makes room


@dataclass(frozen=True, slots=True)
class InForce:
    """The rules of one project. `given_by`: whose each is, by its field."""

    rules: Rules
    given_by: dict[str, str]


@dataclass(frozen=True, slots=True)
class Due:
    """`asker`: the id of the ask that waits for what it has, where the remedy is to make room."""

    workload: Workload
    verdict: Verdict
    asker: str = ""


def rules_of(org: Org, workspace: str) -> InForce:
    project = next((p for p in org.projects if p.name == workspace), None)
    if project is None:
        return InForce(Rules(), {})
    department = next((d for d in org.departments if d.id == project.department_id), None)
    if department is None:
        return InForce(project.rules, givers(project.rules, (project.name, "")))
    rules = in_force(project.rules, department.rules)
    return InForce(rules, givers(project.rules, (project.name, department.name)))


def makes_room(
    idle: Sequence[str], snapshot: Snapshot, answer: Plan, were_idle: Collection[str] = ()
) -> dict[str, str]:
    """
    Which of these workloads should end, and the id of the ask that then has its place. Nobody ends for
    whom nobody waits: it would only begin again from scratch, in the place that it had. Nor for one
    that made room for being idle itself: such two would take turns for ever.

    Args:
        were_idle: ids of those.
        idle: ids of workloads, those that are to go first at the head.
        answer: the plan of that snapshot.
    """
    if not idle:
        return {}
    waiting = {
        i
        for i, why in answer.unplaced.items()
        if why.code is not Code.WAITS_FOR_EVICTED and workload_of(i) not in were_idle
    }
    heads: dict[AskClass, str] = {}
    for wanted, ids in snapshot.pending.items():
        if (first := next((i for i in ids if i in waiting), None)) is not None:
            heads[wanted] = first
    if not heads:
        return {}
    place = {id_: at for at, id_ in enumerate(answer.order)}
    state, left, chosen = decided(snapshot, answer), list(idle), dict[str, str]()
    for wanted, ask_id in sorted(heads.items(), key=lambda head: place.get(head[1], len(place)))[:MOST_TRIED]:
        others = [i for i in left if i != workload_of(ask_id)]
        gone = _fewest(state, wanted, others)
        for id_ in gone:
            for member in state.members(id_):
                state.release(member)
            chosen[id_] = ask_id
        left = [i for i in left if i not in gone]
        if gone and (found := state.place_later(wanted)) is not None:
            state.take(wanted, found, promised=True)
    return chosen


def _fewest(state: State, wanted: AskClass, idle: Sequence[str]) -> list[str]:
    """Of these the first with whose end it has a place, none of which could stay; [] where nothing helps."""
    members: dict[str, list[Running]] = {i: state.members(i) for i in idle}

    def fits(some: Sequence[str]) -> bool:
        mark = state.mark()
        for id_ in some:
            for member in members[id_]:
                state.release(member)
        answer = state.place(wanted, with_leaving=True)
        state.rollback(mark)
        return not isinstance(answer, Unplaced)

    enough = next((n for n in range(1, len(idle) + 1) if fits(idle[:n])), 0)
    chosen = list(idle[:enough])
    for id_ in list(chosen):
        if fits(rest := [i for i in chosen if i != id_]):
            chosen = rest
    return chosen


class RuleKeeper:
    """Since when GPUs are idle is counted from the first look at them, after a start of the server too."""

    def __init__(self, store: Store, gpu_percent: GpuPercent) -> None:
        self._store, self._gpu_percent = store, gpu_percent
        self._idle_since_ms: dict[str, int] = {}

    async def step(
        self, works: Collection[Work], org: Org, now_ms: int, snapshot: Snapshot, answer: Plan
    ) -> tuple[bool, float]:
        """
        Whether something was changed, and the seconds until it should look again.

        Args:
            answer: the plan of that snapshot, made from these works.
        """
        by_workspace: dict[str, InForce] = {}
        due: list[Due] = []
        idle: dict[str, Due] = {}
        times: list[int] = []
        has_rules = any(unit.rules != NO_RULES for unit in (*org.departments, *org.projects))
        running = {w.workload.id: w for w in works if w.running} if has_rules else {}
        for gone in self._idle_since_ms.keys() - running.keys():
            del self._idle_since_ms[gone]
        for work in running.values():
            workspace = work.workload.workspace
            if workspace not in by_workspace:
                by_workspace[workspace] = rules_of(org, workspace)
            known = by_workspace[workspace]
            began = began_ms(work.workload, work.attempts)
            if known.rules == Rules() or began is None or not work.workload.is_wanted:
                continue
            since = self._idle_since(work.workload, now_ms)
            found = verdicts(work.workload, known.rules, began, since, known.given_by)
            times += [v.due_ms for v in found if v.due_ms > now_ms]
            past = {v.remedy: v for v in found if v.due_ms <= now_ms}
            if stop := past.get(Remedy.STOP):
                due.append(Due(work.workload, stop))
            elif (preempt := past.get(Remedy.PREEMPT)) and not _is_told(work):
                idle[work.workload.id] = Due(work.workload, preempt)
            if work.workload.spec.gpu_count:
                times.append(now_ms + int(LOOK_S * 1000))
        were_idle = {w.workload.id for w in works if _was_idle(w)} if idle else set[str]()
        order = sorted(idle, key=lambda i: idle[i].verdict.due_ms)
        room = makes_room(order, snapshot, answer, were_idle)
        due += [replace(idle[id_], asker=ask_id) for id_, ask_id in room.items()]
        if due:
            await self._store.write(lambda s: _apply(s, due, now_ms))
        return bool(due), min((t - now_ms for t in times), default=2**31) / 1000

    def _idle_since(self, workload: Workload, now_ms: int) -> int | None:
        percent = self._gpu_percent(workload.id) if workload.spec.gpu_count else None
        if percent is None or percent > 0:
            self._idle_since_ms.pop(workload.id, None)
            return None
        return self._idle_since_ms.setdefault(workload.id, now_ms)


def _was_idle(work: Work) -> bool:
    """It waits since it made room for having been idle."""
    return bool(work.made_room_for) and how_evicted(work.attempts[-1]) == IDLE


def _is_told(work: Work) -> bool:
    """That it is to make room, already."""
    return all(a.evicting_at_ms is not None for a in work.live)


def _apply(session: Session, due: Sequence[Due], now_ms: int) -> None:
    for one in due:
        current, verdict = load_workload(session, one.workload.id), one.verdict
        if current is None or current != one.workload:
            continue  # its user was there first
        match verdict.remedy:
            case Remedy.STOP:
                spec = replace(current.spec, is_stopped=True)
                save_workload(
                    session,
                    replace(
                        current, spec=spec, retry_at_ms=None, generation=current.generation + 1,
                        stopped_by=verdict.message, stopped_at_ms=now_ms,
                    ),
                )  # fmt: skip
            case Remedy.PREEMPT:
                asker = waiting_asker(session, one.asker, now_ms)
                live = [a for a in load_attempts(session, current.id) if a.is_live]
                if asker is None or all(a.evicting_at_ms is not None for a in live):
                    continue
                for attempt in live:
                    save_attempt(session, evicting(current, attempt, IDLE, asker, now_ms))
                told = f"{named_for(asker.workspace, current)} ends to make room for it: {IDLE}"
                add_event(session, asker.id, now_ms, "MakingRoom", told)
        add_event(session, current.id, now_ms, verdict.reason, verdict.message, type_="Warning")
