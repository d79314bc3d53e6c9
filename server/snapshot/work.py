"""One workload's part of the snapshot: what of it waits and what of it lives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...scheduler.model import AskClass, Placement, Running
from ..domain.evictions import evicted_for, is_moved
from ..domain.lifecycle import needed, next_try_ms, unwanted, wanted_replicas
from ..domain.org import Project
from ..domain.rollouts import as_started
from ..domain.runs import EVICTED, Need, minimum, stale_at_ms
from ..domain.workload import Attempt, Workload
from ..store.found import Found
from .asks import Ask, AskClasses, beside
from .facts import Facts

# Ids of one workload have ranks next to each other.
RANKS_EACH = 1 << 20
# After an eviction it is left where it is for so long, and after each further one twice as long as before;
# else some could be moved for each other without end. Bounds of our own.
SETTLES_MS, SETTLES_AT_MOST_MS = 60_000, 3_600_000
STARVES_MS = 600_000  # after so long places are kept for what waits; a bound of our own


@dataclass(frozen=True, slots=True)
class Work:
    """
    Args:
        seq: the order of arrival.
        attempts: all of them. asks: with their classes, in the order of their replicas.
        barred: why nothing of it can be placed now, whatever is free; "" mostly.
        made_room_for: ids of workloads for which replicas of it that wait were evicted.
        starving: ids of asks that have waited for long.
        protected: until when each attempt that may not be evicted yet is, by its key.
        next_ms: when time alone changes something about this; None: never.
        to_come: how many replicas are wanted that neither stay nor wait, and the class that one of them will
            be; None: no such.
    """

    workload: Workload
    seq: int
    revision: int
    attempts: Sequence[Attempt]
    asks: Sequence[tuple[Ask, AskClass]]
    running: Sequence[Running]
    barred: str
    made_room_for: frozenset[str]
    next_ms: int | None
    starving: frozenset[str] = frozenset()
    protected: Mapping[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    to_come: tuple[AskClass, int] | None = None

    def rank(self, index: int) -> int:
        return self.seq * RANKS_EACH + index

    @property
    def live(self) -> list[Attempt]:
        return [a for a in self.attempts if a.is_live]

    @property
    def is_odd(self) -> bool:
        """More than a place is to be found for it: it is barred, rolls, or has to do with an eviction."""
        if self.barred or self.made_room_for or self.workload.before:
            return True
        return any(a.evicting_at_ms is not None for a in self.live)


def running_id(attempt: Attempt) -> str:
    return f"{attempt.replica_id}/{attempt.number}"


def attempt_key(running: str) -> tuple[str, int]:
    """The key of the attempt that has this id in the snapshot."""
    replica_id, _, number = running.rpartition("/")
    return replica_id, int(number)


Bars = Callable[[Workload, Sequence[Attempt]], str]


def no_bars(_workload: Workload, _attempts: Sequence[Attempt]) -> str:
    return ""


def work_of(
    found: Found,
    attempts: Sequence[Attempt],
    facts: Facts,
    now_ms: int,
    bars: Bars = no_bars,
    classes: AskClasses | None = None,
) -> Work:
    """
    Args:
        bars: why a workload that needs a place can have none, or "".
        classes: made at earlier looks.
    """
    classes = classes or AskClasses()
    workload, seq = found.workload, found.seq
    project = facts.project(workload.workspace)
    need = needed(workload, attempts, now_ms)
    barred = bars(workload, attempts) if need.indexes else ""
    if barred:
        need = Need((), False)
    groups = [need.indexes] if need.is_gang else [(i,) for i in need.indexes]
    started = as_started(workload)
    asks = [Ask(started, indexes, need.is_extra) for indexes in groups if indexes]
    asked = [
        (ask, classes.get(started, len(ask.indexes), is_extra=need.is_extra, project=project)) for ask in asks
    ]
    live = [a for a in attempts if a.is_live]
    if started.spec.segment_size and live and not need.is_gang:
        asked = [(ask, beside(wanted, ask.indexes[0], live, facts.nodes)) for ask, wanted in asked]
    protected = {a.key: at for a in live if (at := _protected_until_ms(workload, a, facts)) > now_ms}
    settling = _settling(attempts, now_ms) if len(attempts) > 1 else {}  # else it follows no eviction
    leaving = unwanted(workload, attempts) if live else {}
    stale_at = stale_at_ms(workload, attempts) if live and not workload.spec.serving else None
    is_stale = stale_at is not None and stale_at <= now_ms

    def is_leaving(attempt: Attempt) -> bool:
        is_told = attempt.evicting_at_ms is not None or attempt.draining_at_ms is not None
        return is_told or attempt.key in leaving

    def running(attempt: Attempt) -> Running:
        return Running(
            running_id(attempt), workload.id, _as_placed(workload, attempt, project, classes),
            Placement(attempt.node, attempt.gpu_uuids, attempt.gpu_portion), seq * RANKS_EACH, attempt.index,
            is_leaving=is_leaving(attempt), is_protected=attempt.key in protected,
            is_stale=is_stale, is_moving=attempt.evicting_at_ms is not None and is_moved(attempt),
            was_moved=attempt.key in settling,
        )  # fmt: skip

    missing = wanted_replicas(workload, attempts) - sum(len(ask.indexes) for ask in asks)
    missing -= sum(not is_leaving(a) for a in live)
    one = classes.get(started, 1, is_extra=True, project=project) if missing > 0 else None
    own = next_try_ms(workload, attempts, now_ms)
    times = [*protected.values(), *settling.values()]
    times += [a.next_try_ms for a in live if a.next_try_ms > now_ms]
    times += [own] if own is not None else []
    starves_at = _waits_since_ms(workload, attempts) + STARVES_MS
    if asks and starves_at > now_ms:
        times.append(starves_at)
    return Work(
        workload, seq, found.revision, attempts, asked, list(map(running, live)),
        barred, _made_room_for(attempts) if asks and attempts else frozenset(), min(times, default=None),
        frozenset(ask.id for ask in asks) if starves_at <= now_ms and not need.is_extra else frozenset(),
        protected, None if one is None else (one, missing),
    )  # fmt: skip


def _waits_since_ms(workload: Workload, attempts: Sequence[Attempt]) -> int:
    """Since its last replica came to its end, or it was created, or was to begin."""
    ends = [a.finished_at_ms or a.placed_at_ms for a in attempts if not a.is_live]
    return max([workload.created_at_ms, workload.spec.start_at_ms or 0, *ends])


def _made_room_for(attempts: Sequence[Attempt]) -> frozenset[str]:
    last = {a.index: a for a in sorted(attempts, key=lambda a: a.number)}
    return frozenset(evicted_for(a) for a in last.values() if a.reason == EVICTED) - {""}


def _as_placed(
    workload: Workload, attempt: Attempt, project: Project | None, classes: AskClasses
) -> AskClass:
    """As it asked when it was placed: what it holds counts, whatever its workload would ask for now."""
    started = as_started(workload, attempt)
    asked = classes.get(started, minimum(started.spec), is_extra=False, project=project)
    holds = (attempt.cpu_cores, attempt.memory_mib, len(attempt.gpu_uuids), attempt.gpu_portion)
    if holds == (asked.cpu, asked.memory_mib, asked.gpu_count, asked.gpu_portion):
        return asked  # mostly
    cpu, memory_mib, gpu_count, gpu_portion = holds
    return replace(asked, cpu=cpu, memory_mib=memory_mib, gpu_count=gpu_count, gpu_portion=gpu_portion)


def _settling(attempts: Sequence[Attempt], now_ms: int) -> dict[tuple[str, int], int]:
    """Until when each live attempt is left where it is, by its key; only those that follow an eviction."""
    if not any(a.reason == EVICTED for a in attempts):
        return {}
    last: dict[int, Attempt] = {}
    times: dict[int, int] = {}
    until: dict[tuple[str, int], int] = {}
    for attempt in sorted(attempts, key=lambda a: a.number):
        before, last[attempt.index] = last.get(attempt.index), attempt
        if before is None or before.reason != EVICTED:
            continue
        times[attempt.index] = span = min(times.get(attempt.index, SETTLES_MS // 2) * 2, SETTLES_AT_MOST_MS)
        at = (attempt.started_at_ms or attempt.placed_at_ms) + span
        if attempt.is_live and at > now_ms:
            until[attempt.key] = at
    return until


def _protected_until_ms(workload: Workload, attempt: Attempt, facts: Facts) -> int:
    """
    0 where nothing protects it, or nobody may evict it. Source: rule 16 of the contract's section 10; what
    bursts to other reservations may be evicted, too.
    """
    spec = workload.spec
    if not spec.is_preemptible and not (spec.may_burst and spec.reservation):
        return 0
    guaranteed = facts.min_runtime_ms(attempt.node)
    return (attempt.started_at_ms or attempt.placed_at_ms) + guaranteed if guaranteed else 0
