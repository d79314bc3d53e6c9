"""What a container has for itself, on real ones: scratch, secrets, who it runs as, a terminal."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homeport.runtime.container_options import ContainerOptions, EmptyDir, SecretVolume, Security
from homeport.runtime.drivers import docker_options
from homeport.runtime.drivers.docker_stage import mount
from homeport.runtime.errors import LaunchRefused, MountRejected
from homeport.runtime.model import Handle
from tests.docker.test_docker_driver import Bench, bench, entries, eventually

__all__ = ["bench"]  # the fixture
pytestmark = pytest.mark.docker
VALUE = "s3cret-of-the-test"
WAITS = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"


def run(bench: Bench, script: str, options: ContainerOptions, **more: Any) -> tuple[int | None, list[str]]:
    """How it ended, and the lines that it said."""

    async def body() -> tuple[int | None, list[str]]:
        code, text = await bench.run(script, options=options, **more)
        return code, text.splitlines()

    return asyncio.run(body())


def beside(
    bench: Bench,
    options: ContainerOptions,
    look: Callable[[Handle], Awaitable[None]],
    script: str = WAITS,
    **more: Any,
) -> None:
    """`look`, while one of them runs and has said something."""

    async def body() -> None:
        handle = await bench.driver.start(bench.spec(script, options=options, **more))
        await eventually(lambda: entries(bench.driver, handle))
        await look(handle)
        await bench.driver.remove(handle)

    asyncio.run(body())


def own_volumes(bench: Bench) -> list[str]:
    found = bench.api.volumes(filters={"label": f"homeport.instance={bench.instance}"})["Volumes"] or []
    return [one["Mountpoint"] for one in found]


# EmptyDir


def test_scratch_is_empty_for_each_container_and_gone_with_it(bench: Bench) -> None:
    options = ContainerOptions(empty_dirs=(EmptyDir("/scratch"),))
    script = "ls -A /scratch; stat -c %a /scratch; echo x > /scratch/left; ls /scratch"
    assert run(bench, script, options) == (0, ["777", "left"])
    assert own_volumes(bench) == []
    assert run(bench, script, options) == (0, ["777", "left"])


def test_scratch_on_disk_can_be_written_by_who_is_not_root(bench: Bench) -> None:
    options = ContainerOptions(
        security=Security(uid=1234, gid=55), empty_dirs=(EmptyDir("/a"), EmptyDir("/b", True))
    )
    script = "touch /a/x /b/x && stat -c '%u:%g' /a /a/x /b /b/x"
    assert run(bench, script, options) == (0, ["1234:55"] * 4)


def test_scratch_in_memory_has_its_limit_and_runs_programs(bench: Bench) -> None:
    options = ContainerOptions(empty_dirs=(EmptyDir("/fast", is_in_memory=True, size_mib=4),))
    script = (
        "grep ' /fast tmpfs ' /proc/mounts | cut -d' ' -f2,3; stat -c %a /fast;"
        "printf '#!/bin/sh\\necho ran\\n' > /fast/run; chmod +x /fast/run; /fast/run;"
        "dd if=/dev/zero of=/fast/big bs=1M count=5 2>/dev/null || echo full"
    )
    assert run(bench, script, options) == (0, ["/fast tmpfs", "777", "ran", "full"])


def test_scratch_in_memory_is_never_more_than_the_memory_of_its_container(bench: Bench) -> None:
    script = "df -m /fast | tail -n 1 | awk '{print $2}'"
    for size_mib in (None, 4096):
        options = ContainerOptions(empty_dirs=(EmptyDir("/fast", is_in_memory=True, size_mib=size_mib),))
        assert run(bench, script, options) == (0, ["64"])


# Secrets


@pytest.mark.parametrize("is_staged", [True, False])
def test_secret_is_a_file_of_its_container_and_shown_nowhere(
    bench: Bench, is_staged: bool, tmp_path: Path
) -> None:
    if is_staged and os.geteuid() != 0:
        pytest.skip("mounting needs root")
    if not is_staged:
        bench.driver = bench.new_driver(stage=None)
    options = ContainerOptions(
        security=Security(uid=1234), secrets=(SecretVolume("/etc/token", "token", 0o400),)
    )
    script = f"stat -c '%a %u' /etc/token/value; cat /etc/token/value; {WAITS}"

    async def look(handle: Handle) -> None:
        async def said() -> str:
            text = b"".join([entry.data for entry in await entries(bench.driver, handle)]).decode()
            return text if "ready" in text else ""

        assert (await eventually(said)).splitlines() == ["400 1234", f"{VALUE}ready"]
        assert VALUE not in json.dumps(bench.api.inspect_container(handle.id))
        assert VALUE not in json.dumps(bench.api.containers(all=True))
        if is_staged:  # then it is on no disk either, and at no path
            assert own_volumes(bench) == []
            assert list(bench.stage.iterdir()) == []
            assert not [
                line for line in Path("/proc/mounts").read_text().splitlines() if str(bench.stage) in line
            ]
        else:
            (place,) = own_volumes(bench)
            assert any(not folder.stat().st_mode & 0o1 for folder in Path(place).parents)

    beside(bench, options, look, script, secret_values=(("token", VALUE),))
    assert own_volumes(bench) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_secret_in_memory_cannot_be_changed_by_its_container(bench: Bench) -> None:
    options = ContainerOptions(secrets=(SecretVolume("/keys", "token"),))
    script = "(echo x > /keys/value) 2>/dev/null || echo refused; grep -c ' /keys tmpfs ro,' /proc/mounts"
    assert run(bench, script, options, secret_values=(("token", VALUE),)) == (0, ["refused", "1"])


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_secret_that_a_killed_server_left_staged_is_gone_with_the_next(bench: Bench) -> None:
    point = bench.stage / "abc" / "mount"
    point.mkdir(parents=True)
    mount("tmpfs", point, 0, kind="tmpfs", options="size=1m")
    (point / "value").write_text(VALUE)
    asyncio.run(bench.new_driver().close())
    assert list(bench.stage.iterdir()) == []
    assert str(bench.stage) not in Path("/proc/mounts").read_text()


def test_secret_without_a_value_starts_nothing(bench: Bench) -> None:
    async def body() -> None:
        options = ContainerOptions(secrets=(SecretVolume("/keys", "token"),))
        with pytest.raises(MountRejected, match=r"^mount at /keys: secret 'token' has no value"):
            await bench.driver.start(bench.spec("true", options=options))
        assert await bench.driver.list_owned() == []

    asyncio.run(body())


def test_container_that_was_created_and_not_filled_is_made_anew(bench: Bench) -> None:
    async def body() -> None:
        options = ContainerOptions(
            empty_dirs=(EmptyDir("/scratch"),), secrets=(SecretVolume("/keys", "token"),)
        )
        spec = bench.spec(
            "stat -c %a /scratch; cat /keys/value", options=options, secret_values=(("token", VALUE),)
        )
        labels = {
            "homeport.instance": bench.instance, "homeport.workload": "w", "homeport.replica": "r0",
            "homeport.attempt": "1", "homeport.generation": "1", "homeport.gpus": "",
        }  # fmt: skip
        bench.api.create_container(spec.image, ["bash", "-c", "false"], name=spec.name, labels=labels)
        handle = await bench.driver.start(spec)
        assert (await bench.end_of(handle)).exit_code == 0
        text = b"".join([entry.data for entry in await entries(bench.driver, handle)]).decode()
        assert text == f"777\n{VALUE}"

    asyncio.run(body())


# Who it is


def test_command_runs_as_the_user_and_the_groups_asked_for(bench: Bench) -> None:
    options = ContainerOptions(security=Security(uid=1234, gid=55, groups=(7, 8)))
    assert run(bench, "id -u; id -g; id -G", options) == (0, ["1234", "55", "55 7 8"])
    assert run(bench, "id -u; id -g", ContainerOptions(security=Security(uid=1234))) == (0, ["1234", "0"])


def test_root_file_system_cannot_be_written_to_and_mounts_can(bench: Bench, tmp_path: Path) -> None:
    options = ContainerOptions(
        security=Security(has_fixed_root=True), empty_dirs=(EmptyDir("/new/scratch"), EmptyDir("/m", True))
    )
    script = "touch /x 2>/dev/null || echo fixed; touch /new/scratch/x /m/x && echo written"
    assert run(bench, script, options) == (0, ["fixed", "written"])


def test_root_file_system_is_fixed_beside_a_secret_that_is_not_staged(bench: Bench) -> None:
    bench.driver = bench.new_driver(stage=None)
    options = ContainerOptions(Security(has_fixed_root=True), secrets=(SecretVolume("/run/keys", "token"),))
    assert run(bench, "cat /run/keys/value", options, secret_values=(("token", VALUE),)) == (0, [VALUE])


@pytest.mark.skipif(os.geteuid() != 0, reason="it is root's to open a volume of the engine")
def test_scratch_beside_a_fixed_root_can_be_written_by_who_is_not_root(bench: Bench) -> None:
    options = ContainerOptions(
        Security(uid=1234, gid=5, has_fixed_root=True), empty_dirs=(EmptyDir("/new/scratch"),)
    )
    script = "touch /new/scratch/x && stat -c '%a %u:%g' /new/scratch"
    assert run(bench, script, options) == (0, ["777 1234:5"])


@pytest.mark.skipif(os.geteuid() != 0, reason="it is root's to open a volume of the engine")
def test_nothing_is_left_where_the_disk_refuses_an_owner(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise PermissionError("squashed")

    monkeypatch.setattr(docker_options.os, "chown", refuse)

    async def body() -> None:
        options = ContainerOptions(
            Security(uid=1234, has_fixed_root=True), empty_dirs=(EmptyDir("/scratch"),)
        )
        with pytest.raises(MountRejected, match="cannot be given to its user: squashed"):
            await bench.driver.start(bench.spec("true", options=options))
        assert await bench.driver.list_owned() == []

    asyncio.run(body())
    assert own_volumes(bench) == []


def test_scratch_that_could_not_be_written_is_refused(bench: Bench) -> None:
    async def body() -> None:
        driver = bench.new_driver(stage=None)
        options = ContainerOptions(
            Security(uid=1234, has_fixed_root=True), empty_dirs=(EmptyDir("/scratch"),)
        )
        with pytest.raises(MountRejected, match=r"^mount at /scratch: .*take one in memory"):
            await driver.start(bench.spec("true", options=options))
        assert await driver.list_owned() == []
        await driver.close()

    asyncio.run(body())


def test_capability_is_had_beyond_those_of_any_container(bench: Bench) -> None:
    script = "grep CapEff /proc/self/status | cut -f2"
    _, (plain,) = run(bench, script, ContainerOptions())
    _, (more,) = run(bench, script, ContainerOptions(security=Security(capabilities=("IPC_LOCK",))))
    assert int(more, 16) ^ int(plain, 16) == 1 << 14  # linux/capability.h


@pytest.mark.parametrize(("may", "told"), [(None, "1"), (False, "1"), (True, "0")])
def test_privileges_can_be_gained_only_where_that_was_asked_for(
    bench: Bench, may: bool | None, told: str
) -> None:
    options = ContainerOptions(security=Security(may_gain_privileges=may))
    assert run(bench, "grep NoNewPrivs /proc/self/status | cut -f2", options) == (0, [told])


def test_image_that_runs_as_root_is_refused_where_that_must_not_be(bench: Bench) -> None:
    async def body() -> None:
        spec = bench.spec("id -u", options=ContainerOptions(security=Security(is_never_root=True)))
        with pytest.raises(LaunchRefused, match="runs as root; give it a uid"):
            await bench.driver.start(spec)
        assert await bench.driver.list_owned() == []

    asyncio.run(body())
    assert run(bench, "id -u", ContainerOptions(security=Security(uid=9, is_never_root=True))) == (0, ["9"])


@pytest.mark.parametrize(("user", "is_started"), [("1000:1000", True), ("nobody", False), ("0", False)])
def test_image_with_a_user_by_number_is_known_not_to_be_root(
    bench: Bench, user: str, is_started: bool
) -> None:
    tag = "homeport-test/user:1"
    made = bench.api.create_container(bench.image, ["true"])
    try:
        bench.api.commit(made["Id"], *tag.split(":"), changes=f"USER {user}")

        async def body() -> None:
            spec = bench.spec("id -u", options=ContainerOptions(security=Security(is_never_root=True)))
            try:
                handle = await bench.driver.start(replace(spec, image=tag))
            except LaunchRefused:
                assert not is_started
            else:
                assert is_started
                await bench.end_of(handle)
                await bench.driver.remove(handle)

        asyncio.run(body())
    finally:
        bench.api.remove_container(made["Id"])
        bench.api.remove_image(tag, force=True)


# A terminal


def test_terminal_is_one_and_its_output_is_told_line_by_line(bench: Bench) -> None:
    script = "tty; echo to-errors >&2; for i in {1..300}; do echo line $i; done; printf last"
    code, lines = run(bench, script, ContainerOptions(has_tty=True), stays=True)
    assert (code, lines) == (0, ["/dev/pts/0", "to-errors", *(f"line {i}" for i in range(1, 301)), "last"])


def test_long_lines_of_a_terminal_are_told_whole(bench: Bench) -> None:
    script = "head -c 50000 /dev/zero | tr '\\0' x; echo; echo end"
    code, lines = run(bench, script, ContainerOptions(has_tty=True))
    assert (code, [len(line) for line in lines], lines[-1]) == (0, [50000, 3], "end")


def test_log_of_a_terminal_is_followed_to_its_end(bench: Bench) -> None:
    async def body() -> None:
        spec = bench.spec(
            "for i in {1..50}; do echo line $i; sleep 0.01; done; printf last",
            options=ContainerOptions(has_tty=True),
        )
        handle = await bench.driver.start(spec)
        told = await entries(bench.driver, handle, follow=True)
        assert [e.data.strip() for e in told] == [*(b"line %d" % i for i in range(1, 51)), b"last"]
        assert told == await entries(bench.driver, handle)

    asyncio.run(body())
