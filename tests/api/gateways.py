"""A gateway in this process, replicas that do as they are told, and a client that sends bytes."""

import asyncio
import contextlib
import dataclasses
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any

from homeport.runtime.clock import Clock, SystemClock, VirtualClock
from homeport.server.gateway.access import hash_bearer
from homeport.server.gateway.gateway import Gateway
from homeport.server.gateway.limits import Limits
from homeport.server.routing import AccessRecord, AccessRule, Route, Target

DEADLINE_S = 10.0
TOKEN = "tok-1"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(whole())


async def eventually(what: str, look: Callable[[], Any]) -> Any:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if found := look():
            return found
        await asyncio.sleep(0.002)
    raise AssertionError(f"not in time: {what}")


def tokens(*names: str) -> frozenset[str]:
    return frozenset(hash_bearer(f"Bearer {name}".encode()) for name in names)


@dataclasses.dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    interim: list[int] = dataclasses.field(default_factory=list[int])
    trailer: bytes = b""

    def header(self, name: str) -> str | None:
        found = [v for n, v in self.headers if n.lower() == name.lower()]
        assert len(found) < 2, found
        return found[0] if found else None


class Client:
    """A connection; `ask` sends bytes and reads one answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> Answer:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        pairs = [tuple(line.split(": ", 1)) for line in lines[1:]]
        return Answer(int(lines[0].split()[1]), [(n, v) for n, v in pairs], b"")

    async def answer(self, method: str = "GET") -> Answer:
        found = await self.head()
        interim: list[int] = []
        while found.status < 200 and found.status != 101:
            interim.append(found.status)
            found = await self.head()
        found.interim = interim
        length = found.header("Content-Length")
        if method == "HEAD" or found.status in (101, 204, 304):
            return found
        if found.header("Transfer-Encoding") == "chunked":
            while size := int((await self.reader.readline()).split(b";")[0], 16):
                found.body += await self.reader.readexactly(size)
                assert await self.reader.readexactly(2) == b"\r\n"
            while (line := await self.reader.readline()) != b"\r\n":
                assert line, "the connection ended inside a trailer"
                found.trailer += line
        elif length is not None:
            found.body = await self.reader.readexactly(int(length))
        else:
            found.body = await self.reader.read()
        return found

    async def ask(self, data: bytes, method: str = "GET") -> Answer:
        self.send(data)
        return await self.answer(method)

    async def is_closed(self) -> bool:
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.writer.close()


class Replica:
    """Keeps what it has read; `serve` is asked for each connection."""

    def __init__(self, serve: Serve | None = None, name: str = "r0") -> None:
        self.name = name
        self.seen: list[bytes] = []
        self.connections = self.open = 0
        self._serve = serve or self.say_ok
        self._server: asyncio.Server | None = None
        self.target = Target(name, "127.0.0.1", 1)

    async def start(self) -> Target:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.target = Target(self.name, "127.0.0.1", self._server.sockets[0].getsockname()[1])
        return self.target

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._serve(reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        self.seen.append(await reader.readuntil(b"\r\n\r\n"))
        return self.seen[-1]

    async def say_ok(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await self.head(reader)
            writer.write(OK)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


def says(*answers: bytes, close: bool = False) -> Callable[["Replica"], Serve]:
    """Answers one request after another, each with the next of `answers`."""

    def bound(replica: "Replica") -> Serve:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for answer in answers:
                await replica.head(reader)
                writer.write(answer)
            if not close:
                await reader.read()

        return serve

    return bound


def replica(make: Callable[["Replica"], Serve] | None = None, name: str = "r0") -> Replica:
    made = Replica(name=name)
    if make is not None:
        made._serve = make(made)
    return made


@dataclasses.dataclass
class Front:
    gateway: Gateway
    port: int
    clock: Clock
    records: list[AccessRecord]
    wakes: list[str]
    drained: list[tuple[str, str]]

    async def client(self) -> Client:
        return await Client.connect(self.port)

    def route(self, *replicas: Replica, **more: Any) -> Route:
        route = Route("ws", "ep", tuple(r.target for r in replicas), **more)
        self.gateway.put(route)
        return route

    async def ask(self, data: bytes, method: str = "GET") -> Answer:
        """On a connection of its own."""
        client = await self.client()
        try:
            return await client.ask(data, method)
        finally:
            client.close()

    async def advance(self, seconds: float) -> None:
        """In steps, so that every sweep on the way takes place."""
        assert isinstance(self.clock, VirtualClock)
        end = self.clock.monotonic_s() + seconds
        while self.clock.monotonic_s() < end:
            self.clock.advance(min(0.5, end - self.clock.monotonic_s()))
            for _ in range(5):
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def front(
    *replicas: Replica,
    virtual: bool = False,
    limits: Limits | None = None,
    own_hosts: tuple[str, ...] = (),
    **more: Any,
) -> AsyncGenerator[Front]:
    """A gateway; with replicas, also the route ws/ep to them, public unless `more` says otherwise."""
    clock: Clock = VirtualClock() if virtual else SystemClock()
    records: list[AccessRecord] = []
    wakes: list[str] = []
    drained: list[tuple[str, str]] = []
    gateway = Gateway(
        clock, limits, hosts=own_hosts, on_wake=wakes.append, on_record=records.append,
        on_drained=lambda key, name: drained.append((key, name)),
    )  # fmt: skip
    port = await gateway.listen()
    made = Front(gateway, port, clock, records, wakes, drained)
    for one in replicas:
        await one.start()
    if replicas:
        made.route(*replicas, **more)
    try:
        yield made
    finally:
        await gateway.close()
        for one in replicas:
            one.close()
        await asyncio.sleep(0)


def get(path: str = "/", *lines: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    head = [f"{method} /e/ws/ep{path} HTTP/{version}", "Host: 127.0.0.1", *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PROTECTED = AccessRule(tokens=tokens(TOKEN))
