"""No execution: what each container does and when is data, and all of it is computed from the Clock."""

import asyncio
import heapq
import itertools
import json
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...clock import Clock
from ...container_options import ContainerOptions, Refusal
from ...driver import LoginSource, no_login
from ...errors import DriverError, ExecRefused, ImagePullFailed, LaunchRefused, MountRejected, NodeLost
from ...exec_session import ExecSession
from ...faults import Faults
from ...model import ContainerSpec, ContainerState, Handle, LogEntry, Observed, Port
from ..process import check_target
from .answers import Answering
from .compaction import COMPACTED, any_port
from .containers import Container
from .followers import Followers
from .images import Images
from .journal import Journal
from .rules import JOB, SERVICE, Life, Rule, RuleBook, interned, life_of, told_of

BATCH = 1000


class SimulatedDriver:
    """
    Lifecycles as data: rules say what each container does and when, and nothing runs.

    A container costs no timer and no task. What it shows is worked out again only
    when something is due, so a hundred thousand of them cost what one costs.

    Args:
        rules: those in force; a book of them can be changed later.
        journal: one JSON line per create, stop and remove, written before the call
            returns and replayed at start-up, so that the simulated machine outlives
            a killed server as a real one does. None keeps nothing.
        faults: which nodes are down. Containers on those are lost: they cannot be seen, nor
            stopped, and go on unseen, as behind a cut cable.
    """

    def __init__(
        self,
        instance: str,
        clock: Clock,
        rules: Sequence[Rule] | RuleBook = (),
        journal: Path | None = None,
        faults: Faults | None = None,
    ) -> None:
        self._instance, self._clock = instance, clock
        self.rules = rules if isinstance(rules, RuleBook) else RuleBook(rules)
        self.faults = faults or Faults()
        self._down = self.faults.down_nodes
        self._containers: dict[str, Container] = {}
        self._observed: dict[str, Observed] = {}
        self._by_node: dict[str, set[str]] = {}
        self._groups: dict[str, int] = {}  # how many containers each has
        self._images = Images(clock)
        self._answering: dict[str, Answering] = {}
        self._unanswered: set[str] = set()  # replayed; their ports are not open yet
        self._due: list[tuple[int, str]] = []  # when a container is to be looked at again
        self._ordinals = itertools.count()
        self._addresses = itertools.count(zlib.crc32(instance.encode()))
        self._transitions = 0
        self._news: asyncio.Event | None = None  # somebody waits for it
        self._followers = Followers(clock)
        self._journal = Journal(journal)
        for record in self._journal.replay():
            if record["instance"] == instance:
                self._apply(record)
        self._journal.open()
        self._unsubscribe: Callable[[], None] = self.faults.subscribe(self._on_fault)

    @property
    def kind(self) -> str:
        return "simulated"

    def refusal(self, options: ContainerOptions) -> Refusal | None:
        return None

    async def ping(self) -> None:
        return

    async def prepare(self, spec: ContainerSpec, login: LoginSource = no_login) -> None:
        self._check_node(spec.node)
        rule = self._rule_of(spec)
        if rule.refuse_pull:
            used = await login()
            raise ImagePullFailed(spec.image, rule.refuse_pull, logins=tuple(login.name for login in used))
        if rule.pull_for_s:
            await self._images.pull(spec.node, spec.image, self.rules.draw_pull_s(rule, spec))

    def _rule_of(self, spec: ContainerSpec) -> Rule:
        if (rule := self.rules.find(spec)) is not None:
            return rule
        return SERVICE if spec.serves or any(p.host_port is not None for p in spec.ports) else JOB

    def _check_node(self, node: str) -> None:
        if node in self._down:
            raise NodeLost(node)

    async def start(self, spec: ContainerSpec) -> Handle:
        if spec.name in self._containers:
            return self._containers[spec.name].handle
        self._check_node(spec.node)
        rule = self._rule_of(spec)
        if rule.refuse:
            raise LaunchRefused(rule.refuse)
        if spec.mounts:
            _check_mounts(spec)
        listens_on = _listens_on(spec) if rule.answers else ()
        opened = await self._open(spec.name, rule, listens_on) if listens_on else None
        if spec.name in self._containers:  # somebody else was faster meanwhile
            return self._containers[spec.name].handle
        life = self.rules.draw(rule, spec)
        record: dict[str, Any] = {
            "op": "create",
            "instance": self._instance,
            "at_ms": self._clock.now_ms(),
            "name": spec.name,
            "workload_id": spec.workload_id,
            "replica_id": spec.replica_id,
            "attempt": spec.attempt,
            "generation": spec.generation,
            "group": spec.group,
            "node": spec.node,
            "image": spec.image,
            "listens_on": listens_on,
            "ports": [asdict(port) for port in spec.ports],
            "life": [life.start_after_ms, life.run_for_ms],
        }
        try:
            self._journal.write(record, rule=told_of(rule))
        except DriverError:
            self._close_ports(spec.name)
            raise
        self._create(record, rule, life)
        if opened is not None:
            self._containers[spec.name].address = opened
            self._look_again(spec.name)
        return Handle(spec.name, spec.name)

    async def stop(self, handle: Handle, *, grace_s: float) -> None:
        """It exits at once, as if it had heeded SIGTERM."""
        container = self._containers.get(handle.name)
        if container is None:
            return
        self._check_node(container.node)
        if container.state(self._clock.now_ms()) is not ContainerState.EXITED:
            self._record("stop", name=handle.name)

    async def pause(self, handle: Handle) -> None:
        """Its rule's times go on meanwhile."""
        if self._state(handle) is ContainerState.RUNNING:
            self._record("pause", name=handle.name)

    async def resume(self, handle: Handle) -> None:
        if self._state(handle) is ContainerState.PAUSED:
            self._record("resume", name=handle.name)

    async def remove(self, handle: Handle) -> None:
        if (container := self._containers.get(handle.name)) is not None:
            self._check_node(container.node)
            self._record("remove", name=handle.name)

    def _state(self, handle: Handle) -> ContainerState | None:
        container = self._containers.get(handle.name)
        return container.state(self._clock.now_ms()) if container else None

    def owns(self, handle: Handle) -> bool:
        """Whether it is one of the simulated ones, where others run beside them."""
        return handle.name in self._containers

    async def list_owned(self) -> Sequence[Observed]:
        for name in list(self._unanswered):
            await self._reopen(name)
        self._settle()
        return list(self._observed.values())

    async def list_groups(self) -> Sequence[str]:
        return list(self._groups)

    async def remove_group(self, group: str) -> None:
        if self._groups.get(group):
            raise DriverError(f"cannot remove the network of {group!r}: it has containers")
        if group in self._groups:
            self._record("remove_group", name=group)

    async def logs(self, handle: Handle, *, follow: bool) -> AsyncIterator[Sequence[LogEntry]]:
        told = 0
        while (container := self._containers.get(handle.name)) is not None and not container.is_lost:
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
            await self._followers.wait(handle.name, min(coming, default=None))

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
        return any(rule.gpu_percent is not None for rule in self.rules.rules)

    def gpu_percent(self, name: str) -> float | None:
        """As the rule of the container of that name has it; None once it has ended."""
        container = self._containers.get(name)
        if container is None or container.state(self._clock.now_ms()) is not ContainerState.RUNNING:
            return None
        return container.rule.gpu_percent

    async def purge(self) -> None:
        for name in list(self._containers):
            self._record("remove", name=name)  # from nodes that are down as well: nobody else will
        for group in list(self._groups):
            await self.remove_group(group)

    async def close(self) -> None:
        self._unsubscribe()
        self._images.close()
        for name in list(self._answering):
            self._close_ports(name)
        self._journal.close()

    # -- time ---------------------------------------------------------------

    def _settle(self) -> None:
        """Look again at what is due by now; nothing else can have changed."""
        now = self._clock.now_ms()
        while self._due and self._due[0][0] <= now:
            _, name = heapq.heappop(self._due)
            container = self._containers.get(name)
            if container is not None and (seen := container.observe(now)) != self._observed[name]:
                self._observed[name] = seen
                self._transitions += 1
                if seen.state is ContainerState.EXITED:
                    self._close_ports(name)

    async def _wait_until(self, due_ms: int | None) -> None:
        """Or until somebody creates, stops or removes a container."""
        if self._news is None:
            self._news = asyncio.Event()
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._news.wait())]
        if due_ms is not None:
            seconds = max(0.001, (due_ms - self._clock.now_ms()) / 1000)
            waits.append(asyncio.ensure_future(self._clock.sleep(seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _on_fault(self) -> None:
        down = self.faults.down_nodes
        for node in down ^ self._down:
            for name in self._by_node.get(node, ()):
                self._containers[name].is_lost = node in down
                self._look_again(name)
        self._down = down
        self._tell()

    def _look_again(self, name: str) -> None:
        now, container = self._clock.now_ms(), self._containers[name]
        self._observed[name] = container.observe(now)
        self._followers.tell(name)
        for due in (container.started_at_ms, container.finished_at_ms):
            if due is not None and due > now:
                heapq.heappush(self._due, (due, name))

    def _tell(self) -> None:
        self._transitions += 1
        if self._news is not None:
            self._news.set()
            self._news = None

    # -- what is written down -----------------------------------------------

    def _record(self, op: str, *, name: str) -> None:
        record = {"op": op, "instance": self._instance, "at_ms": self._clock.now_ms(), "name": name}
        self._journal.write(record)
        self._apply(record)

    def _apply(self, record: dict[str, Any]) -> None:
        """One line of the journal, while it is written and when it is replayed."""
        name = record["name"]
        match record["op"]:
            case "create":
                rule = interned(json.dumps(record["rule"]))
                self._create(record, rule, life_of(record.get("life"), rule))
                if record.get("listens_on"):
                    self._unanswered.add(name)
                return
            case "stop":
                self._containers[name].stopped_at_ms = record["at_ms"]
                self._close_ports(name)
                self._look_again(name)
            case "pause" | "resume" as op:
                self._containers[name].is_paused = op == "pause"
                self._look_again(name)
            case "remove":
                self._forget(name)
            case "remove_group":
                del self._groups[name]
            case op if op == COMPACTED:
                self._ordinals = itertools.count(record["ordinal"])
                self._groups |= dict.fromkeys(record["groups"], 0)
                self._images.add_all(record["images"])
            case op:
                raise ValueError(f"the journal of the simulated machine holds an unknown {op!r}")
        self._tell()

    def _create(self, record: dict[str, Any], rule: Rule, life: Life) -> None:
        name, node, group = record["name"], record.get("node", ""), record["group"]
        ordinal = next(self._ordinals)
        # Nothing listens on a number that was asked for as "any"; it only looks like one.
        ports = tuple(
            Port(p["container_port"], p["protocol"], p["host_port"] or any_port(ordinal, index))
            for index, p in enumerate(record["ports"])
            if p["host_port"] is not None
        )
        self._containers[name] = Container(
            Handle(name, name), record["workload_id"], record["replica_id"], record["attempt"],
            record["generation"], ports, rule, life, group, node, record["at_ms"],
            tuple(record.get("listens_on", ())), is_lost=node in self._down,
        )  # fmt: skip
        self._by_node.setdefault(node, set()).add(name)
        if image := record.get("image"):
            self._images.add(node, image)
        if group:
            self._groups[group] = self._groups.get(group, 0) + 1
        self._look_again(name)
        self._tell()

    def _forget(self, name: str) -> None:
        container = self._containers.pop(name)
        del self._observed[name]
        self._followers.tell(name)
        self._by_node[container.node].discard(name)
        self._unanswered.discard(name)
        if container.group:
            self._groups[container.group] -= 1
        self._close_ports(name)

    # -- HTTP answers -------------------------------------------------------

    async def _open(self, name: str, rule: Rule, ports: tuple[int, ...]) -> str:
        def is_up() -> bool:
            container = self._containers.get(name)
            now = self._clock.now_ms()
            return container is not None and container.state(now) is ContainerState.RUNNING

        answering = Answering(rule.answers, is_up, self._clock)
        address = await answering.open(ports, next(self._addresses))
        self._answering[name] = answering
        return address

    async def _reopen(self, name: str) -> None:
        """The ports of a container that outlived a server, at another address perhaps."""
        self._unanswered.discard(name)
        container = self._containers[name]
        if self._state(container.handle) is not ContainerState.EXITED:
            container.address = await self._open(name, container.rule, container.listens_on)
            self._look_again(name)

    def _close_ports(self, name: str) -> None:
        if (answering := self._answering.pop(name, None)) is not None:
            answering.close()


def _listens_on(spec: ContainerSpec) -> tuple[int, ...]:
    return tuple(dict.fromkeys(p.container_port for p in spec.ports if p.protocol.lower() == "tcp"))


def _check_mounts(spec: ContainerSpec) -> None:
    targets = [mount.target for mount in spec.mounts]
    for mount in spec.mounts:
        check_target(mount)
        if targets.count(mount.target) > 1:
            raise MountRejected(mount.target, "two mounts have this target")
