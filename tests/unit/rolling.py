"""An endpoint with its rows and containers, for tests of what is decided about it."""

from dataclasses import replace

from homeport.runtime.model import ContainerState, Handle, Observed
from homeport.runtime.probes import Probe, ProbeKind, ProbeResult, ProbeState, TcpConnect
from homeport.server.domain.endpoints import is_ready, needed, ready_of, room_maker, wanted_replicas
from homeport.server.domain.rollouts import begun_anew, goal, replica_id
from homeport.server.domain.serving import Scaling, Serving
from homeport.server.domain.workload import Attempt, AttemptState, Workload, WorkloadSpec
from homeport.server.reconcile.replicas import (
    Archive,
    Change,
    Launch,
    Pause,
    Record,
    Remove,
    Resume,
    Stop,
    diff,
)

READINESS = Probe(ProbeKind.READINESS, TcpConnect(80))
PASSING = ProbeState("c", ProbeResult.SUCCESS, 0)
FAILING = ProbeState("c", ProbeResult.FAILURE, 0)


def spec_of(image: str = "good:1", replicas: int = 1, **serving: object) -> WorkloadSpec:
    served = Serving(replicas=replicas, port=80, readiness=READINESS, **serving)  # type: ignore[arg-type]
    return WorkloadSpec(image, ("x",), "cpu.small", 1, 4096, serving=served)


def endpoint(replicas: int = 1, *, most: int = 1, image: str = "good:1", **fields: object) -> Workload:
    spec = spec_of(image, replicas, scaling=Scaling(most=most, no_traffic_timeout_s=60))
    return Workload("w-abcd", "local", "w", "endpoint", "me", 0, spec, **fields)  # type: ignore[arg-type]


def attempt(number: int = 1, index: int = 0, **fields: object) -> Attempt:
    return Attempt(f"w-abcd-{index}-abcd", number, "w-abcd", index, "n", 1, 4096, 1, **fields)  # type: ignore[arg-type]


def serving(number: int = 1, index: int = 0, **fields: object) -> Attempt:
    """One that takes requests."""
    shown = {
        "state": AttemptState.RUNNING,
        "readiness": PASSING,
        "ready_at_ms": 1,
        "started_at_ms": 0,
    } | fields
    return attempt(number, index, **shown)


def ended(number: int = 1, index: int = 0, reason: str = "Error", **fields: object) -> Attempt:
    shown = {"state": AttemptState.ENDED, "exit_code": 1, "reason": reason, "finished_at_ms": 1000} | fields
    return attempt(number, index, **shown)


class Machine:
    """What the loop does, without store, driver and clock; at most `room` replicas fit on it."""

    def __init__(self, workload: Workload, room: int = 100) -> None:
        self.workload, self.room, self.now_ms = workload, room, 1_000_000
        self.attempts: list[Attempt] = []
        self.seen: dict[tuple[str, int], Observed] = {}
        self.events: list[str] = []

    @property
    def live(self) -> list[Attempt]:
        return [a for a in self.attempts if a.is_live]

    @property
    def ready(self) -> list[Attempt]:
        return ready_of(self.workload, self.attempts)

    def save(self, new: Attempt) -> None:
        self.attempts = [new if a.key == new.key else a for a in self.attempts]

    def change(self, image: str) -> None:
        spec = replace(self.workload.spec, image=image)
        self.workload = begun_anew(self.workload, spec, self.attempts, self.ready, self.now_ms)

    def one_pass(self, lost: frozenset[int] = frozenset()) -> bool:
        """Whether there was anything to do. The actions numbered in `lost` do not come to be."""
        held = {} if self.workload.archived_at_ms else {self.workload.id: self.workload}
        rows = self.attempts if held else []
        actions = diff(held, {self.workload.id: rows}, list(self.seen.values()), now_ms=self.now_ms)
        for number, action in enumerate(actions):
            if number not in lost:
                self._apply(action)
        return self._place() or bool(actions)

    def _apply(self, action: object) -> None:
        match action:
            case Record(new):
                self.save(new)
                self.events.append(action.reason)
            case Change(before, step):
                if before == self.workload:
                    self.workload = step.workload
                    self.events.append(step.reason)
            case Archive():
                self.workload = replace(self.workload, archived_at_ms=self.now_ms)
            case Launch(made, mine):
                assert mine.key not in self.seen, "started a second time"
                handle = Handle(f"{made.spec.image} {mine.key}", "c")
                self.seen[mine.key] = Observed(
                    handle, "w-abcd", mine.replica_id, mine.number, 1, ContainerState.RUNNING,
                    started_at_ms=self.now_ms,
                )  # fmt: skip
            case Stop(_, seen, _):
                self.end(seen, 143)
            case Pause(_, _, seen):
                self._turn(seen, ContainerState.PAUSED)
            case Resume(_, seen):
                self._turn(seen, ContainerState.RUNNING)
            case Remove(seen, _, _):
                del self.seen[(seen.replica_id, seen.attempt)]
            case _:
                raise AssertionError(action)

    def _turn(self, seen: Observed, state: ContainerState) -> None:
        self.seen[(seen.replica_id, seen.attempt)] = replace(seen, state=state)

    def end(self, seen: Observed, code: int) -> None:
        self.seen[(seen.replica_id, seen.attempt)] = replace(
            seen, state=ContainerState.EXITED, exit_code=code, finished_at_ms=self.now_ms
        )

    def _place(self) -> bool:
        """As the loop's: one commit after another, and the old one first where there is no room for both."""
        need = needed(self.workload, self.attempts, self.now_ms)
        placed = need.indexes[: max(0, self.room - len(self.live))]
        for index in placed:
            number = max((a.number for a in self.attempts), default=0) + 1
            name = replica_id(self.workload, index)
            fields = {"placed_at_ms": self.now_ms, "revision": goal(self.workload)}
            self.attempts.append(replace(attempt(number, index, **fields), replica_id=name))
        if len(placed) < len(need.indexes) and (old := room_maker(self.workload, self.attempts)):
            self.save(replace(old, draining_at_ms=self.now_ms, draining_why="no room"))
            self.events.append("Recreating")
            return True
        return bool(placed)

    def image(self, mine: Attempt) -> str:
        return self.seen[mine.key].handle.id.split()[0] if mine.key in self.seen else ""

    def probe(self) -> None:
        """What is good and runs becomes ready."""
        for mine in self.live:
            if mine.state is AttemptState.RUNNING and self.image(mine).startswith("good"):
                ready = replace(mine, readiness=PASSING)
                if mine.ready_at_ms is None and is_ready(self.workload, ready):
                    ready = replace(ready, ready_at_ms=self.now_ms)
                self.save(ready)

    def crash_the_bad(self) -> None:
        for seen in list(self.seen.values()):
            if seen.handle.id.startswith("bad") and seen.state is ContainerState.RUNNING:
                self.end(seen, 1)

    def settle(self) -> None:
        """Left alone: probes pass where they can, what is bad crashes, hours go by."""
        quiet_s = 0
        for _ in range(150):  # what crashes is never quiet
            is_busy = self.one_pass()
            self.probe()
            self.crash_the_bad()
            quiet_s = 0 if is_busy else quiet_s + 100
            self.now_ms += 0 if is_busy else 100_000
            if quiet_s > 1000:  # longer than any pause, and than an update may take
                return

    @property
    def wanted(self) -> int:
        return wanted_replicas(self.workload)
