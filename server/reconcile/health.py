"""Looks after the GPUs: who is given no new work, who is told, and what ends because its GPU is lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from sqlmodel import Session

from ...runtime.clock import Clock
from ...runtime.driver import Driver
from ...runtime.drivers.faulty import FaultyDriver
from ...runtime.errors import DriverError
from ...runtime.faults import Faults
from ...runtime.health import FAULTS, LOST, UNSEEN, Health, Reading, application_xids, fold
from ...runtime.health_reader import HealthReader, MachineHealth, NvmlHealth, ToldHealth
from ...runtime.inventory import is_declared
from ...runtime.model import ContainerState, Handle, Observed
from ..domain.inventory import HostNode, NodeGpu
from ..domain.workload import Attempt, AttemptState
from ..errors import StoreUnavailable
from ..store.store import Store
from ..store.writes import add_event, load_attempt, save_attempt

log = logging.getLogger(__name__)
LOOK_S = 5.0
CHECK_S = 30.0  # between two looks into containers, each of which costs a process there
POLICY = ("HOMEPORT_GPU_POLICY", "end")  # in the environment of a workload, since both dialects have one
PROGRAM_FAULT = "GPUProgramFault"  # an Xid error that the program on the GPU has caused

KeepsGpus = Callable[[Handle], Awaitable[bool | None]]
"""Whether a container may still use the GPUs that it was given; None: it cannot be told."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one look has found out about one GPU."""

    uuid: str
    before: Health
    after: Health
    reading: Reading = field(default_factory=Reading)

    @property
    def is_news(self) -> bool:
        return self.before.reason != self.after.reason


@dataclass(frozen=True, slots=True)
class Notice:
    """
    An event for a workload.

    Args:
        ends_because: "": it goes on.
    """

    attempt: Attempt
    reason: str
    message: str
    is_warning: bool = True
    ends_because: str = ""


def notices(
    turns: Iterable[Turn],
    health: Mapping[str, Health],
    live: Iterable[Attempt],
    strict: Callable[[Attempt], bool] = lambda _attempt: False,
) -> list[Notice]:
    """
    Who is to be told what. What has lost its GPU ends; whatever else befalls a GPU, the work on it
    goes on, as it may well be able to, unless it is strict.

    Args:
        turns: of this look. health: as it is now, by UUID. live: all attempts that live.
        strict: whether an attempt is to end with any fault that is confirmed.
    """
    by_uuid = {turn.uuid: turn for turn in turns}
    found: list[Notice] = []
    for attempt in live:
        if attempt.reason in FAULTS:
            continue  # it is marked already
        ill = {uuid: h for uuid in attempt.gpu_uuids if (h := health.get(uuid)) is not None}
        for uuid, now in ill.items():
            if now.is_lost or (now.reason not in ("", UNSEEN) and strict(attempt)):
                found.append(_ending(attempt, now.reason, f"GPU {uuid} of {attempt.node}: {now.message}"))
                break
        else:
            for uuid in attempt.gpu_uuids:
                if (turn := by_uuid.get(uuid)) is not None:
                    found.extend(_told(attempt, turn))
    return found


def of_missing(nodes: Iterable[HostNode], live: Iterable[Attempt]) -> list[Notice]:
    """
    What has devices that its node has no more, as after a restart with fewer of them or of the nodes: it
    ends as if they were lost. Where there is no real device at all any more, what had one is only told: it
    may be that they could not be listed when the server started.
    """
    devices = {node.id: node.gpus for node in nodes}
    anywhere = [gpu for gpus in devices.values() for gpu in gpus]
    found: list[Notice] = []
    for attempt in live:
        if not attempt.gpu_uuids or attempt.reason in FAULTS:
            continue
        # A node of another name is another one, but its devices may be the same.
        there = devices.get(attempt.node, anywhere)
        known = {gpu.uuid for gpu in there}
        gone = [uuid for uuid in attempt.gpu_uuids if uuid not in known]
        if not gone:
            continue
        why = f"{attempt.node} has no GPU {', '.join(gone)} any more"
        if all(gpu.is_simulated for gpu in there) and not all(map(is_declared, gone)):
            message = f"{why}, nor any other real one: is NVML well? {attempt.replica_id} goes on"
            found.append(Notice(attempt, LOST, message))
        else:
            found.append(_ending(attempt, LOST, why))
    return found


def _ending(attempt: Attempt, reason: str, why: str) -> Notice:
    return Notice(attempt, reason, f"{why}; {attempt.replica_id} ends", ends_because=why)


def _told(attempt: Attempt, turn: Turn) -> list[Notice]:
    found: list[Notice] = []
    where = f"GPU {turn.uuid} of {attempt.node}"
    if xids := application_xids(turn.reading):
        codes = ", ".join(map(str, xids))
        message = f"{where}: Xid {codes}: a program on it has made an error; the GPU goes on"
        found.append(Notice(attempt, PROGRAM_FAULT, message))
    if turn.is_news and turn.after.is_healthy:
        found.append(Notice(attempt, "GPUHealthy", f"{where} is well again", is_warning=False))
    elif turn.is_news:
        message = f"{where}: {turn.after.message}; {attempt.replica_id} goes on, nothing new is placed there"
        found.append(Notice(attempt, turn.after.reason, message))
    return found


class GpuHealth:
    """
    Args:
        reader: None: there is no GPU to look after.
        poke: wakes the reconcile loop.
        observed: containers as the loop last saw them.
        keeps_gpus: asks a container about its devices; None: this runtime takes none away.
        simulated: GPUs that no container has a device of. nodes: as they are while this server runs.

    `looks` counts those that were taken.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        reader: HealthReader | None,
        poke: Callable[[], None],
        *,
        observed: Callable[[], Sequence[Observed]] = lambda: (),
        keeps_gpus: KeepsGpus | None = None,
        simulated: frozenset[str] = frozenset(),
        nodes: Sequence[HostNode] = (),
    ) -> None:
        self._store, self._clock, self._reader, self._poke = store, clock, reader, poke
        self._observed, self._keeps_gpus, self._simulated = observed, keeps_gpus, simulated
        self._nodes = nodes
        self._missing: dict[tuple[str, int], str] = {}
        self._health: dict[str, Health] = {}
        self._looking: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._checked_s: float | None = None
        self.looks = 0

    def unhealthy(self) -> Mapping[str, str]:
        """Why, by UUID, a GPU is given no new work now."""
        return {u: f"{h.reason}: {h.message}" for u, h in self._health.items() if not h.is_healthy}

    @property
    def reasons(self) -> list[str]:
        """What /homeport/health says of it; empty while all is well."""
        silent = self._reader is not None and self._reader.is_silent
        hung = ["NVML does not answer: the health of GPUs is not known"] if silent else []
        ill = (f"GPU {uuid} is unhealthy: {why}" for uuid, why in sorted(self.unhealthy().items()))
        return [*hung, *ill, *self._still_missing()]

    def _still_missing(self) -> list[str]:
        if not self._missing:
            return []
        live = {a.key for a in self._store.reads.live_attempts()}
        self._missing = {key: why for key, why in self._missing.items() if key in live}
        return list(self._missing.values())

    def look_now(self) -> None:
        """For whoever has asked for a fault."""
        self._woken.set()

    def start(self) -> None:
        self._looking = asyncio.create_task(self._run(), name="gpu health")

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._reader is not None:
            self._reader.close()

    async def _run(self) -> None:
        is_compared = False
        while not is_compared or self._reader is not None:
            self._woken.clear()
            try:
                if not is_compared:
                    await self._compare()
                    is_compared = True
                await self.look()
            except StoreUnavailable as error:
                log.warning("GPU health: %s", error)
            except Exception:  # the next look begins anew
                log.exception("a look at the GPUs failed")
            timer = asyncio.create_task(self._clock.sleep(LOOK_S))
            woken = asyncio.create_task(self._woken.wait())
            try:
                await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
                woken.cancel()

    async def _compare(self) -> None:
        """Once: which devices there are changes only with a restart."""
        found = of_missing(self._nodes, self._store.reads.live_attempts())
        self._missing = {notice.attempt.key: notice.message for notice in found}
        await self._tell(found)

    async def look(self) -> None:
        """One look at all GPUs, and now and then into containers."""
        if self._reader is None:
            return
        await self._look(self._reader)
        self.looks += 1

    async def _look(self, reader: HealthReader) -> None:
        turns = self._fold(await reader.read())
        health = {uuid: h for uuid, h in self._health.items() if not h.is_healthy}
        if health or turns:
            await self._tell(notices(turns, health, self._store.reads.live_attempts(), self._is_strict))
        if any(turn.is_news for turn in turns):
            self._poke()  # to place what waits, or no longer to place it there
        now_s = self._clock.monotonic_s()
        if self._keeps_gpus is not None and (self._checked_s is None or now_s - self._checked_s >= CHECK_S):
            self._checked_s = now_s
            await self._tell(await self._robbed())

    def _is_strict(self, attempt: Attempt) -> bool:
        found = self._store.reads.by_ids([attempt.workload_id])
        return any(POLICY in f.workload.spec.env for f in found)

    def _fold(self, readings: Mapping[str, Reading]) -> list[Turn]:
        now_s = self._clock.monotonic_s()
        turns: list[Turn] = []
        for uuid, reading in readings.items():
            before = self._health.get(uuid, Health())
            after = self._health[uuid] = fold(before, reading, now_s)
            turn = Turn(uuid, before, after, reading)
            if turn.is_news:
                log.warning("GPU %s: %s", uuid, after.message or "well again")
            if turn.is_news or application_xids(reading):
                turns.append(turn)
        return turns

    async def _robbed(self) -> list[Notice]:
        """
        Containers that run on although their GPUs were taken from them, as `systemctl daemon-reload`
        does on hosts whose container runtime has told systemd nothing of the devices.
        """
        assert self._keeps_gpus is not None
        handles = {(o.replica_id, o.attempt): o.handle for o in self._observed() if _is_up(o)}
        found: list[Notice] = []
        for attempt in self._store.reads.live_attempts():
            real = [uuid for uuid in attempt.gpu_uuids if uuid not in self._simulated]
            handle = handles.get(attempt.key)
            if not real or handle is None or attempt.state is not AttemptState.RUNNING:
                continue
            try:
                keeps = await self._keeps_gpus(handle)
            except DriverError as error:  # it has ended meanwhile, or the engine does not answer
                log.debug("%s cannot be asked for its GPUs: %s", handle.name, error)
                continue
            if keeps is False and attempt.reason not in FAULTS:
                why = f"{handle.name} may no longer use {', '.join(real)} (systemctl daemon-reload does that)"
                found.append(_ending(attempt, LOST, why))
        return found

    async def _tell(self, found: Sequence[Notice]) -> None:
        if not found:
            return
        now = self._clock.now_ms()

        def save(session: Session) -> None:
            for notice in found:
                current = load_attempt(session, notice.attempt.key)
                if current is None or not current.is_live or current.reason in FAULTS:
                    continue
                if notice.ends_because:
                    save_attempt(session, _marked(current, notice, now))
                type_ = "Warning" if notice.is_warning else "Normal"
                workload = notice.attempt.workload_id
                add_event(session, workload, now, notice.reason, notice.message, type_=type_)

        await self._store.write(save)
        if any(notice.ends_because for notice in found):
            self._poke()  # the loop ends what is marked


def _marked(attempt: Attempt, notice: Notice, now_ms: int) -> Attempt:
    """The loop ends it; requests no longer go there. Kept in the store, so that a restart changes nothing."""
    why = notice.ends_because
    return replace(
        attempt, reason=notice.reason, message=why,
        draining_at_ms=attempt.draining_at_ms or now_ms, draining_why=attempt.draining_why or why,
    )  # fmt: skip


def _is_up(seen: Observed) -> bool:
    return seen.state in (ContainerState.RUNNING, ContainerState.PAUSED)


def parents_of(gpus: Iterable[NodeGpu]) -> dict[str, str]:
    return {g.uuid: g.parent_uuid for g in gpus}


@runtime_checkable
class LooksForGpus(Protocol):
    """A driver whose containers may lose their GPUs while they run."""

    async def keeps_gpus(self, handle: Handle) -> bool | None: ...


def choose_health(
    store: Store,
    clock: Clock,
    nodes: Sequence[HostNode],
    driver: Driver,
    poke: Callable[[], None],
    observed: Callable[[], Sequence[Observed]],
    faults: Faults | None = None,
) -> GpuHealth:
    """
    What looks after the GPUs of these nodes: NVML for real ones, and faults that were asked for.

    Args:
        faults: None where none can be asked for.
    """
    gpus = [g for n in nodes for g in n.gpus]
    real = parents_of(g for g in gpus if not g.is_simulated)
    told = faults.gpu_readings if faults is not None else dict[str, Reading]
    nvml = MachineHealth(clock, NvmlHealth(real)) if real else None
    reader = ToldHealth(told, parents_of(gpus), nvml) if gpus else None
    asked = driver.inner if isinstance(driver, FaultyDriver) else driver
    keeps_gpus = asked.keeps_gpus if real and isinstance(asked, LooksForGpus) else None
    simulated = frozenset(g.uuid for g in gpus if g.is_simulated)
    health = GpuHealth(
        store, clock, reader, poke, observed=observed, keeps_gpus=keeps_gpus, simulated=simulated, nodes=nodes
    )
    if faults is not None:
        faults.subscribe(health.look_now)
    return health
