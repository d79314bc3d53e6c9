"""The journal of the simulated machine: what is left out of it, and that nothing else is."""

import asyncio
import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.runtime.clock import SystemClock, VirtualClock
from homeport.runtime.drivers.simulated import Answer, Rule, SimulatedDriver
from homeport.runtime.drivers.simulated.compaction import Ledger
from homeport.runtime.drivers.simulated.journal import Journal
from homeport.runtime.errors import RuntimeUnavailable
from homeport.runtime.model import ContainerSpec, Handle, Port

FOREVER = Rule(run_for_s=None)
ANY, FIXED, INNER = Port(80, host_port=0), Port(81, host_port=1234), Port(82)


def spec(number: int, instance: str = "i", **fields: Any) -> ContainerSpec:
    name = f"w{number}"
    return replace(ContainerSpec(instance, name, f"{name}-0", 1, 1, "any:1", ("true",), node="n0"), **fields)


def handle(number: int) -> Handle:
    name = spec(number).name
    return Handle(name, name)


def state(driver: SimulatedDriver) -> dict[str, Any]:
    """All that was made of the journal."""
    held: Any = driver
    return {
        "containers": list(held._containers.items()),
        "observed": held._observed,
        "groups": list(held._groups.items()),
        "by_node": {node: names for node, names in held._by_node.items() if names},
        "images": held._images._present,
        "unanswered": held._unanswered,
        "next": repr(held._ordinals),
    }


def replayed(path: Path, instance: str = "i") -> dict[str, Any]:
    async def body() -> dict[str, Any]:
        driver = SimulatedDriver(instance, CLOCK, (), path)
        found = state(driver)
        await driver.close()
        return found

    return asyncio.run(body())


CLOCK = VirtualClock()


def compact(path: Path) -> list[bytes]:
    ledger = Ledger()
    for line in path.read_bytes().splitlines():
        ledger.add(line, json.loads(line))
    return list(ledger.lines())


# -- what follows from it is the same

NUMBERS = st.integers(0, 5)
STARTS = st.tuples(
    st.just("start"),
    st.fixed_dictionaries(
        {
            "node": st.sampled_from(["n0", "n1"]),
            "image": st.sampled_from(["a:1", "b:1"]),
            "group": st.sampled_from(["", "g", "h"]),
            "ports": st.lists(st.sampled_from([ANY, FIXED, INNER]), max_size=3).map(tuple),
        }
    ),
)
STEPS = st.one_of(
    STARTS,
    st.tuples(st.sampled_from(["stop", "pause", "resume", "remove"]), NUMBERS),
    st.tuples(st.just("remove_group"), st.sampled_from(["g", "h"])),
    st.tuples(st.just("advance"), st.integers(0, 90_000)),
    st.tuples(st.just("compact"), st.none()),
)


async def play(steps: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """What the driver that did it all holds at its end."""
    clock = VirtualClock()
    rules = [Rule(run_for_s=50, node="n1", start_after_s=2), FOREVER]
    driver = SimulatedDriver("i", clock, rules, path)
    count, held = 0, list[int]()
    for step, what in steps:
        match step:
            case "start":
                await driver.start(spec(count, **what))
                held.append(count)
                count += 1
            case "advance":
                clock.advance(what / 1000)
            case "compact":
                await driver.close()
                path.write_bytes(b"".join(line + b"\n" for line in compact(path)))
                driver = SimulatedDriver("i", clock, rules, path)
            case "remove_group":
                if not any(o.group == what for _, o in state(driver)["containers"]):
                    await driver.remove_group(what)
            case "stop" if held:
                await driver.stop(handle(held[what % len(held)]), grace_s=1)
            case "pause" | "resume" | "remove" if held:
                await getattr(driver, step)(handle(held[what % len(held)]))
                if step == "remove":
                    del held[what % len(held)]
            case _:
                pass
    await driver.list_owned()
    found = state(driver)
    await driver.close()
    CLOCK.set_ms(max(clock.now_ms(), CLOCK.now_ms()))
    return found


@settings(max_examples=80, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_same_follows_from_what_is_left_as_from_all(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    lived = asyncio.run(play(steps, path))
    whole = replayed(path)
    assert {k: v for k, v in whole.items() if k != "observed"} == {
        k: v for k, v in lived.items() if k != "observed"
    }
    left = compact(path)
    live = len(whole["containers"])
    assert len(left) <= 1 + 3 * live
    path.write_bytes(b"".join(line + b"\n" for line in left))
    assert replayed(path) == whole
    assert compact(path) == left  # a second time leaves nothing out


def test_what_other_instances_have_written_is_kept(tmp_path: Path) -> None:
    async def body() -> None:
        for instance in ("i", "j"):
            driver = SimulatedDriver(instance, CLOCK, [FOREVER], path)
            await driver.start(spec(1, instance, ports=(ANY,)))
            await driver.start(spec(2, instance))
            await driver.remove(Handle(spec(2, instance).name, spec(2, instance).name))
            await driver.close()

    path = tmp_path / "journal"
    asyncio.run(body())
    before = {i: replayed(path, i) for i in ("i", "j")}
    path.write_bytes(b"".join(line + b"\n" for line in compact(path)))
    assert {i: replayed(path, i) for i in ("i", "j")} == before


def test_container_that_answers_keeps_its_numbers_over_a_restart(tmp_path: Path) -> None:
    """Its address is drawn apart: else the numbers after it would be others for the next server."""

    async def body() -> None:
        rules = [Rule(run_for_s=None, answers=(Answer(),))]
        first = SimulatedDriver("i", CLOCK, rules, tmp_path / "journal")
        for number in (1, 2):
            await first.start(spec(number, ports=(Port(18090, host_port=0),)))
        shown = [o.ports for o in await first.list_owned()]
        await first.close()
        second = SimulatedDriver("i", CLOCK, rules, tmp_path / "journal")
        assert [o.ports for o in await second.list_owned()] == shown
        await second.close()

    asyncio.run(body())


# -- when it is rewritten


def write_history(path: Path, dead: int, live: int) -> None:
    async def body() -> None:
        driver = SimulatedDriver("i", CLOCK, [FOREVER], path)
        for number in range(dead + live):
            await driver.start(spec(number, ports=(ANY,), group=f"g{number % 7}"))
        for number in range(dead):
            await driver.remove(handle(number))
        await driver.stop(handle(dead), grace_s=1)
        await driver.pause(handle(dead + 1))
        await driver.close()

    asyncio.run(body())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_start_leaves_out_what_no_longer_matters(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write_history(path, 600, 5)
    assert len(lines(path)) == 1207
    before, inode = {"containers": 5, "next": "count(605)"}, path.stat().st_ino
    found = replayed(path)
    assert {"containers": len(found["containers"]), "next": found["next"]} == before
    assert len(lines(path)) == 8  # one for all that was left out, five that were created, a stop, a pause
    assert path.stat().st_mode & 0o777 == 0o600
    assert replayed(path) == found
    assert path.stat().st_ino != inode


def test_start_leaves_a_small_file_and_one_of_living_containers_alone(tmp_path: Path) -> None:
    for dead, live in ((400, 5), (300, 600)):
        path = tmp_path / f"journal-{dead}"
        write_history(path, dead, live)
        before = path.read_bytes()
        replayed(path)
        assert path.read_bytes() == before


def create(number: int) -> dict[str, Any]:
    return {
        "op": "create", "instance": "i", "at_ms": number, "name": f"c{number}", "group": "", "node": "n0",
        "workload_id": "w", "replica_id": "r", "attempt": 1, "generation": 1, "ports": [],
        "rule": {}, "image": "any:1",
    }  # fmt: skip


def remove(number: int) -> dict[str, Any]:
    return {"op": "remove", "instance": "i", "at_ms": number, "name": f"c{number}"}


def opened(path: Path, most_dead: int) -> Journal:
    made = Journal(path, most_dead)
    list(made.replay())
    made.open()
    return made


def there(path: Path) -> list[str]:
    """Names of the containers that a start would find, in order."""
    return [name for name, _ in replayed(path)["containers"]]


def test_open_file_stays_small_while_containers_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written = opened(path, 50)
    written.write(create(-1))
    most, clock = 0, SystemClock()
    until, number = clock.monotonic_s() + 60, 0
    while most <= 2 * path.stat().st_size or number < 3000:
        written.write(create(number))
        written.write(remove(number))
        most, number = max(most, path.stat().st_size), number + 1
        assert clock.monotonic_s() < until
    written.write(create(-2))
    written.close()
    assert there(path) == ["c-1", "c-2"]
    assert not path.with_name("journal.part").exists()


def being_rewritten(path: Path) -> Any:
    """A journal with two containers, c28 and c29, whose other file is written and not in place yet."""
    written: Any = opened(path, 47)
    for number in (28, 29):
        written.write(create(number))
    for number in range(27):  # the last of these lines is one too many
        assert written._rewriting is None
        written.write(create(number))
        written.write(remove(number))
    written._rewriting._thread.join()
    return written


def test_what_is_written_while_it_is_rewritten_is_there_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    held = written = being_rewritten(path)
    inode = path.stat().st_ino
    written.write(remove(28))  # finishes it: this line is copied
    assert (held._rewriting, path.stat().st_ino != inode) == (None, True)
    written.write(create(99))
    assert held._lines == len(lines(path))
    written.close()
    assert there(path) == ["c29", "c99"]


def test_server_that_stops_while_it_is_rewritten_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written = opened(path, 50)
    held: Any = written
    number = 0
    while held._rewriting is None:
        written.write(create(number))
        written.write(remove(number))
        number += 1
    written.close()
    assert len(lines(path)) == 2 * number
    assert not path.with_name("journal.part").exists()


# -- a server that is killed, and a disk that is full


class Killed(BaseException):
    """Nothing is tidied up after it."""


CALLS = ("open", "write", "fsync", "replace")


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException) -> list[str]:
    """From the call of that number on each call that changes the disk fails; those that were made."""
    made: list[str] = []

    def guard(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            made.append(name)
            if len(made) >= step:
                if name == "write" and len(made) == step:
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                raise error
            return real(*args, **more)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, guard(name, getattr(os, name)))
    return made


STEPS_AT_START = ("open", "write", "fsync", "fsync", "replace", "open", "fsync")


@pytest.mark.parametrize("step", range(1, len(STEPS_AT_START) + 1))
def test_server_that_is_killed_while_it_starts_leaves_the_old_file_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    path = tmp_path / "journal"
    write_history(path, 600, 5)
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    with monkeypatch.context() as patch:
        made = at_step(patch, step, Killed())
        with pytest.raises(Killed):
            opened(path, 10**6)
    assert tuple(made) == STEPS_AT_START[:step]
    assert len(lines(path)) in (1207, 8)
    assert (len(lines(path)) == 8) is (step > STEPS_AT_START.index("replace") + 1)
    assert replayed(path) == replayed(copy)


# The line itself, the copy of what came meanwhile, and the change of files.
STEPS_AT_CHANGE = ("write", "write", "fsync", "replace", "open", "fsync")


@pytest.mark.parametrize("step", range(1, len(STEPS_AT_CHANGE) + 1))
def test_server_that_is_killed_while_it_goes_on_loses_no_line_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    path = tmp_path / "journal"
    written = being_rewritten(path)
    with monkeypatch.context() as patch:
        made = at_step(patch, step, Killed())
        with pytest.raises(Killed):
            written.write(remove(28))
    assert tuple(made) == STEPS_AT_CHANGE[:step]
    assert there(path) == (["c28", "c29"] if step == 1 else ["c29"])


@pytest.mark.parametrize("step", range(1, 6))
def test_old_file_is_gone_on_with_when_the_disk_takes_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    path = tmp_path / "journal"
    write_history(path, 600, 5)
    before = replayed(copied(path, tmp_path / "copy"))
    full = OSError(errno.ENOSPC, "No space left on device")
    real = os.open
    with monkeypatch.context() as patch:
        at_step(patch, step, full)
        guarded = os.open

        def opens(file: Any, *args: Any) -> int:
            """The old file is there already, so it can be opened on a full disk."""
            return real(file, *args) if file == path else guarded(file, *args)

        patch.setattr(os, "open", opens)
        driver = SimulatedDriver("i", CLOCK, [FOREVER], path)
    asyncio.run(goes_on(driver))
    assert [name for name, _ in replayed(path)["containers"]] == [
        *(name for name, _ in before["containers"]), spec(9999).name,
    ]  # fmt: skip
    assert not path.with_name("journal.part").exists()


def copied(path: Path, to: Path) -> Path:
    to.write_bytes(path.read_bytes())
    return to


async def goes_on(driver: SimulatedDriver) -> None:
    await driver.start(spec(9999))
    await driver.close()


def test_line_is_refused_and_nothing_lost_when_the_disk_is_full_while_it_is_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    written = being_rewritten(path)
    with monkeypatch.context() as patch:
        at_step(patch, 2, OSError(errno.ENOSPC, "No space left on device"))
        written.write(remove(28))  # the line itself is written; the copy of it is not
        with pytest.raises(RuntimeUnavailable, match="No space left"):
            written.write(remove(29))
    written.write(create(99))
    written.close()
    assert there(path) == ["c29", "c99"]
    assert not path.with_name("journal.part").exists()
