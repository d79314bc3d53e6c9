"""What every driver promises, over docker, process and simulated; then what each promises alone."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from homeport.runtime.clock import SystemClock, VirtualClock
from homeport.runtime.drivers.process import ProcessDriver
from homeport.runtime.drivers.simulated import Rule, SimulatedDriver
from homeport.runtime.drivers.simulated.containers import Container
from homeport.runtime.errors import DriverError, ImagePullFailed, LaunchRefused, MountRejected
from homeport.runtime.model import ContainerState, Handle, Mount, Port
from tests.contract.drivers import (
    CAPABILITIES,
    EXECUTION,
    IMAGES,
    MOUNTS,
    NAMES,
    NETWORKS,
    OOM,
    Bench,
    Script,
    contract,
    entries,
    said,
)
from tests.files import files_below

LINES = 2000
STAYS = Script(
    "stays",
    "trap 'echo told to end; exit 143' TERM; echo ready; while :; do sleep 0.05; done",
    Rule(workload_id="stays", run_for_s=None, log=((0, "ready"),)),
)
EXITS_3 = Script("exits-3", "exit 3", Rule(workload_id="exits-3", run_for_s=0.1, exit_code=3))
COUNTS = Script(
    "counts",
    f"for i in {{1..{LINES}}}; do echo line $i; done",
    Rule(
        workload_id="counts", run_for_s=2.0, log=tuple((i / 1000, f"line {i}") for i in range(1, LINES + 1))
    ),
)
SPEAKS_TWICE = Script(
    "speaks-twice",
    "echo first; sleep 0.3; echo second",
    Rule(workload_id="speaks-twice", run_for_s=0.3, log=((0, "first"), (0.3, "second"))),
)
KILLS_ITSELF = Script(
    "kills-itself", "kill -9 $$", Rule(workload_id="kills-itself", run_for_s=0.1, exit_code=137)
)
EATS_MEMORY = Script(
    "eats-memory",
    "exec dd if=/dev/zero of=/dev/null bs=256M count=1",
    Rule(workload_id="eats-memory", run_for_s=0.1, oom_killed=True),
)
LACKS_COMMAND = Script(
    "lacks-command", "", Rule(workload_id="lacks-command", refuse="exec: /no/such/program: no such file")
)
SHARED = (STAYS, EXITS_3, COUNTS, SPEAKS_TWICE, KILLS_ITSELF, EATS_MEMORY, LACKS_COMMAND)


def shell(text: str) -> Script:
    return Script("shell", text)


@contract(scripts=SHARED)
async def test_one_container_exists_when_an_attempt_is_started_again(bench: Bench) -> None:
    driver, spec = bench.open(), bench.spec(STAYS)
    first = await driver.start(spec)
    again = await asyncio.gather(driver.start(spec), driver.start(spec))
    assert [first, *again] == [first] * 3
    assert first.name == spec.name
    assert [o.handle for o in await driver.list_owned()] == [first]


@contract(scripts=SHARED)
async def test_end_is_listed_with_its_code_and_times(bench: Bench) -> None:
    driver, spec = bench.open(), bench.spec(EXITS_3)
    before_ms = bench.clock.now_ms()
    ended, _ = await bench.run(driver, spec)
    ids = (ended.workload_id, ended.replica_id, ended.attempt, ended.generation)
    assert ids == (spec.workload_id, spec.replica_id, spec.attempt, spec.generation)
    assert (ended.exit_code, ended.oom_killed) == (3, False)
    assert ended.started_at_ms is not None
    assert ended.finished_at_ms is not None
    assert before_ms <= ended.started_at_ms <= ended.finished_at_ms <= bench.clock.now_ms()
    assert await driver.start(spec) == ended.handle  # an attempt that has run is never run again
    assert (await bench.ended(driver, ended.handle)) == ended


@contract(scripts=SHARED)
async def test_exit_code_is_128_and_the_signal_when_killed(bench: Bench) -> None:
    ended, _ = await bench.run(bench.open(), bench.spec(KILLS_ITSELF))
    assert (ended.exit_code, ended.oom_killed) == (137, False)


@contract(OOM, scripts=SHARED)
async def test_lack_of_memory_is_told_apart(bench: Bench) -> None:
    ended, _ = await bench.run(bench.open(), bench.spec(EATS_MEMORY, memory_mib=32))
    assert (ended.exit_code, ended.oom_killed) == (137, True)


@contract(scripts=SHARED)
async def test_stop_lets_it_end_by_itself_and_remove_forgets_it(bench: Bench) -> None:
    driver = bench.open()
    handle = await driver.start(bench.spec(STAYS))
    await bench.says(driver, handle, "ready\n")
    await driver.stop(handle, grace_s=20)
    assert (await bench.ended(driver, handle)).exit_code == 143
    await driver.stop(handle, grace_s=20)
    await driver.remove(handle)
    await driver.remove(handle)
    assert await bench.seen(driver, handle) is None
    assert await entries(driver, handle) == []


@contract(EXECUTION)
async def test_stop_sends_sigterm_first_and_kills_what_ignores_it(bench: Bench) -> None:
    driver = bench.open()
    heeds = await driver.start(bench.spec(STAYS))
    await bench.says(driver, heeds, "ready\n")
    await driver.stop(heeds, grace_s=20)
    await bench.says(driver, heeds, "told to end\n")
    deaf = await driver.start(
        bench.spec(Script("deaf", "trap '' TERM; echo ready; while :; do sleep 0.05; done"))
    )
    await bench.says(driver, deaf, "ready\n")
    await driver.stop(deaf, grace_s=1)
    assert (await bench.ended(driver, deaf)).exit_code == 137


@contract(scripts=SHARED)
async def test_paused_container_stands_still_and_goes_on(bench: Bench) -> None:
    driver = bench.open()
    handle = await driver.start(bench.spec(STAYS))
    await bench.says(driver, handle, "ready\n")
    running = await bench.running(driver, handle)
    for _ in range(2):
        await driver.pause(handle)
        seen = await bench.seen(driver, handle)
        assert seen is not None
        assert (seen.state, seen.address) == (ContainerState.PAUSED, running.address)
    await driver.close()
    bench.opened.clear()
    driver = bench.open()  # as the next server finds it
    assert (await bench.seen(driver, handle)) == seen
    for _ in range(2):
        await driver.resume(handle)
        assert (await bench.running(driver, handle)).started_at_ms == running.started_at_ms
    await driver.stop(handle, grace_s=20)
    assert (await bench.ended(driver, handle)).exit_code == 143
    await driver.pause(handle)
    await driver.resume(handle)
    assert (await bench.ended(driver, handle)).exit_code == 143


@contract(scripts=SHARED)
async def test_paused_container_is_stopped_and_removed(bench: Bench) -> None:
    driver = bench.open()
    handles = [await driver.start(bench.spec(STAYS, attempt=number)) for number in (1, 2)]
    for handle in handles:
        await bench.says(driver, handle, "ready\n")
        await driver.pause(handle)
    await driver.stop(handles[0], grace_s=20)
    assert (await bench.ended(driver, handles[0])).exit_code == 143
    await driver.remove(handles[1])
    assert await bench.seen(driver, handles[1]) is None


@contract(EXECUTION)
async def test_nothing_is_done_while_paused(bench: Bench) -> None:
    script = shell("i=0; while :; do echo $((i += 1)); sleep 0.02; done")
    driver = bench.open()
    handle = await driver.start(bench.spec(script))
    await bench.says(driver, handle, "5\n")
    await driver.pause(handle)
    await bench.clock.sleep(0.5)  # what was written before is in the log by now
    before = said(await entries(driver, handle))
    await bench.clock.sleep(0.3)
    assert said(await entries(driver, handle)) == before
    await driver.resume(handle)
    await bench.says(driver, handle, f"{before.split()[-1]}\n{int(before.split()[-1]) + 1}\n")


@contract()
async def test_unknown_containers_are_fine(bench: Bench) -> None:
    driver, unknown = bench.open(), Handle("f" * 64, "hp-nobody-r-1")
    await driver.pause(unknown)
    await driver.resume(unknown)
    await driver.stop(unknown, grace_s=1)
    await driver.remove(unknown)
    assert await entries(driver, unknown) == []
    assert await entries(driver, unknown, follow=True) == []


@contract(scripts=SHARED)
async def test_log_is_whole_in_order_and_the_same_each_time(bench: Bench) -> None:
    driver = bench.open()
    handle = await driver.start(bench.spec(COUNTS))
    followed = await bench.finish(entries(driver, handle, follow=True))
    await bench.ended(driver, handle)
    read = await entries(driver, handle)
    assert said(read) == "".join(f"line {i}\n" for i in range(1, LINES + 1))
    assert read == sorted(read, key=lambda entry: entry.at_ns)
    assert all(entry.data.endswith(b"\n") for entry in read)
    assert read == followed == await entries(driver, handle)


@contract(scripts=SHARED)
async def test_follow_shows_lines_as_they_come_and_ends_with_the_container(bench: Bench) -> None:
    driver = bench.open()
    handle = await driver.start(bench.spec(SPEAKS_TWICE))
    states: list[tuple[str, ContainerState]] = []

    async def follow() -> None:
        async for batch in driver.logs(handle, follow=True):
            found = await bench.seen(driver, handle)
            assert found is not None
            states.extend((entry.data.decode(), found.state) for entry in batch)

    await bench.finish(follow())
    assert [line for line, _ in states] == ["first\n", "second\n"]
    assert states[0][1] is ContainerState.RUNNING


@contract(EXECUTION)
async def test_unfinished_and_overlong_lines_arrive_whole(bench: Bench) -> None:
    script = shell("echo to stderr >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; echo; printf unfinished")
    driver = bench.open()
    _, text = await bench.run(driver, bench.spec(script))
    assert sorted(text.split("\n")) == sorted(["to stderr", "x" * 40000, "", "unfinished"])
    assert text.endswith("unfinished")


@contract(scripts=SHARED)
async def test_container_is_adopted_by_the_next_server(bench: Bench) -> None:
    first, spec = bench.open(), bench.spec(STAYS)
    handle = await first.start(spec)
    await bench.running(first, handle)
    await first.close()
    bench.opened.clear()
    second = bench.open()
    assert (await bench.running(second, handle)).attempt == spec.attempt
    assert await second.start(spec) == handle
    assert len(await second.list_owned()) == 1
    await bench.says(second, handle, "ready\n")
    await second.stop(handle, grace_s=20)
    assert (await bench.ended(second, handle)).exit_code == 143


@contract(scripts=SHARED)
async def test_containers_of_another_instance_are_not_seen(bench: Bench) -> None:
    ours = bench.open()
    handle = await ours.start(bench.spec(STAYS))
    # Its id begins with ours, which a search by name must not mistake.
    theirs = bench.open(f"{bench.instance}-2")
    other = await theirs.start(bench.spec(STAYS, instance=f"{bench.instance}-2"))
    assert [o.handle for o in await ours.list_owned()] == [handle]
    assert [o.handle for o in await theirs.list_owned()] == [other]
    await ours.purge()
    assert [o.handle for o in await theirs.list_owned()] == [other]


@contract(scripts=SHARED)
async def test_changes_hint_at_an_end(bench: Bench) -> None:
    driver = bench.open()
    listening = asyncio.Event()

    async def wait_for_end(name: str) -> int | None:
        async for _ in driver.changes():
            listening.set()
            for seen in await driver.list_owned():
                if seen.handle.name == name and seen.state is ContainerState.EXITED:
                    return seen.exit_code
        return None

    spec = bench.spec(EXITS_3)
    told = asyncio.ensure_future(wait_for_end(spec.name))
    await bench.finish(listening.wait())
    await driver.start(spec)
    assert await bench.finish(told) == 3


@contract(scripts=SHARED)
async def test_published_ports_are_listed_with_the_hosts_number(bench: Bench) -> None:
    driver = bench.open()
    ports = (Port(8765, host_port=0), Port(8766))
    handle = await driver.start(bench.spec(STAYS, ports=ports))
    seen = await bench.running(driver, handle)
    assert [p.container_port for p in seen.ports] == [8765]
    assert seen.ports[0].host_port


@contract(IMAGES)
async def test_missing_image_is_refused_by_name(bench: Bench) -> None:
    with pytest.raises(ImagePullFailed, match="localhost:1/absent"):
        await bench.open().prepare(bench.spec(shell("true"), image="localhost:1/absent:0"))


@contract(scripts=SHARED)
async def test_missing_command_is_refused_or_ends_with_127(bench: Bench) -> None:
    driver = bench.open()
    spec = bench.spec(LACKS_COMMAND, command=("/no/such/program",))
    if EXECUTION in CAPABILITIES[bench.kind]:
        ended, text = await bench.run(driver, spec)
        assert ended.exit_code == 127
        assert "/no/such/program" in ended.error + text
        return
    with pytest.raises(LaunchRefused, match="/no/such/program"):
        await driver.start(spec)
    assert await driver.list_owned() == []


@contract(EXECUTION)
async def test_environment_arrives_exactly(bench: Bench) -> None:
    env = {"PLAIN": "a b", "TRICKY": "=x='\"$HOME\\\n two ö", "EMPTY": ""}
    leaks = {"HOMEPORT_TOKEN": "server's own", "LEPTON_WORKSPACE_TOKEN": "server's own"}
    with mock.patch.dict(os.environ, leaks):
        script = shell('for name in PLAIN TRICKY EMPTY; do printf "%s|" "${!name-unset}"; done; echo; env')
        _, text = await bench.run(bench.open(), bench.spec(script, env=tuple(env.items())))
    assert text.startswith("|".join(env.values()) + "|\n")
    names = {line.partition("=")[0] for line in text.splitlines()}
    assert not {name for name in names if name.startswith(("HOMEPORT", "LEPTON"))}


@contract(MOUNTS)
async def test_mounted_directory_is_the_one_below_its_root(bench: Bench) -> None:
    root = bench.folder / "volume"
    mounts = (
        Mount("/homeport-test/data", root, "/made/when/missing"),
        Mount("/homeport-test/data/within", root, "/other"),
        Mount("/mnt/homeport-test", root, "/"),
        Mount("/homeport-test/fixed", root, "/fixed", is_read_only=True),
    )
    script = shell(
        "cd /homeport-test; echo one > data/a; echo two > data/within/b; cat /mnt/homeport-test/other/b;"
        "echo three > fixed/c; cat fixed/c"
    )
    (root / "fixed").mkdir(parents=True)
    _, text = await bench.run(bench.open(), bench.spec(script, mounts=mounts))
    assert (root / "made/when/missing/a").read_text() == "one\n"
    assert (root / "other/b").read_text() == "two\n"
    assert "two" in text.splitlines()  # stdout and stderr come by two pipes
    assert "Read-only file system" in text
    assert list((root / "fixed").iterdir()) == []
    assert not Path("/homeport-test").exists()
    assert not Path("/mnt/homeport-test").exists()
    assert "homeport-test" not in Path("/proc/self/mountinfo").read_text()


@contract(MOUNTS)
async def test_mount_that_leaves_its_root_is_refused_and_makes_nothing(bench: Bench) -> None:
    root, outside = bench.folder / "volume", bench.folder / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "absolute").symlink_to(outside)
    (root / "relative").symlink_to("../outside")
    driver = bench.open()
    for path in ("../outside/x", "/a/../../outside/x", "/absolute/x", "/relative/x"):
        spec = bench.spec(shell("true"), mounts=(Mount("/data", root, path),))
        with pytest.raises(MountRejected, match="/data"):
            await driver.start(spec)
    assert list(outside.iterdir()) == []
    assert await driver.list_owned() == []


@contract()
async def test_mount_path_with_dots_is_refused_everywhere(bench: Bench) -> None:
    driver = bench.open()
    for target, path in (("/data", "/a/../../x"), ("data", "/"), ("/a/../b", "/"), ("/", "/")):
        with pytest.raises(MountRejected):
            await driver.start(bench.spec(STAYS, mounts=(Mount(target, bench.folder / "volume", path),)))
    assert await driver.list_owned() == []


@contract(NAMES)
async def test_members_of_a_group_reach_each_other_by_name(bench: Bench) -> None:
    driver = bench.open()
    names = ("worker-0.job", "worker-1.job")
    handles: list[Handle] = []
    for index, name in enumerate(names):
        # Both listen on the same port, each under its own name; busybox's httpd wants that as an address.
        script = shell(
            f"own=$(busybox ping -c 1 {name} | sed -n 's/^PING .*(\\(.*\\)).*/\\1/p');"
            f"mkdir -p www && cd www && echo I am {name} > index.html; busybox httpd -f -p $own:18423 &"
            f"until busybox wget -qO- http://{names[1 - index]}:18423/; do sleep 0.1; done; echo met;"
            "while :; do sleep 0.1; done"
        )
        fields = {"replica_id": f"r{index}", "group": "g1", "aliases": (name,), "peers": names}
        handles.append(await driver.start(bench.spec(script, **fields)))
    for index, handle in enumerate(handles):
        await bench.says(driver, handle, f"I am {names[1 - index]}\nmet\n")


@contract(NETWORKS, scripts=SHARED)
async def test_group_is_listed_until_it_is_removed(bench: Bench) -> None:
    driver = bench.open()
    handle = await driver.start(bench.spec(STAYS, group="g1", aliases=("a",), peers=("a",)))
    assert list(await driver.list_groups()) == ["g1"]
    with pytest.raises(DriverError):
        await driver.remove_group("g1")
    await driver.remove(handle)
    await driver.remove_group("g1")
    await driver.remove_group("g1")
    assert list(await driver.list_groups()) == []


@contract(scripts=SHARED)
async def test_purge_leaves_nothing(bench: Bench) -> None:
    driver = bench.open()
    await driver.start(bench.spec(STAYS, group="g1"))
    ended, _ = await bench.run(driver, bench.spec(EXITS_3))
    await driver.purge()
    await driver.purge()
    assert await driver.list_owned() == []
    assert list(await driver.list_groups()) == []
    assert await entries(driver, ended.handle) == []
    if bench.engine is not None:
        label = {"label": f"homeport.instance={bench.instance}"}
        assert bench.engine.containers(all=True, filters=label) == []
        assert bench.engine.networks(filters=label) == []
    if bench.kind == "process":
        assert list((bench.folder / "processes").iterdir()) == []


# The process runtime alone.


def supervisor_of(handle: Handle) -> int:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            argv = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        is_supervisor = any(arg.endswith(b"process/supervisor/__main__.py") for arg in argv)
        if is_supervisor and argv[-2].endswith(handle.name.encode()):
            return int(folder.name)
    pytest.fail(f"no supervisor of {handle.name}")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contract(only="process")
async def test_command_ends_with_137_when_its_supervisor_is_killed(bench: Bench) -> None:
    driver = bench.open()
    handle = await driver.start(bench.spec(shell("sleep 1000 & echo pids $$ $!; wait")))
    await bench.says(driver, handle, "pids")
    pids = [int(word) for word in said(await entries(driver, handle)).split()[1:]]
    os.kill(supervisor_of(handle), signal.SIGKILL)
    ended = await bench.ended(driver, handle)
    assert (ended.exit_code, ended.error) == (137, "its supervising process was killed")
    assert ended.finished_at_ms is not None

    async def are_gone() -> bool:
        return not any(is_alive(pid) for pid in pids)

    await bench.until("the end of its processes", are_gone)


@contract(only="process")
async def test_end_is_not_delayed_by_processes_left_behind(bench: Bench) -> None:
    began = time.monotonic()
    script = shell("sleep 1000 & a=$!; setsid sleep 1000 & echo $a $!; sleep 0.2; exit 4")
    ended, text = await bench.run(bench.open(), bench.spec(script))
    assert ended.exit_code == 4
    assert time.monotonic() - began < 60  # those would live for longer
    assert [pid for pid in map(int, text.split()) if is_alive(pid)] == []


@contract(only="process")
async def test_environment_never_lies_on_the_disk(bench: Bench) -> None:
    driver = bench.open()
    handle = await driver.start(bench.spec(STAYS, env=(("TOKEN", "very-secret-value"),)))
    await bench.says(driver, handle, "ready\n")
    files = files_below(bench.folder)
    assert files
    assert [path for path in files if b"very-secret-value" in files[path]] == []


@contract(only="process")
async def test_unfinished_line_is_shown_before_its_end(bench: Bench) -> None:
    driver = bench.open()
    handle = await driver.start(bench.spec(shell("printf '50%%'; read -t 1000 < <(sleep 1000)")))
    await bench.says(driver, handle, "50%")
    assert [entry.data for entry in await entries(driver, handle)] == [b"50%"]


@contract(only="process")
async def test_supervisor_keeps_up_with_a_fast_writer(bench: Bench) -> None:
    driver = bench.open()
    handle = await driver.start(bench.spec(shell("seq 1 500000")))
    count = 0
    async for batch in driver.logs(handle, follow=True):
        count += len(batch)
    assert count == 500_000
    ended = await bench.ended(driver, handle)
    assert ended.started_at_ms is not None
    assert ended.finished_at_ms is not None
    assert ended.finished_at_ms - ended.started_at_ms < 10_000  # 50,000 lines a second


@contract(only="process")
async def test_mounts_are_links_in_a_private_root_when_unprivileged(bench: Bench) -> None:
    root = bench.folder / "volume"
    driver = ProcessDriver(bench.instance, SystemClock(), bench.folder / "processes", is_privileged=False)
    bench.opened.append(driver)
    script = shell("echo one > $HOMEPORT_MOUNT_ROOT/data/set/a")
    ended, _ = await bench.run(driver, bench.spec(script, mounts=(Mount("/data/set", root, "/x"),)))
    assert ended.exit_code == 0
    assert (root / "x/a").read_text() == "one\n"
    await driver.remove(ended.handle)
    assert (root / "x/a").exists()
    refused: list[dict[str, Any]] = [
        {"mounts": (Mount("/data", root, is_read_only=True),)},
        {"mounts": (Mount("/data", root), Mount("/data/in", root))},
        {"mounts": (Mount("/data/in", root), Mount("/data", root))},
        {"group": "g", "aliases": ("a",), "peers": ("a", "b")},
    ]
    for fields in refused:
        with pytest.raises(DriverError, match="only as root"):
            await driver.start(bench.spec(shell("true"), **fields))
    assert await driver.list_owned() == []


@contract(only="process")
async def test_nfs_and_its_own_folder_are_refused_by_name(bench: Bench) -> None:
    driver = bench.open()
    with pytest.raises(MountRejected, match="the process runtime cannot mount NFS exports"):
        await driver.start(bench.spec(shell("true"), mounts=(Mount("/data", None, nfs="server:/export"),)))
    for target in (str(bench.folder), str(bench.folder / "processes/x"), "/proc/sys", "/sys"):
        with pytest.raises(MountRejected):
            await driver.start(bench.spec(shell("true"), mounts=(Mount(target, bench.folder / "v"),)))
    assert await driver.list_owned() == []


@contract(MOUNTS, only="process")
async def test_link_in_a_volume_cannot_move_another_mounts_target(bench: Bench) -> None:
    root, outside = bench.folder / "volume", bench.folder / "outside"
    (root / "a").mkdir(parents=True)
    outside.mkdir()
    (root / "a/link").symlink_to(outside)
    mounts = (Mount("/data", root, "/a"), Mount("/data/link/x", root, "/b"))
    driver = bench.open()
    with pytest.raises(MountRejected, match="/data/link is a link"):
        await driver.start(bench.spec(shell("true"), mounts=mounts))
    assert list(outside.iterdir()) == []
    assert await driver.list_owned() == []
    assert list((bench.folder / "processes").iterdir()) == []


# The simulated runtime alone.


def states(driver: SimulatedDriver) -> dict[str, ContainerState]:
    return {o.workload_id: o.state for o in asyncio.run(driver.list_owned())}


def test_rule_decides_the_whole_life_under_virtual_time(tmp_path: Path) -> None:
    clock = VirtualClock()
    rule = Rule(image="*llm*", command="*train.py*", start_after_s=2, run_for_s=10, exit_code=9)
    driver = SimulatedDriver("i", clock, [rule, Rule(workload_id="x", refuse="no such thing")])
    made = Bench("simulated", clock, "llm:1", tmp_path, ())
    spec = made.spec(shell("python train.py"), ports=(Port(80, host_port=0),))
    asyncio.run(driver.start(spec))
    seen: list[ContainerState] = []
    for seconds in (0, 1.9, 0.1, 9.9, 0.1):
        clock.advance(seconds)
        seen.append(states(driver)["shell"])
    created, running, exited = ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED
    assert seen == [created, created, running, running, exited]
    with pytest.raises(LaunchRefused, match="no such thing"):
        asyncio.run(driver.start(made.spec(Script("x", ""), image="other")))


def test_service_stays_and_job_ends_when_no_rule_matches(tmp_path: Path) -> None:
    clock = VirtualClock()
    driver = SimulatedDriver("i", clock)
    made = Bench("simulated", clock, "any", tmp_path, ())
    asyncio.run(driver.start(made.spec(Script("job", ""))))
    asyncio.run(driver.start(made.spec(Script("service", ""), ports=(Port(80, host_port=0),))))
    clock.advance(3600)
    assert states(driver) == {"job": ContainerState.EXITED, "service": ContainerState.RUNNING}


def test_container_stopped_while_pending_never_started(tmp_path: Path) -> None:
    clock = VirtualClock()
    driver = SimulatedDriver("i", clock, [Rule(start_after_s=60)])
    handle = asyncio.run(driver.start(Bench("simulated", clock, "any", tmp_path, ()).spec(shell(""))))
    clock.advance(1)
    asyncio.run(driver.stop(handle, grace_s=30))
    clock.advance(3600)
    (seen,) = asyncio.run(driver.list_owned())
    assert (seen.state, seen.exit_code, seen.started_at_ms) == (ContainerState.EXITED, 143, None)


def test_torn_last_line_of_the_journal_never_happened(tmp_path: Path) -> None:
    clock, journal = VirtualClock(), tmp_path / "machine.jsonl"
    made = Bench("simulated", clock, "any", tmp_path, ())
    first = SimulatedDriver(made.instance, clock, [Rule(run_for_s=None)], journal)
    for name in ("a", "b"):
        asyncio.run(first.start(made.spec(Script(name, ""))))
    asyncio.run(first.close())
    journal.write_bytes(journal.read_bytes()[:-7])
    second = SimulatedDriver(made.instance, clock, [Rule(exit_code=5)], journal)
    assert states(second) == {"a": ContainerState.RUNNING}
    asyncio.run(second.start(made.spec(Script("c", ""))))
    asyncio.run(second.close())
    assert all(json.loads(line) for line in journal.read_text().splitlines())
    assert set(states(SimulatedDriver(made.instance, clock, (), journal))) == {"a", "c"}


def test_ten_thousand_containers_are_cheap(tmp_path: Path) -> None:
    clock = VirtualClock()
    driver = SimulatedDriver("i", clock, [Rule(run_for_s=3600)])
    made = Bench("simulated", clock, "any", tmp_path, ())

    async def main() -> None:
        for number in range(10_000):
            await driver.start(made.spec(Script(f"w{number}", "")))
        with mock.patch.object(Container, "observe", autospec=True, side_effect=Container.observe) as looked:
            for _ in range(100):
                clock.advance(1)
                assert len(await driver.list_owned()) == 10_000
            assert looked.call_count <= 10_000  # once as each starts to run, however often they are listed
        clock.advance(3600)
        assert {o.state for o in await driver.list_owned()} == {ContainerState.EXITED}

    asyncio.run(main())


@contract(only="process")
async def test_command_hears_signals_that_the_server_was_told_to_ignore(bench: Bench) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        driver = bench.open()
        handle = await driver.start(bench.spec(shell("kill -INT $$; exec sleep 60")))
    finally:
        signal.signal(signal.SIGINT, before)
    assert (await bench.ended(driver, handle)).exit_code == 128 + signal.SIGINT
