"""One simulated container: a few times and an exit code, from which its state at any time follows."""

from dataclasses import dataclass

from ...model import ContainerState, Handle, LogEntry, Observed, Port
from .rules import Life, Rule

KILLED, TERMINATED = 137, 143


@dataclass(slots=True)
class Container:
    """
    All that decides its state at any time; its own rule too, so that new rules change no old container.

    Args:
        node: that it is on, "" for the only one.
        address: that its ports listen on, "" where nothing does.
        is_lost: nobody can see it, for its node is down.
    """

    handle: Handle
    workload_id: str
    replica_id: str
    attempt: int
    generation: int
    ports: tuple[Port, ...]
    rule: Rule
    life: Life
    group: str
    node: str
    created_at_ms: int
    listens_on: tuple[int, ...] = ()
    stopped_at_ms: int | None = None
    is_paused: bool = False
    is_lost: bool = False
    address: str = ""

    @property
    def started_at_ms(self) -> int:
        return self.created_at_ms + self.life.start_after_ms

    @property
    def finished_at_ms(self) -> int | None:
        run_for_ms, stopped = self.life.run_for_ms, self.stopped_at_ms
        if run_for_ms is None:
            return stopped
        done = self.started_at_ms + run_for_ms
        return done if stopped is None else min(done, stopped)

    def state(self, now_ms: int) -> ContainerState:
        if self.is_lost:
            return ContainerState.LOST
        finished = self.finished_at_ms
        if finished is not None and finished <= now_ms:
            return ContainerState.EXITED
        if self.started_at_ms > now_ms:
            return ContainerState.CREATED
        return ContainerState.PAUSED if self.is_paused else ContainerState.RUNNING

    def observe(self, now_ms: int) -> Observed:
        state, started, finished = self.state(now_ms), self.started_at_ms, self.finished_at_ms
        exit_code, is_oom, address = None, False, ""
        has_started = state is not ContainerState.CREATED
        if state is ContainerState.EXITED and finished is not None:
            was_stopped = finished == self.stopped_at_ms
            is_oom = self.rule.oom_killed and not was_stopped
            exit_code = TERMINATED if was_stopped else KILLED if is_oom else self.rule.exit_code
            has_started = started <= finished
        elif state is ContainerState.LOST:
            has_started = started <= now_ms
        elif has_started:
            address = self.rule.address or self.address
        return Observed(
            self.handle, self.workload_id, self.replica_id, self.attempt, self.generation, state,
            exit_code=exit_code, oom_killed=is_oom, started_at_ms=started if has_started else None,
            finished_at_ms=finished if state is ContainerState.EXITED else None,
            ports=self.ports, address=address,
        )  # fmt: skip

    def log(self) -> list[LogEntry]:
        """All that it will have said by its end."""
        end = self.finished_at_ms
        lines = sorted(self.rule.log, key=lambda line: line[0])
        said = ((self.started_at_ms + _ms(after_s), text) for after_s, text in lines)
        return [
            LogEntry(at * 1_000_000, f"{text}\n".encode()) for at, text in said if end is None or at <= end
        ]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
