"""When a GPU counts as unhealthy, when it heals, and what NVML's answers come to."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from homeport.runtime.clock import VirtualClock
from homeport.runtime.health import (
    APPLICATION_XIDS,
    ECC,
    HEAL_S,
    LONGEST_HEAL_S,
    LOST,
    RECOVERY,
    THROTTLED,
    THROTTLED_S,
    UNSEEN,
    XID,
    Health,
    Reading,
    application_xids,
    fold,
    merged,
)
from homeport.runtime.health_reader import MachineHealth, NvmlHealth, ToldHealth
from homeport.runtime.metrics import Nvml
from homeport.runtime.model import Device
from homeport.server.gpu_findings import exposure_findings, health_findings

GOOD = Reading()


def after(*looks: tuple[float, Reading], start: Health | None = None) -> Health:
    """The health after looks at these times, in seconds."""
    health = start or Health()
    for at_s, reading in looks:
        health = fold(health, reading, at_s)
    return health


@pytest.mark.parametrize(
    ("reading", "reason", "words"),
    [
        (Reading(xids=(48,)), XID, "Xid 48"),
        (Reading(xids=(48, 63, 48)), XID, "Xid 48, 63"),
        (Reading(xids=(13, 74)), XID, "Xid 74"),
        (Reading(xids=(79,)), LOST, "fallen off the bus"),
        (Reading(is_lost=True, detail="GPU is lost"), UNSEEN, "(GPU is lost)"),
        (Reading(ecc_errors=2), ECC, "2 memory error(s)"),
        (Reading(needs="reset"), RECOVERY, "asks for a reset"),
        (Reading(needs="reset", xids=(95,)), RECOVERY, "asks for a reset"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_gpu_is_unhealthy_at_once_when_a_look_tells_of_a_fault(
    reading: Reading, reason: str, words: str
) -> None:
    health = after((0, GOOD), (5, reading))
    assert (health.reason, health.since_s) == (reason, 5)
    assert words in health.message


@pytest.mark.parametrize("xid", sorted(APPLICATION_XIDS))
def test_gpu_stays_healthy_when_a_program_is_to_blame(xid: int) -> None:
    reading = Reading(xids=(xid,))
    assert after((0, reading)).is_healthy
    assert application_xids(reading) == (xid,)


def test_gpu_is_lost_only_when_two_looks_agree() -> None:
    lost = Reading(is_lost=True)
    assert after((0, lost)).reason == UNSEEN
    assert after((0, lost), (5, lost)).reason == LOST
    between = after((0, lost), (5, GOOD))
    assert not between.is_lost
    assert fold(between, lost, 10).is_lost


def test_lost_gpu_stays_lost_when_it_only_shows_another_fault() -> None:
    health = after((0, Reading(xids=(79,))), (5, Reading(needs="reboot")))
    assert health.reason == LOST


def test_throttled_gpu_is_unhealthy_only_when_it_lasts() -> None:
    slow = Reading(throttles=("thermal",))
    assert after((0, slow), (THROTTLED_S - 1, slow)).is_healthy
    assert after((0, slow), (THROTTLED_S, slow)).reason == THROTTLED
    assert after((0, slow), (20, GOOD), (THROTTLED_S, slow)).is_healthy


def test_gpu_heals_when_it_has_read_well_for_long_enough() -> None:
    ill = after((0, Reading(xids=(48,))))
    assert not after((5, GOOD), (5 + HEAL_S - 1, GOOD), start=ill).is_healthy
    healed = after((5, GOOD), (5 + HEAL_S, GOOD), start=ill)
    assert healed.is_healthy
    assert healed.message == ""


def test_healing_begins_anew_when_a_fault_comes_between() -> None:
    bad = Reading(ecc_errors=1)
    health = after((0, bad), (5, GOOD), (40, bad), (45, GOOD), (5 + HEAL_S, GOOD))
    assert not health.is_healthy
    assert after((45 + HEAL_S, GOOD), start=health).is_healthy


def test_each_relapse_takes_longer_to_heal_until_it_was_well_for_an_hour() -> None:
    bad, health, now = Reading(xids=(48,)), Health(), 10.0
    waits: list[float] = []
    for _ in range(8):
        health = fold(health, bad, now)
        waits.append(health.heal_s)
        health = after((now + 1, GOOD), (now + 1 + health.heal_s, GOOD), start=health)
        assert health.is_healthy
        now += 2 + waits[-1]
    assert waits[:3] == [HEAL_S, 2 * HEAL_S, 4 * HEAL_S]
    assert waits[-1] == LONGEST_HEAL_S
    assert fold(health, bad, now + LONGEST_HEAL_S).heal_s == HEAL_S


def test_readings_of_a_device_and_its_instance_are_one() -> None:
    both = merged((Reading(xids=(48,), detail="a"), Reading(is_lost=True, needs="reset", detail="b")))
    assert both == Reading(xids=(48,), is_lost=True, needs="reset", detail="a; b")


# -- NVML, faked at the module's boundary ---------------------------------------------------------


class NvmlError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


class NotSupported(NvmlError):
    pass


class TimedOut(NvmlError):
    pass


class NotFound(NvmlError):
    pass


@dataclass
class FakeGpu:
    """Its answers in the shapes that nvidia-ml-py gives them."""

    uuid: str
    ecc: int | None = None
    reasons: int = 0x1  # idle
    action: int | None = None
    remapped: tuple[int, int, int, int] = (0, 0, 0, 0)
    failure: int | None = None


@dataclass
class FakeNvml:
    """As the module pynvml; errors by the numbers of nvml.h."""

    gpus: dict[str, FakeGpu]
    has_driver: bool = True
    events: list[tuple[FakeGpu, int]] = field(default_factory=list)
    opened: int = 0
    closed: int = 0

    NVML_SUCCESS = 0
    NVML_ERROR_UNINITIALIZED = 1
    NVML_ERROR_NOT_FOUND = 6
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_GPU_IS_LOST = 15
    NVML_ERROR_RESET_REQUIRED = 16
    NVML_ERROR_GPU_NOT_FOUND = 28
    NVML_ERROR_UNKNOWN = 999
    NVML_ERROR_MEMORY = 20
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_VOLATILE_ECC = 0
    NVML_TEMPERATURE_GPU = 0
    NVML_FI_DEV_GET_GPU_RECOVERY_ACTION = 230
    nvmlEventTypeXidCriticalError = 8
    NVMLError = NvmlError
    NVMLError_NotSupported = NotSupported
    NVMLError_FunctionNotFound = NotSupported
    NVMLError_Timeout = TimedOut

    def nvmlInit(self) -> None:
        if not self.has_driver:
            raise NvmlError(self.NVML_ERROR_DRIVER_NOT_LOADED)
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.closed += 1

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> SimpleNamespace:
        self.nvmlDeviceGetUUID(gpu)  # one that is lost refuses everything
        return SimpleNamespace(used=1, total=2)

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> SimpleNamespace:
        return SimpleNamespace(gpu=7, memory=0)

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return 40

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:
        if uuid not in self.gpus:
            raise NotFound(self.NVML_ERROR_NOT_FOUND)
        return self.gpus[uuid]

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:
        if gpu.failure is not None:
            raise NvmlError(gpu.failure)
        return gpu.uuid

    def nvmlEventSetCreate(self) -> list[FakeGpu]:
        return []

    def nvmlEventSetFree(self, listening: list[FakeGpu]) -> None:
        listening.clear()

    def nvmlDeviceRegisterEvents(self, gpu: FakeGpu, kinds: int, listening: list[FakeGpu]) -> None:
        assert kinds == self.nvmlEventTypeXidCriticalError
        listening.append(gpu)

    def nvmlEventSetWait_v2(self, listening: list[FakeGpu], timeout_ms: int) -> SimpleNamespace:
        assert timeout_ms == 0, "a look does not wait for errors"
        for at, (gpu, xid) in enumerate(self.events):
            if gpu in listening:
                del self.events[at]
                return SimpleNamespace(device=gpu, eventType=8, eventData=xid)
        raise TimedOut(10)

    def nvmlDeviceGetTotalEccErrors(self, gpu: FakeGpu, kind: int, counter: int) -> int:
        assert (kind, counter) == (1, 0)
        if gpu.ecc is None:
            raise NotSupported(3)
        return gpu.ecc

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: FakeGpu) -> int:
        return gpu.reasons

    def nvmlDeviceGetFieldValues(self, gpu: FakeGpu, fields: Sequence[int]) -> list[SimpleNamespace]:
        assert fields == [self.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION]
        told, value = (3, 0) if gpu.action is None else (self.NVML_SUCCESS, gpu.action)
        return [SimpleNamespace(nvmlReturn=told, value=SimpleNamespace(uiVal=value))]

    def nvmlDeviceGetRemappedRows(self, gpu: FakeGpu) -> tuple[int, int, int, int]:
        return gpu.remapped


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml({"GPU-a": FakeGpu("GPU-a"), "GPU-b": FakeGpu("GPU-b")})
    monkeypatch.setitem(__import__("sys").modules, "pynvml", fake)
    return fake


@pytest.fixture
def reader(nvml: FakeNvml) -> NvmlHealth:
    del nvml
    return NvmlHealth({"GPU-a": "", "GPU-b": ""})


def test_a_gpu_that_is_well_reads_well(reader: NvmlHealth) -> None:
    assert reader.read() == {"GPU-a": GOOD, "GPU-b": GOOD}


def test_xids_are_told_once_and_of_their_gpu_only(nvml: FakeNvml, reader: NvmlHealth) -> None:
    reader.read()
    nvml.events += [(nvml.gpus["GPU-b"], 48), (nvml.gpus["GPU-b"], 63)]
    assert reader.read() == {"GPU-a": GOOD, "GPU-b": Reading(xids=(48, 63))}
    assert reader.read()["GPU-b"] == GOOD


def test_an_xid_is_everybodys_when_its_gpu_cannot_be_told(nvml: FakeNvml, reader: NvmlHealth) -> None:
    reader.read()
    gone = nvml.gpus["GPU-a"]
    gone.failure = nvml.NVML_ERROR_GPU_IS_LOST
    nvml.events.append((gone, 79))
    found = reader.read()
    assert found["GPU-a"].is_lost
    assert found["GPU-b"].xids == (79,)


def test_only_new_memory_errors_count(nvml: FakeNvml, reader: NvmlHealth) -> None:
    gpu = nvml.gpus["GPU-a"]
    counted: list[int] = []
    for told in (7, 7, 9, 0, 1):  # 0: its driver was loaded anew
        gpu.ecc = told
        counted.append(reader.read()["GPU-a"].ecc_errors)
    assert counted == [0, 0, 2, 0, 1]


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        (0x1 | 0x2 | 0x4 | 0x10 | 0x100, ()),  # idle, clocks set, power cap, sync, display
        (0x40 | 0x8, ("thermal",)),
        (0x20, ("thermal",)),
        (0x80 | 0x8 | 0x40, ("thermal", "power brake")),
        (0x8, ("hardware",)),
    ],
)
def test_only_what_the_hardware_does_is_throttling(
    nvml: FakeNvml, reader: NvmlHealth, reasons: int, told: tuple[str, ...]
) -> None:
    nvml.gpus["GPU-a"].reasons = reasons
    assert reader.read()["GPU-a"].throttles == told


@pytest.mark.parametrize(
    ("action", "remapped", "needs"),
    [
        (0, (0, 0, 0, 0), ""),
        (1, (0, 0, 0, 0), "reset"),
        (2, (0, 0, 0, 0), "reboot"),
        (None, (1, 2, 0, 0), ""),
        (None, (0, 1, 1, 0), "reset"),
        (0, (0, 1, 1, 1), "replacement"),
    ],
)
def test_the_driver_says_what_the_gpu_needs(
    nvml: FakeNvml, reader: NvmlHealth, action: int | None, remapped: tuple[int, int, int, int], needs: str
) -> None:
    nvml.gpus["GPU-a"].action, nvml.gpus["GPU-a"].remapped = action, remapped
    assert reader.read()["GPU-a"].needs == needs


@pytest.mark.parametrize(
    ("failure", "is_lost", "needs"),
    [(15, True, ""), (999, True, ""), (1, True, ""), (16, False, "reset"), (20, False, "")],
)
def test_a_refusal_is_a_loss_only_where_it_says_so(
    nvml: FakeNvml, reader: NvmlHealth, failure: int, is_lost: bool, needs: str
) -> None:
    reader.read()
    nvml.gpus["GPU-a"].failure = failure
    found = reader.read()
    assert (found["GPU-a"].is_lost, found["GPU-a"].needs) == (is_lost, needs)
    assert found["GPU-b"] == GOOD


def test_all_are_lost_while_the_driver_is_gone_and_found_again_when_it_is_back(
    nvml: FakeNvml, reader: NvmlHealth
) -> None:
    reader.read()
    for gpu in nvml.gpus.values():
        gpu.failure = nvml.NVML_ERROR_UNKNOWN
    nvml.has_driver = False
    assert all(r.is_lost for r in reader.read().values())
    assert all(r.is_lost for r in reader.read().values())
    nvml.has_driver = True
    nvml.gpus = {uuid: FakeGpu(uuid) for uuid in reversed(nvml.gpus)}  # in another order
    assert reader.read() == {"GPU-a": GOOD, "GPU-b": GOOD}
    assert nvml.opened == 2
    nvml.events.append((nvml.gpus["GPU-a"], 48))
    assert reader.read()["GPU-a"].xids == (48,), "it does not listen any more"


def test_an_instance_has_the_faults_of_its_gpu_and_is_lost_when_it_is_partitioned_anew(
    nvml: FakeNvml,
) -> None:
    nvml.gpus["MIG-1"] = FakeGpu("MIG-1")
    reader = NvmlHealth({"MIG-1": "GPU-a", "MIG-2": "GPU-a", "GPU-b": ""})
    nvml.gpus["MIG-2"] = FakeGpu("MIG-2")
    assert set(reader.read().values()) == {GOOD}
    nvml.events.append((nvml.gpus["GPU-a"], 48))
    found = reader.read()
    assert found["MIG-1"].xids == found["MIG-2"].xids == (48,)
    assert found["GPU-b"] == GOOD
    del nvml.gpus["MIG-2"]
    found = reader.read()
    assert found["MIG-2"].is_lost
    assert not found["MIG-1"].is_lost


def test_doctor_tells_of_each_gpu_that_is_not_well(nvml: FakeNvml) -> None:
    nvml.gpus["GPU-a"].action = 2
    nvml.gpus["GPU-b"].reasons = 0x40
    one, other = health_findings([Device("GPU-a", "H100", 1), Device("GPU-b", "H100", 1)])
    assert (one.is_ok, other.is_ok) == (False, False)
    assert "GPU-a is unhealthy: its driver asks for a reboot" in one.what
    assert "GPU-b is slowed down by its hardware: thermal" in other.what


def test_doctor_has_nothing_to_say_of_gpus_that_are_well(nvml: FakeNvml) -> None:
    assert list(health_findings([Device(uuid, "H100", 1) for uuid in nvml.gpus])) == []


@pytest.mark.parametrize(
    ("info", "has_links", "is_exposed"),
    [
        ({"CgroupDriver": "systemd"}, False, True),
        ({"CgroupDriver": "systemd"}, True, False),
        ({"CgroupDriver": "systemd", "CDISpecDirs": ["/etc/cdi"]}, False, False),
        ({"CgroupDriver": "cgroupfs"}, False, False),
    ],
)
def test_doctor_warns_when_a_reload_of_systemd_would_take_gpus_away(
    info: dict[str, Any], has_links: bool, is_exposed: bool
) -> None:
    found = exposure_findings(info, has_links)
    assert [f.is_ok for f in found] == [False] * is_exposed


def test_figures_let_go_of_nvml_when_a_gpu_is_lost(nvml: FakeNvml) -> None:
    """Else it would stay open in this process, and the GPU could not come back to it."""
    usage = Nvml()
    nvml.gpus["GPU-a"].failure = nvml.NVML_ERROR_GPU_IS_LOST
    assert usage.read(["GPU-a"]) == {}
    assert (nvml.opened, nvml.closed) == (1, 1)
    nvml.gpus["GPU-a"].failure = None
    assert usage.read(["GPU-a"])["GPU-a"].percent == 7
    assert (nvml.opened, nvml.closed) == (2, 1)


# -- who reads ------------------------------------------------------------------------------------


class Told:
    """A reader whose answer the test holds back."""

    def __init__(self) -> None:
        import threading

        self.may_answer = threading.Event()
        self.looks = 0

    def read(self) -> dict[str, Reading]:
        self.looks += 1
        assert self.may_answer.wait(20)
        return {"GPU-a": Reading(xids=(48,))}

    def close(self) -> None:
        pass


def test_nothing_is_known_while_nvml_hangs_and_nothing_is_lost_when_it_answers_late() -> None:
    async def scenario() -> None:
        clock, nvml = VirtualClock(), Told()
        reader = MachineHealth(clock, nvml)  # type: ignore[arg-type]
        looks: list[Mapping[str, Reading]] = []
        for _ in range(2):
            look = asyncio.create_task(reader.read())
            while not look.done():
                clock.advance(5)
                await asyncio.sleep(0)
            looks.append(look.result())
        assert looks == [{}, {}]
        assert reader.is_silent
        nvml.may_answer.set()
        assert await reader.read() == {"GPU-a": Reading(xids=(48,))}
        assert not reader.is_silent
        assert nvml.looks == 1, "a second look was begun beside the one that hangs"

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_fault_of_a_partitioned_gpu_is_one_of_its_instances_until_it_is_cleared() -> None:
    told: dict[str, Any] = {"GPU-p": Reading(xids=(48,))}
    parents = {"MIG-1": "GPU-p", "MIG-2": "GPU-p", "GPU-q": ""}

    async def scenario() -> None:
        reader = ToldHealth(lambda: told, parents, None)
        assert dict(await reader.read()) == {"MIG-1": told["GPU-p"], "MIG-2": told["GPU-p"]}
        told.clear()
        assert dict(await reader.read()) == {"MIG-1": GOOD, "MIG-2": GOOD}, "else they would never heal"

    asyncio.run(scenario())
