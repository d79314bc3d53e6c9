"""Real GPUs, wherever some are at hand: NVML's figures, and what a job sees of them."""

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from homeport.runtime.inventory import real_devices
from homeport.runtime.metrics import Nvml
from homeport.runtime.model import Device
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
    assert set(told) == {d.uuid for d in gpus}
    for device in gpus:
        assert abs(told[device.uuid] - device.memory_mib) < 2
        assert device.driver_version
        assert not device.is_simulated


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
