"""One try of a probe over the network, within its deadline."""

import asyncio
import contextlib
from typing import Protocol

import httptools

from .probes import Handler, HttpGet, ProbeResult

READ_BYTES, HEAD_BYTES = 8 * 1024, 64 * 1024
USER_AGENT = "homeport-probe/1"


class Prober(Protocol):
    async def probe(self, handler: Handler, host: str, timeout_s: float) -> tuple[ProbeResult, str]:
        """The result, and what was seen in words for people."""
        ...


class SimulatedProber:
    """For containers of which nothing runs: what is up is well."""

    async def probe(self, handler: Handler, host: str, timeout_s: float) -> tuple[ProbeResult, str]:
        return ProbeResult.SUCCESS, f"port {handler.port} is simulated"


class NetworkProber:
    """HTTP GET and TCP connect. Whatever goes wrong on our own side is UNKNOWN, never a failure."""

    async def probe(self, handler: Handler, host: str, timeout_s: float) -> tuple[ProbeResult, str]:
        what = f"{host}:{handler.port}"
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_connection(host, handler.port)
                try:
                    if not isinstance(handler, HttpGet):
                        return ProbeResult.SUCCESS, f"{what} accepts connections"
                    status = await _get(reader, writer, handler, what)
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except TimeoutError:
            return ProbeResult.FAILURE, f"{what} did not answer within {timeout_s:g} s"
        except (ConnectionError, EOFError, httptools.HttpParserError) as error:
            return ProbeResult.FAILURE, f"{what}: {error or type(error).__name__}"
        except OSError as error:  # no descriptor left, no route: says nothing about the container
            return ProbeResult.UNKNOWN, f"{what} could not be tried: {error}"
        is_fine = 200 <= status < 400
        return (
            ProbeResult.SUCCESS if is_fine else ProbeResult.FAILURE,
            f"GET {handler.path} on {what} answered {status}",
        )


async def _get(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: HttpGet, host: str
) -> int:
    """The status; the body is not waited for."""
    lines = (
        f"GET {handler.path} HTTP/1.1",
        f"Host: {host}",
        f"User-Agent: {USER_AGENT}",
        "Connection: close",
    )
    writer.write("\r\n".join((*lines, "", "")).encode())
    await writer.drain()
    head = _Head()
    parser = httptools.HttpResponseParser(head)
    seen = 0
    while not head.is_complete:
        data = await reader.read(READ_BYTES)
        seen += len(data)
        if not data or seen > HEAD_BYTES:
            raise EOFError("no whole HTTP answer")
        parser.feed_data(data)
    return parser.get_status_code()


class _Head:
    is_complete = False

    def on_headers_complete(self) -> None:
        self.is_complete = True
