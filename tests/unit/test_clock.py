"""Time that is moved by hand, over time that runs by itself."""

import asyncio
from collections.abc import Callable

import pytest

from homeport.runtime.clock import Steerable, SteeredClock, VirtualClock


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
