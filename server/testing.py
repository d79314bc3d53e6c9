"""A whole server inside a test: simulated runtime, virtual clock, no socket."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..runtime.clock import SystemClock, VirtualClock
from ..runtime.drivers.simulated import Rule, SimulatedDriver
from .app import WORKSPACE, Home, open_home
from .services import access
from .settings import load_settings

T = TypeVar("T")
DEADLINE_S, LOOK_S = 20.0, 0.005  # of real time


@dataclass(frozen=True, slots=True)
class InProcessHome:
    """`home.asgi` is the application; `token` is good for the workspace `local`."""

    home: Home
    clock: VirtualClock
    token: str

    async def until(self, what: str, look: Callable[[], T]) -> T:
        """The first truthy answer of `look`. The virtual clock stands still meanwhile."""
        real = SystemClock()
        end = real.monotonic_s() + DEADLINE_S
        while not (answer := look()):
            if real.monotonic_s() > end:
                raise AssertionError(f"not within {DEADLINE_S:g} s, with the clock standing still: {what}")
            await real.sleep(LOOK_S)
        return answer


@contextlib.asynccontextmanager
async def open_in_process(
    data_dir: Path, *, rules: Sequence[Rule] = (), **flags: object
) -> AsyncGenerator[InProcessHome]:
    """
    Args:
        rules: what simulated containers do; see `Rule`.
        flags: settings, as `homeport serve` has them.
    """
    clock = VirtualClock()
    settings = load_settings(**({"data_dir": data_dir, "runtime": "simulated", "gateway_port": 0} | flags))
    driver = SimulatedDriver("test", clock, rules)
    async with open_home(settings, clock, driver) as home:
        token = await access.ensure_token(
            home.services.store, clock, data_dir / "credentials.json", WORKSPACE
        )
        home.loop.start()
        home.metrics.start()
        yield InProcessHome(home, clock, token)
