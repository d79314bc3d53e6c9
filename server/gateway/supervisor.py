"""The control plane's end: a gateway process is started or taken over, kept alive, and fed."""

import asyncio
import contextlib
import itertools
import logging
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...runtime.clock import Clock
from ..routing import PROTOCOL, AccessRecord, Route, RouteTable, TrafficCounters
from ..tls import TlsFiles
from .link import Listeners
from .wire import WireError, packed, read_message

log = logging.getLogger(__name__)
START_S = 15.0
ACK_S = 10.0
POLL_S = 0.02
AGAIN_S = 0.5
# Linux and macOS allow about this much for a socket's path.
LONGEST_PATH = 100


class GatewayAway(Exception):
    """The gateway could not be started or does not answer; the message says why."""


class ProcessGateway:
    """
    Args:
        data_dir: holds the socket and the gateway's log; one gateway serves it.
        port: 0 takes a free one, or the one of the gateway that is running.
        hosts: as for `Gateway`.
        orphan_s: how long the gateway waits for the next control plane.
        tls: it serves HTTPS only, with this certificate.
    """

    def __init__(
        self,
        data_dir: Path,
        clock: Clock,
        listeners: Listeners | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        hosts: Iterable[str] = (),
        orphan_s: float = 60.0,
        tls: TlsFiles | None = None,
    ) -> None:
        self._path, self._log = data_dir / "gateway.sock", data_dir / "gateway.log"
        self._clock, self._told = clock, listeners or Listeners()
        self._host, self._port, self._hosts, self._orphan_s = host, port, tuple(hosts), orphan_s
        self._tls = tls
        self._table = RouteTable()
        self._is_shown = False  # until then the gateway keeps the table of the control plane before us
        self._counters: dict[str, TrafficCounters] = {}
        self._acks: dict[int, asyncio.Future[str | None]] = {}
        self._seq = itertools.count(1)
        self._writer: asyncio.StreamWriter | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._has_served = self._is_closing = False
        self._keeper: asyncio.Task[None] | None = None
        self.pid = 0
        self.is_taken_over = False

    @property
    def is_live(self) -> bool:
        return self._writer is not None

    async def start(self) -> int:
        """
        Takes over the gateway that is running, or starts one; then keeps one running.

        Raises:
            GatewayAway: none could be started.
        """
        reader = await self._connect()
        self.is_taken_over = self._child is None
        self._keeper = asyncio.get_running_loop().create_task(self._keep(reader))
        return self._port

    async def close(self, *, stop: bool = False) -> None:
        self._is_closing = True
        if stop and self._writer is not None:
            with contextlib.suppress(GatewayAway):
                await self._ask({"op": "leave", "drain_s": 0})
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        self._hang_up()
        if stop and self._child is not None:
            await asyncio.to_thread(_end, self._child)

    def counters(self) -> dict[str, TrafficCounters]:
        return self._counters

    # --- the table

    async def show(self, routes: Iterable[Route]) -> None:
        wanted = list(routes)
        table, before = RouteTable(wanted), self._table
        self._table = table
        changed = [r for r in wanted if before.get(r.key) != r]
        gone = [r for r in before.routes() if table.get(r.key) is None]
        is_first, self._is_shown = not self._is_shown, True
        freed = {h for r in (*changed, *gone) if (old := before.get(r.key)) for h in old.claims}
        has_moved = bool(freed & {h for r in changed for h in r.claims})
        if is_first or has_moved:  # what another control plane has left is replaced, and no host name clashes
            await self._change(self._whole_table())
            return
        steps = [{"op": "remove", "key": r.key} for r in gone]
        steps += [{"op": "put", "route": r.to_json()} for r in changed]
        await asyncio.gather(*(self._change(step) for step in steps))

    async def put(self, route: Route) -> None:
        if self._table.get(route.key) != route:
            self._table.put(route)
            await self._change({"op": "put", "route": route.to_json()})

    async def remove(self, key: str) -> None:
        if self._table.remove(key) is not None:
            await self._change({"op": "remove", "key": key})

    async def _change(self, message: dict[str, Any]) -> None:
        try:
            if error := await self._ask(message):
                log.error("the gateway refused %s: %s", message["op"], error)
        except GatewayAway:
            return  # it gets the whole table when it is back

    def _whole_table(self) -> dict[str, Any]:
        return {"op": "table", "routes": [r.to_json() for r in self._table.routes()]}

    async def _ask(self, message: dict[str, Any]) -> str | None:
        """What the gateway has against it, or None once it is done."""
        if self._writer is None:
            raise GatewayAway("not connected")
        seq = next(self._seq)
        ack: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._acks[seq] = ack
        try:
            self._writer.write(packed(message | {"seq": seq}))
            timer = asyncio.ensure_future(self._clock.sleep(ACK_S))
            try:
                await asyncio.wait({ack, timer}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
            if not ack.done():
                raise GatewayAway("no answer in time")
            return ack.result()
        finally:
            del self._acks[seq]

    # --- the connection

    async def _keep(self, reader: asyncio.StreamReader) -> None:
        """Reads what the gateway tells; where it is gone, the next one gets the table."""
        while True:
            try:
                while (message := await read_message(reader)) is not None:
                    if message.get("op") == "replaced":
                        log.warning("another server has taken over the gateway")
                        self._hang_up()
                        return
                    self._hear(message)
            except WireError as error:
                log.warning("the gateway sent what is no message: %s", error)
            self._hang_up()
            if self._is_closing:
                return
            log.warning("the gateway is gone; starting it again")
            while True:
                try:
                    reader = await self._connect()
                    break
                except GatewayAway as error:
                    log.error("%s", error)
                    await self._clock.sleep(AGAIN_S)

    def _hear(self, message: dict[str, Any]) -> None:
        match message.get("op"):
            case "ack":
                ack = self._acks.get(message["seq"])
                if ack is not None and not ack.done():
                    ack.set_result(message["error"])
            case "wake":
                self._told.wake(message["key"])
            case "drained":
                self._told.drained(message["key"], message["replica"])
            case "report":
                for key, counters in message["counters"].items():
                    self._counters[key] = TrafficCounters.from_json(counters)
                for key in [k for k in self._counters if self._table.get(k) is None]:
                    del self._counters[key]
                if message["lost"]:
                    log.warning("%d access records were lost on the way", message["lost"])
                if message["records"]:
                    self._told.records([AccessRecord(*record) for record in message["records"]])
            case _:
                pass  # of a newer gateway

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for ack in self._acks.values():
            if not ack.done():
                ack.set_exception(GatewayAway("the connection ended"))

    async def _connect(self) -> asyncio.StreamReader:
        """To a gateway of our version and address; one is started where there is none."""
        if len(str(self._path)) > LONGEST_PATH:
            raise GatewayAway(f"{self._path} is too long for a socket; choose a shorter --data-dir")
        end = self._clock.monotonic_s() + START_S
        while self._clock.monotonic_s() < end:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                self._spawn()
                await self._clock.sleep(POLL_S)
                continue
            try:
                hello = await read_message(reader)
            except WireError:
                hello = None
            if hello is not None and self._suits(hello):
                self._writer, self._has_served = writer, True
                self._port, self.pid = hello["address"][1], hello["pid"]
                if self._is_shown:
                    writer.write(packed(self._whole_table() | {"seq": 0}))
                return reader
            writer.write(packed({"op": "leave", "drain_s": 0}))
            writer.close()
            await self._clock.sleep(POLL_S)
        raise GatewayAway(f"the gateway does not start; {self._log} says why")

    def _suits(self, hello: dict[str, Any]) -> bool:
        host, port = hello.get("address", ("", 0))
        tls = str(self._tls.cert) if self._tls else None
        is_ours = hello.get("protocol") == PROTOCOL and hello.get("tls") == tls
        return is_ours and host == self._host and self._port in (0, port)

    def _spawn(self) -> None:
        """Not a child of asyncio's, which would end it together with our loop."""
        if self._child is not None and self._child.poll() is None:
            return
        if self._child is not None and not self._has_served:
            tail = self._log.read_text(errors="replace").strip().rpartition("\n")[2]
            self._child = None
            raise GatewayAway(f"the gateway did not start: {tail or 'see ' + str(self._log)}")
        argv = [
            sys.executable, "-m", "homeport.server.gateway", "--socket", str(self._path),
            "--host", self._host, "--port", str(self._port), "--orphan-s", str(self._orphan_s),
        ]  # fmt: skip
        for name in self._hosts:
            argv += ["--allow-host", name]
        if self._tls is not None:
            argv += ["--tls-cert", str(self._tls.cert), "--tls-key", str(self._tls.key)]
        self._has_served = False
        with self._log.open("ab") as out:
            self._child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
