"""A client's connection, whatever goes through it: its phase, the flow both ways, and its end."""

import asyncio
from typing import TYPE_CHECKING, cast

from .access import address_of

if TYPE_CHECKING:
    from .exchange import Exchange
    from .gateway import Gateway

# Plain numbers: they are compared for each piece of each request.
P_HEAD, P_BODY, P_ANSWER, P_TUNNEL, P_LINGER, P_CLOSED = range(6)
# P_HEAD is also between requests; in P_LINGER all is answered, and what still comes is thrown away


class Connection(asyncio.Protocol):
    """
    Reads only while what comes has somewhere to go, and ends so that the client sees the
    last answer. What comes is read by `Downstream`.
    """

    def __init__(self, gateway: "Gateway") -> None:
        self.gateway = gateway
        self.phase = P_HEAD
        self.deadline = gateway.now() + gateway.limits.head_s
        self.is_full = False  # the client reads slower than the answer comes
        self.is_paused = False  # it sends faster than that goes on
        self.is_last = False  # the connection ends with the present answer
        self.client = "-"
        self.forwarded = b""
        self.transport: asyncio.Transport
        self._exchange: Exchange | None = None
        self._buffer = b""  # came before its turn
        self._has_eof = self._has_ended = False  # the client sends no more, and the replica

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        peer = transport.get_extra_info("peername")
        if peer:
            self.client = str(address_of(peer[0]))
        self.forwarded = self.forwarded_as("https" if transport.get_extra_info("sslcontext") else "http")

    def forwarded_as(self, scheme: str) -> bytes:
        """What a replica is told of this connection, as lines."""
        return f"X-Forwarded-For: {self.client}\r\nX-Forwarded-Proto: {scheme}\r\n".encode()

    # --- the flow

    def steer(self) -> None:
        """Reads from the client only while what it sends has somewhere to go."""
        exchange = self._exchange
        is_paused = False
        if self.phase in (P_BODY, P_TUNNEL):
            is_paused = exchange is not None and exchange.is_replica_full
        elif self.phase in (P_HEAD, P_ANSWER):
            is_paused = len(self._buffer) >= self.gateway.limits.buffer_bytes
        if is_paused != self.is_paused and not self.transport.is_closing():
            self.is_paused = is_paused
            if is_paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _keep(self, data: bytes) -> None:
        self._buffer += data
        self.steer()

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.is_full = True
        self.deadline = self.gateway.now() + self.gateway.limits.stall_s
        if self._exchange is not None:
            self._exchange.pause_replica(True)

    def resume_writing(self) -> None:
        self.is_full = False
        if self._exchange is not None:
            self._exchange.touch()
            self._exchange.pause_replica(False)

    # --- the end

    def eof_received(self) -> bool:
        self._has_eof = True
        if self.phase == P_TUNNEL and self._exchange is not None:
            self._exchange.end_sending()
            if self._has_ended:
                self._exchange.end_tunnel()
            return self.transport.can_write_eof()  # TLS cannot be closed by half
        if self._exchange is not None:
            self._exchange.cancel()  # as nginx does: who ends the connection wants no answer
            self._exchange = None
        return False

    def end_writing(self) -> bool:
        """The replica sends no more; True while the client may."""
        self._has_ended = True
        if self._has_eof or not self.transport.can_write_eof():
            return False
        self.transport.write_eof()
        return True

    def goodbye(self, data: bytes) -> None:
        self.is_last = True
        self.write(data)
        self._linger()

    def _linger(self) -> None:
        """
        Ends our side, and reads on a little: closing with bytes unread would reset the
        connection, and the client might never see the answer.
        """
        self.phase = P_LINGER
        self._buffer = b""
        if self.transport.is_closing():
            return
        self.deadline = self.gateway.now() + self.gateway.limits.linger_s
        if self._has_eof:
            self.transport.close()
        elif self.transport.can_write_eof():
            self.steer()
            self.transport.write_eof()
        else:
            self.transport.close()

    def break_off(self) -> None:
        """The answer cannot be completed, and the client must notice."""
        self._exchange = None
        self.abort()

    def abort(self) -> None:
        self.transport.abort()
