"""The client's side: requests are read one after another, each answered before the next begins."""

import asyncio
import socket
from enum import IntEnum
from typing import TYPE_CHECKING

import httptools

from .access import address_of
from .checks import H2_PREFACE, Head, Refusal, Request, read_request
from .exchange import Exchange
from .framing import ChunkedBody, Cutter, FramingError, fed
from .headers import H2_GOAWAY, write_refusal

if TYPE_CHECKING:
    from .gateway import Gateway

# TCP_INFO begins with the state: reset, or closed by the peer (include/net/tcp_states.h).
ENDED = (7, 8)


class Phase(IntEnum):
    HEAD = 1  # between requests, or inside a head
    BODY = 2
    ANSWER = 3  # the request is read
    TUNNEL = 4
    LINGER = 5  # answered for good; what still comes is thrown away so that the answer is not
    CLOSED = 6


class Downstream(asyncio.Protocol):
    def __init__(self, gateway: "Gateway") -> None:
        self.gateway = gateway
        self.phase = Phase.HEAD
        self.deadline = gateway.now() + gateway.limits.head_s
        self.is_full = False  # the client reads slower than the answer comes
        self.is_last = False  # the connection ends with the present answer
        self.client = "-"
        self.forwarded = b""
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._buffer = b""
        self._is_paused = self._is_in_heads = False
        self._is_new = True
        self._cutter = Cutter()
        self._chunks: ChunkedBody | None = None
        self._left = self._dropped = 0
        self._has_eof = self._has_ended = False
        self._expect_head()
        self._parser = httptools.HttpRequestParser(self._head)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if peer:
            self.client = str(address_of(peer[0]))
        self.forwarded = f"X-Forwarded-For: {self.client}\r\nX-Forwarded-Proto: http\r\n".encode()
        self.gateway.add(self)

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    @property
    def is_reading_body(self) -> bool:
        return self.phase is Phase.BODY

    @property
    def is_idle(self) -> bool:
        return self.phase is Phase.HEAD and not self._head_bytes and not self._buffer

    # --- reading

    def data_received(self, data: bytes) -> None:
        match self.phase:
            case Phase.HEAD:
                self._read_heads(self._buffer + data if self._buffer else data)
            case Phase.BODY:
                self._read_body(data)
            case Phase.ANSWER:
                self._keep(data)
            case Phase.TUNNEL:
                assert self._exchange is not None
                self._exchange.bytes_in += len(data)
                self._exchange.touch()
                self._exchange.send(data)
            case Phase.LINGER:
                self._dropped += len(data)
                if self._dropped > self.gateway.limits.linger_bytes:
                    self.abort()
            case Phase.CLOSED:
                pass

    def _expect_head(self) -> None:
        self._head = Head()
        self._head_bytes = 0
        self._began_s = 0.0

    def _next_head(self) -> None:
        """The parser goes on where it has seen the whole message, bodies are not shown to it."""
        self._expect_head()
        self._parser = httptools.HttpRequestParser(self._head)

    def _read_heads(self, data: bytes) -> None:
        if self._is_new:
            self._is_new = False
            self.gateway.has_spoken(self)
        self._buffer = b""
        self._is_in_heads = True
        limits = self.gateway.limits
        end, turns = 0, 0
        while end < len(data) and self.phase is Phase.HEAD and not self.is_full and turns < limits.pipelined:
            start, end = end, self._cutter.cut(data, end)
            if not self._head_bytes:
                self._began_s = self.gateway.now()
                if data.startswith(H2_PREFACE, start):
                    self.goodbye(H2_GOAWAY)
                    break
            self._head_bytes += end - start
            try:
                fed(self._parser, data if end - start == len(data) else data[start:end])
            except FramingError as error:
                self.refuse(Refusal(400, "bad_request", f"not HTTP/1.1: {error}"), None)
                break
            if self._head_bytes > limits.head_bytes:
                self.refuse(
                    Refusal(431, "head_too_large", f"more than {limits.head_bytes} bytes of header"), None
                )
            elif self._head.is_complete:
                turns += 1
                self.gateway.has_head(self)
                self._begin_request()
        self._is_in_heads = False
        rest = data[end:] if end else data
        if self.phase is Phase.HEAD:
            self._await_head(rest)
        elif rest:
            self.data_received(rest)

    def _await_head(self, rest: bytes) -> None:
        """More of a head is to come, or requests are here whose turn is later."""
        if rest:
            self._keep(rest)
            if not self.is_full:
                asyncio.get_running_loop().call_soon(self._resume)
        elif self._head_bytes:
            self.deadline = self._began_s + self.gateway.limits.head_s
            self.gateway.lacks_head(self)

    def _resume(self) -> None:
        if self.phase is Phase.HEAD and self._buffer and not self.is_full:
            data, self._buffer = self._buffer, b""
            self.steer()
            self._read_heads(data)

    def _begin_request(self) -> None:
        request = read_request(self._parser, self._head, self.gateway.limits.head_lines)
        if isinstance(request, Refusal):
            self.refuse(request, None)
            return
        self.is_last = self.gateway.is_draining or not request.keep_alive
        self._left = request.length or 0
        found = self.gateway.route(self, request, self._began_s)
        if isinstance(found, Refusal):
            self._refuse_request(found, request)
            return
        exchange = self._exchange = found
        if request.has_body:
            limit = exchange.endpoint.route.body_bytes or self.gateway.limits.body_bytes
            self._body_limit = limit
            if self._left > limit:
                exchange.fail(too_large(limit))
                return
            self.phase = Phase.BODY
            if request.is_chunked:
                self._chunks = ChunkedBody(is_request=True, overhead_bytes=self.gateway.limits.head_bytes)
        else:
            self.phase = Phase.ANSWER
        exchange.start()

    def _read_body(self, data: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        exchange.touch()
        if self._chunks is not None:
            try:
                out, used = self._chunks.feed(data)
            except FramingError as error:
                exchange.fail(Refusal(400, "bad_request", f"the request body is malformed: {error}"))
                return
            if self._chunks.size > self._body_limit:
                exchange.fail(too_large(self._body_limit))
                return
            is_complete = self._chunks.is_complete
        else:
            used = min(self._left, len(data))
            out = data if used == len(data) else data[:used]
            self._left -= used
            is_complete = self._left == 0
        exchange.bytes_in += used
        if is_complete:
            self._chunks = None
            self.phase = Phase.ANSWER
            exchange.is_body_sent = True
        if out:
            exchange.send(out)
        if self.phase is Phase.BODY:
            self.steer()
        elif used < len(data):
            self.data_received(data[used:])

    def _keep(self, data: bytes) -> None:
        self._buffer += data
        self.steer()

    def steer(self) -> None:
        """Reads from the client only while what it sends has somewhere to go."""
        exchange = self._exchange
        is_paused = False
        if self.phase in (Phase.BODY, Phase.TUNNEL):
            is_paused = exchange is not None and exchange.is_replica_full
        elif self.phase in (Phase.HEAD, Phase.ANSWER):
            is_paused = len(self._buffer) >= self.gateway.limits.buffer_bytes
        if is_paused != self._is_paused and not self.transport.is_closing():
            self._is_paused = is_paused
            if is_paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # --- writing

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
        elif self.phase is Phase.HEAD:
            self.deadline = self.gateway.now() + self.gateway.limits.idle_s
            self._resume()

    def answered(self, exchange: Exchange) -> None:
        """The answer is complete; the exchange is over."""
        if self._exchange is exchange:
            self._exchange = None
            if not exchange.is_body_sent:
                self._linger()
            else:
                self._go_on(has_body=exchange.request.has_body)

    def refuse(self, refusal: Refusal, exchange: Exchange | None) -> None:
        """An answer of our own in place of a replica's, or to what is no request."""
        if exchange is not None:
            self._exchange = None
            request = exchange.request
            is_whole = exchange.is_body_sent
            self.is_last |= not is_whole or not request.keep_alive
            is_head = request.method == b"HEAD"
            self.write(write_refusal(refusal, exchange.request_id, is_head=is_head, is_closing=self.is_last))
            self._go_on(has_body=request.has_body)
            return
        self.is_last = True
        self.write(write_refusal(refusal, b"", is_head=False, is_closing=True))
        self.gateway.record_refusal(self, None, refusal, 0.0)
        self._linger()

    def _refuse_request(self, refusal: Refusal, request: Request) -> None:
        """Nothing of ours knows it: the path leads nowhere, or not for this client."""
        self.is_last |= request.has_body
        is_head = request.method == b"HEAD"
        self.write(write_refusal(refusal, request.request_id, is_head=is_head, is_closing=self.is_last))
        self.gateway.record_refusal(self, request, refusal, self.gateway.now() - self._began_s)
        self._go_on(has_body=request.has_body)

    def _go_on(self, *, has_body: bool) -> None:
        """To the next request, or to the end of the connection."""
        if self.transport.is_closing():
            self.phase = Phase.CLOSED
        elif self.is_last or self.gateway.is_draining:
            self._linger()
        else:
            self.phase = Phase.HEAD
            self.deadline = self.gateway.now() + self.gateway.limits.idle_s
            self._next_head()
            if not self._is_in_heads:
                if self._buffer:
                    asyncio.get_running_loop().call_soon(self._resume)
                else:
                    self.steer()

    def _linger(self) -> None:
        """
        Ends our side, and reads on a little: closing with bytes unread would reset the
        connection, and the client might never see the answer.
        """
        self.phase = Phase.LINGER
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

    def goodbye(self, data: bytes) -> None:
        self.is_last = True
        self.write(data)
        self._linger()

    def break_off(self) -> None:
        """The answer cannot be completed, and the client must notice."""
        self._exchange = None
        self.abort()

    def begin_tunnel(self) -> None:
        self.phase = Phase.TUNNEL
        data, self._buffer = self._buffer, b""
        if data:
            self.data_received(data)
        self.steer()

    def end_writing(self) -> bool:
        """The replica sends no more; True while the client may."""
        self._has_ended = True
        if self._has_eof or not self.transport.can_write_eof():
            return False
        self.transport.write_eof()
        return True

    # --- the end

    def eof_received(self) -> bool:
        self._has_eof = True
        if self.phase is Phase.TUNNEL and self._exchange is not None:
            self._exchange.end_sending()
            if self._has_ended:
                self._exchange.end_tunnel()
            return True
        if self._exchange is not None:
            self._exchange.cancel()  # as nginx does: who ends the connection wants no answer
            self._exchange = None
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase = Phase.CLOSED
        self.gateway.discard(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()

    def check(self, now_s: float) -> None:
        """Called every now and then."""
        if self.deadline <= now_s:
            self._too_late()
        elif self._is_paused and self._has_left():
            self.abort()

    def _has_left(self) -> bool:
        """Paused reading hides the end of a connection; the kernel knows of it."""
        sock: socket.socket | None = self.transport.get_extra_info("socket")
        info = getattr(socket, "TCP_INFO", None)
        if sock is None or info is None:
            return False
        try:
            return sock.getsockopt(socket.IPPROTO_TCP, info, 1)[0] in ENDED
        except OSError:
            return False

    def _too_late(self) -> None:
        exchange = self._exchange
        if self.phase is Phase.HEAD and self._head_bytes:
            self.refuse(Refusal(408, "head_timeout", "the request's head was not complete in time"), None)
        elif exchange is None:
            self.abort()
        elif self.is_full or self.phase is Phase.TUNNEL:
            exchange.note = "timeout" if self.phase is Phase.TUNNEL else "client does not read"
            self.abort()
        else:
            exchange.timed_out()

    def close_if_idle(self) -> None:
        """For a drain."""
        self.is_last = True
        if self.is_idle:
            self.transport.close()

    def abort(self) -> None:
        self.transport.abort()


def too_large(limit: int) -> Refusal:
    return Refusal(413, "body_too_large", f"the request body is larger than {limit} bytes")
