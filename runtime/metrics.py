"""What replicas use now: GPUs through NVML, CPU and memory from the kernel. Simulated ones: as scripted."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from .clock import Clock
from .model import Handle
from .usage import ReadUsed

log = logging.getLogger(__name__)
PATIENCE_S = 5.0
GPU_IS_LOST, UNKNOWN = 15, 999  # Source: nvml.h, nvmlReturn_t
STALE_S = 300.0  # who was not asked about for so long is forgotten
Key = tuple[str, int]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """
    Of a whole GPU. None: the driver does not tell.

    Args:
        percent: of the last sample period in which a kernel ran, 0..100.
        is_simulated: a figure that a rule has scripted, not one that was measured.
    """

    uuid: str
    percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_c: float | None = None
    is_simulated: bool = False


@dataclass(frozen=True, slots=True)
class ReplicaUsage:
    """
    Args:
        cpu_cores: mean since the look before; None at the first look. cpu_s: since its start.
        gpus: those that it holds and of which something is known.
    """

    cpu_cores: float | None = None
    cpu_s: float | None = None
    memory_bytes: int | None = None
    gpus: tuple[GpuUsage, ...] = ()


class Asked(NamedTuple):
    """`key`: replica id and attempt. `handle`: None where no container of it was seen yet."""

    key: Key
    handle: Handle | None
    gpu_uuids: tuple[str, ...]


class UsageReader(Protocol):
    @property
    def is_blind(self) -> bool:
        """It can tell nothing about anybody, so nobody needs to ask."""
        ...

    async def read(self, asked: Sequence[Asked]) -> Mapping[Key, ReplicaUsage]:
        """What is known, within a few seconds; who is not in it is not known."""
        ...

    def close(self) -> None: ...


class Nvml:
    """NVML, opened at the first look. Blocking: for a thread. Without a driver it tells of no GPU."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] | None = None

    def read(self, uuids: Sequence[str]) -> dict[str, GpuUsage]:
        """Source: NVML API reference; a figure that a product lacks is NVML_ERROR_NOT_SUPPORTED."""
        import pynvml  # costs start-up time

        if self._handles is None:
            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError:
                return {}
            self._handles = {}
        found: dict[str, GpuUsage] = {}
        is_stale = False
        for uuid in uuids:
            try:
                if uuid not in self._handles:
                    self._handles[uuid] = pynvml.nvmlDeviceGetHandleByUUID(uuid)
                found[uuid] = self._look(pynvml, uuid, self._handles[uuid])
            except pynvml.NVMLError as error:  # lost, or never one of this machine
                self._handles.pop(uuid, None)
                log.debug("NVML tells nothing about %s: %s", uuid, error)
                is_stale |= getattr(error, "value", None) in (GPU_IS_LOST, UNKNOWN)
        if is_stale:
            self.close()  # a GPU comes back only to a process in which nobody keeps NVML open
        return found

    def _look(self, pynvml: Any, uuid: str, handle: Any) -> GpuUsage:
        def told(ask: Callable[[], Any]) -> Any:
            try:
                return ask()
            except pynvml.NVMLError_NotSupported:
                return None

        memory = told(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
        rates = told(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
        heat = told(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
        return GpuUsage(
            uuid,
            None if rates is None else float(rates.gpu),
            None if memory is None else int(memory.used),
            None if memory is None else int(memory.total),
            None if heat is None else float(heat),
        )

    def close(self) -> None:
        if self._handles is not None:
            import pynvml

            self._handles = None
            pynvml.nvmlShutdown()


def in_thread(work: Callable[[], T]) -> "asyncio.Future[T]":
    """In a thread that nobody waits for at the end of the program, as the executors' threads are."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast(T, value))

    def run() -> None:
        value, failed = None, None
        try:
            value = work()
        except Exception as error:  # goes to whoever asked
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, value, failed)

    threading.Thread(target=run, name="usage", daemon=True).start()
    return done


class MachineUsage:
    """
    Looks in a thread of its own: NVML hangs where a GPU has fallen off its bus, and then
    only the figures are missing.

    Args:
        read_used: CPU and memory of containers, or of processes.
    """

    def __init__(self, clock: Clock, read_used: ReadUsed, nvml: Nvml | None = None) -> None:
        self._clock, self._read_used, self._nvml = clock, read_used, nvml or Nvml()
        self._before: dict[Key, tuple[float, float]] = {}  # when CPU time was read, and how much it was
        self._under_way: asyncio.Future[Any] | None = None

    @property
    def is_blind(self) -> bool:
        return False

    async def read(self, asked: Sequence[Asked]) -> Mapping[Key, ReplicaUsage]:
        if self._under_way is not None and not self._under_way.done():
            return {}
        self._under_way = in_thread(lambda: self._read(asked))
        timer = asyncio.ensure_future(self._clock.sleep(PATIENCE_S))
        try:
            await asyncio.wait({self._under_way, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        if not self._under_way.done():
            log.warning("what replicas use cannot be read: no answer within %g s", PATIENCE_S)
            return {}
        return self._under_way.result()

    def _read(self, asked: Sequence[Asked]) -> dict[Key, ReplicaUsage]:
        now_s = self._clock.monotonic_s()
        used = self._read_used([a.handle for a in asked if a.handle is not None])
        uuids = list(dict.fromkeys(uuid for a in asked for uuid in a.gpu_uuids))
        gpus = self._nvml.read(uuids) if uuids else {}
        found: dict[Key, ReplicaUsage] = {}
        for one in asked:
            mine = used.get(one.handle.name) if one.handle is not None else None
            held = tuple(gpus[uuid] for uuid in one.gpu_uuids if uuid in gpus)
            if mine is not None:
                cores = self._cores(one.key, now_s, mine.cpu_s)
                found[one.key] = ReplicaUsage(cores, mine.cpu_s, mine.memory_bytes, held)
            elif held:
                found[one.key] = ReplicaUsage(gpus=held)
        self._before = {k: v for k, v in self._before.items() if now_s - v[0] < STALE_S}
        return found

    def _cores(self, key: Key, now_s: float, cpu_s: float) -> float | None:
        before = self._before.get(key)
        self._before[key] = (now_s, cpu_s)
        if before is None or now_s <= before[0]:
            return None
        return max(0.0, cpu_s - before[1]) / (now_s - before[0])

    def close(self) -> None:
        """Does not wait for a look that hangs."""
        if self._under_way is None or self._under_way.done():
            self._nvml.close()


class ScriptedUsage:
    """
    Args:
        script: the utilisation of a container's GPUs by the container's name; None: it has none.
    """

    def __init__(self, script: Callable[[str], float | None], is_scripted: Callable[[], bool]) -> None:
        self._script, self._is_scripted = script, is_scripted

    @property
    def is_blind(self) -> bool:
        return not self._is_scripted()

    async def read(self, asked: Sequence[Asked]) -> Mapping[Key, ReplicaUsage]:
        found: dict[Key, ReplicaUsage] = {}
        for one in asked:
            percent = self._script(one.handle.name) if one.handle is not None else None
            if percent is not None and one.gpu_uuids:
                gpus = tuple(GpuUsage(uuid, percent, is_simulated=True) for uuid in one.gpu_uuids)
                found[one.key] = ReplicaUsage(gpus=gpus)
        return found

    def close(self) -> None:
        pass
