"""What Run:ai's lists say that a workload asks for."""

import pytest

from homeport.server.api.runai.translate.seen import asked
from tests.unit.test_runai_specs import seen, spec

COMPUTE = {"gpuRequestType": "memory", "gpuMemoryRequest": "10G", "gpuMemoryLimit": "20Gi"}


@pytest.mark.parametrize(
    ("pods", "told"),
    [
        pytest.param(1, {"request": "10G", "limit": "20Gi"}, id="one-pod-as-it-was-sent"),
        pytest.param(2, {"request": "19074Mi", "limit": "40960Mi"}, id="several-added-up"),
    ],
)
def test_limit_of_gpu_memory_is_told_when_it_was_sent(pods: int, told: dict[str, str]) -> None:
    assert asked(seen(spec(compute=COMPUTE)), pods)["gpuMemory"] == told


def test_gpu_memory_has_no_limit_when_none_was_sent() -> None:
    compute = {name: value for name, value in COMPUTE.items() if name != "gpuMemoryLimit"}
    assert asked(seen(spec(compute=compute)))["gpuMemory"] == {"request": "10G"}
