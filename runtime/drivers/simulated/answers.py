"""HTTP answers of simulated containers: each has a loopback address of its own."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any

import httptools

from ...clock import Clock
from ...errors import LaunchRefused
from .rules import Answer

NETWORK = "127.64.0.0/10"
FIRST, COUNT = 127 << 24 | 64 << 16, 1 << 22
TRIES = 64
MOST_PIPELINED = 16


class Answering:
    """
    The listeners of one container.

    Args:
        is_up: whether it runs; what comes while it does not is not answered.
    """

    def __init__(self, answers: Iterable[Answer], is_up: Callable[[], bool], clock: Clock) -> None:
        self.answers, self.is_up, self.clock = tuple(answers), is_up, clock
        self._servers: list[asyncio.Server] = []
        self.connections: set[asyncio.Transport] = set()

    async def open(self, ports: Iterable[int], ordinal: int) -> str:
        """
        Listen on these ports of an address that nobody else has there, which is returned.

        Raises:
            LaunchRefused: no address was found, or a port may not be listened on.
        """
        reason = ""
        for number in range(ordinal, ordinal + TRIES):
            address = _address(number)
            try:
                for port in ports:
                    self._servers.append(await self._listen(address, port))
                return address
            except OSError as error:
                reason = f"{address}: {error.strerror or error}"
                self.close()
                if isinstance(error, PermissionError):
                    break
        raise LaunchRefused(f"the ports of its HTTP answers cannot be opened: {reason}")

    async def _listen(self, address: str, port: int) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(lambda: _Connection(self), address, port)

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for transport in list(self.connections):
            transport.abort()
        self._servers.clear()


def _address(number: int) -> str:
    """Linux has all of 127/8 without asking; elsewhere containers share one address."""
    if sys.platform != "linux":
        return "127.0.0.1"
    value = FIRST + 1 + number % (COUNT - 2)
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


class _Connection(asyncio.Protocol):
    """One connection; requests on it are answered in their order."""

    def __init__(self, to: Answering) -> None:
        self._to = to
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._asked: asyncio.Queue[tuple[str, str, bool]] = asyncio.Queue()
        self._talking: asyncio.Task[None] | None = None

    # -- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._to.is_up():
            transport.abort()
            return
        self._to.connections.add(transport)
        self._talking = asyncio.get_running_loop().create_task(self._talk(transport))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._to.connections.discard(self._transport)
        if self._talking is not None:
            self._talking.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self._transport is not None:
                self._transport.abort()
        if self._transport is not None and self._asked.qsize() > MOST_PIPELINED:
            self._transport.abort()

    # -- the parser

    def on_message_begin(self) -> None:
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_message_complete(self) -> None:
        path = self._url.partition(b"?")[0].decode("latin-1")
        is_kept = bool(self._parser.should_keep_alive())
        self._asked.put_nowait((self._parser.get_method().decode(), path, is_kept))

    # -- the answers

    async def _talk(self, transport: asyncio.Transport) -> None:
        while True:
            method, path, is_kept = await self._asked.get()
            found = next((a for a in self._to.answers if _matches(a, method, path)), None)
            if found is not None and found.delay_s:
                await self._to.clock.sleep(found.delay_s)
            if not self._to.is_up():
                transport.abort()
                return
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                transport.write(_rendered(found or _unknown(method, path), method, is_kept))
            if not is_kept:
                transport.close()
                return


def _matches(answer: Answer, method: str, path: str) -> bool:
    return fnmatchcase(method, answer.method) and fnmatchcase(path, answer.path)


def _unknown(method: str, path: str) -> Answer:
    told = {"message": f"no answer of its rule matches {method} {path}"}
    return Answer(status=404, body=json.dumps(told), content_type="application/json")


def _rendered(answer: Answer, method: str, is_kept: bool) -> bytes:
    body = answer.body.encode()
    known = {status.value: status.phrase for status in HTTPStatus}
    lines = [f"HTTP/1.1 {answer.status} {known.get(answer.status, 'Simulated')}"]
    has_body = answer.status >= 200 and answer.status not in (204, 304)
    if has_body:
        lines += [f"Content-Type: {answer.content_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if not is_kept:
        lines.append("Connection: close")
    head = "\r\n".join((*lines, "", "")).encode("latin-1", "replace")
    return head + (body if has_body and method != "HEAD" else b"")
