"""Time that is moved by hand, over time that runs by itself."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homeport.runtime.clock import Steerable, SteeredClock, SystemClock, VirtualClock
from homeport.runtime.faults import write_json
from homeport.server.levers import open_clock, steerable


def steered() -> tuple[SteeredClock, VirtualClock]:
    """A clock over one that the test moves in place of the machine's."""
    machine = VirtualClock()
    return SteeredClock(machine), machine


def test_steered_clock_is_the_machines_until_it_is_moved() -> None:
    clock, machine = steered()
    machine.advance(5)
    assert (clock.now_ms(), clock.monotonic_s()) == (machine.now_ms(), machine.monotonic_s())
    clock.advance(60)
    machine.advance(1)
    assert clock.now_ms() == machine.now_ms() + 60_000
    assert clock.monotonic_s() == machine.monotonic_s() + 60


def test_frozen_clock_stands_still_and_goes_on_from_there_when_resumed() -> None:
    clock, machine = steered()
    clock.freeze()
    at = clock.now_ms()
    machine.advance(1000)
    assert (clock.now_ms(), clock.is_frozen) == (at, True)
    clock.resume()
    machine.advance(2)
    assert (clock.now_ms(), clock.is_frozen) == (at + 2000, False)


def test_steered_clock_is_set_to_a_later_moment_and_to_no_earlier_one() -> None:
    clock, _ = steered()
    clock.set_ms(1_900_000_000_000)
    assert clock.now_ms() == 1_900_000_000_000
    with pytest.raises(ValueError, match="does not run backwards"):
        clock.set_ms(1_899_999_999_999)


def test_clock_that_was_advanced_goes_on_from_there_after_a_restart(tmp_path: Path) -> None:
    kept, machine = tmp_path / "clock.json", VirtualClock()
    before = SteeredClock(machine, kept)
    before.advance(3600)
    machine.advance(10)
    assert SteeredClock(machine, kept).now_ms() == before.now_ms() == machine.now_ms() + 3_600_000
    turned_back = SteeredClock(VirtualClock(machine.now_ms() - 60_000), kept)  # the machine's own clock was
    assert turned_back.now_ms() >= machine.now_ms() - 10_000 + 3_600_000


def test_clock_that_stands_still_does_so_after_a_restart(tmp_path: Path) -> None:
    kept, machine = tmp_path / "clock.json", VirtualClock()
    before = SteeredClock(machine, kept)
    before.freeze()
    before.advance(60)
    machine.advance(1000)
    after = SteeredClock(machine, kept)
    assert (after.now_ms(), after.is_frozen) == (before.now_ms(), True)
    after.resume()
    machine.advance(5)
    assert SteeredClock(machine, kept).now_ms() == before.now_ms() + 5000


def test_clock_stands_where_it_stood_after_a_restart_when_the_disk_was_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, machine = tmp_path / "clock.json", VirtualClock()

    def write_slowly(path: Path, value: Any) -> None:
        machine.advance(0.25)
        write_json(path, value)

    monkeypatch.setattr("homeport.runtime.faults.write_json", write_slowly)
    before = SteeredClock(machine, kept)
    before.freeze()
    assert SteeredClock(machine, kept).now_ms() == before.now_ms()


def test_clock_that_may_not_be_moved_any_more_runs_on_from_where_it_was(tmp_path: Path) -> None:
    assert isinstance(open_clock(tmp_path, is_movable=False), SystemClock)
    before = open_clock(tmp_path, is_movable=True)
    assert isinstance(before, SteeredClock)
    before.freeze()
    before.advance(3600)
    after = open_clock(tmp_path, is_movable=False)
    assert isinstance(after, SteeredClock)
    assert not after.is_frozen
    assert after.now_ms() >= before.now_ms()
    assert steerable(after) is None


def test_clock_is_not_moved_where_the_move_cannot_be_kept(tmp_path: Path) -> None:
    clock = SteeredClock(VirtualClock(), tmp_path / "gone" / "clock.json")
    at = clock.now_ms()
    for move in (clock.freeze, lambda: clock.advance(5)):
        with pytest.raises(OSError, match="No such file"):
            move()
    assert (clock.now_ms(), clock.is_frozen) == (at, False)


async def _wakes(clock: Steerable, move: Callable[[], None]) -> list[str]:
    woken: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    tasks = [
        asyncio.ensure_future(sleep(name, s)) for name, s in (("c", 30), ("a", 10), ("b", 20), ("d", 99))
    ]
    await asyncio.sleep(0)
    move()
    for _ in range(5):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return woken


@pytest.mark.parametrize("clock", [VirtualClock(), SteeredClock(VirtualClock())], ids=["virtual", "steered"])
def test_sleepers_wake_in_order_when_time_jumps_over_them(clock: Steerable) -> None:
    assert asyncio.run(_wakes(clock, lambda: clock.advance(30))) == ["a", "b", "c"]


def test_sleeper_wakes_by_itself_while_time_runs_and_not_while_it_is_frozen() -> None:
    async def scenario() -> None:
        clock = SteeredClock()
        await asyncio.wait_for(clock.sleep(0.01), 10)
        clock.freeze()
        sleeping = asyncio.ensure_future(clock.sleep(0.01))
        done, _ = await asyncio.wait({sleeping}, timeout=0.1)
        assert not done
        clock.resume()
        await asyncio.wait_for(sleeping, 10)

    asyncio.run(scenario())


def test_sleepers_that_were_cancelled_do_not_pile_up() -> None:
    async def scenario() -> int:
        clock = VirtualClock()
        for _ in range(1000):
            task = asyncio.ensure_future(clock.sleep(3600))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            clock.advance(0)
        return len(clock._sleepers._waiting)  # pyright: ignore[reportPrivateUsage]

    assert asyncio.run(scenario()) < 10
