"""Benches for the driver contract: one machine per runtime, and what differs between them."""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from homeport.runtime.clock import Clock, SystemClock, VirtualClock
from homeport.runtime.driver import Driver
from homeport.runtime.drivers.process import ProcessDriver
from homeport.runtime.drivers.simulated import Rule, SimulatedDriver
from homeport.runtime.model import ContainerSpec, ContainerState, Handle, LogEntry, Observed
from tests.images import bash_image
from tests.world import require_docker

T = TypeVar("T")
DEADLINE_S = 30

# What a driver can show at all. A test names what it needs and runs on the drivers that have it.
EXECUTION = "execution"  # commands run: signals, environments, output
IMAGES = "images"
MOUNTS = "mounts"
NAMES = "names"  # members of a group find each other
NETWORKS = "networks"  # groups can be listed and removed
OOM = "oom"
CAPABILITIES = {
    "docker": {EXECUTION, IMAGES, MOUNTS, NAMES, NETWORKS, OOM},
    "process": {EXECUTION, MOUNTS, NAMES},
    "simulated": {NETWORKS, OOM},
}


@dataclass(frozen=True)
class Script:
    """One container's life, as a shell runs it and as a rule tells it."""

    name: str
    shell: str
    rule: Rule = field(default_factory=Rule)


@dataclass
class Bench:
    """A machine of one runtime. `open` puts a driver on it, as a (re)started server would."""

    kind: str
    clock: Clock
    image: str
    folder: Path
    scripts: Sequence[Script]
    engine: Any = None
    instance: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    opened: list[Driver] = field(default_factory=list)

    def open(self, instance: str = "") -> Driver:
        driver = self._make(instance or self.instance)
        self.opened.append(driver)
        return driver

    def _make(self, instance: str) -> Driver:
        if self.kind == "docker":
            from homeport.runtime.drivers.docker import DockerDriver

            return DockerDriver(instance, self.clock, stage=self.folder / "stage")
        if self.kind == "process":
            return ProcessDriver(instance, self.clock, self.folder / "processes")
        rules = [script.rule for script in self.scripts]
        return SimulatedDriver(instance, self.clock, rules, self.folder / "machine.jsonl")

    def spec(self, script: Script, **fields: Any) -> ContainerSpec:
        values: dict[str, Any] = {
            "instance": self.instance,
            "workload_id": script.name,
            "replica_id": f"{script.name}-r0",
            "attempt": 3,
            "generation": 2,
            "image": self.image,
            "command": ("/bin/bash", "-c", script.shell),
        }
        return ContainerSpec(**values | fields)

    async def until(self, what: str, look: Callable[[], Awaitable[T]]) -> T:
        """The first truthy answer, or a failure that names what was awaited."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            if answer := await look():
                return answer
            await self._pass_time()
        pytest.fail(f"not within {DEADLINE_S} s: {what}")

    async def finish(self, work: Awaitable[T]) -> T:
        """Its result, with the clock moving meanwhile."""
        task = asyncio.ensure_future(work)

        async def is_done() -> bool:
            return task.done()

        try:
            await self.until("its end", is_done)
            return task.result()
        finally:
            task.cancel()

    async def _pass_time(self) -> None:
        if isinstance(self.clock, VirtualClock):
            self.clock.advance(0.05)
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(0.02)

    async def seen(self, driver: Driver, handle: Handle) -> Observed | None:
        return next((o for o in await driver.list_owned() if o.handle == handle), None)

    async def ended(self, driver: Driver, handle: Handle) -> Observed:
        async def look() -> Observed | None:
            found = await self.seen(driver, handle)
            return found if found and found.state is ContainerState.EXITED else None

        found = await self.until(f"the end of {handle.name}", look)
        assert found is not None
        return found

    async def running(self, driver: Driver, handle: Handle) -> Observed:
        async def look() -> Observed | None:
            found = await self.seen(driver, handle)
            return found if found and found.state is ContainerState.RUNNING else None

        found = await self.until(f"{handle.name} running", look)
        assert found is not None
        return found

    async def run(self, driver: Driver, spec: ContainerSpec) -> tuple[Observed, str]:
        """How it ended and all that it said."""
        await driver.prepare(spec)
        handle = await driver.start(spec)
        ended = await self.ended(driver, handle)
        return ended, said(await entries(driver, handle))

    async def says(self, driver: Driver, handle: Handle, text: str) -> None:
        async def look() -> bool:
            return text in said(await entries(driver, handle))

        await self.until(f"{text!r} in the log", look)


async def entries(driver: Driver, handle: Handle, *, follow: bool = False) -> list[LogEntry]:
    return [entry async for batch in driver.logs(handle, follow=follow) for entry in batch]


def said(log: Sequence[LogEntry]) -> str:
    return b"".join(entry.data for entry in log).decode()


@contextlib.asynccontextmanager
async def bench(kind: str, folder: Path, scripts: Sequence[Script]) -> AsyncGenerator[Bench]:
    engine = require_docker() if kind == "docker" else None
    clock = VirtualClock() if kind == "simulated" else SystemClock()
    made = Bench(kind, clock, bash_image(engine) if engine else "any:1", folder, scripts, engine)
    try:
        yield made
    finally:
        for driver in made.opened:
            await driver.purge()
            await driver.close()
        if engine is not None:
            engine.close()


def contract(*needs: str, only: str = "", scripts: Sequence[Script] = ()) -> Callable[..., Any]:
    """An async test over every driver that has what it needs; `only` is one driver's own promise."""
    kinds = [kind for kind, can in CAPABILITIES.items() if can.issuperset(needs) and only in ("", kind)]
    marks = {"docker": [pytest.mark.docker]}

    def wrap(test: Callable[[Bench], Awaitable[None]]) -> Callable[..., None]:
        @pytest.mark.parametrize("kind", [pytest.param(k, marks=marks.get(k, [])) for k in kinds])
        def run(kind: str, tmp_path: Path) -> None:
            async def main() -> None:
                async with bench(kind, tmp_path, scripts) as made:
                    await test(made)

            if kind == "process" and {MOUNTS, NAMES} & set(needs) and os.geteuid() != 0:
                pytest.skip("the process runtime mounts and names workers only as root")
            asyncio.run(main())

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return wrap
