"""
The vendor's domain for one command: an HTTPS proxy that leads there, and nowhere else, to our gateway.

`leptonai.client.Client("workspace", "endpoint")` has an address below VENDOR_DOMAIN built into it. The
proxy lives as long as the command does, listens on loopback only, and holds no other connection open.
"""

import asyncio
import contextlib
import json
import re
import ssl
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from .routing import VENDOR_DOMAIN

HEAD_S, CONNECT_S = 10.0, 5.0
PIECE_BYTES = 65536  # and the longest head
TARGET = re.compile(
    rb"CONNECT ([a-z0-9-]{1,63}\.%b):443 HTTP/1\.[01]\r\n" % re.escape(VENDOR_DOMAIN.encode()), re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Upstream:
    """The gateway. `tls`: to check its certificate with, None where it speaks HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class VendorProxy:
    def __init__(self, certificate: ssl.SSLContext, upstream: Upstream) -> None:
        self._certificate, self._upstream = certificate, upstream
        self._open: set[asyncio.Task[None]] = set()

    async def listen(self) -> tuple[asyncio.Server, int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=PIECE_BYTES)
        return server, server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, ssl.SSLError):
                await self._connect(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def close(self) -> None:
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return await _refuse(writer, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too large")
        if TARGET.match(head) is None:
            why = f"this proxy of `homeport exec` leads to hosts below {VENDOR_DOMAIN} only, on port 443"
            remedy = "run the command with `homeport exec --no-proxy` if it needs others"
            return await _refuse(writer, HTTPStatus.FORBIDDEN, f"{why}; {remedy}")
        up = self._upstream
        try:
            async with asyncio.timeout(CONNECT_S):
                to = await asyncio.open_connection(
                    up.host, up.port, ssl=up.tls, server_hostname=up.host if up.tls else None
                )
        except (OSError, TimeoutError) as error:
            why = f"the gateway at {up.host}:{up.port} does not answer ({error}): is there an endpoint yet?"
            return await _refuse(writer, HTTPStatus.BAD_GATEWAY, why)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            await writer.start_tls(self._certificate, ssl_handshake_timeout=HEAD_S)
            await _both_ways(reader, writer, *to)
        finally:
            to[1].close()


async def _both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    up_reader: asyncio.StreamReader,
    up_writer: asyncio.StreamWriter,
) -> None:
    """Until the gateway ends its side; TLS has no half-closed state, so the client's end ends both."""
    tasks = [
        asyncio.ensure_future(_copy(reader, up_writer)),
        asyncio.ensure_future(_copy(up_reader, writer)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()


async def _refuse(writer: asyncio.StreamWriter, status: HTTPStatus, message: str) -> None:
    body = json.dumps({"code": "proxy_refused", "message": message}).encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


@contextlib.contextmanager
def running(certificate: ssl.SSLContext, upstream: Upstream) -> Generator[int]:
    """The proxy in a thread of its own, for as long as the block lasts. Gives its port."""
    ready = threading.Event()
    begun: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = []

    async def serve() -> None:
        proxy, stop = VendorProxy(certificate, upstream), asyncio.Event()
        server, port = await proxy.listen()
        begun.append((asyncio.get_running_loop(), stop, port))
        ready.set()
        await stop.wait()
        server.close()
        await proxy.close()

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="vendor-proxy", daemon=True)
    thread.start()
    ready.wait()
    if not begun:
        raise OSError("the proxy for the vendor's domain cannot listen on 127.0.0.1")
    loop, stop, port = begun[0]
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=5)


def proxy_values(port: int, server_host: str, env: Mapping[str, str]) -> dict[str, str]:
    """For the command's environment: our own addresses are reached without the proxy."""
    proxy = f"http://127.0.0.1:{port}"
    before = [n for n in (env.get("NO_PROXY") or env.get("no_proxy") or "").split(",") if n.strip()]
    direct = ",".join(dict.fromkeys([*before, "localhost", "127.0.0.1", "::1", server_host]))
    return {"HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": direct, "no_proxy": direct}
