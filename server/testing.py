"""A whole server inside a test: simulated runtime, virtual clock, no socket."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..runtime.clock import SystemClock, VirtualClock
from ..runtime.drivers.simulated import Rule, RuleBook
from ..runtime.faults import Faults
from .app import WORKSPACE, Home, open_home
from .invariants import Facts, broken, broken_steps, facts_of
from .machine import simulation
from .services import access
from .services.applications import ensure_application
from .settings import load_settings
from .world import load_world

T = TypeVar("T")
DEADLINE_S, LOOK_S = 20.0, 0.005  # of real time
# What follows from something goes through so many turns of the event loop at most, without a trace.
QUIET_TURNS = 30
PARKED_S = 0.05  # of real time: an action that does nothing for so long waits for the clock


@dataclass(frozen=True, slots=True)
class InProcessHome:
    """
    `home.asgi` is the application; `token` is good for the workspace `local`, `application` (client id
    and secret) for Run:ai's API.
    """

    home: Home
    clock: VirtualClock
    token: str
    application: tuple[str, str]

    @property
    def rules(self) -> RuleBook:
        return self.home.levers.get_rules()

    @property
    def faults(self) -> Faults:
        return self.home.levers.get_faults()

    async def until(self, what: str, look: Callable[[], T]) -> T:
        """The first truthy answer of `look`. The virtual clock stands still meanwhile."""
        real = SystemClock()
        end = real.monotonic_s() + DEADLINE_S
        while not (answer := look()):
            if real.monotonic_s() > end:
                raise AssertionError(f"not within {DEADLINE_S:g} s, with the clock standing still: {what}")
            await real.sleep(LOOK_S)
        return answer

    async def settle(self) -> None:
        """Until all that follows from what was done has happened. The virtual clock stands still."""
        loop, store, real = self.home.loop, self.home.services.store, SystemClock()
        end, before = real.monotonic_s() + DEADLINE_S, loop.passes
        loop.poke()
        seen, turns, since = (-1, -1), 0, 0.0
        while True:
            is_writing = store.unanswered_writes > 0
            await real.sleep(LOOK_S / 10 if is_writing else 0)
            now, told = real.monotonic_s(), (loop.passes, store.commits)
            if told != seen or is_writing or loop.passes == before:
                seen, turns, since = told, 0, now
            turns += 1
            if turns > QUIET_TURNS and (loop.is_idle or now - since > PARKED_S):
                return
            if now > end:
                raise AssertionError(f"not within {DEADLINE_S:g} s: the server comes to rest")

    async def pass_time(self, seconds: float, step_s: float = 60.0) -> None:
        """The clock goes on in steps, and what follows from each has happened before the next."""
        left = seconds
        while left > 0:
            self.clock.advance(min(step_s, left))
            left -= step_s
            await self.settle()


async def assert_world_ok(home: Home, *, before: Facts | None = None, is_quiet: bool = False) -> Facts:
    """
    What must hold of a server at any time does, in its tables, on its runtime and in its gateway.

    Args:
        before: an earlier look, to see that nothing went backwards since.
        is_quiet: nothing is under way, as after `settle`; then more must hold.

    Returns:
        What was looked at.

    Raises:
        AssertionError: names each rule that does not hold.
    """
    facts = await facts_of(home)
    found = broken(facts, is_quiet=is_quiet) + (broken_steps(before, facts) if before else [])
    if found:
        raise AssertionError("; ".join(found))
    return facts


@contextlib.asynccontextmanager
async def open_in_process(
    data_dir: Path,
    *,
    rules: Sequence[Rule] = (),
    clock: VirtualClock | None = None,
    keeps: bool = False,
    **flags: object,
) -> AsyncGenerator[InProcessHome]:
    """
    Args:
        rules: what simulated containers do; see `Rule`.
        clock: of the server before this one, where time is to go on from there.
        keeps: containers and faults outlive the server, for the next one on this directory.
        flags: settings, as `homeport serve` has them.
    """
    clock = clock or VirtualClock()
    data_dir.mkdir(parents=True, exist_ok=True)
    settings = load_settings(**({"data_dir": data_dir, "runtime": "simulated", "gateway_port": 0} | flags))
    world = load_world(settings.seed, overcommit=settings.world_overcommit)
    driver = simulation(settings, world, "test", clock, rules, keeps=keeps)
    async with open_home(settings, clock, driver) as home:
        store, credentials = home.services.store, data_dir / "credentials.json"
        token = await access.ensure_token(store, clock, credentials, WORKSPACE)
        application = await ensure_application(store, clock, credentials)
        home.loop.start()
        home.metrics.start()
        yield InProcessHome(home, clock, token, application)
