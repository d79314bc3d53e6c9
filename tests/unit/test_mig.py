"""Partitioned GPUs: as NVML lists them, and as they are declared."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from homeport.runtime.inventory import choose_devices, declared_devices, real_devices
from homeport.server.domain.inventory import HostNode, NodeGpu, mig_slices, shapes_of

GIB = 2**30


class NvmlError(Exception):
    pass


class NotFound(NvmlError):
    pass


@dataclass
class FakeGpu:
    """A GPU or an instance of one; `instances` by place, None where a place is empty."""

    uuid: str
    name: str
    memory: int
    slices: int = 0
    mig: tuple[int, int] | None = None  # mode now, and after the next reset
    instances: list["FakeGpu | None"] = field(default_factory=list["FakeGpu | None"])


@dataclass
class FakeNvml:
    """The answers that nvidia-ml-py gives for partitioned GPUs, in their shapes."""

    gpus: list[FakeGpu]
    NVMLError = NvmlError
    NVMLError_NotFound = NotFound
    NVML_DEVICE_MIG_ENABLE = 1

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.86.15"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 12080

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        return self.gpus[index]

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        return gpu.name

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> SimpleNamespace:
        return SimpleNamespace(total=gpu.memory, used=0, free=gpu.memory)

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:
        if gpu.mig is None:
            raise NvmlError("Not Supported")
        return list(gpu.mig)

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGpu) -> int:
        return len(gpu.instances)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, index: int) -> FakeGpu:
        found = gpu.instances[index]
        if found is None:
            raise NotFound("Not Found")
        return found

    def nvmlDeviceGetAttributes_v2(self, gpu: FakeGpu) -> SimpleNamespace:
        return SimpleNamespace(gpuInstanceSliceCount=gpu.slices, memorySizeMB=gpu.memory // 2**20)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(*gpus: FakeGpu) -> None:
        monkeypatch.setitem(__import__("sys").modules, "pynvml", FakeNvml(list(gpus)))

    return install


def instance(uuid: str, profile: str, memory: int, slices: int) -> FakeGpu:
    name = "NVIDIA H100 80GB HBM3" + (f" MIG {profile}" if profile else "")
    return FakeGpu(uuid, name, memory, slices)


def test_instances_are_listed_in_place_of_their_gpu(machine: Callable[..., None]) -> None:
    parts = [
        instance("MIG-1", "1g.10gb", 9 * GIB, 1),
        None,
        instance("MIG-2", "3g.40gb", 39 * GIB, 3),
    ]
    whole = FakeGpu("GPU-b", "NVIDIA H100 80GB HBM3", 80 * GIB, mig=(0, 1))
    machine(FakeGpu("GPU-a", "NVIDIA H100 80GB HBM3", 80 * GIB, mig=(1, 1), instances=parts), whole)
    found = real_devices()
    assert [(d.uuid, d.mig_profile, d.parent_uuid, d.memory_mib) for d in found] == [
        ("MIG-1", "1g.10gb", "GPU-a", 9 * 1024),
        ("MIG-2", "3g.40gb", "GPU-a", 39 * 1024),
        ("GPU-b", "", "", 80 * 1024),  # to be partitioned after its next reset: still whole
    ]
    assert {d.product for d in found} == {"NVIDIA H100 80GB HBM3"}
    assert not any(d.is_simulated for d in found)
    assert {d.driver_version for d in found} == {"570.86.15"}


def test_profile_is_made_from_its_size_when_no_name_tells_it(machine: Callable[..., None]) -> None:
    machine(FakeGpu("GPU-a", "NVIDIA H100", 80 * GIB, mig=(1, 1), instances=[instance("M", "", 20 * GIB, 2)]))
    (found,) = real_devices()
    assert found.mig_profile == "2g.20gb"


def test_gpu_is_not_listed_when_it_is_partitioned_into_nothing(
    machine: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    machine(FakeGpu("GPU-a", "NVIDIA H100", 80 * GIB, mig=(1, 1), instances=[None] * 7))
    assert real_devices() == ()
    assert "GPU-a is in MIG mode and has no instance" in caplog.text


def test_gpu_without_mig_is_listed_whole(machine: Callable[..., None]) -> None:
    machine(FakeGpu("GPU-a", "Tesla T4", 15 * GIB))
    (found,) = real_devices()
    assert (found.uuid, found.mig_profile, found.parent_uuid) == ("GPU-a", "", "")


def test_declared_instances_have_uuids_and_a_common_parent() -> None:
    found = declared_devices("1xH100-80GB:7x1g.10gb")
    assert len({d.uuid for d in found}) == 7
    assert {d.uuid[:4] for d in found} == {"MIG-"}
    assert {(d.mig_profile, d.memory_mib, d.is_simulated) for d in found} == {("1g.10gb", 10240, True)}
    (parent,) = {d.parent_uuid for d in found}
    assert parent.startswith("GPU-simulated-")
    assert declared_devices("1xH100-80GB:7x1g.10gb") == found, "they differ from start to start"


def test_declarations_are_joined_with_whole_gpus_and_other_profiles() -> None:
    found = declared_devices("2xA100-80GB, 1xA100-80GB:3x1g.10gb+1x3g.40gb")
    profiles = ["", "", "1g.10gb", "1g.10gb", "1g.10gb", "3g.40gb"]
    assert [d.mig_profile for d in found] == profiles
    assert len({d.uuid for d in found}) == 6


def test_nodes_have_devices_of_their_own_when_they_are_named() -> None:
    here, there = declared_devices("2xH100", "n1"), declared_devices("2xH100", "n2")
    assert not {d.uuid for d in here} & {d.uuid for d in there}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1xH100-80GB:8x1g.10gb", "more than a NVIDIA H100-80GB holds: 7 slices and 80 GB"),
        ("1xA100-40GB:1x3g.40gb+1x1g.5gb", "7 slices and 40 GB"),
        ("1xH100-80GB:7x1g", "is no MIG profile"),
        ("1xH100-80GB:0x1g.10gb", "is no MIG profile"),
        ("1xH100-80GB:", "is not of the form NxTYPE"),
        ("0xH100", "is not of the form NxTYPE"),
        ("40xH100,40xA100", "80 devices; a node has 64 at most"),
        ("H100", "is not of the form NxTYPE"),
    ],
)
def test_declaration_is_refused_with_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as refused:
        choose_devices(text)
    assert words in str(refused.value)


def test_largest_profile_fits_when_the_gpu_is_sold_with_that_much() -> None:
    (found,) = declared_devices("1xH100:1x7g.80gb")  # NVML calls its 80 GB 81,559 MiB
    assert found.mig_profile == "7g.80gb"


def test_shapes_are_made_of_whole_gpus_and_of_instances_apart() -> None:
    devices = declared_devices("2xH100-80GB,1xH100-80GB:3x1g.10gb+1x3g.40gb,1xH100-80GB:2x1g.10gb")
    gpus = tuple(
        NodeGpu(d.uuid, d.product, d.memory_mib, True, d.mig_profile, d.parent_uuid) for d in devices
    )
    found = {s.name: s for s in shapes_of([HostNode("n", "default", 56, 57344, gpus)])}
    assert [name for name in found if name.startswith("gpu.")] == [
        "gpu.h100-sxm", "gpu.2xh100-sxm", "gpu.h100-sxm.1g.10gb", "gpu.h100-sxm.3g.40gb",
    ]  # fmt: skip
    assert (found["gpu.h100-sxm"].cpu_cores, found["gpu.h100-sxm"].mig_profile) == (14, "")
    small = found["gpu.h100-sxm.1g.10gb"]
    assert (small.cpu_cores, small.memory_mib, small.gpu_count, small.gpu_memory_mib) == (2, 2048, 1, 10240)
    assert small.mig_profile == "1g.10gb"
    assert found["gpu.h100-sxm.3g.40gb"].cpu_cores == 6


@pytest.mark.parametrize(
    ("profile", "slices"), [("1g.10gb", 1), ("7g.80gb", 7), ("1g.10gb+me", 1), ("2c.3g.40gb", 2), ("?", 7)]
)
def test_slices_are_read_from_the_profiles_name(profile: str, slices: int) -> None:
    assert mig_slices(profile) == slices
