"""Shares of a GPU in real containers, and containers whose devices are taken from them."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from homeport.runtime.clock import SystemClock
from homeport.runtime.drivers.docker import DockerDriver
from homeport.runtime.drivers.docker_gpus import DEVICES_V1, allows_nvidia
from homeport.runtime.model import ContainerSpec, ContainerState, Handle
from homeport.runtime.mps import Mps, find_mps
from homeport.server.domain.inventory import HostNode, NodeGpu
from homeport.server.domain.workload import Attempt
from homeport.server.reconcile.gpus import hand_over
from tests.images import bash_image
from tests.world import require_docker

pytestmark = pytest.mark.docker
DEADLINE_S = 30
NODE = HostNode("n", "default", 8, 65536, (NodeGpu("GPU-1", "NVIDIA H100", 81920, False),))
HALF = Attempt("r0", 1, "w", 0, "n", 1, 64, 1, gpu_uuids=("GPU-1",), gpu_portion=0.5)


class Bench:
    """A driver of an instance of its own, and containers with devices that stand for NVIDIA's."""

    def __init__(self, folder: Path) -> None:
        self.api: Any = require_docker()
        self.image = bash_image(self.api)
        self.instance = uuid4().hex[:8]
        self.driver = DockerDriver(self.instance, SystemClock(), stage=folder / "stage")
        self._made: list[str] = []

    def spec(self, script: str, **more: Any) -> ContainerSpec:
        command = ("bash", "-c", script)
        return ContainerSpec(self.instance, "w", "r0", 1, 1, self.image, command, memory_mib=64, **more)

    async def run(self, spec: ContainerSpec) -> str:
        handle = await self.driver.start(spec)

        async def ended() -> bool:
            found = [o for o in await self.driver.list_owned() if o.handle.id == handle.id]
            return found[0].state is ContainerState.EXITED

        await eventually(ended)
        text = b"".join([e.data async for batch in self.driver.logs(handle, follow=False) for e in batch])
        await self.driver.remove(handle)
        return text.decode()

    def with_control(self, script: str = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done") -> Handle:
        """Its /dev/nvidiactl is /dev/null, which it may use until somebody takes it away."""
        host = self.api.create_host_config(devices=["/dev/null:/dev/nvidiactl:rwm"])
        made = self.api.create_container(self.image, ["bash", "-c", script], host_config=host)
        self._made.append(made["Id"])
        self.api.start(made["Id"])
        return Handle(made["Id"], "with-control")

    async def close(self) -> None:
        for container in self._made:
            self.api.remove_container(container, force=True, v=True)
        await self.driver.purge()
        await self.driver.close()


async def eventually(look: Callable[[], Awaitable[Any]]) -> Any:
    clock = SystemClock()
    end = clock.monotonic_s() + DEADLINE_S
    while clock.monotonic_s() < end:
        if found := await look():
            return found
        await clock.sleep(0.05)
    pytest.fail(f"not within {DEADLINE_S} s")


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[Bench], Awaitable[None]]], None]:
    def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
        async def whole() -> None:
            bench = Bench(tmp_path)
            try:
                await scenario(bench)
            finally:
                await bench.close()

        asyncio.run(asyncio.wait_for(whole(), 120))

    return run


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Mps]:
    """What can be seen of an MPS daemon: a control socket on which somebody listens."""
    pipes = tmp_path / "mps"
    pipes.mkdir()
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(pipes / "control"))
        control.listen()
        found = find_mps(default=pipes)
        assert found == Mps(pipes)
        yield found


@contextlib.contextmanager
def in_shared_memory() -> Generator[str]:
    """A file in this host's /dev/shm."""
    path = Path("/dev/shm") / f"homeport-{uuid4().hex[:8]}"
    path.touch()
    try:
        yield path.name
    finally:
        path.unlink()


# No engine of a machine without GPUs gives one, so containers here get all of a share but the device.
def share(bench: Bench, mps: Mps | None, script: str) -> ContainerSpec:
    given = hand_over(NODE, HALF, lambda: mps)
    return replace(bench.spec(script), env=given.env, mps_pipes=given.mps_pipes)


def test_share_reaches_the_mps_daemon_with_its_limits(play: Any, daemon: Mps) -> None:
    async def scenario(bench: Bench) -> None:
        with in_shared_memory() as name:
            script = f"test -S {daemon.pipes}/control && echo socket; test -e /dev/shm/{name} && echo shared;"
            script += "echo $HOMEPORT_GPU_PORTION $CUDA_VISIBLE_DEVICES $CUDA_MPS_PIPE_DIRECTORY;"
            script += "echo $CUDA_MPS_PINNED_DEVICE_MEM_LIMIT $CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"
            told = (await bench.run(share(bench, daemon, script))).splitlines()
        assert told == ["socket", "shared", f"0.5 GPU-1 {daemon.pipes}", "0=40960M 50"]

    play(scenario)


def test_share_has_nothing_of_the_host_when_there_is_no_mps(play: Any) -> None:
    async def scenario(bench: Bench) -> None:
        with in_shared_memory() as name:
            script = f"test -e /dev/shm/{name} || echo apart; echo $HOMEPORT_GPU_PORTION; env | grep MPS"
            assert (await bench.run(share(bench, None, script))).splitlines() == ["apart", "0.5"]

    play(scenario)


def take_away(container: str) -> None:
    """What systemd does to a device that it does not know of; /dev/null stands for it, so 1:3."""
    folder = DEVICES_V1 / "docker" / container
    if not (folder / "devices.deny").exists():
        pytest.skip("devices can be taken from a container by hand only where cgroups are of version 1")
    (folder / "devices.deny").write_text("c 1:3 rwm")


def test_container_is_known_to_have_lost_its_gpus_when_its_cgroup_forbids_them(play: Any) -> None:
    async def scenario(bench: Bench) -> None:
        robbed, other = bench.with_control(), bench.with_control()
        assert await bench.driver.keeps_gpus(robbed) is True
        take_away(robbed.id)
        assert await bench.driver.keeps_gpus(robbed) is False
        assert await bench.driver.keeps_gpus(other) is True

    play(scenario)


def test_nothing_is_lost_when_a_container_never_had_such_a_device(play: Any) -> None:
    async def scenario(bench: Bench) -> None:
        handle = await bench.driver.start(bench.spec("sleep 60"))
        assert await bench.driver.keeps_gpus(handle) is True

    play(scenario)


def test_it_cannot_be_told_when_there_is_no_shell_or_no_container(play: Any) -> None:
    async def scenario(bench: Bench) -> None:
        handle = bench.with_control("rm /bin/sh; while :; do read -t 1 </dev/zero; done")

        async def has_no_shell() -> bool:
            return await bench.driver.keeps_gpus(handle) is None

        await eventually(has_no_shell)
        bench.api.stop(handle.id, timeout=0)
        assert await bench.driver.keeps_gpus(handle) is None
        assert await bench.driver.keeps_gpus(Handle("0" * 64, "unknown")) is None

    play(scenario)


@pytest.mark.parametrize(
    ("devices", "is_allowed"),
    [
        ("a *:* rwm", True),
        ("c 1:3 rwm\nc 195:* rwm\n", True),
        ("c 195:255 rw\n", True),
        ("b 195:0 rwm\nc 1:195 rwm\n", False),
        ("c 1:3 rwm\n", False),
        ("", False),
    ],
)
def test_rules_of_a_cgroup_tell_whether_nvidias_devices_are_allowed(devices: str, is_allowed: bool) -> None:
    assert allows_nvidia(devices) is is_allowed
