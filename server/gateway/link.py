"""The gateway as the control plane sees it, be it a program of its own or in the same loop."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from ...runtime.clock import Clock
from ..routing import AccessRecord, Route, TrafficCounters
from ..tls import ServedTls, TlsFiles

if TYPE_CHECKING:
    from .gateway import Gateway
    from .limits import Limits


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Listeners:
    """
    Called in the control plane's loop; none may take long.

    Args:
        wake: (key) requests wait for an endpoint that is scaled to zero. Comes again
            after each change of its route that leaves it at zero, and to a new control plane.
        records: requests that have ended, oldest first.
        drained: (key, replica id) a removed replica has no request left.
    """

    wake: Callable[[str], None] = _ignore
    records: Callable[[Sequence[AccessRecord]], None] = _ignore
    drained: Callable[[str, str], None] = _ignore


class GatewayLink(Protocol):
    @property
    def is_live(self) -> bool:
        """It serves, and hears us."""
        ...

    @property
    def is_taken_over(self) -> bool:
        """It ran before this control plane did."""
        ...

    async def start(self) -> int:
        """
        The port on which clients are served.

        A gateway that was taken over goes on with the table it has until the first `show`.
        """
        ...

    async def show(self, routes: Iterable[Route]) -> None:
        """
        The whole table as it should be; only what differs is sent.

        Returns once it is live, or at once while the gateway is away: it gets the table
        when it is back.

        Raises:
            HostTaken: two routes have one host name; nothing was changed.
        """
        ...

    async def put(self, route: Route) -> None:
        """One route; the same promises."""
        ...

    async def remove(self, key: str) -> None: ...

    def counters(self) -> dict[str, TrafficCounters]:
        """By key, since the gateway began."""
        ...

    async def close(self, *, stop: bool = False) -> None:
        """Without `stop` a gateway of its own goes on serving, for the next control plane."""
        ...


class LocalGateway:
    """In the caller's own loop: for tests, and where nothing has to outlive the control plane."""

    def __init__(
        self,
        clock: Clock,
        listeners: Listeners | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        hosts: Iterable[str] = (),
        limits: "Limits | None" = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self._clock, self._limits, self._listeners = clock, limits, listeners or Listeners()
        self._host, self._port, self._tls = host, port, tls
        self._hosts = [*hosts, host]
        self.is_live = self.is_taken_over = False

    @cached_property
    def gateway(self) -> "Gateway":
        """Imported and made with the first endpoint, so that no start waits for it."""
        from .gateway import Gateway

        told = self._listeners
        return Gateway(
            self._clock, self._limits, hosts=self._hosts,
            on_wake=told.wake, on_record=lambda record: told.records((record,)), on_drained=told.drained,
        )  # fmt: skip

    async def start(self) -> int:
        tls = ServedTls(self._tls) if self._tls else None
        listens_on = await self.gateway.listen(host=self._host, port=self._port, tls=tls)
        self.is_live = True
        return listens_on

    async def show(self, routes: Iterable[Route]) -> None:
        self.gateway.replace(routes)

    async def put(self, route: Route) -> None:
        self.gateway.put(route)

    async def remove(self, key: str) -> None:
        self.gateway.remove(key)

    def counters(self) -> dict[str, TrafficCounters]:
        return self.gateway.counters()

    async def close(self, *, stop: bool = False) -> None:
        self.is_live = False
        await self.gateway.close()
