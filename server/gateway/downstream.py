"""The client's side: requests are read one after another, each answered before the next begins."""

import asyncio
from typing import TYPE_CHECKING

from .bodies import RequestBody
from .checks import H2_PREFACE, Refusal, Request
from .clients import has_left, too_large
from .connection import P_ANSWER, P_BODY, P_CLOSED, P_HEAD, P_LINGER, P_TUNNEL, Connection
from .exchange import Exchange, Known
from .framing import BLANK_LINE
from .headers import H2_GOAWAY, write_refusal
from .heads import HeadReader
from .memory import MOST_REMEMBERED, Memory

if TYPE_CHECKING:
    from .gateway import Gateway


class Downstream(Connection):
    def __init__(self, gateway: "Gateway") -> None:
        super().__init__(gateway)
        self._is_new = True
        self._is_in_heads = self._is_unfinished = False
        self._heads = HeadReader(gateway.limits)
        self._body: RequestBody
        self._began_s, self._dropped = 0.0, 0
        self._memory = Memory()
        self.hash_of = self._memory.hash_of

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.gateway.add(self)

    @property
    def is_reading_body(self) -> bool:
        return self.phase == P_BODY

    @property
    def is_idle(self) -> bool:
        return self.phase == P_HEAD and not self._heads.size and not self._buffer

    # --- reading

    def data_received(self, data: bytes) -> None:
        phase = self.phase
        if phase == P_HEAD:
            if self._buffer:
                data = self._buffer + data
            elif not self._heads.size and not self.is_full and not self.gateway.is_draining:
                end = data.find(BLANK_LINE) + 4
                if known := self._memory.recall(data, end, self.gateway.revision):
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

    def _read_heads(self, data: bytes) -> None:
        if self._is_new:
            self._is_new = False
            self.gateway.has_spoken(self)
        self._buffer = b""
        self._is_in_heads = True
        heads, most = self._heads, self.gateway.limits.pipelined
        end, turns = 0, 0
        while end < len(data) and self.phase == P_HEAD and not self.is_full and turns < most:
            start, end = end, heads.cut(data, end)
            if not heads.size:
                self._began_s = self.gateway.now()
                if data.startswith(H2_PREFACE, start):
                    self.goodbye(H2_GOAWAY)
                    break
            refusal = heads.feed(data if end - start == len(data) else data[start:end])
            if refusal is not None:
                self.refuse(refusal, None)
            elif heads.is_complete:
                turns += 1
                if self._is_unfinished:
                    self._is_unfinished = False
                    self.gateway.has_head(self)
                # a head in one piece of what was read can be known again
                is_piece = heads.size == end - start and end - start <= MOST_REMEMBERED
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
        elif self._heads.size:
            self.deadline = self._began_s + self.gateway.limits.head_s
            self._is_unfinished = True
            self.gateway.lacks_head(self)

    def _resume(self) -> None:
        if self.phase == P_HEAD and self._buffer and not self.is_full:
            data, self._buffer = self._buffer, b""
            self.steer()
            self._read_heads(data)

    def resume_writing(self) -> None:
        is_between = self._exchange is None and self.phase == P_HEAD
        super().resume_writing()
        if is_between:
            self.deadline = self.gateway.now() + self.gateway.limits.idle_s
            self._resume()

    def _begin_request(self, head: bytes) -> None:
        request = self._heads.request()
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

    # --- answering

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
            if self._heads.size:
                self._heads.renew()
            if not self._is_in_heads:
                if self._buffer:
                    asyncio.get_running_loop().call_soon(self._resume)
                elif self.is_paused:
                    self.steer()

    def begin_tunnel(self) -> None:
        self.phase = P_TUNNEL
        data, self._buffer = self._buffer, b""
        if data:
            self.data_received(data)
        self.steer()

    # --- the end

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
        if self.phase == P_HEAD and self._heads.size:
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
