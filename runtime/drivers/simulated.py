"""No execution: a container is a few times and an exit code, all of them computed from the Clock."""

import asyncio
import heapq
import itertools
import json
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..clock import Clock
from ..driver import LoginSource, no_login
from ..errors import (
    DriverError,
    ExecRefused,
    ImagePullFailed,
    LaunchRefused,
    MountRejected,
    RuntimeUnavailable,
)
from ..exec_session import ExecSession
from ..model import ContainerSpec, ContainerState, Handle, LogEntry, Observed, Port
from .process import check_target

KILLED, TERMINATED = 137, 143
FIRST_PORT, PORTS = 20_000, 10_000
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Rule:
    """
    What becomes of the containers it matches; the first rule that matches decides.

    Args:
        image, workload_id, command: fnmatch patterns, case counts; the command is
            matched with its arguments joined by spaces.
        start_after_s: pending so long, then running.
        run_for_s: then it ends by itself; None runs until it is stopped.
        oom_killed: the exit code is then 137, whatever `exit_code` says.
        refuse: the launch fails with this text. refuse_pull: the pull of its image does,
            each time.
        log: lines and when they come, in seconds after the start.
        address: where requests for it go while it runs; "": it takes none.
        gpu_percent: the utilisation that its GPUs are said to have while it runs; None: nothing is said.
    """

    image: str = "*"
    workload_id: str = "*"
    command: str = "*"
    start_after_s: float = 0.0
    run_for_s: float | None = 1.0
    exit_code: int = 0
    oom_killed: bool = False
    refuse: str = ""
    refuse_pull: str = ""
    log: tuple[tuple[float, str], ...] = ()
    address: str = ""
    gpu_percent: float | None = None

    def matches(self, spec: ContainerSpec) -> bool:
        return (
            fnmatchcase(spec.image, self.image)
            and fnmatchcase(spec.workload_id, self.workload_id)
            and fnmatchcase(" ".join(spec.command), self.command)
        )


# Where no rule matches: what serves or publishes a port stays, all else is a job and is soon done.
JOB, SERVICE = Rule(), Rule(run_for_s=None)


@dataclass(slots=True)
class _Container:
    """All that decides its state at any time; its own rule too, so that new rules change no old container."""

    labels: dict[str, Any]  # the fields of Observed that never change
    rule: Rule
    group: str
    created_at_ms: int
    stopped_at_ms: int | None = None
    is_paused: bool = False

    @property
    def handle(self) -> Handle:
        return self.labels["handle"]

    @property
    def started_at_ms(self) -> int:
        return self.created_at_ms + _ms(self.rule.start_after_s)

    @property
    def finished_at_ms(self) -> int | None:
        run_for_s, stopped = self.rule.run_for_s, self.stopped_at_ms
        if run_for_s is None:
            return stopped
        done = self.started_at_ms + _ms(run_for_s)
        return done if stopped is None else min(done, stopped)

    def observe(self, now_ms: int) -> Observed:
        started: int | None = self.started_at_ms
        finished = self.finished_at_ms
        if finished is not None and finished <= now_ms:
            was_stopped = finished == self.stopped_at_ms
            is_oom = self.rule.oom_killed and not was_stopped
            return Observed(
                **self.labels,
                state=ContainerState.EXITED,
                exit_code=TERMINATED if was_stopped else KILLED if is_oom else self.rule.exit_code,
                oom_killed=is_oom,
                started_at_ms=started if started <= finished else None,
                finished_at_ms=finished,
            )
        if started <= now_ms:
            state = ContainerState.PAUSED if self.is_paused else ContainerState.RUNNING
            return Observed(**self.labels, state=state, started_at_ms=started, address=self.rule.address)
        return Observed(**self.labels, state=ContainerState.CREATED)

    def log(self) -> list[LogEntry]:
        """All that it will have said by its end."""
        end = self.finished_at_ms
        lines = sorted(self.rule.log, key=lambda line: line[0])
        said = ((self.started_at_ms + _ms(after_s), text) for after_s, text in lines)
        return [
            LogEntry(at * 1_000_000, f"{text}\n".encode()) for at, text in said if end is None or at <= end
        ]


class SimulatedDriver:
    """
    Lifecycles as data: rules say what each container does and when, and nothing runs.

    A container costs no timer and no task. What it shows is worked out again only
    when something is due, so ten thousand of them cost what one costs.

    Args:
        journal: one JSON line per create, stop and remove, written before the call
            returns and replayed at start-up, so that the simulated machine outlives
            a killed server as a real one does. None keeps nothing.
    """

    def __init__(
        self, instance: str, clock: Clock, rules: Sequence[Rule] = (), journal: Path | None = None
    ) -> None:
        self._instance, self._clock, self._rules = instance, clock, tuple(rules)
        self._containers: dict[str, _Container] = {}
        self._observed: dict[str, Observed] = {}
        self._groups: dict[str, None] = {}
        self._due: list[tuple[int, str]] = []  # when a container is to be looked at again
        self._ordinals = itertools.count()
        self._transitions = 0
        self._news = asyncio.Event()
        self._journal: int | None = None
        if journal is not None:
            self._replay(journal)
            self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    @property
    def kind(self) -> str:
        return "simulated"

    async def ping(self) -> None:
        return

    async def prepare(self, spec: ContainerSpec, login: LoginSource = no_login) -> None:
        rule = self._rule_of(spec)
        if rule.refuse_pull:
            used = await login()
            raise ImagePullFailed(spec.image, rule.refuse_pull, login=used.name if used else "")

    def _rule_of(self, spec: ContainerSpec) -> Rule:
        rule = next((rule for rule in self._rules if rule.matches(spec)), None)
        if rule is None:
            is_service = spec.serves or any(port.host_port is not None for port in spec.ports)
            rule = SERVICE if is_service else JOB
        return rule

    async def start(self, spec: ContainerSpec) -> Handle:
        if spec.name in self._containers:
            return self._containers[spec.name].handle
        rule = self._rule_of(spec)
        if rule.refuse:
            raise LaunchRefused(rule.refuse)
        targets = [mount.target for mount in spec.mounts]
        for mount in spec.mounts:
            check_target(mount)
            if targets.count(mount.target) > 1:
                raise MountRejected(mount.target, "two mounts have this target")
        record = {
            "op": "create",
            "instance": self._instance,
            "at_ms": self._clock.now_ms(),
            "name": spec.name,
            "workload_id": spec.workload_id,
            "replica_id": spec.replica_id,
            "attempt": spec.attempt,
            "generation": spec.generation,
            "group": spec.group,
            "ports": [asdict(port) for port in spec.ports],
            "rule": asdict(rule),
        }
        self._write(record)
        self._apply(record)
        return Handle(spec.name, spec.name)

    async def stop(self, handle: Handle, *, grace_s: float) -> None:
        """It exits at once, as if it had heeded SIGTERM."""
        container = self._containers.get(handle.name)
        now = self._clock.now_ms()
        if container is None or container.observe(now).state is ContainerState.EXITED:
            return
        self._record("stop", name=handle.name)

    async def pause(self, handle: Handle) -> None:
        """Its rule's times go on meanwhile."""
        container = self._containers.get(handle.name)
        if container and container.observe(self._clock.now_ms()).state is ContainerState.RUNNING:
            self._record("pause", name=handle.name)

    async def resume(self, handle: Handle) -> None:
        container = self._containers.get(handle.name)
        if container and container.observe(self._clock.now_ms()).state is ContainerState.PAUSED:
            self._record("resume", name=handle.name)

    async def remove(self, handle: Handle) -> None:
        if handle.name in self._containers:
            self._record("remove", name=handle.name)

    async def list_owned(self) -> Sequence[Observed]:
        self._settle()
        return list(self._observed.values())

    async def list_groups(self) -> Sequence[str]:
        return list(self._groups)

    async def remove_group(self, group: str) -> None:
        if any(container.group == group for container in self._containers.values()):
            raise DriverError(f"cannot remove the network of {group!r}: it has containers")
        if group in self._groups:
            self._record("remove_group", name=group)

    async def logs(self, handle: Handle, *, follow: bool) -> AsyncIterator[Sequence[LogEntry]]:
        told = 0
        while (container := self._containers.get(handle.name)) is not None:
            now, entries = self._clock.now_ms(), container.log()
            said = [entry for entry in entries if entry.at_ns <= now * 1_000_000]
            for at in range(told, len(said), BATCH):
                yield said[at : at + BATCH]
            told = max(told, len(said))
            finished = container.finished_at_ms
            if not follow or (finished is not None and finished <= now):
                return
            coming = [finished] if finished is not None else []
            coming += [entry.at_ns // 1_000_000 for entry in entries[told : told + 1]]
            await self._wait_until(min(coming, default=None))

    async def exec(self, handle: Handle, command: tuple[str, ...], *, tty: bool) -> ExecSession:
        raise ExecRefused("the simulated runtime runs no processes; use --runtime docker or process")

    async def changes(self) -> AsyncIterator[None]:
        seen = -1
        while True:
            self._settle()
            if seen != self._transitions:
                seen = self._transitions
                yield None
            else:
                await self._wait_until(self._due[0][0] if self._due else None)

    @property
    def has_gpu_script(self) -> bool:
        return any(rule.gpu_percent is not None for rule in self._rules)

    def gpu_percent(self, name: str) -> float | None:
        """As the rule of the container of that name has it; None once it has ended."""
        container = self._containers.get(name)
        if container is None or container.observe(self._clock.now_ms()).state is not ContainerState.RUNNING:
            return None
        return container.rule.gpu_percent

    async def purge(self) -> None:
        for container in list(self._containers.values()):
            await self.remove(container.handle)
        for group in list(self._groups):
            await self.remove_group(group)

    async def close(self) -> None:
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None

    def _settle(self) -> None:
        """Look again at what is due by now; nothing else can have changed."""
        now = self._clock.now_ms()
        while self._due and self._due[0][0] <= now:
            _, name = heapq.heappop(self._due)
            container = self._containers.get(name)
            if container is not None and (seen := container.observe(now)) != self._observed[name]:
                self._observed[name] = seen
                self._transitions += 1

    async def _wait_until(self, due_ms: int | None) -> None:
        """Or until somebody creates, stops or removes a container."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._news.wait())]
        if due_ms is not None:
            seconds = max(0, due_ms - self._clock.now_ms()) / 1000
            waits.append(asyncio.ensure_future(self._clock.sleep(seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _record(self, op: str, *, name: str) -> None:
        record = {"op": op, "instance": self._instance, "at_ms": self._clock.now_ms(), "name": name}
        self._write(record)
        self._apply(record)

    def _apply(self, record: dict[str, Any]) -> None:
        """One line of the journal, while it is written and when it is replayed."""
        name = record["name"]
        match record["op"]:
            case "create":
                self._create(record)
            case "stop":
                container = self._containers[name]
                container.stopped_at_ms = record["at_ms"]
                self._look_again(name, container)
            case "pause" | "resume" as op:
                container = self._containers[name]
                container.is_paused = op == "pause"
                self._look_again(name, container)
            case "remove":
                del self._containers[name], self._observed[name]
            case "remove_group":
                del self._groups[name]
            case op:
                raise ValueError(f"the journal of the simulated machine holds an unknown {op!r}")
        self._transitions += 1
        self._news.set()
        self._news = asyncio.Event()

    def _create(self, record: dict[str, Any]) -> None:
        name, at_ms = record["name"], record["at_ms"]
        rule: dict[str, Any] = dict(record["rule"])
        ordinal = next(self._ordinals)
        ports = [Port(**port) for port in record["ports"]]
        labels: dict[str, Any] = {
            key: record[key] for key in ("workload_id", "replica_id", "attempt", "generation")
        }
        labels["handle"] = Handle(name, name)
        # Nothing listens on a number that was asked for as "any"; it only looks like one.
        labels["ports"] = tuple(
            Port(p.container_port, p.protocol, p.host_port or FIRST_PORT + (ordinal + index) % PORTS)
            for index, p in enumerate(ports)
            if p.host_port is not None
        )
        rule["log"] = tuple((after_s, text) for after_s, text in rule["log"])
        container = _Container(labels, Rule(**rule), record["group"], at_ms)
        self._containers[name] = container
        if container.group:
            self._groups[container.group] = None
        self._look_again(name, container)

    def _look_again(self, name: str, container: _Container) -> None:
        now = self._clock.now_ms()
        self._observed[name] = container.observe(now)
        for due in (container.started_at_ms, container.finished_at_ms):
            if due is not None and due > now:
                heapq.heappush(self._due, (due, name))

    def _write(self, record: dict[str, Any]) -> None:
        """A line whole or not at all: a full disk must not cost those before and after it."""
        if self._journal is None:
            return
        data, whole = json.dumps(record).encode() + b"\n", os.fstat(self._journal).st_size
        try:
            while data:
                data = data[os.write(self._journal, data) :]
        except OSError as error:
            os.ftruncate(self._journal, whole)
            raise RuntimeUnavailable("the simulated runtime", f"its journal: {error.strerror}") from error

    def _replay(self, journal: Path) -> None:
        try:
            written = journal.read_bytes()
        except FileNotFoundError:
            return
        whole = written[: written.rfind(b"\n") + 1]
        if len(whole) < len(written):
            os.truncate(journal, len(whole))  # the server was killed within its last line: it never happened
        for line in whole.splitlines():
            record = json.loads(line)
            if record["instance"] == self._instance:
                self._apply(record)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
