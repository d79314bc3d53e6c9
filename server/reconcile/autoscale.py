"""Looks at what scales, and writes down what domain/autoscaling.py decides about it."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlmodel import Session

from ...runtime.clock import Clock
from ..domain.autoscaling import Decision, Seen, Wish, decide, next_look_s, wish, woken
from ..domain.endpoints import is_asleep, ready_of, serving_of, wanted_replicas
from ..domain.rollouts import goal, is_rolling, revision_of
from ..domain.workload import Attempt, Workload
from ..store.store import Store
from ..store.writes import add_event, load_workload, save_workload
from ..traffic import Traffic

# Utilisation of a workload's GPUs, 0..100 on average; None where it cannot be known.
GpuPercent = Callable[[str], float | None]


@dataclass(frozen=True, slots=True)
class ZeroRules:
    """
    Args:
        is_warm: containers are paused at zero; their GPUs stay taken.
        wakes: a request ends the time at zero.
    """

    is_warm: bool = False
    wakes: bool = True


class Autoscaler:
    def __init__(
        self, store: Store, clock: Clock, traffic: Traffic, gpu_percent: GpuPercent, zero: ZeroRules
    ) -> None:
        self._store, self._clock, self._traffic = store, clock, traffic
        self._gpu_percent, self._zero = gpu_percent, zero
        self._wishes: dict[str, deque[tuple[float, int]]] = {}  # monotonic seconds, number

    async def step(self) -> float:
        """Seconds until it should look again."""
        now_ms = self._clock.now_ms()
        entries = self._store.reads.table.serving(now_ms)
        found = [w for e in entries.values() if _scales(w := e.found.workload)]
        for gone in self._wishes.keys() - {w.id for w in found}:
            del self._wishes[gone]
        decisions: dict[str, tuple[Workload, Workload, Decision]] = {}
        pause_s, wakes = float("inf"), set(self._traffic.wakes)
        for workload in found:
            if is_asleep(workload):
                self._wishes.pop(workload.id, None)
                if workload.route_key in wakes and self._zero.wakes:
                    decision = woken(serving_of(workload))
                    after = replace(workload, decided_replicas=decision.replicas, is_waking=True)
                    decisions[workload.id] = (workload, after, decision)
                continue
            decision, again_s = self._look(workload, entries[workload.id].attempts)
            pause_s = min(pause_s, again_s)
            if decision is not None:
                is_warm = self._zero.is_warm and decision.replicas == 0
                after = replace(workload, decided_replicas=decision.replicas, is_warm=is_warm)
                decisions[workload.id] = (workload, after, decision)
        if decisions:
            wakes -= await self._store.write(lambda session: _save(session, decisions, now_ms))
        self._traffic.wakes -= wakes  # not before it is written: it is told once
        return pause_s

    def _look(self, workload: Workload, attempts: Sequence[Attempt]) -> tuple[Decision | None, float]:
        serving = serving_of(workload)
        assert serving.scaling is not None
        seen = self._seen(workload, attempts)
        now = wanted_replicas(workload)
        current = wish(serving, serving.scaling, seen)
        window = self._window(workload.id, now, current, serving.scaling.calm_s)
        decision = decide(serving, now, seen, current, window)
        return decision, next_look_s(serving.scaling, seen)

    def _seen(self, workload: Workload, attempts: Sequence[Attempt]) -> Seen:
        scaling = serving_of(workload).scaling
        assert scaling is not None
        ready, key = ready_of(workload, attempts), workload.route_key
        mine = [a for a in attempts if a.is_live and revision_of(workload, a) == goal(workload)]
        been_ready = {a.index for a in mine if a.ready_at_ms is not None and a.draining_at_ms is None}
        is_settled = not is_rolling(workload) and len(been_ready) >= wanted_replicas(workload)
        # Who wakes may have been ready before it was paused; a request waits for it.
        is_settled = is_settled and not workload.is_waking and all(a.ready_at_ms is not None for a in mine)
        since_ms = max((a.ready_at_ms for a in mine if a.ready_at_ms), default=0)
        return Seen(
            ready=len(ready),
            is_settled=is_settled,
            requests=self._traffic.requests(key, scaling.methods, scaling.paths) if scaling.qpm else None,
            gpu_percent=self._gpu_percent(workload.id) if scaling.gpu_percent else None,
            idle_s=self._traffic.idle_s(key, since_ms) if scaling.no_traffic_timeout_s else None,
            open=self._traffic.open_now(key) if scaling.concurrency else None,
            latency_ms=self._traffic.latency_ms(key) if scaling.latency_ms else None,
        )

    def _window(self, workload_id: str, now: int, current: Wish | None, calm_s: int) -> list[int]:
        """Of the last `calm_s`; empty until it is known for so long, after a start of the server too."""
        now_s = self._clock.monotonic_s()
        wishes = self._wishes.setdefault(workload_id, deque([(now_s, now)]))
        if current is None:
            wishes.clear()  # an unknown time is no calm time
            wishes.append((now_s, now))
            return []
        wishes.append((now_s, current.replicas))
        while len(wishes) > 1 and wishes[1][0] <= now_s - calm_s:
            wishes.popleft()
        if wishes[0][0] > now_s - calm_s:
            return []
        return [number for _, number in wishes][1:]


def _scales(workload: Workload) -> bool:
    serving = workload.spec.serving
    return serving is not None and serving.scaling is not None and workload.is_wanted


def _save(
    session: Session, decisions: Mapping[str, tuple[Workload, Workload, Decision]], now_ms: int
) -> set[str]:
    """The route keys of those that their users changed meanwhile: they are looked at again."""
    left: set[str] = set()
    for workload_id, (before, after, decision) in decisions.items():
        if load_workload(session, workload_id) == before:
            save_workload(session, after)
            add_event(session, workload_id, now_ms, decision.reason, decision.message)
        else:
            left.add(before.route_key)
    return left
