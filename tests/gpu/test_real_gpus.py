"""Real GPUs, wherever some are at hand: NVML's figures, and what a job sees of them."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from homeport.runtime.clock import SystemClock
from homeport.runtime.health import Reading
from homeport.runtime.health_reader import MachineHealth, NvmlHealth
from homeport.runtime.inventory import real_devices
from homeport.runtime.metrics import Nvml
from homeport.runtime.model import Device
from homeport.runtime.mps import DAEMON, PIPES_ENV, Mps, find_mps, limits
from tests.sdk import Sdk
from tests.world import World, eventually, world

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpus() -> tuple[Device, ...]:
    if not (found := real_devices()):
        pytest.skip("NVML finds no GPU on this machine")
    return found


@pytest.fixture
def home(gpus: tuple[Device, ...], tmp_path: Path) -> Generator[World]:
    with world(tmp_path, "process") as made:
        made.start(["--gpus", "auto"])
        yield made


def shape(home: World, sdk: Sdk) -> str:
    """The one with a single GPU, by the name that this machine's product gives it."""
    shapes = sdk.run(home, "result = client.shapes.list_shapes()")
    names = [s["metadata"]["id"] for s in shapes if s["metadata"]["id"].startswith("gpu.")]
    return min(names, key=len)


def test_nvml_agrees_with_the_drivers_own_tool(gpus: tuple[Device, ...]) -> None:
    asked = ["nvidia-smi", "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits"]
    rows = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    told = {row.split(", ")[0]: int(row.split(", ")[1]) for row in rows}
    assert set(told) >= {d.uuid for d in gpus if not d.mig_profile}
    for device in gpus:
        if not device.mig_profile:
            assert abs(told[device.uuid] - device.memory_mib) < 2
        assert device.driver_version
        assert not device.is_simulated


def test_devices_are_those_that_the_drivers_own_tool_lists(gpus: tuple[Device, ...]) -> None:
    """Of a partitioned GPU its instances, by UUID and profile, and not the GPU itself."""
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    for device in gpus:
        (line,) = [line for line in listed.splitlines() if f"UUID: {device.uuid})" in line]
        if device.mig_profile:
            assert f"MIG {device.mig_profile} " in line
            assert device.parent_uuid in listed
            assert device.parent_uuid not in {d.uuid for d in gpus}


def test_health_of_gpus_that_work_reads_well_each_time(gpus: tuple[Device, ...]) -> None:
    async def scenario() -> None:
        reader = MachineHealth(SystemClock(), NvmlHealth({d.uuid: d.parent_uuid for d in gpus}))
        try:
            for _ in range(3):
                found = await reader.read()
                assert set(found) == {d.uuid for d in gpus}
                for reading in found.values():
                    assert (reading.is_lost, reading.xids, reading.ecc_errors) == (False, (), 0)
                    assert reading.detail == ""
        finally:
            reader.close()

    asyncio.run(scenario())


def test_gpu_that_is_not_there_reads_lost_beside_one_that_is(gpus: tuple[Device, ...]) -> None:
    missing = "GPU-00000000-0000-0000-0000-000000000000"
    nvml = NvmlHealth({gpus[0].uuid: gpus[0].parent_uuid, missing: ""})
    try:
        for _ in range(2):  # NVML is opened anew in between
            found = nvml.read()
            assert found[missing].is_lost
            assert not found[gpus[0].uuid].is_lost
            assert found[gpus[0].uuid] != Reading(is_lost=True)
    finally:
        nvml.close()


ALLOCATES = """
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
for done in (cuda.cuInit(0), cuda.cuDeviceGet(ctypes.byref(device), 0),
             cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device)):
    assert done == 0, done
for mib in map(int, sys.argv[1:]):
    print(cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(mib * 2**20)), end=" ")
"""


@pytest.fixture
def mps(gpus: tuple[Device, ...], tmp_path: Path) -> Generator[Mps]:
    """A daemon of this test's own."""
    if shutil.which(DAEMON) is None:
        pytest.skip(f"{DAEMON} is not installed")
    if find_mps() is not None:
        pytest.skip("an MPS daemon of this machine's own runs")
    del gpus
    env = {**os.environ, PIPES_ENV: str(tmp_path), "CUDA_MPS_LOG_DIRECTORY": str(tmp_path)}
    subprocess.run([DAEMON, "-d"], env=env, check=True)
    try:
        found = eventually("the daemon", find_mps)
        assert found is not None
        yield found
    finally:
        subprocess.run([DAEMON], input="quit\n", text=True, env=env, check=True, timeout=60)


def test_program_gets_no_more_memory_than_its_share_when_mps_runs(
    mps: Mps, gpus: tuple[Device, ...], tmp_path: Path
) -> None:
    assert mps == Mps(tmp_path)
    device = gpus[0]
    share_mib = device.memory_mib // 4
    env = dict(os.environ) | {"CUDA_VISIBLE_DEVICES": device.uuid} | dict(limits(mps, 0.25, [share_mib]))
    sizes = [str(device.memory_mib // 2), str(device.memory_mib // 16)]
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATES, *sizes], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["2", "0"], done.stderr  # 2: CUDA_ERROR_OUT_OF_MEMORY


def test_job_sees_exactly_its_gpu(home: World, sdk: Sdk, gpus: tuple[Device, ...]) -> None:
    job = sdk.create(home, "sees", "echo $CUDA_VISIBLE_DEVICES", resource_shape=shape(home, sdk))
    eventually("its end", lambda: sdk.state(home, job) == "Completed")
    assert sdk.log(home, job).strip() in {d.uuid for d in gpus}


def test_torch_job_computes_on_exactly_its_gpu(home: World, sdk: Sdk) -> None:
    pytest.importorskip("torch", reason="torch is not installed beside the tests")
    code = "import torch; x = torch.ones(2048, 2048, device='cuda'); "
    code += "print(torch.cuda.device_count(), (x @ x).sum().item() == 2048 ** 3)"
    job = sdk.create(home, "torch", f'{sys.executable} -c "{code}"', resource_shape=shape(home, sdk))
    eventually("its end", lambda: sdk.state(home, job) in ("Completed", "Failed"))
    assert sdk.log(home, job).strip() == "1 True"


def test_figures_agree_with_the_drivers_own_tool(gpus: tuple[Device, ...]) -> None:
    asked = ["nvidia-smi", "--query-gpu=uuid,memory.total,temperature.gpu", "--format=csv,noheader,nounits"]
    rows = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    nvml = Nvml()
    try:
        found = nvml.read([d.uuid for d in gpus])
    finally:
        nvml.close()
    assert set(found) == {d.uuid for d in gpus}
    for uuid, total_mib, heat in (row.split(", ") for row in rows):
        usage = found[uuid]
        assert usage.memory_total_bytes is not None
        assert abs(usage.memory_total_bytes / 2**20 - int(total_mib)) < 2
        assert usage.memory_used_bytes is not None
        assert 0 <= usage.memory_used_bytes <= usage.memory_total_bytes
        assert usage.percent is None or 0 <= usage.percent <= 100
        assert usage.temperature_c is not None
        assert abs(usage.temperature_c - float(heat)) < 15
        assert not usage.is_simulated
