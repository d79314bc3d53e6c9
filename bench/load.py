"""Load on a server of this machine: keep-alive connections, each with one request under way."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httptools

PATIENCE_S = 6.0  # for answers that are still to come when the time is over


@dataclass(slots=True)
class Load:
    """`refused`: answers other than 2xx, connections that broke and requests nobody answered."""

    answered: int = 0
    refused: int = 0
    wall_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list[float])

    @property
    def rate(self) -> float:
        return self.answered / self.wall_s


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def drive(port: int, make: Callable[[], bytes], *, clients: int, seconds: float) -> Load:
    """Each client sends what `make` gives, as soon as its last request is answered."""
    return asyncio.run(_drive(port, make, clients, seconds))


async def _drive(port: int, make: Callable[[], bytes], clients: int, seconds: float) -> Load:
    loop, load = asyncio.get_running_loop(), Load()
    began = time.perf_counter()
    all_: list[_Client] = []
    for _ in range(clients):
        _, client = await loop.create_connection(
            lambda: _Client(load, make, began + seconds), "127.0.0.1", port
        )
        all_.append(client)
    _, late = await asyncio.wait([c.done for c in all_], timeout=seconds + PATIENCE_S)
    load.wall_s = max(max((c.answered_at for c in all_), default=began) - began, 1e-9)
    for client in all_:
        client.leave()
    load.refused += len(late)
    load.latencies_ms += [(time.perf_counter() - c.sent_at) * 1000 for c in all_ if c.done in late]
    return load


class _Client(asyncio.Protocol):
    def __init__(self, load: Load, make: Callable[[], bytes], until: float) -> None:
        self._load, self._make, self._until = load, make, until
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent_at = self.answered_at = 0.0
        self._transport: asyncio.WriteTransport | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self.sent_at = time.perf_counter()
        self._transport.write(self._make())

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.answered_at = time.perf_counter()
        self._load.latencies_ms.append((self.answered_at - self.sent_at) * 1000)
        if 200 <= self._parser.get_status_code() < 300:
            self._load.answered += 1
        else:
            self._load.refused += 1
        if self.answered_at < self._until:
            self._send()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._load.refused += 1
            self.done.set_result(None)

    def leave(self) -> None:
        if not self.done.done():
            self.done.cancel()
        if self._transport is not None:
            self._transport.abort()
