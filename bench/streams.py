"""
How late server-sent events arrive through the gateway, and what one costs: 100 streams of 50 events a second,
spread over time, as streams of different users are, or in step: then 100 events come at once.

Beside it nginx, which does not buffer (gateway.NGINX), and the replica without anything in between.
"""

import asyncio
import contextlib
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from .figures import Figure, median, percentile, show, take_turns
from .gateway import PATH, TOKEN, homeport_gateway, nginx
from .load import request
from .servers import Server, free_port, started

ROUNDS, STREAMS, EVENTS_PER_S = 5, 100, 50
WARM_UP_S, CELL_S = 0.4, 1.5
IN_STEP = "in-step"
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
EVENT = re.compile(rb"data: (\d{20})\n")


@dataclass(slots=True)
class Cell:
    """Delays in milliseconds from the replica's write to the client's read; CPU of the proxy per event."""

    delays_ms: list[float] = field(default_factory=list[float])
    broken: int = 0
    cpu_us: float = 0.0

    def share(self, share: float) -> float:
        return percentile(self.delays_ms, share)


def cell(server: Server, path: str) -> Cell:
    found = asyncio.run(_cell(server, path))
    wanted = STREAMS * EVENTS_PER_S * CELL_S
    if found.broken or len(found.delays_ms) < 0.9 * wanted:
        told = f"{found.broken} streams broke, {len(found.delays_ms)} of {wanted:.0f} events came"
        raise RuntimeError(told)
    return found


async def _cell(server: Server, path: str) -> Cell:
    loop, found, asked = asyncio.get_running_loop(), Cell(), request("GET", path, TOKEN)
    clients: list[_Client] = []
    for _ in range(STREAMS):
        _, client = await loop.create_connection(lambda: _Client(found, asked), "127.0.0.1", server.port)
        clients.append(client)
    await asyncio.sleep(WARM_UP_S)
    found.delays_ms.clear()
    before = server.cpu_s()
    await asyncio.sleep(CELL_S)
    found.cpu_us = (server.cpu_s() - before) / max(len(found.delays_ms), 1) * 1e6
    for client in clients:
        client.leave()
    return found


class _Client(asyncio.Protocol):
    def __init__(self, found: Cell, asked: bytes) -> None:
        self._found, self._asked, self._rest, self._is_leaving = found, asked, b"", False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(self._asked)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        data, at = self._rest + data, 0
        for event in EVENT.finditer(data):
            self._found.delays_ms.append((now_ns - int(event[1])) / 1e6)
            at = event.end()
        self._rest = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._found.broken += not self._is_leaving

    def leave(self) -> None:
        self._is_leaving = True
        if self._transport is not None:
            self._transport.abort()


def measure() -> list[Figure]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homeport-bench-")))
        port = free_port()
        argv = ["-m", "bench.streams", "replica", str(port)]
        direct = stack.enter_context(started(argv, port, PATH, folder / "replica.log"))
        servers = [stack.enter_context(homeport_gateway(folder, port)), direct]
        if shutil.which("nginx"):
            servers.append(stack.enter_context(nginx(folder, port)))
        else:
            print("left out what is beside nginx, which is not installed", file=sys.stderr)
        return [
            *figures("events spread", servers, PATH),
            *figures("events in step", servers, f"{PATH}{IN_STEP}"),
        ]


def figures(what: str, servers: Sequence[Server], path: str) -> list[Figure]:
    """`servers`: ours, the replica itself, and nginx where it is there."""
    sides = [partial(cell, server, path) for server in servers]
    for side in sides:
        side()  # warm up
    ours, plain, *others = take_turns(ROUNDS, *sides)
    found: list[Figure] = []
    for share in (0.5, 0.99):
        name = f"{what}: delay, p{share * 100:.0f}"
        own, floor, *theirs = (median([c.share(share) for c in cells]) for cells in (ours, plain, *others))
        found.append(Figure(name, own, "ms", floor, "no proxy"))
        most = 2.0 if share == 0.99 else None
        found += [Figure(name, own, "ms", value, "nginx", most=most) for value in theirs]
    own, *theirs = (median([c.cpu_us for c in cells]) for cells in (ours, *others))
    return found + [Figure(f"{what}: CPU of one", own, "us", value, "nginx") for value in theirs]


# --- the replica, a program of its own


class _Streams(asyncio.Protocol):
    """A stream begins with each request and ends with its connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        if self._timer is None and b"\r\n\r\n" in data:
            self._transport.write(HEAD)
            offset = 0.0 if IN_STEP.encode() in data else random.random()
            self._due_s = self._loop.time() + offset / EVENTS_PER_S
            self._timer = self._loop.call_at(self._due_s, self._send)

    def _send(self) -> None:
        self._transport.write(b"1c\r\ndata: %020d\n\n\r\n" % time.monotonic_ns())
        self._due_s += 1 / EVENTS_PER_S
        self._timer = self._loop.call_at(self._due_s, self._send)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()


async def replica_program(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Streams, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["replica", port]:
            asyncio.run(replica_program(int(port)))
        case flags:
            show([measure], flags)
