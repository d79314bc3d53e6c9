"""The gateway beside this server: begun with the first endpoint, and where it is reached."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.clock import Clock
from .errors import StoreRefused
from .gateway.link import GatewayLink, Listeners, LocalGateway
from .gateway.supervisor import GatewayAway, ProcessGateway
from .routing import Route, TrafficCounters
from .settings import Settings
from .tls import at, url_host
from .traffic import Traffic

if TYPE_CHECKING:
    from .certificates import ServerTls

log = logging.getLogger(__name__)
AGAIN_S = 5.0


class DataPlane:
    """
    Who has no endpoint has no gateway either: it would cost every start half a second of CPU.

    Args:
        before: the port of the server before this one, taken again where any will do: its
            gateway may still be there, and its users know the address.
        traffic: hears what the gateway tells, and asks it through us.
        tls: it serves HTTPS only, with a certificate that covers every host name in its table.
        is_local: in this loop, instead of a program of its own that outlives the server.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        traffic: Traffic,
        before: int = 0,
        *,
        is_local: bool,
        tls: "ServerTls | None" = None,
    ) -> None:
        self._clock, self._is_kept = clock, not settings.ephemeral
        port = settings.gateway_port
        if port is None:
            port = settings.port + 1 if settings.port else 0
        self.port = port = port or _free_port(settings.host, before, settings.data_dir / "gateway.sock")
        listeners = Listeners(traffic.wake, traffic.records, traffic.drained)
        traffic.source = self
        self._link: GatewayLink = (
            LocalGateway(
                clock, listeners, host=settings.host, port=port, hosts=settings.allow_host,
                tls=tls and tls.files,
            )
            if is_local
            else ProcessGateway(
                settings.data_dir, clock, listeners, host=settings.host, port=port,
                hosts=settings.allow_host, tls=tls and tls.files,
            )
        )  # fmt: skip
        self._tls, self._data_dir, self._host = tls, settings.data_dir, settings.host
        scheme = "https" if tls else "http"
        host = tls.host if tls and settings.tls_cert else settings.told_host
        self.url = f"{scheme}://{url_host(host)}:{port}"
        self.trouble = ""
        self._hosts: tuple[str, ...] = ()
        self._starting: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    @property
    def is_live(self) -> bool:
        return self._link.is_live

    @property
    def is_taken_over(self) -> bool:
        return self._link.is_taken_over

    async def obstacle(self) -> str:
        """Before the first start: what is in its way now, "" where nothing is."""
        try:
            _, writer = await asyncio.open_unix_connection(str(self._data_dir / "gateway.sock"))
        except OSError:
            pass
        else:  # the gateway of the server before this one has the port, and is taken over
            writer.close()
            return ""
        with socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the gateway does
            try:
                probe.bind((self._host, self.port))
                probe.listen(1)
            except OSError as error:
                return (
                    f"no endpoint can be reached: cannot listen on {self._host}:{self.port} "
                    f"({error.strerror}); free the port, or choose another with --gateway-port"
                )
        return ""

    def counters(self) -> Mapping[str, TrafficCounters]:
        return self._link.counters()

    async def show(self, routes: Iterable[Route]) -> None:
        """Returns once the gateway has them; while there is none it gets them as soon as it is there."""
        routes = list(routes)
        if self._tls is not None:
            self._hosts = tuple(host for route in routes for host in route.hosts)
            await self.renew()
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        await self._tried.wait()
        await self._link.show(routes)

    async def renew(self) -> None:
        """Our own certificate, where it is near its end or lacks a name; the gateway notices."""
        if self._tls is not None:
            now = at(self._clock.now_ms())
            try:
                await asyncio.to_thread(self._tls.cover, self._data_dir, self._hosts, now)
            except (OSError, StoreRefused) as error:
                log.error("the certificate cannot be made anew, and stays as it is: %s", error)

    async def _start(self) -> None:
        while True:
            try:
                await self._link.start()
                self.trouble = ""
                return
            except (GatewayAway, OSError) as error:
                self.trouble = f"endpoints cannot be reached: {error}"
                log.error("%s", self.trouble)
            finally:
                self._tried.set()
            await self._clock.sleep(AGAIN_S)

    async def close(self) -> None:
        """A gateway of its own serves on, for the next server, unless everything is to go."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
            await self._link.close(stop=not self._is_kept)


def _free_port(host: str, before: int, gateway: Path) -> int:
    """Known before the gateway is there, since endpoints tell their address from the first."""
    if before and gateway.exists():
        return before
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        for wanted in (before, 0):
            with contextlib.suppress(OSError):
                probe.bind((host, wanted))
                break
        return probe.getsockname()[1]
