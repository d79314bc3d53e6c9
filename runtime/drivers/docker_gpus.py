"""How a container asks a Docker engine for GPUs. Engines differ, so there is an order to try."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from docker.types import DeviceRequest
from docker.types import Mount as EngineMount

from ..errors import DeviceGone
from ..model import ContainerSpec, Handle
from .docker_engine import Engine

# What engines say when they cannot give a GPU; measured on 20.10 and 26.1.
NO_GPU_TEXTS = (
    "could not select device driver",
    "unresolvable CDI devices",
    "unknown or invalid runtime name",
    "Unknown runtime specified",
)
DEVICES_V1 = Path("/sys/fs/cgroup/devices")
NVIDIA_MAJOR = "195"  # of /dev/nvidia* and /dev/nvidiactl. Source: Linux' list of allocated devices
CONTROL = "/dev/nvidiactl"  # without it no program finds any GPU
OPENS_CONTROL = ("/bin/sh", "-c", f"[ ! -e {CONTROL} ] || : <{CONTROL}")
CANNOT_OPEN = (1, 2)  # busybox and bash, dash


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


def mps_mounts(spec: ContainerSpec) -> list[EngineMount]:
    """What programs need to reach the MPS daemon of this host."""
    if spec.mps_pipes is None:
        return []
    return [EngineMount(str(spec.mps_pipes), str(spec.mps_pipes), type="bind")]


def keeps_gpus(engine: Engine, handle: Handle) -> bool | None:
    """
    Whether a running container may still open NVIDIA's devices. Blocking.

    The devices that its cgroup allows can be read in version 1 only. In version 2 they are a program in
    the kernel, and only somebody inside can tell: a shell there opens the device, as its root, so that
    nothing but the cgroup can refuse. Where there is no shell it cannot be told: None.

    Source: NVIDIA/nvidia-container-toolkit#48, by which `systemctl daemon-reload` takes them away.
    """
    if allows_nvidia(_devices_v1(handle.id)):
        return True
    api = engine.quick
    try:
        exec_id = api.exec_create(handle.id, list(OPENS_CONTROL), user="0")["Id"]
        api.exec_start(exec_id)
        code: int | None = api.exec_inspect(exec_id)["ExitCode"]
    except NotFound:
        return None
    except APIError as error:
        if error.status_code in (400, 409):  # no shell, or it is paused or has ended
            return None
        raise
    if code == 0:
        return True
    return False if code in CANNOT_OPEN else None


def allows_nvidia(devices: str) -> bool:
    """
    Args:
        devices: devices.list of a cgroup of version 1, a line for each rule: type, major:minor, access.
    """
    rules = (line.split() for line in devices.splitlines())
    return any(
        rule[0] == "a" or (rule[0] == "c" and rule[1].split(":")[0] == NVIDIA_MAJOR)
        for rule in rules
        if len(rule) == 3
    )


def _devices_v1(container: str) -> str:
    for below in (f"docker/{container}", f"system.slice/docker-{container}.scope"):
        try:
            return (DEVICES_V1 / below / "devices.list").read_text()
        except OSError:
            continue
    return ""
