"""Further commands beside a container's own: what docker and process promise alike, then each alone."""

import asyncio
import contextlib
import os
import random
from typing import Any
from unittest import mock

import pytest

from homeport.runtime.driver import Driver
from homeport.runtime.drivers.simulated import Rule
from homeport.runtime.errors import ExecRefused
from homeport.runtime.exec_session import ExecEnd, ExecSession, Output
from homeport.runtime.model import Handle, Mount
from tests.contract.drivers import EXECUTION, MOUNTS, Bench, Script, contract, entries, said

STAYS = Script("stays", "echo ready; while :; do sleep 0.05; done")


async def started(bench: Bench, driver: Driver, **fields: Any) -> Handle:
    handle = await driver.start(bench.spec(STAYS, **fields))
    await bench.says(driver, handle, "ready\n")
    return handle


async def run(
    driver: Driver, handle: Handle, *command: str, stdin: bytes = b"", tty: bool = False
) -> tuple[ExecEnd, bytes, bytes]:
    """How it ended, and what it wrote to stdout and stderr."""
    session = await driver.exec(handle, command, tty=tty)
    try:

        async def feed() -> None:
            for at in range(0, len(stdin), 32768):
                await session.write(stdin[at : at + 32768])
            await session.close_stdin()

        feeding = asyncio.create_task(feed())
        told = {Output.STDOUT: b"", Output.STDERR: b""}
        async for stream, data in session.output():
            told[stream] += data
        end = await session.end()
        feeding.cancel()
        return end, told[Output.STDOUT], told[Output.STDERR]
    finally:
        await session.close()


async def bash(driver: Driver, handle: Handle, script: str, **more: Any) -> tuple[ExecEnd, bytes, bytes]:
    return await run(driver, handle, "/bin/bash", "-c", script, **more)


async def lines_of(session: ExecSession, until: bytes, seen: bytearray) -> None:
    async with contextlib.aclosing(session.output()) as pieces:
        async for _, data in pieces:
            seen += data
            if until in seen:
                return


@contract(EXECUTION)
async def test_exec_keeps_its_two_outputs_apart_and_tells_its_exit_code(bench: Bench) -> None:
    driver = bench.open()
    handle = await started(bench, driver)
    answer = await bash(driver, handle, "cat; echo oops >&2; exit 3", stdin=b"to be copied\n")
    assert answer == (ExecEnd(3), b"to be copied\n", b"oops\n")
    assert await bash(driver, handle, "kill -TERM $$") == (ExecEnd(143), b"", b"")
    assert said(await entries(driver, handle)) == "ready\n"  # the log is the container's own


@contract(EXECUTION)
async def test_exec_carries_every_byte_both_ways(bench: Bench) -> None:
    driver = bench.open()
    handle = await started(bench, driver)
    data = random.Random(5).randbytes(5 * 2**20)
    assert await run(driver, handle, "/bin/cat", stdin=data) == (ExecEnd(0), data, b"")


@contract(EXECUTION)
async def test_exec_has_the_environment_and_directory_of_the_container(bench: Bench) -> None:
    driver = bench.open()
    handle = await started(bench, driver, env=(("WHO", "me = you"), ("PATH", os.environ["PATH"])))
    _, own = await bench.run(driver, bench.spec(Script("pwd", "pwd"), attempt=9))
    _, out, _ = await bash(driver, handle, "echo $WHO; pwd")
    who, where = out.decode().splitlines()
    assert who == "me = you"
    assert where.replace("stays-r0-3/", "pwd-r0-9/") == own.strip()


@contract(EXECUTION)
async def test_exec_of_a_missing_program_is_told_as_shells_tell_it(bench: Bench) -> None:
    driver = bench.open()
    handle = await started(bench, driver)
    for command, code in (("no-such-program", 127), ("/no/such/program", 127), ("/etc/passwd", 126)):
        end, out, err = await run(driver, handle, command, "with", "arguments")
        assert (end.exit_code, out, err) == (code, b"", b""), end
        assert command in end.error


@contract(EXECUTION)
async def test_exec_at_a_terminal_has_its_size_and_hears_its_keys(bench: Bench) -> None:
    driver = bench.open()
    handle = await started(bench, driver)
    shows = "while :; do stty size; sleep 0.05; done"
    script = f"trap 'exit 130' INT; test -t 0 && test -t 2 && echo yes $TERM; {shows}"
    session = await driver.exec(handle, ("/bin/bash", "-c", script), tty=True)
    seen = bytearray()
    await session.resize(columns=91, rows=17)
    pieces = session.output()
    async for stream, data in pieces:
        assert stream is Output.STDOUT
        seen += data
        if b"17 91\r\n" in seen:
            break
    assert seen.startswith(b"yes xterm\r\n")
    await session.resize(columns=40, rows=5)
    async for _, data in pieces:
        seen += data
        if b"5 40\r\n" in seen:
            break
    await session.write(b"\x03")
    async for _, data in pieces:
        seen += data
    assert await session.end() == ExecEnd(130)
    await session.close()


@contract(EXECUTION)
async def test_exec_at_a_terminal_finds_the_end_of_its_input(bench: Bench) -> None:
    driver = bench.open()
    handle = await started(bench, driver)
    end, out, _ = await run(driver, handle, "/bin/cat", stdin=b"one\n", tty=True)
    assert (end, out) == (ExecEnd(0), b"one\r\none\r\n")


@contract(EXECUTION)
async def test_exec_ends_when_its_client_hangs_up(bench: Bench) -> None:
    driver = bench.open()
    handle = await started(bench, driver)
    for tty, trap in ((False, ""), (False, "trap '' HUP; "), (True, "")):
        session = await driver.exec(handle, ("/bin/bash", "-c", f"{trap}echo $$; sleep 777"), tty=tty)
        seen = bytearray()
        await lines_of(session, b"\n", seen)
        await session.close()
        await session.close()
        _, out, _ = await bash(driver, handle, f"kill -0 {int(seen)} 2> /dev/null || echo gone")
        assert out == b"gone\n", (tty, trap)


@contract(EXECUTION)
async def test_exec_ends_with_its_container(bench: Bench) -> None:
    driver = bench.open()
    handle = await started(bench, driver)
    session = await driver.exec(handle, ("/bin/bash", "-c", "echo on; sleep 777"), tty=False)
    seen = bytearray()
    pieces = session.output()
    seen += (await anext(pieces))[1]
    await driver.stop(handle, grace_s=0)
    await driver.remove(handle)
    assert [piece async for piece in pieces] == []
    assert (await session.end()).exit_code == 137
    await session.close()


@contract(EXECUTION)
async def test_exec_holds_back_a_command_that_nobody_reads(bench: Bench) -> None:
    driver = bench.open()
    handle = await started(bench, driver)
    script = "head -c 64000000 /dev/zero; echo done > /tmp/done-$$"
    session = await driver.exec(handle, ("/bin/bash", "-c", f"echo $$ >&2; {script}"), tty=False)
    pieces = session.output()
    pid = b""
    async for stream, data in pieces:
        if stream is Output.STDERR:
            pid = data.strip()
            break
    await bench.clock.sleep(0.5)
    _, out, _ = await bash(driver, handle, f"test -e /tmp/done-{pid.decode()} || echo waits")
    assert out == b"waits\n"
    await session.close()


@contract(EXECUTION)
async def test_exec_is_over_when_only_its_background_holds_the_output(bench: Bench) -> None:
    driver = bench.open()
    handle = await started(bench, driver)
    answer = await asyncio.wait_for(bash(driver, handle, "sleep 77 & echo started"), 20)
    assert answer == (ExecEnd(0), b"started\n", b"")
    await bash(driver, handle, "pkill -f 'sleep 77' || busybox pkill -f 'sleep 77'")


@contract(EXECUTION)
async def test_exec_is_refused_where_nothing_runs(bench: Bench) -> None:
    driver = bench.open()
    ended, _ = await bench.run(driver, bench.spec(Script("ends", "exit 0")))
    paused = await started(bench, driver)
    await driver.pause(paused)
    for handle in (ended.handle, paused, Handle("f" * 64, "hp-nobody-r-1")):
        with pytest.raises(ExecRefused):
            await driver.exec(handle, ("/bin/true",), tty=False)
    await driver.remove(paused)


@contract(scripts=[Script("stays", "", Rule(run_for_s=None))], only="simulated")
async def test_exec_is_refused_by_the_simulated_runtime(bench: Bench) -> None:
    driver = bench.open()
    handle = await driver.start(bench.spec(STAYS))
    with pytest.raises(ExecRefused, match="runs no processes"):
        await driver.exec(handle, ("/bin/true",), tty=False)


@contract(EXECUTION, MOUNTS)
async def test_exec_sees_the_mounts_of_the_container(bench: Bench) -> None:
    driver = bench.open()
    (bench.folder / "shared" / "sub").mkdir(parents=True)
    (bench.folder / "shared" / "sub" / "note").write_text("found")
    handle = await started(bench, driver, mounts=(Mount("/given/here", bench.folder / "shared", "/sub"),))
    assert await run(driver, handle, "/bin/cat", "/given/here/note") == (ExecEnd(0), b"found", b"")


@contract(EXECUTION, only="docker")
async def test_exec_is_ended_by_the_container_itself_where_we_are_not_root(bench: Bench) -> None:
    driver = bench.open()
    handle = await started(bench, driver)
    session = await driver.exec(handle, ("/bin/bash", "-c", "echo $$; sleep 777"), tty=False)
    seen = bytearray()
    await lines_of(session, b"\n", seen)
    with mock.patch("os.killpg", side_effect=PermissionError):
        await session.close()
    _, out, _ = await bash(driver, handle, f"kill -0 {int(seen)} 2> /dev/null || echo gone")
    assert out == b"gone\n"
