"""What only Docker has: staged mounts, networks, ports, events, an engine that hangs."""

import asyncio
import contextlib
import ctypes
import os
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from homeport.runtime.clock import SystemClock
from homeport.runtime.drivers import docker_engine, docker_mounts, docker_stage
from homeport.runtime.drivers.docker import DockerDriver
from homeport.runtime.errors import (
    DeviceGone,
    DriverError,
    ImagePullFailed,
    LaunchRefused,
    MountRejected,
    RuntimeUnavailable,
)
from homeport.runtime.model import ContainerSpec, ContainerState, Handle, LogEntry, Mount, Observed, Port
from tests.images import bash_image
from tests.relay import Relay
from tests.world import require_docker

pytestmark = pytest.mark.docker
DEADLINE_S = 30


class Bench:
    """A driver of an instance of its own; everything of it is gone afterwards."""

    def __init__(self, folder: Path) -> None:
        self.api = require_docker()
        self.image = bash_image(self.api)
        self.instance = uuid4().hex[:8]
        self.stage = folder / "stage"
        self.driver = self.new_driver()

    def new_driver(self, **more: Any) -> DockerDriver:
        return DockerDriver(self.instance, SystemClock(), **{"stage": self.stage} | more)

    def spec(self, script: str, replica: str = "r0", **more: Any) -> ContainerSpec:
        return ContainerSpec(
            instance=self.instance,
            workload_id="w",
            replica_id=replica,
            attempt=1,
            generation=1,
            image=self.image,
            command=("bash", "-c", script),
            memory_mib=64,
            **more,
        )

    async def seen(self, handle: Handle, driver: DockerDriver | None = None) -> Observed:
        return next(o for o in await (driver or self.driver).list_owned() if o.handle.id == handle.id)

    async def end_of(self, handle: Handle) -> Observed:
        async def ended() -> Observed | None:
            seen = await self.seen(handle)
            return seen if seen.state is ContainerState.EXITED else None

        return await eventually(ended)

    async def run(self, script: str, **more: Any) -> tuple[int | None, str]:
        handle = await self.driver.start(self.spec(script, **more))
        seen = await self.end_of(handle)
        text = b"".join([entry.data for entry in await entries(self.driver, handle)]).decode()
        await self.driver.remove(handle)
        return seen.exit_code, text


async def eventually(look: Callable[[], Awaitable[Any]]) -> Any:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if found := await look():
            return found
        await asyncio.sleep(0.05)
    pytest.fail(f"not within {DEADLINE_S} s")


async def entries(driver: DockerDriver, handle: Handle, *, follow: bool = False) -> list[LogEntry]:
    return [entry async for batch in driver.logs(handle, follow=follow) for entry in batch]


@pytest.fixture
def bench(tmp_path: Path) -> Generator[Bench]:
    made = Bench(tmp_path)
    try:
        yield made
    finally:
        asyncio.run(_clean(made))


async def _clean(bench: Bench) -> None:
    driver = bench.new_driver()
    await driver.purge()
    await driver.close()
    await bench.driver.close()
    label = {"label": f"homeport.instance={bench.instance}"}
    left = [bench.api.containers(all=True, filters=label), bench.api.networks(filters=label)]
    left.append(bench.api.volumes(filters=label)["Volumes"] or [])
    assert left == [[], [], []]
    assert str(bench.stage) not in Path("/proc/self/mounts").read_text()
    assert not bench.stage.exists() or os.listdir(bench.stage) == []


# Mounts


def test_what_a_container_writes_is_in_the_directory_and_nothing_stays_staged(
    bench: Bench, tmp_path: Path
) -> None:
    async def body() -> None:
        root = tmp_path / "share"
        (root / "in").mkdir(parents=True)
        (root / "in" / "seed").write_text("seed\n")
        mounts = (Mount("/data", root, "/in"), Mount("/ro", root, "/new/deep", is_read_only=True))
        script = "cat /data/seed; echo out > /data/made; touch /ro/x 2>&1 || echo refused"
        code, text = await bench.run(script, mounts=mounts)
        assert (code, "refused" in text, text.startswith("seed")) == (0, True, True)
        assert (root / "in" / "made").read_text() == "out\n"
        assert os.listdir(root / "new" / "deep") == []
        assert os.listdir(bench.stage) == []
        assert bench.stage.stat().st_mode & 0o777 == 0o700

    asyncio.run(body())


def test_a_running_container_keeps_its_mount_when_the_stage_is_gone(bench: Bench, tmp_path: Path) -> None:
    async def body() -> None:
        script = "until [ -e /data/go ]; do sleep 0.05; done; echo late > /data/answer"
        handle = await bench.driver.start(bench.spec(script, mounts=(Mount("/data", tmp_path / "share"),)))
        assert str(bench.stage) not in Path("/proc/self/mounts").read_text()
        (tmp_path / "share" / "go").touch()
        assert (await bench.end_of(handle)).exit_code == 0
        assert (tmp_path / "share" / "answer").read_text() == "late\n"

    asyncio.run(body())


def test_what_is_mounted_below_is_there_and_stays_on_the_host(bench: Bench, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")

    async def body() -> None:
        below = tmp_path / "share" / "below"
        below.mkdir(parents=True)
        _tmpfs(below)
        try:
            (below / "file").write_text("x")
            assert await bench.run("cat /data/below/file", mounts=(Mount("/data", tmp_path / "share"),)) == (
                0,
                "x",
            )
            assert (below / "file").read_text() == "x"
        finally:
            docker_stage.unmount(below)

    asyncio.run(body())


def _tmpfs(target: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"none", bytes(target), b"tmpfs", 0, None) == 0


@pytest.mark.parametrize("is_staged", [True, False])
def test_a_path_that_leaves_its_root_is_refused_and_leaves_nothing(
    bench: Bench, tmp_path: Path, is_staged: bool
) -> None:
    async def body() -> None:
        root = tmp_path / "share"
        root.mkdir()
        (root / "out").symlink_to("/etc")
        driver = bench.new_driver(stage=bench.stage if is_staged else None)
        with pytest.raises(MountRejected, match=r"^mount at /data: .*absolute"):
            await driver.start(bench.spec("true", mounts=(Mount("/data", root, "out"),)))
        assert await driver.list_owned() == []
        await driver.close()

    asyncio.run(body())


@pytest.mark.parametrize("is_staged", [True, False])
def test_swapping_the_directory_during_the_start_never_shows_what_is_outside(
    bench: Bench, tmp_path: Path, is_staged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exchanged after the proof and before Docker mounts it: the moment that matters."""

    async def body() -> None:
        root, outside = tmp_path / "share", tmp_path / "outside"
        (root / "dir").mkdir(parents=True)
        (root / "dir" / "mark").write_text("inside\n")
        outside.mkdir()
        (outside / "mark").write_text("secret")
        driver = bench.new_driver(stage=bench.stage if is_staged else None)
        create = driver._create_and_start  # pyright: ignore[reportPrivateUsage]

        def swap_first(*args: Any) -> Handle:
            (root / "dir").rename(root / "aside")
            (root / "dir").symlink_to(outside)
            return create(*args)

        monkeypatch.setattr(driver, "_create_and_start", swap_first)
        spec = bench.spec("cat /data/mark; sleep 60", mounts=(Mount("/data", root, "dir"),))
        if is_staged:
            handle = await driver.start(spec)
            first = await eventually(lambda: entries(driver, handle))
            assert first[0].data == b"inside\n"
        else:
            with pytest.raises(MountRejected, match="exchanged"):
                await driver.start(spec)
            assert await driver.list_owned() == []
        await driver.close()

    asyncio.run(body())


def test_leftovers_of_a_killed_server_are_unmounted_never_emptied(bench: Bench, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    share = tmp_path / "share"
    (share / "below").mkdir(parents=True)
    (share / "precious").write_text("x")
    _tmpfs(share / "below")
    (share / "below" / "precious").write_text("y")
    point = bench.stage / "abc" / "mount"
    point.mkdir(parents=True)
    docker_stage.mount(str(share), point, docker_stage.MS_BIND | docker_stage.MS_REC)
    (bench.stage / "halfway").mkdir()
    asyncio.run(bench.new_driver().close())
    try:
        assert os.listdir(bench.stage) == []
        assert (share / "precious").read_text() == "x"
        assert (share / "below" / "precious").read_text() == "y"
    finally:
        docker_stage.unmount(share / "below")


def test_an_nfs_export_is_a_volume_of_the_engine_that_goes_with_its_container(bench: Bench) -> None:
    async def body() -> None:
        mount = Mount("/data", None, "/team/a", nfs="127.0.0.1:/export", is_read_only=True)
        spec = bench.spec("true", mounts=(mount,))
        with pytest.raises(
            MountRejected, match=r"127\.0\.0\.1:/export cannot be mounted"
        ):  # no NFS server here
            await bench.driver.start(spec)
        await bench.driver.remove(Handle(spec.name, spec.name))

    asyncio.run(body())
    label = {"label": f"homeport.instance={bench.instance}"}
    assert not bench.api.volumes(filters=label)["Volumes"]


@pytest.mark.parametrize(
    ("mount", "options"),
    [
        pytest.param(
            Mount("/data", None, "/team/a", nfs="nas.local:/export/"),
            {"type": "nfs", "o": "addr=nas.local,rw,nfsvers=4", "device": ":/export/team/a"},
            id="read-write",
        ),
        pytest.param(
            Mount("/data", None, nfs="[fd00::1]:/", is_read_only=True),
            {"type": "nfs", "o": "addr=fd00::1,ro,nfsvers=4", "device": ":/"},
            id="read-only",
        ),
    ],
)
def test_nfs_options(bench: Bench, mount: Mount, options: dict[str, str]) -> None:
    api = bench.api
    config = api.create_host_config(mounts=[docker_mounts.nfs_mount(mount, bench.instance)])
    made = api.create_container(bench.image, "true", host_config=config)["Id"]
    try:
        (sent,) = api.inspect_container(made)["HostConfig"]["Mounts"]
        assert sent["VolumeOptions"]["DriverConfig"] == {"Name": "local", "Options": options}
        assert sent["VolumeOptions"]["Labels"] == {"homeport.instance": bench.instance}
        label = {"label": f"homeport.instance={bench.instance}"}
        (volume,) = api.volumes(filters=label)["Volumes"]
        assert volume["Options"] == options
    finally:
        api.remove_container(made, force=True, v=True)
    assert not api.volumes(filters=label)["Volumes"]


@pytest.mark.parametrize(
    ("nfs", "path"),
    [
        pytest.param("nas,sec=krb5:/x", "/", id="more-options"),
        pytest.param("nas", "/", id="no-export"),
        pytest.param("nas:x", "/", id="a-relative-export"),
        pytest.param("nas:/x", "/../y", id="a-path-that-leaves"),
        pytest.param("nas:/../x", "/", id="an-export-that-leaves"),
    ],
)
def test_nfs_refuses(nfs: str, path: str) -> None:
    with pytest.raises(MountRejected):
        docker_mounts.nfs_mount(Mount("/data", None, path, nfs=nfs), "i")


# Groups


def test_members_of_a_group_find_each_other_by_name_and_others_do_not(bench: Bench) -> None:
    async def body() -> None:
        names = ("worker-0.hello-ab12-job-svc", "worker-0")
        server = await bench.driver.start(
            bench.spec("echo hi | busybox nc -l -p 7000", "r0", group="job1", aliases=names)
        )
        script = (
            "for name in worker-0.hello-ab12-job-svc; do "
            "for i in $(seq 100); do cat </dev/tcp/$name/7000 && exit 0; sleep 0.05; done; done; exit 9"
        )
        assert (await bench.run(script, replica="r1", group="job1", aliases=("worker-1",)))[0] == 0
        assert (await bench.end_of(server)).exit_code == 0
        await bench.driver.start(bench.spec("sleep 60", "r2", group="job1", aliases=("worker-0",)))
        other = "exec 3<>/dev/tcp/worker-0/7000"
        code, text = await bench.run(other, replica="r3", group="job2", aliases=("worker-0b",))
        assert code != 0
        assert "Name or service" in text or "Temporary failure" in text or "invalid" in text.lower(), text
        assert await bench.driver.list_groups() == ["job1", "job2"]
        with pytest.raises(DriverError, match="active endpoints"):
            await bench.driver.remove_group("job1")
        await bench.driver.remove_group("job2")
        await bench.driver.remove_group("job2")
        assert await bench.driver.list_groups() == ["job1"]

    asyncio.run(body())


def test_group_networks_are_small_and_avoid_what_is_taken(bench: Bench) -> None:
    async def body() -> None:
        from docker.types import IPAMConfig, IPAMPool

        taken = bench.api.create_network(
            "foreign-" + bench.instance,
            ipam=IPAMConfig(pool_configs=[IPAMPool(subnet="10.214.0.0/25")]),
        )["Id"]
        try:
            driver = bench.new_driver(network_pool="10.214.0.0/24")
            await asyncio.gather(
                *(driver.start(bench.spec("sleep 60", f"r{i}", group=f"g{i % 2}")) for i in range(4))
            )
            label = {"label": f"homeport.instance={bench.instance}"}
            found = bench.api.networks(filters=label)
            subnets = sorted(n["IPAM"]["Config"][0]["Subnet"] for n in found)
            assert subnets == ["10.214.0.128/26", "10.214.0.192/26"]
            with pytest.raises(LaunchRefused, match=r"no free /26 is left in the network pool 10\.214"):
                await driver.start(bench.spec("true", "r9", group="g9"))
            await driver.close()
        finally:
            bench.api.remove_network(taken)

    asyncio.run(body())


def test_a_start_goes_on_when_somebody_pruned_the_network(bench: Bench) -> None:
    async def body() -> None:
        assert (await bench.run("true"))[0] == 0
        for network in bench.api.networks(filters={"label": f"homeport.instance={bench.instance}"}):
            bench.api.remove_network(network["Id"])
        assert (await bench.run("true", replica="r1"))[0] == 0

    asyncio.run(body())


# Ports


def test_published_ports_are_seen_and_answer(bench: Bench) -> None:
    async def body() -> None:
        ports = (Port(7000, host_port=0), Port(7001), Port(7000, "udp", host_port=0))
        handle = await bench.driver.start(bench.spec("echo hi | busybox nc -l -p 7000", ports=ports))
        udp, tcp = sorted((await bench.seen(handle)).ports, key=lambda p: p.protocol, reverse=True)
        assert (udp.container_port, udp.protocol) == (7000, "udp")
        assert (tcp.container_port, tcp.protocol) == (7000, "tcp")

        async def answer() -> bytes:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", tcp.host_port)
                with contextlib.closing(writer):
                    return await reader.read(10)
            return b""

        assert await eventually(answer) == b"hi\n"
        assert (await bench.end_of(handle)).ports == ()

    asyncio.run(body())


def test_a_host_port_that_is_taken_is_named_and_leaves_nothing(bench: Bench) -> None:
    async def body() -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            number = holder.getsockname()[1]
            with pytest.raises(LaunchRefused, match=f"^host port {number} is taken"):
                await bench.driver.start(bench.spec("true", ports=(Port(80, host_port=number),)))
        assert await bench.driver.list_owned() == []
        spec = bench.spec("sleep 60", ports=(Port(80, host_port=number),))
        first = await bench.driver.start(spec)
        assert (await bench.seen(first)).ports == (Port(80, host_port=number),)
        with pytest.raises(LaunchRefused, match=f"^host port {number} is taken"):
            await bench.driver.start(replace(spec, replica_id="r1"))
        assert [o.handle.id for o in await bench.driver.list_owned()] == [first.id]

    asyncio.run(body())


# Logs


def test_log_entries_carry_the_engines_nanoseconds(bench: Bench) -> None:
    async def body() -> None:
        long = "head -c 40000 /dev/zero | tr '\\0' x; echo"
        handle = await bench.driver.start(bench.spec(f"echo one; echo two >&2; {long}; printf end"))
        await bench.end_of(handle)
        found = await entries(bench.driver, handle)
        raw = bench.api.logs(handle.id, timestamps=True)
        stamps = re.findall(rb"(?:^|\n)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{9})Z", raw)
        assert {s for s in stamps} <= {b"%09d" % (e.at_ns % 10**9) for e in found}
        assert sorted(e.data for e in found if len(e.data) < 10) == [b"end", b"one\n", b"two\n"]
        parts = [e.data for e in found if len(e.data) >= 10]
        assert b"".join(parts) == b"x" * 40000 + b"\n"
        assert [p.endswith(b"\n") for p in parts] == [False, False, True]
        assert all(abs(e.at_ns / 1e9 - time.time()) < 600 for e in found)
        assert await entries(bench.driver, handle) == found
        assert await entries(bench.driver, handle, follow=True) == found

    asyncio.run(body())


def test_a_long_log_comes_in_batches(bench: Bench) -> None:
    async def body() -> None:
        handle = await bench.driver.start(bench.spec("seq 100000"))
        lines, batches = 0, 0
        async for batch in bench.driver.logs(handle, follow=True):
            for entry in batch:
                lines += 1
                assert entry.data == b"%d\n" % lines
            batches += 1
        assert lines == 100_000
        assert batches < lines / 4  # far fewer on a machine that has time

    asyncio.run(body())


def test_unknown_containers_have_no_entries(bench: Bench) -> None:
    async def body() -> None:
        for follow in (False, True):
            assert await entries(bench.driver, Handle("nobody", "nobody"), follow=follow) == []

    asyncio.run(body())


def test_leaving_a_log_frees_its_thread(bench: Bench) -> None:
    async def body() -> None:
        handle = await bench.driver.start(bench.spec("echo x; sleep 60"))

        async def one() -> None:
            stream = bench.driver.logs(handle, follow=True)
            async with contextlib.aclosing(stream):
                async for _ in stream:
                    break

        await asyncio.gather(*(one() for _ in range(20)))

        async def is_free() -> bool:
            return not [t for t in threading.enumerate() if t.name == "driver-stream"]

        await eventually(is_free)

    asyncio.run(body())


def test_a_log_goes_on_when_its_connection_breaks(bench: Bench, tmp_path: Path) -> None:
    async def body() -> None:
        with Relay(tmp_path / "relay.sock") as relay:
            relay.open()
            driver = bench.new_driver(base_url=relay.url)
            wait = f"until test -e {tmp_path}/go; do sleep 0.1; done"
            mount = Mount(str(tmp_path), tmp_path)
            handle = await driver.start(bench.spec(f"echo x; {wait}; echo y", mounts=(mount,)))
            log = driver.logs(handle, follow=True)
            assert [entry.data for entry in await anext(log)] == [b"x\n"]

            async def follows() -> bool:
                return relay.answered(b"follow=1") > 0

            await eventually(follows)
            relay.cut()
            (tmp_path / "go").touch()
            assert [entry.data async for batch in log for entry in batch] == [b"y\n"]
            await driver.close()

    asyncio.run(body())


def test_a_log_whose_connection_breaks_says_so(bench: Bench, tmp_path: Path) -> None:
    async def body() -> None:
        with Relay(tmp_path / "relay.sock") as relay:
            relay.open()
            driver = bench.new_driver(base_url=relay.url)
            handle = await driver.start(bench.spec("echo x; sleep 60"))
            log = driver.logs(handle, follow=True)
            assert [entry.data for entry in await anext(log)] == [b"x\n"]
            relay.close()
            with pytest.raises(RuntimeUnavailable):
                await anext(log)
            await driver.close()

    asyncio.run(body())


def test_a_log_whose_engine_hangs_before_its_first_word_says_so(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        with Relay(tmp_path / "relay.sock") as relay:
            relay.open()
            driver = bench.new_driver(base_url=relay.url)
            handle = await driver.start(bench.spec("echo x; sleep 60"))
            monkeypatch.setattr(docker_engine, "LONG_S", 2)
            relay.hang_at(b"follow=1")
            log = driver.logs(handle, follow=True)
            assert [entry.data for entry in await anext(log)] == [b"x\n"]
            async with asyncio.timeout(DEADLINE_S):
                with pytest.raises(RuntimeUnavailable):
                    await anext(log)
            await driver.close()

    asyncio.run(body())


# Ends


def test_after_a_hint_the_end_is_in_the_list_without_polling(bench: Bench) -> None:
    async def body() -> None:
        hints = bench.driver.changes()
        await anext(hints)
        for turn in range(8):
            handle = await bench.driver.start(bench.spec("exit 7", f"r{turn}"))
            async with asyncio.timeout(DEADLINE_S):
                while not _ends(bench.driver, handle):
                    await anext(hints)
            seen = await bench.seen(handle)
            assert (seen.state, seen.exit_code) == (ContainerState.EXITED, 7)
            assert seen.finished_at_ms is not None
            assert seen.started_at_ms is not None
            assert seen.finished_at_ms >= seen.started_at_ms
            again = await bench.seen(handle)
            assert again == seen
        assert bench.driver._ends.told() == {}  # pyright: ignore[reportPrivateUsage]
        await hints.aclose()

    asyncio.run(body())


def _ends(driver: DockerDriver, handle: Handle) -> bool:
    return handle.id in driver._ends.told()  # pyright: ignore[reportPrivateUsage]


def test_what_happened_while_the_stream_was_broken_is_told_afterwards(bench: Bench, tmp_path: Path) -> None:
    async def body() -> None:
        with Relay(tmp_path / "relay.sock") as relay:
            relay.open()
            driver = bench.new_driver(base_url=relay.url)
            hints = driver.changes()
            await anext(hints)
            handle = await bench.driver.start(bench.spec("sleep 0.3; exit 5"))
            await anext(hints)
            relay.cut()
            await bench.end_of(handle)
            async with asyncio.timeout(DEADLINE_S):
                while not _ends(driver, handle):
                    await anext(hints)
            assert (await bench.seen(handle, driver)).exit_code == 5
            await hints.aclose()
            await driver.close()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param("exec tail /dev/zero", (137, True), id="the-main-process"),
        pytest.param("(tail /dev/zero); exit 3", (3, False), id="only-a-child"),
        pytest.param("kill -9 $$", (137, False), id="killed-for-another-reason"),
    ],
)
def test_out_of_memory(bench: Bench, script: str, expected: tuple[int, bool]) -> None:
    async def body() -> None:
        handle = await bench.driver.start(bench.spec(script))
        seen = await bench.end_of(handle)
        assert (seen.exit_code, seen.oom_killed) == expected

    asyncio.run(body())


# The engine


def test_a_hanging_engine_is_unavailable_and_wedges_nothing(bench: Bench, tmp_path: Path) -> None:
    async def body() -> None:
        with Relay(tmp_path / "relay.sock") as relay:
            relay.open()
            driver = bench.new_driver(base_url=relay.url)
            handle = await driver.start(bench.spec("sleep 60"))
            relay.hang()
            starting = asyncio.create_task(driver.start(bench.spec("true", "r1")))
            stopping = [asyncio.create_task(driver.stop(handle, grace_s=30)) for _ in range(20)]
            pings = [asyncio.create_task(driver.ping()) for _ in range(20)]
            for look in (driver.ping, driver.list_owned, driver.list_groups, lambda: entries(driver, handle)):
                began = time.monotonic()
                with pytest.raises(RuntimeUnavailable):
                    await look()
                assert time.monotonic() - began < 30  # not as long as the engine hangs
            results = await asyncio.gather(*pings, return_exceptions=True)
            assert {type(result) for result in results} == {RuntimeUnavailable}
            relay.resume()
            await driver.ping()
            assert (await bench.seen(handle, driver)).state in (ContainerState.RUNNING, ContainerState.EXITED)
            await asyncio.gather(*stopping)
            assert (await bench.end_of(handle)).exit_code is not None
            assert (await bench.end_of(await starting)).exit_code == 0
            await driver.close()

    asyncio.run(body())


def test_no_engine_is_unavailable(tmp_path: Path) -> None:
    async def body() -> None:
        driver = DockerDriver("nobody", SystemClock(), base_url=f"unix://{tmp_path}/none.sock")
        for look in (driver.ping, driver.list_owned, driver.list_groups, driver.purge):
            with pytest.raises(RuntimeUnavailable):
                await look()
        with pytest.raises(RuntimeUnavailable):
            await entries(driver, Handle("x", "x"))
        await driver.close()

    asyncio.run(body())


def test_a_pull_from_a_registry_that_hangs_can_be_cancelled(bench: Bench) -> None:
    async def body() -> None:
        with socket.create_server(("127.0.0.1", 0)) as registry:  # accepts, and never says a word
            image = f"127.0.0.1:{registry.getsockname()[1]}/x:1"
            hanging = [
                asyncio.create_task(bench.driver.prepare(replace(bench.spec("true"), image=image)))
                for _ in range(3)
            ]
            await asyncio.sleep(0.2)
            assert (await bench.run("true"))[0] == 0
            for task in hanging:
                task.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)
        with pytest.raises(ImagePullFailed):
            await bench.driver.prepare(replace(bench.spec("true"), image="127.0.0.1:9/x:1"))

    asyncio.run(body())


def test_a_never_started_container_of_the_same_attempt_is_made_anew(bench: Bench, tmp_path: Path) -> None:
    """As a server that was killed between create and start leaves it: its staged mounts are gone."""

    async def body() -> None:
        from docker.types import Mount as EngineMount

        gone = tmp_path / "gone"
        gone.mkdir()
        spec = bench.spec("cat /data/x", mounts=(Mount("/data", tmp_path / "share"),))
        bench.api.create_container(
            bench.image,
            "true",
            name=spec.name,
            labels={"homeport.instance": bench.instance},
            host_config=bench.api.create_host_config(mounts=[EngineMount("/data", str(gone), type="bind")]),
        )
        gone.rmdir()
        (tmp_path / "share").mkdir()
        (tmp_path / "share" / "x").write_text("found")
        one, other = await asyncio.gather(bench.driver.start(spec), bench.driver.start(spec))
        assert one == other
        assert (await bench.end_of(one)).exit_code == 0
        assert b"".join(e.data for e in await entries(bench.driver, one)) == b"found"

    asyncio.run(body())


def test_a_gpu_the_engine_cannot_give_is_one_clear_sentence(bench: Bench) -> None:
    async def body() -> None:
        if "nvidia" in bench.api.info()["Runtimes"]:
            pytest.skip("this engine can")
        with pytest.raises(DeviceGone, match="install nvidia-container-toolkit"):
            await bench.driver.start(bench.spec("true", gpu_uuids=("GPU-x",)))
        assert await bench.driver.list_owned() == []

    asyncio.run(body())


def test_another_instances_containers_are_nobodys_business(bench: Bench) -> None:
    async def body() -> None:
        spec = bench.spec("sleep 60")
        foreign = bench.api.create_container(bench.image, "true", name=spec.name)["Id"]
        try:
            with pytest.raises(LaunchRefused, match="exists and is not ours"):
                await bench.driver.start(spec)
            assert await bench.driver.list_owned() == []
        finally:
            bench.api.remove_container(foreign, force=True)

    asyncio.run(body())
