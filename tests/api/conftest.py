import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from homeport.runtime.drivers.simulated import Rule

from .home import Api, open_api


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Runs a scenario against a fresh server: `play(scenario, *rules, **settings)`."""

    def run(scenario: Callable[[Api], Awaitable[None]], *rules: Rule, **flags: object) -> None:
        async def whole() -> None:
            async with open_api(tmp_path / "data", rules, **flags) as api:
                await scenario(api)

        asyncio.run(asyncio.wait_for(whole(), 60))

    return run
