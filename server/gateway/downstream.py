"""The client's side: requests are read one after another, each answered before the next begins."""

import asyncio
from typing import TYPE_CHECKING, cast

import httptools

from .access import address_of
from .bodies import RequestBody
from .checks import H2_PREFACE, Head, Refusal, Request, read_request
from .clients import has_left, too_large
from .exchange import Exchange, Known
from .framing import BLANK_LINE, Cutter, FramingError, fed
from .headers import H2_GOAWAY, write_refusal
from .memory import MOST_REMEMBERED, Memory

if TYPE_CHECKING:
    from .gateway import Gateway

# Plain numbers: they are compared for each piece of each request.
P_HEAD, P_BODY, P_ANSWER, P_TUNNEL, P_LINGER, P_CLOSED = range(6)
# P_HEAD is also between requests; in P_LINGER all is answered, and what still comes is thrown away


class Downstream(asyncio.Protocol):
    def __init__(self, gateway: "Gateway") -> None:
        self.gateway = gateway
        self.phase = P_HEAD
        self.deadline = gateway.now() + gateway.limits.head_s
        self.is_full = False  # the client reads slower than the answer comes
        self.is_last = False  # the connection ends with the present answer
        self.client = "-"
        self.forwarded = b""
        self.transport: asyncio.Transport
        self._exchange: Exchange | None = None
        self._buffer = b""
        self.is_paused = self._is_in_heads = self._is_unfinished = self._has_eof = self._has_ended = False
        self._is_new = True
        self._cutter = Cutter()
        self._body: RequestBody
        self._began_s, self._dropped = 0.0, 0
        self._memory = Memory()
        self.hash_of = self._memory.hash_of
        self._expect_head()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        peer = transport.get_extra_info("peername")
        if peer:
            self.client = str(address_of(peer[0]))
        self.forwarded = self.forwarded_as("https" if transport.get_extra_info("sslcontext") else "http")
        self.gateway.add(self)

    def forwarded_as(self, scheme: str) -> bytes:
        """What a replica is told of this connection, as lines."""
        return f"X-Forwarded-For: {self.client}\r\nX-Forwarded-Proto: {scheme}\r\n".encode()

    @property
    def is_reading_body(self) -> bool:
        return self.phase == P_BODY

    @property
    def is_idle(self) -> bool:
        return self.phase == P_HEAD and not self._head_bytes and not self._buffer

    # --- reading

    def data_received(self, data: bytes) -> None:
        phase = self.phase
        if phase == P_HEAD:
            if self._buffer:
                data = self._buffer + data
            elif not self._head_bytes and not self.is_full:
                end = data.find(BLANK_LINE) + 4
                if known := self._recall(data, end):
                    self._again(known, data[end:])
                    return
            self._read_heads(data)
        elif phase == P_BODY:
            self._read_body(data)
        elif phase == P_ANSWER:
            self._keep(data)
        elif phase == P_TUNNEL:
            assert self._exchange is not None
            self._exchange.bytes_in += len(data)
            self._exchange.touch()
            self._exchange.send(data)
        elif phase == P_LINGER:
            self._dropped += len(data)
            if self._dropped > self.gateway.limits.linger_bytes:
                self.abort()

    def _recall(self, data: bytes, end: int) -> Known | None:
        """What is known of a head like the last one, which ends at `end`."""
        memory, gateway = self._memory, self.gateway
        if memory.known is None or gateway.is_draining:
            return None
        if end == memory.size and data.startswith(memory.head):
            return memory.recall(gateway.revision)
        return memory.recall_for(data, end, gateway.revision)

    def _again(self, known: Known, rest: bytes) -> None:
        """A head like the last one."""
        self._began_s = self.gateway.now()
        self._is_in_heads = True  # what has to wait is taken up below
        self._begin_exchange(known)
        self._is_in_heads = False
        if self.phase == P_HEAD:
            self._await_head(rest)
        elif rest:
            self.data_received(rest)

    def _expect_head(self) -> None:
        """A parser for each head: bodies are not shown to it, so it could not go on."""
        self._head = Head()
        self._head_bytes = 0
        self._parser = httptools.HttpRequestParser(self._head)

    def _read_heads(self, data: bytes) -> None:
        if self._is_new:
            self._is_new = False
            self.gateway.has_spoken(self)
        self._buffer = b""
        self._is_in_heads = True
        limits = self.gateway.limits
        end, turns = 0, 0
        while end < len(data) and self.phase == P_HEAD and not self.is_full and turns < limits.pipelined:
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
                if self._is_unfinished:
                    self._is_unfinished = False
                    self.gateway.has_head(self)
                # a head in one piece of what was read can be known again
                is_piece = self._head_bytes == end - start and end - start <= MOST_REMEMBERED
                self._begin_request(data[start:end] if is_piece else b"")
        self._is_in_heads = False
        rest = data[end:] if end else data
        if self.phase == P_HEAD:
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
            self._is_unfinished = True
            self.gateway.lacks_head(self)

    def _resume(self) -> None:
        if self.phase == P_HEAD and self._buffer and not self.is_full:
            data, self._buffer = self._buffer, b""
            self.steer()
            self._read_heads(data)

    def _begin_request(self, head: bytes) -> None:
        request = read_request(self._parser, self._head, self.gateway.limits.head_lines)
        if isinstance(request, Refusal):
            self.refuse(request, None)
            return
        self.is_last = self.gateway.is_draining or not request.keep_alive
        known = self.gateway.resolve(self, request)
        if isinstance(known, Refusal):
            self._refuse_request(known, request)
            return
        self._memory.keep(known, head)
        self._begin_exchange(known)

    def _begin_exchange(self, known: Known) -> None:
        request = known.request
        exchange = self._exchange = Exchange(self, known, self._began_s)
        if exchange.is_body_sent:
            self.phase = P_ANSWER
        else:
            limits = self.gateway.limits
            limit = known.endpoint.route.body_bytes or limits.body_bytes
            self._body = RequestBody(request, limit, limits.head_bytes)
            if self._body.is_announced_too_large:
                exchange.fail(too_large(limit))
                return
            self.phase = P_BODY
        exchange.start()

    def _read_body(self, data: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        exchange.touch()
        taken = self._body.feed(data)
        if isinstance(taken, Refusal):
            exchange.fail(taken)
            return
        out, used = taken
        exchange.bytes_in += used
        if self._body.is_complete:
            self.phase = P_ANSWER
            exchange.is_body_sent = True
        if out:
            exchange.send(out)
        if self.phase == P_BODY:
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
        elif self.phase == P_HEAD:
            self.deadline = self.gateway.now() + self.gateway.limits.idle_s
            self._resume()

    def answered(self, exchange: Exchange, now_s: float) -> None:
        """The answer is complete; the exchange is over."""
        if self._exchange is exchange:
            self._exchange = None
            if not exchange.is_body_sent:
                self._linger()
            else:
                self._go_on(now_s)

    def refuse(self, refusal: Refusal, exchange: Exchange | None) -> None:
        """An answer of our own in place of a replica's, or to what is no request."""
        if exchange is not None:
            self._exchange = None
            request = exchange.request
            is_whole = exchange.is_body_sent
            self.is_last |= not is_whole or not request.keep_alive
            is_head = request.method == b"HEAD"
            self.write(write_refusal(refusal, exchange.request_id, is_head=is_head, is_closing=self.is_last))
            self._go_on()
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
        self._go_on()

    def _go_on(self, now_s: float = 0.0) -> None:
        """To the next request, or to the end of the connection."""
        if self.transport.is_closing():
            self.phase = P_CLOSED
        elif self.is_last or self.gateway.is_draining:
            self._linger()
        else:
            self.phase = P_HEAD
            self.deadline = (now_s or self.gateway.now()) + self.gateway.limits.idle_s
            if self._head_bytes:
                self._expect_head()
            if not self._is_in_heads:
                if self._buffer:
                    asyncio.get_running_loop().call_soon(self._resume)
                elif self.is_paused:
                    self.steer()

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

    def goodbye(self, data: bytes) -> None:
        self.is_last = True
        self.write(data)
        self._linger()

    def break_off(self) -> None:
        """The answer cannot be completed, and the client must notice."""
        self._exchange = None
        self.abort()

    def begin_tunnel(self) -> None:
        self.phase = P_TUNNEL
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
        if self.phase == P_TUNNEL and self._exchange is not None:
            self._exchange.end_sending()
            if self._has_ended:
                self._exchange.end_tunnel()
            return self.transport.can_write_eof()  # TLS cannot be closed by half
        if self._exchange is not None:
            self._exchange.cancel()  # as nginx does: who ends the connection wants no answer
            self._exchange = None
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase = P_CLOSED
        self.gateway.discard(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()

    def check(self, now_s: float) -> None:
        """Called every now and then."""
        if self.deadline <= now_s:
            self._too_late()
        elif self.is_paused and has_left(self.transport):
            self.abort()

    def _too_late(self) -> None:
        exchange = self._exchange
        if self.phase == P_HEAD and self._head_bytes:
            self.refuse(Refusal(408, "head_timeout", "the request's head was not complete in time"), None)
        elif exchange is None:
            self.abort()
        elif self.is_full or self.phase == P_TUNNEL:
            exchange.note = "timeout" if self.phase == P_TUNNEL else "client does not read"
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
