"""What NVML tells of the health of GPUs, and who reads it: a thread that may hang, never the loop."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .clock import Clock
from .health import Reading, merged
from .metrics import in_thread

log = logging.getLogger(__name__)
PATIENCE_S = 10.0
MOST_EVENTS = 1000  # of one look; a GPU that storms tells the rest at the next
# Source: NVML API reference, nvmlClocksEventReasons; not in it: idle, power caps, clocks set by people.
HW_SLOWDOWN, SW_THERMAL, HW_THERMAL, POWER_BRAKE = 0x8, 0x20, 0x40, 0x80
# Source: nvml.h, nvmlDeviceGpuRecoveryAction_t.
RECOVERY = {1: "reset", 2: "reboot", 3: "drain", 4: "reset", 5: "reset", 6: "reset", 7: "reboot"}


class HealthReader(Protocol):
    @property
    def is_silent(self) -> bool:
        """It was asked and has not answered in time."""
        ...

    async def read(self) -> Mapping[str, Reading]:
        """By UUID; a GPU that is not in it is one about which nothing is known now."""
        ...

    def close(self) -> None: ...


class NvmlHealth:
    """
    Blocking: for a thread, one at a time. Keeps NVML open between looks, since Xid errors are
    told only to those who wait for them.

    Args:
        parents: those to look at, by UUID; the GPU whose instance it is, or "". An instance of a
            partitioned GPU has its own reading and its GPU's.
    """

    def __init__(self, parents: Mapping[str, str]) -> None:
        self._parents = parents
        self._roots = list(dict.fromkeys(parent or uuid for uuid, parent in parents.items()))
        self._handles: dict[str, Any] = {}
        self._events: Any = None
        self._is_open = False
        self._ecc: dict[str, int] = {}  # memory errors that were told before

    def read(self) -> dict[str, Reading]:
        import pynvml  # costs start-up time

        if not self._is_open:
            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError as error:
                gone = Reading(is_lost=True, detail=str(error))
                return dict.fromkeys(self._parents, gone)
            self._is_open = True
        roots = {uuid: self._look(pynvml, uuid) for uuid in self._roots}
        xids = self._xids(pynvml)
        found: dict[str, Reading] = {}
        for uuid, parent in self._parents.items():
            root = parent or uuid
            readings = [roots[root], Reading(xids=tuple(xids.get(root, ())))]
            if parent and not roots[root].is_lost:
                readings.append(self._look_for_instance(pynvml, uuid))
            found[uuid] = merged(readings)
        if any(reading.is_lost for reading in found.values()):
            self.close()  # after a reload of its driver only a new start finds it again
        return found

    def _look(self, pynvml: Any, uuid: str) -> Reading:
        try:
            if uuid not in self._handles:
                handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
                self._listen(pynvml, uuid, handle)
                self._handles[uuid] = handle
            handle = self._handles[uuid]
            pynvml.nvmlDeviceGetUUID(handle)  # a GPU that is lost refuses everything
            return Reading(
                ecc_errors=self._new_ecc_errors(pynvml, uuid, handle),
                throttles=_throttles(pynvml, handle),
                needs=_needs(pynvml, handle),
            )
        except pynvml.NVMLError as error:
            return _failed(pynvml, error)

    def _look_for_instance(self, pynvml: Any, uuid: str) -> Reading:
        """Its administrator may have partitioned the GPU anew."""
        try:
            pynvml.nvmlDeviceGetHandleByUUID(uuid)
        except pynvml.NVMLError as error:
            return _failed(pynvml, error)
        return Reading()

    def _listen(self, pynvml: Any, uuid: str, handle: Any) -> None:
        try:
            if self._events is None:
                self._events = pynvml.nvmlEventSetCreate()
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._events)
        except pynvml.NVMLError as error:  # WSL, some virtual GPUs
            log.info("%s tells of no Xid errors: %s", uuid, error)

    def _xids(self, pynvml: Any) -> dict[str, list[int]]:
        """Told since the look before, by GPU."""
        found: dict[str, list[int]] = {}
        if self._events is None:
            return found
        for _ in range(MOST_EVENTS):
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
            except pynvml.NVMLError_Timeout:
                break
            except pynvml.NVMLError as error:  # a lost GPU is told by its own look
                log.debug("Xid errors cannot be read: %s", error)
                break
            try:
                uuids = [str(pynvml.nvmlDeviceGetUUID(event.device))]
            except pynvml.NVMLError:
                # Source: NVML API reference: where the GPU cannot be told any of them may be meant.
                uuids = self._roots
            for uuid in uuids:
                found.setdefault(uuid, []).append(int(event.eventData))
        return found

    def _new_ecc_errors(self, pynvml: Any, uuid: str, handle: Any) -> int:
        """Since the look before; those from before the first one have had their consequences."""
        try:
            kinds = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
            count = int(pynvml.nvmlDeviceGetTotalEccErrors(handle, *kinds))
        except pynvml.NVMLError_NotSupported:
            return 0
        before = self._ecc.get(uuid, count)
        self._ecc[uuid] = count
        return max(0, count - before)  # it begins anew with its driver

    def close(self) -> None:
        """A look that hangs is not waited for."""
        if not self._is_open:
            return
        import pynvml

        self._is_open, self._handles = False, {}
        try:
            if self._events is not None:
                pynvml.nvmlEventSetFree(self._events)
            pynvml.nvmlShutdown()
        except pynvml.NVMLError as error:
            log.debug("NVML does not close: %s", error)
        self._events = None


def _failed(pynvml: Any, error: Any) -> Reading:
    """
    Lost, or a look that tells nothing: NVML may be short of memory, or of a right, without any
    GPU being at fault.
    """
    lost = {
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_NOT_FOUND,
        pynvml.NVML_ERROR_GPU_NOT_FOUND,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_UNKNOWN,  # what most calls say once the driver was taken away
    }
    if error.value == pynvml.NVML_ERROR_RESET_REQUIRED:
        return Reading(needs="reset", detail=str(error))
    return Reading(is_lost=error.value in lost, detail=str(error))


def _throttles(pynvml: Any, handle: Any) -> tuple[str, ...]:
    try:
        reasons = int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return ()
    named = {"thermal": HW_THERMAL | SW_THERMAL, "power brake": POWER_BRAKE}
    found = tuple(name for name, bits in named.items() if reasons & bits)
    return found or (("hardware",) if reasons & HW_SLOWDOWN else ())


def _needs(pynvml: Any, handle: Any) -> str:
    """What the driver asks for: a newer one by name, an older one by rows of memory to be mapped."""
    try:
        (value,) = pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
        if value.nvmlReturn == pynvml.NVML_SUCCESS and (action := int(value.value.uiVal)):
            return RECOVERY.get(action, "reset")
    except pynvml.NVMLError_NotSupported:
        pass
    try:
        _, _, is_pending, has_failed = pynvml.nvmlDeviceGetRemappedRows(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return ""
    if has_failed:
        return "replacement"
    return "reset" if is_pending else ""


class MachineHealth:
    """Looks in a thread of its own: NVML hangs where a GPU has fallen off its bus."""

    def __init__(self, clock: Clock, nvml: NvmlHealth) -> None:
        self._clock, self._nvml = clock, nvml
        self._under_way: asyncio.Future[dict[str, Reading]] | None = None

    @property
    def is_silent(self) -> bool:
        return self._under_way is not None and not self._under_way.done()

    async def read(self) -> Mapping[str, Reading]:
        """What a look that came late has to tell is told at the next: Xid errors are told once only."""
        if self._under_way is None:
            self._under_way = in_thread(self._nvml.read)
        timer = asyncio.ensure_future(self._clock.sleep(PATIENCE_S))
        try:
            await asyncio.wait({self._under_way, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        if not self._under_way.done():
            return {}
        done, self._under_way = self._under_way, None
        return done.result()

    def close(self) -> None:
        if not self.is_silent:
            self._nvml.close()


class ToldHealth:
    """
    Of GPUs that a fault was asked for; simulated ones have no other, and real ones have NVML's beside it.

    Args:
        told: by UUID what a fault says now. One of a partitioned GPU says it of its instances, too.
        parents: all that there are, by UUID; the GPU whose instance it is, or "".
        real: reads those that are real; None: there are none.
    """

    def __init__(
        self, told: Callable[[], Mapping[str, Reading]], parents: Mapping[str, str], real: HealthReader | None
    ) -> None:
        self._told, self._real = told, real
        self._below: dict[str, list[str]] = {}
        for uuid, parent in parents.items():
            self._below.setdefault(uuid, []).append(uuid)
            if parent:
                self._below.setdefault(parent, []).append(uuid)
        self._told_before: set[str] = set()

    @property
    def is_silent(self) -> bool:
        return self._real is not None and self._real.is_silent

    async def read(self) -> Mapping[str, Reading]:
        found = dict(await self._real.read()) if self._real is not None else {}
        # Thousands of simulated ones that nobody speaks of need no look; who was spoken of heals.
        now = {uuid: reading for root, reading in self._told().items() for uuid in self._below.get(root, ())}
        for uuid in now.keys() | self._told_before:
            found[uuid] = merged((found.get(uuid, Reading()), now.get(uuid, Reading())))
        self._told_before |= now.keys()
        return found

    def close(self) -> None:
        if self._real is not None:
            self._real.close()
