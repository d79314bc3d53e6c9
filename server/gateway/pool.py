"""The connections to one replica: made when needed, kept for reuse, left to end when it is removed."""

import asyncio
from typing import TYPE_CHECKING

from ..routing import Target
from .upstream import Upstream

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .exchange import Exchange

REST_S = 1.0  # a replica that could not be reached is passed over this long


class ReplicaPool:
    """One replica: its idle connections, and how many requests it has open."""

    def __init__(self, endpoint: "Endpoint", target: Target) -> None:
        self.endpoint, self.target = endpoint, target
        self.id = target.id
        self.open = 0
        self.resting_until = 0.0
        self.is_retired = False
        self._idle: list[Upstream] = []
        self._dials: dict[Exchange, asyncio.Task[None]] = {}

    def take(self) -> Upstream | None:
        """A kept connection: the one used last, which is the least likely to be closed."""
        while self._idle:
            up = self._idle.pop()
            if not up.is_closing():
                return up
        return None

    def dial(self, exchange: "Exchange") -> None:
        """Calls `attach` or `unreachable` of the exchange, later."""
        self._dials[exchange] = asyncio.get_running_loop().create_task(self._dial(exchange))

    async def _dial(self, exchange: "Exchange") -> None:
        loop = asyncio.get_running_loop()
        try:
            _, up = await loop.create_connection(lambda: Upstream(self), self.target.host, self.target.port)
        except OSError as error:
            self._dials.pop(exchange, None)
            self.rest()
            exchange.unreachable(error.strerror or type(error).__name__)
            return
        self._dials.pop(exchange, None)
        self.resting_until = 0.0
        if exchange.is_over:
            self.keep(up, self.endpoint.gateway.now())
        else:
            exchange.attach(up)

    def rest(self) -> None:
        self.resting_until = self.endpoint.gateway.now() + REST_S

    def stop_dialling(self, exchange: "Exchange") -> None:
        if dial := self._dials.pop(exchange, None):
            dial.cancel()

    def keep(self, up: Upstream, now_s: float) -> None:
        """A connection whose answer is complete; for the next request."""
        limits = self.endpoint.gateway.limits
        if self.is_retired or len(self._idle) >= limits.pool_size:
            up.close()
        else:
            up.idle_until = now_s + limits.pool_idle_s
            self._idle.append(up)

    def forget(self, up: Upstream) -> None:
        if up in self._idle:
            self._idle.remove(up)

    def done(self) -> None:
        """One request less."""
        self.open -= 1
        if self.is_retired and self.open == 0:
            self.endpoint.drained(self)

    def retire(self) -> None:
        """No new request comes here; open ones end as they will."""
        self.is_retired = True
        self.close_idle(float("inf"))
        if self.open == 0:
            self.endpoint.drained(self)

    def close_idle(self, now_s: float) -> None:
        """Those that have been idle too long. The oldest come first."""
        while self._idle and self._idle[0].idle_until <= now_s:
            self._idle.pop(0).close()
