"""What a container has for itself, over docker and process: the same promises; and what process refuses."""

import json
from pathlib import Path

import pytest

from homeport.runtime.clock import SystemClock
from homeport.runtime.container_options import ContainerOptions, EmptyDir, Refusal, SecretVolume, Security
from homeport.runtime.drivers.process import ProcessDriver
from homeport.runtime.errors import LaunchRefused, MountRejected
from homeport.runtime.model import Mount
from tests.contract.drivers import EXECUTION, MOUNTS, Bench, Script, contract
from tests.files import files_below

VALUE = "s3cret-of-the-test"


def shell(text: str) -> Script:
    return Script("shell", text)


@contract(MOUNTS)
async def test_scratch_is_empty_at_first_and_gone_in_the_end(bench: Bench) -> None:
    driver = bench.open()
    options = ContainerOptions(
        empty_dirs=(EmptyDir("/mnt/disk"), EmptyDir("/mnt/memory", is_in_memory=True, size_mib=2))
    )
    script = (
        "for d in /mnt/disk /mnt/memory; do ls -A $d; stat -c %a $d; echo kept > $d/left-here;"
        " cat $d/left-here; done; dd if=/dev/zero of=/mnt/memory/big bs=1M count=3 2>/dev/null || echo full"
    )
    for number in (1, 2):
        spec = bench.spec(shell(script), options=options, attempt=number)
        ended, said = await bench.run(driver, spec)
        assert (ended.exit_code, said.split()) == (0, ["777", "kept", "777", "kept", "full"])
        await driver.remove(ended.handle)
    assert not [path for path in files_below(bench.folder) if path.name == "left-here"]
    assert not Path("/mnt/disk").exists()


@contract(MOUNTS)
async def test_scratch_lies_beside_what_else_is_mounted(bench: Bench) -> None:
    driver, root = bench.open(), bench.folder / "share"
    options = ContainerOptions(empty_dirs=(EmptyDir("/mnt/share/scratch"),))
    spec = bench.spec(
        shell("echo x > /mnt/share/scratch/mine; echo y > /mnt/share/ours"),
        options=options, mounts=(Mount("/mnt/share", root),),
    )  # fmt: skip
    ended, _ = await bench.run(driver, spec)
    assert ended.exit_code == 0
    assert {path.name for path in root.rglob("*") if path.is_file()} == {"ours"}


@contract(MOUNTS)
async def test_secret_is_a_file_that_is_read_and_not_written(bench: Bench) -> None:
    driver = bench.open()
    options = ContainerOptions(secrets=(SecretVolume("/mnt/keys", "token", 0o440),))
    script = (
        "stat -c %a /mnt/keys/value; cat /mnt/keys/value;"
        " (echo x > /mnt/keys/value) 2>/dev/null || echo -refused"
    )
    spec = bench.spec(shell(script), options=options, secret_values=(("token", VALUE),))
    ended, said = await bench.run(driver, spec)
    assert (ended.exit_code, said.split()) == (0, ["440", f"{VALUE}-refused"])
    again = bench.spec(
        shell("cat /mnt/keys/value"), options=options, attempt=4, secret_values=(("token", "new"),)
    )
    ended, said = await bench.run(driver, again)
    assert (ended.exit_code, said) == (0, "new")


@contract(MOUNTS)
async def test_secret_lies_in_no_file_of_the_host_while_its_container_runs(bench: Bench) -> None:
    driver = bench.open()
    options = ContainerOptions(secrets=(SecretVolume("/mnt/keys", "token"),))
    script = "[ -s /mnt/keys/value ] && echo ready; while :; do sleep 0.05; done"
    spec = bench.spec(shell(script), options=options, secret_values=(("token", VALUE),))
    await driver.prepare(spec)
    handle = await driver.start(spec)
    await bench.says(driver, handle, "ready\n")
    assert not [path for path, held in files_below(bench.folder).items() if VALUE.encode() in held]
    assert VALUE not in repr(spec)
    if bench.engine is not None:
        assert VALUE not in json.dumps(bench.engine.inspect_container(handle.id))


@contract(EXECUTION)
async def test_secret_without_its_value_is_refused(bench: Bench) -> None:
    driver = bench.open()
    options = ContainerOptions(secrets=(SecretVolume("/mnt/keys", "token"),))
    if driver.refusal(options) is not None:  # a process runtime without root
        return
    with pytest.raises(MountRejected, match="secret 'token' has no value"):
        await driver.start(bench.spec(shell("true"), options=options))
    assert await driver.list_owned() == []


@contract(EXECUTION, only="process")
async def test_what_needs_a_container_is_refused_before_anything_is_made(bench: Bench) -> None:
    driver = bench.open()
    asked = {
        "uid": ContainerOptions(Security(uid=1000)),
        "groups": ContainerOptions(Security(groups=(7,))),
        "has_fixed_root": ContainerOptions(Security(has_fixed_root=True)),
        "capabilities": ContainerOptions(Security(capabilities=("IPC_LOCK",))),
        "may_gain_privileges": ContainerOptions(Security(may_gain_privileges=False)),
        "has_tty": ContainerOptions(has_tty=True),
    }
    for part, options in asked.items():
        refusal = driver.refusal(options)
        assert refusal is not None
        assert refusal.part == part
        with pytest.raises(LaunchRefused, match=f"^{part}: .*--runtime docker"):
            await driver.start(bench.spec(shell("true"), options=options))
    assert await driver.list_owned() == []
    assert driver.refusal(ContainerOptions(Security(may_gain_privileges=True))) is None


@contract(EXECUTION, only="process")
async def test_without_root_there_is_scratch_on_disk_alone(bench: Bench) -> None:
    driver = ProcessDriver(bench.instance, SystemClock(), bench.folder / "plain", is_privileged=False)
    bench.opened.append(driver)
    parts: dict[str, ContainerOptions] = {
        "secrets": ContainerOptions(secrets=(SecretVolume("/mnt/keys", "token"),)),
        "empty_dirs": ContainerOptions(empty_dirs=(EmptyDir("/mnt/s", is_in_memory=True),)),
    }
    for part, options in parts.items():
        found = driver.refusal(options)
        assert isinstance(found, Refusal)
        assert found.part == part
    options = ContainerOptions(empty_dirs=(EmptyDir("/mnt/s"),))
    assert driver.refusal(options) is None
    script = 'echo x > "$HOMEPORT_MOUNT_ROOT/mnt/s/left" && ls "$HOMEPORT_MOUNT_ROOT/mnt/s"'
    ended, said = await bench.run(driver, bench.spec(shell(script), options=options))
    assert (ended.exit_code, said) == (0, "left\n")
    await driver.remove(ended.handle)
    assert list((bench.folder / "plain").iterdir()) == []
