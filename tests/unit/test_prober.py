"""One try against real sockets on loopback: every way a server can answer, or not."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from homeport.runtime.prober import NetworkProber
from homeport.runtime.probes import Handler, HttpGet, ProbeResult, TcpConnect

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(text: bytes, *, hang: bool = False) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()
        if hang:
            await reader.read()
        writer.close()

    return serve


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    await reader.read()
    writer.close()


def tried(serve: Serve, make: Callable[[int], Handler], timeout_s: float = 5) -> tuple[ProbeResult, str]:
    async def body() -> tuple[ProbeResult, str]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await NetworkProber().probe(make(port), "127.0.0.1", timeout_s)

    return asyncio.run(body())


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ProbeResult.SUCCESS),
        (b"HTTP/1.0 204 No Content\r\n\r\n", ProbeResult.SUCCESS),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", ProbeResult.SUCCESS),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", ProbeResult.FAILURE),
        (b"HTTP/1.1 500 Oops\r\n\r\n", ProbeResult.FAILURE),
        (b"HTTP/1.1 200 OK\r\nContent-Le", ProbeResult.FAILURE),
        (b"", ProbeResult.FAILURE),
        (b"SSH-2.0-OpenSSH\r\n", ProbeResult.FAILURE),
    ],
)
def test_status_decides_an_http_probe(answer: bytes, result: ProbeResult) -> None:
    assert tried(answering(answer), lambda port: HttpGet(port, "/healthz"))[0] is result


def test_body_that_never_ends_is_not_waited_for() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    assert tried(answering(endless, hang=True), HttpGet)[0] is ProbeResult.SUCCESS


def test_server_that_says_nothing_fails_at_the_deadline() -> None:
    result, told = tried(silent, HttpGet, timeout_s=0.2)
    assert result is ProbeResult.FAILURE
    assert "within 0.2 s" in told


def test_server_that_accepts_passes_a_tcp_probe() -> None:
    assert tried(silent, TcpConnect)[0] is ProbeResult.SUCCESS


def test_closed_port_is_a_failure() -> None:
    async def body() -> ProbeResult:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return (await NetworkProber().probe(TcpConnect(port), "127.0.0.1", 5))[0]

    assert asyncio.run(body()) is ProbeResult.FAILURE


def test_trouble_of_our_own_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_descriptors(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(asyncio, "open_connection", no_descriptors)
    result, told = asyncio.run(NetworkProber().probe(TcpConnect(1), "127.0.0.1", 5))
    assert result is ProbeResult.UNKNOWN
    assert "Too many open files" in told
