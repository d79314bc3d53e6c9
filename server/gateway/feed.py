"""The gateway's end of the unix socket: takes the table, tells what happens."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...runtime.clock import Clock
from ..routing import PROTOCOL, AccessRecord, HostTaken, Route
from .gateway import Gateway
from .limits import Limits
from .wire import WireError, packed, read_message

log = logging.getLogger(__name__)
REPORT_S = 0.2
MOST_RECORDS = 20_000  # kept while nobody takes them; the oldest go first, and are counted
MOST_UNREAD = 16 << 20  # bytes that a control plane has not taken; reports wait then


class AlreadyServed(Exception):
    """Another gateway listens on this socket."""


class Feed:
    """
    One control plane at a time; the newest wins. The table outlives each of them.

    Args:
        orphan_s: how long the gateway stays without a control plane.
    """

    def __init__(
        self, clock: Clock, limits: Limits | None = None, *, hosts: Iterable[str] = (), orphan_s: float = 60.0
    ) -> None:
        self._records: list[AccessRecord] = []
        self.gateway = Gateway(
            clock,
            limits,
            hosts=hosts,
            on_wake=lambda key: self._tell({"op": "wake", "key": key}),
            on_record=self._records.append,
            on_drained=lambda key, replica: self._tell({"op": "drained", "key": key, "replica": replica}),
        )
        self.leaving = asyncio.Event()
        self.drain_s = 0.0
        self._clock, self._orphan_s = clock, orphan_s
        self._address: tuple[str, int] = ("", 0)
        self._cert: str | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._serving: asyncio.Task[None] | None = None
        self._alone_since = clock.monotonic_s()
        self._lost_records = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._inode = 0

    async def listen(self, path: Path, address: tuple[str, int], cert: str | None = None) -> None:
        """
        Args:
            address, cert: where clients reach the gateway and, of HTTPS, the certificate that
                they see; told to each control plane.

        Raises:
            AlreadyServed: by a gateway that is alive.
        """
        if path.exists():
            if await _answers(path):
                raise AlreadyServed(str(path))
            path.unlink()
        before = os.umask(0o177)  # the table holds hashes of tokens; nobody else may write to it
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(path))
        finally:
            os.umask(before)
        self._path, self._address, self._inode = path, address, path.stat().st_ino
        self._cert = cert
        self._tasks.append(asyncio.get_running_loop().create_task(self._report()))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._server is not None:
            self._server.close()
        if self._writer is not None:
            self._send_report(self._writer)
            self._writer.close()
        if self._serving is not None:  # else the loop would end by cancelling it, and complain
            await asyncio.wait({self._serving}, timeout=1)
        if self._path is not None:
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._inode:  # not yet another gateway's
                    self._path.unlink()

    # --- from the control plane

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:
            self._writer.write(packed({"op": "replaced"}))
            self._writer.close()
        self._writer, self._serving = writer, asyncio.current_task()
        self.gateway.touched.update(self.gateway.counters())  # it knows nothing yet
        writer.write(packed({
            "op": "hello", "protocol": PROTOCOL, "pid": os.getpid(), "address": list(self._address),
            "tls": self._cert,
        }))  # fmt: skip
        try:
            while (message := await read_message(reader)) is not None and self._writer is writer:
                error = self._do(message)
                writer.write(packed({"op": "ack", "seq": message.get("seq"), "error": error}))
        except WireError as error:
            log.warning("the control plane sent what is no message: %s", error)
        finally:
            if self._writer is writer:
                self._writer = None
                self._alone_since = self._clock.monotonic_s()
            writer.close()

    def _do(self, message: dict[str, Any]) -> str | None:
        """What went wrong, or None."""
        try:
            match message.get("op"):
                case "table":
                    self.gateway.replace([Route.from_json(r) for r in message["routes"]])
                    for key in self.gateway.wanted():  # asked of a control plane that is gone
                        self._tell({"op": "wake", "key": key})
                case "put":
                    self.gateway.put(Route.from_json(message["route"]))
                case "remove":
                    self.gateway.remove(message["key"])
                case "leave":
                    self.drain_s = float(message.get("drain_s", 0))
                    self.leaving.set()
                case op:
                    return f"unknown operation {op!r}"
        except HostTaken as error:
            return str(error)
        except (ValueError, KeyError, TypeError) as error:
            return f"not understood: {error!r}"
        return None

    # --- to the control plane

    def _tell(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(packed(message))

    async def _report(self) -> None:
        while True:
            await self._clock.sleep(REPORT_S)
            too_many = max(0, len(self._records) - MOST_RECORDS)
            del self._records[:too_many]
            self._lost_records += too_many
            writer = self._writer
            if writer is None:
                if self._clock.monotonic_s() - self._alone_since >= self._orphan_s:
                    self.leaving.set()
            elif writer.transport.get_write_buffer_size() < MOST_UNREAD:
                self._send_report(writer)

    def _send_report(self, writer: asyncio.StreamWriter) -> None:
        touched, counters = self.gateway.touched, self.gateway.counters()
        changed = {key: counters[key].to_json() for key in touched if key in counters}
        touched.clear()
        if changed or self._records:
            report = {"counters": changed, "records": self._records, "lost": self._lost_records}
            writer.write(packed({"op": "report"} | report))
            self._records.clear()
            self._lost_records = 0


async def _answers(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
