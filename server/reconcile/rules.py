"""Ends or preempts what has run, or has been idle, for as long as its project allows."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlmodel import Session

from ..domain.evictions import evicting
from ..domain.org import Org, Rules
from ..domain.rules import Remedy, Verdict, began_ms, in_force, verdicts
from ..domain.workload import Workload
from ..snapshot.work import Work
from ..store.store import Store
from ..store.writes import add_event, load_attempts, load_workload, save_attempt, save_workload
from .autoscale import GpuPercent

LOOK_S = 10.0  # between looks at whether GPUs are idle
IDLE = "idle"  # how it was evicted


def rules_of(org: Org, workspace: str) -> Rules:
    project = next((p for p in org.projects if p.name == workspace), None)
    if project is None:
        return Rules()
    department = next((d.rules for d in org.departments if d.id == project.department_id), Rules())
    return in_force(project.rules, department)


class RuleKeeper:
    """Since when GPUs are idle is counted from the first look at them, after a start of the server too."""

    def __init__(self, store: Store, gpu_percent: GpuPercent) -> None:
        self._store, self._gpu_percent = store, gpu_percent
        self._idle_since_ms: dict[str, int] = {}

    async def step(self, works: Iterable[Work], org: Org, now_ms: int) -> tuple[bool, float]:
        """Whether something was changed, and the seconds until it should look again."""
        by_workspace: dict[str, Rules] = {}
        due: list[tuple[Workload, Verdict]] = []
        times: list[int] = []
        has_rules = any(unit.rules != Rules() for unit in (*org.departments, *org.projects))
        running = {w.workload.id: w for w in works if w.running} if has_rules else {}
        for gone in self._idle_since_ms.keys() - running.keys():
            del self._idle_since_ms[gone]
        for work in running.values():
            workspace = work.workload.workspace
            rules = by_workspace.setdefault(workspace, rules_of(org, workspace))
            began = began_ms(work.workload, work.attempts)
            if rules == Rules() or began is None or not work.workload.is_wanted:
                continue
            found = verdicts(work.workload, rules, began, self._idle_since(work.workload, now_ms))
            if found and found[0].due_ms <= now_ms:
                due.append((work.workload, found[0]))
            times += [v.due_ms for v in found[:1] if v.due_ms > now_ms]
            if work.workload.spec.gpu_count:
                times.append(now_ms + int(LOOK_S * 1000))
        if due:
            await self._store.write(lambda s: _apply(s, due, now_ms))
        return bool(due), min((t - now_ms for t in times), default=2**31) / 1000

    def _idle_since(self, workload: Workload, now_ms: int) -> int | None:
        percent = self._gpu_percent(workload.id) if workload.spec.gpu_count else None
        if percent is None or percent > 0:
            self._idle_since_ms.pop(workload.id, None)
            return None
        return self._idle_since_ms.setdefault(workload.id, now_ms)


def _apply(session: Session, due: Sequence[tuple[Workload, Verdict]], now_ms: int) -> None:
    for before, verdict in due:
        current = load_workload(session, before.id)
        if current is None or current != before:
            continue  # its user was there first
        match verdict.remedy:
            case Remedy.STOP:
                spec = replace(current.spec, is_stopped=True)
                after = replace(current, spec=spec, retry_at_ms=None, generation=current.generation + 1)
                save_workload(session, after)
            case Remedy.PREEMPT:
                live = [a for a in load_attempts(session, current.id) if a.is_live]
                if all(a.evicting_at_ms is not None for a in live):
                    continue
                for attempt in live:
                    save_attempt(session, evicting(current, attempt, IDLE, "", now_ms))
        add_event(session, current.id, now_ms, verdict.reason, verdict.message, type_="Warning")
