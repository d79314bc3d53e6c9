"""Endpoints in this process, with a server that stands for what runs in their replicas."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from homeport.runtime.drivers.simulated import Rule

from .home import Api

PATH = "/api/v2/workspaces/local/deployments"
SERVES = Rule(run_for_s=None, address="127.0.0.1")


@dataclass
class Backend:
    """Answers `ok`, or waits until it is told to; `asked` counts."""

    port: int = 0
    asked: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                await self.may_answer.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def backend() -> AsyncGenerator[Backend]:
    made = Backend()
    made.may_answer.set()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


class Endpoint:
    """One endpoint, named `e`."""

    def __init__(self, api: Api, port: int) -> None:
        self.api, self.clock, self.port = api, api.at.clock, port
        self.gateway = httpx.AsyncClient(timeout=30)
        self.url = ""

    async def create(
        self, *, replicas: int = 1, most: int | None = None, shape: str = "cpu.small", **spec: Any
    ) -> None:
        asked: dict[str, Any] = {"resource_shape": shape, "min_replicas": replicas}
        whole = {
            "container": {"image": "any:1", "command": ["serve"], "ports": [{"container_port": self.port}]},
            "resource_requirement": asked | ({"max_replicas": most} if most else {}),
        }
        answer = await self.api.client.post(PATH, json={"metadata": {"name": "e"}, "spec": whole | spec})
        assert answer.status_code == 201, answer.text
        self.url = answer.json()["status"]["endpoint"]["external_endpoint"]

    async def change(self, **spec: Any) -> httpx.Response:
        return await self.api.client.patch(f"{PATH}/e", json={"spec": spec})

    @property
    def found(self) -> Any:
        reads = self.api.at.home.services.store.reads
        return reads.page("local", "endpoint", size=1, archived=None, name="e")[0]

    @property
    def phase(self) -> str:
        return self.found.phase.value

    @property
    def attempts(self) -> list[Any]:
        return self.api.at.home.services.store.attempts_of(self.found.id)

    @property
    def live(self) -> list[Any]:
        return [a for a in self.attempts if a.is_live]

    @property
    def running(self) -> list[Any]:
        return [a for a in self.live if a.started_at_ms and a.draining_at_ms is None]

    def events(self, reason: str) -> list[str]:
        rows = self.api.at.home.services.store.events_of(self.found.id)
        return [row.message for row in rows if row.reason == reason]

    async def until(self, what: str, look: Callable[[], Any]) -> None:
        await self.api.at.until(what, look)

    async def passes(self, seconds: float, step_s: float = 5.0) -> None:
        """Time goes by in steps; what is due at each of them is done before the next."""
        loop = self.api.at.home.loop
        for _ in range(round(seconds / step_s)):
            self.clock.advance(step_s)
            for _ in range(3):  # what one writes down the next acts upon
                before = loop.passes
                loop.poke()
                await self.until("a pass", lambda before=before: loop.passes > before)

    async def ready(self, number: int = 1) -> None:
        """So many run, and their first probes pass."""
        await self.until(f"{number} run", lambda: len(self.running) == number)
        self.clock.advance(5)
        await self.until("ready", lambda: self.phase == "ready")
        await self.passes(0.001, step_s=0.001)  # the gateway knows too

    async def ask(self, path: str = "/") -> httpx.Response:
        return await self.gateway.get(f"{self.url}{path}")

    async def asked(self, number: int, path: str = "/") -> None:
        for _ in range(number):
            assert (await self.ask(path)).status_code == 200


@asynccontextmanager
async def endpoint(api: Api) -> AsyncGenerator[tuple[Endpoint, Backend]]:
    async with backend() as behind:
        made = Endpoint(api, behind.port)
        try:
            yield made, behind
        finally:
            await made.gateway.aclose()
