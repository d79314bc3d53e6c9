"""How a container asks a Docker engine for GPUs. Engines differ, so there is an order to try."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from docker.types import DeviceRequest

from ..errors import DeviceGone

# What engines say when they cannot give a GPU; measured on 20.10 and 26.1.
NO_GPU_TEXTS = (
    "could not select device driver",
    "unresolvable CDI devices",
    "unknown or invalid runtime name",
    "Unknown runtime specified",
)


@dataclass(frozen=True, slots=True)
class GpuRequest:
    device_requests: tuple[DeviceRequest, ...] = ()
    runtime: str | None = None
    env: tuple[str, ...] = ()


def gpu_requests(client: Any, uuids: Sequence[str]) -> list[GpuRequest]:
    """
    In the order to try them; where the last one is refused there are no GPUs to be had.
    That an engine has CDI folders does not say that a spec lies in them.
    """
    if not uuids:
        return [GpuRequest()]
    components = client.version().get("Components") or [{}]
    if components[0].get("Name") == "Podman Engine":
        raise DeviceGone("Podman ignores GPU requests silently, so none is made: use Docker for GPU work")
    info = client.info()
    ways: list[GpuRequest] = []
    if info.get("CDISpecDirs"):
        ways.append(
            GpuRequest((DeviceRequest(driver="cdi", device_ids=[f"nvidia.com/gpu={u}" for u in uuids]),))
        )
    ways.append(GpuRequest((DeviceRequest(device_ids=list(uuids), capabilities=[["gpu"]]),)))
    if "nvidia" in (info.get("Runtimes") or {}):
        ways.append(GpuRequest(runtime="nvidia", env=(f"NVIDIA_VISIBLE_DEVICES={','.join(uuids)}",)))
    return ways


def is_gpu_refusal(text: str) -> bool:
    return any(known in text for known in NO_GPU_TEXTS)


def gpu_refusal(text: str) -> DeviceGone:
    return DeviceGone(
        "this Docker engine cannot give GPUs to containers: install nvidia-container-toolkit, "
        f"run `nvidia-ctk cdi generate` and restart dockerd ({text})"
    )
