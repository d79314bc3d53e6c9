"""The gateway beside this server: begun with the first endpoint, and where it is reached."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterable
from pathlib import Path

from ..runtime.clock import Clock
from .gateway.link import GatewayLink, Listeners, LocalGateway
from .gateway.supervisor import GatewayAway, ProcessGateway
from .routing import Route
from .settings import Settings

log = logging.getLogger(__name__)
AGAIN_S = 5.0


class DataPlane:
    """
    Who has no endpoint has no gateway either: it would cost every start half a second of CPU.

    Args:
        before: the port of the server before this one, taken again where any will do: its
            gateway may still be there, and its users know the address.
        is_local: in this loop, instead of a program of its own that outlives the server.
    """

    def __init__(self, settings: Settings, clock: Clock, before: int = 0, *, is_local: bool) -> None:
        self._clock, self._is_kept = clock, not settings.ephemeral
        port = settings.gateway_port
        if port is None:
            port = settings.port + 1 if settings.port else 0
        self.port = port = port or _free_port(settings.host, before, settings.data_dir / "gateway.sock")
        listeners = Listeners()
        self._link: GatewayLink = (
            LocalGateway(clock, listeners, host=settings.host, port=port, hosts=settings.allow_host)
            if is_local
            else ProcessGateway(
                settings.data_dir, clock, listeners, host=settings.host, port=port, hosts=settings.allow_host
            )
        )
        self.url = f"http://{settings.host}:{port}"
        self.trouble = ""
        self._starting: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    async def show(self, routes: Iterable[Route]) -> None:
        """Returns once the gateway has them; while there is none it gets them as soon as it is there."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        await self._tried.wait()
        await self._link.show(routes)

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
