"""The replica's side: its connections, kept for reuse, and the reading of its answers."""

import asyncio
from enum import IntEnum
from typing import TYPE_CHECKING

import httptools

from ..routing import Target
from .checks import Head
from .framing import LAST_CHUNK, ChunkedBody, ChunkedEnd, Cutter, FramingError, fed
from .headers import Answer, read_answer

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

    def connect(self, exchange: "Exchange", *, anew: bool = False) -> None:
        """Calls `attach` or `unreachable` of the exchange, now or later."""
        while self._idle:
            up = self._idle.pop()
            if anew or up.is_closing():
                up.close()
                continue
            exchange.attach(up)
            return
        dial = asyncio.get_running_loop().create_task(self._dial(exchange))
        self._dials[exchange] = dial

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
            self.keep(up)
        else:
            exchange.attach(up)

    def rest(self) -> None:
        self.resting_until = self.endpoint.gateway.now() + REST_S

    def stop_dialling(self, exchange: "Exchange") -> None:
        if dial := self._dials.pop(exchange, None):
            dial.cancel()

    def keep(self, up: "Upstream") -> None:
        """A connection whose answer is complete; for the next request."""
        limits = self.endpoint.gateway.limits
        if self.is_retired or up.is_closing() or len(self._idle) >= limits.pool_size:
            up.close()
        else:
            up.idle_until = self.endpoint.gateway.now() + limits.pool_idle_s
            self._idle.append(up)

    def forget(self, up: "Upstream") -> None:
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


class Mode(IntEnum):
    HEAD = 1
    LENGTH = 2
    CHUNKED = 3  # passed on as it came
    PLAIN = 4  # chunks taken apart, for HTTP/1.0
    TO_END = 5  # until the replica closes
    TUNNEL = 6


class Upstream(asyncio.Protocol):
    """One connection to a replica; carries one request at a time."""

    def __init__(self, pool: ReplicaPool) -> None:
        self.pool = pool
        self.idle_until = 0.0
        self.is_full = False  # the replica reads slower than the client sends
        self.is_fresh = True  # it has carried no request yet
        self.has_answered = False  # any byte, to the present request
        self._exchange: Exchange | None = None
        self._transport: asyncio.Transport | None = None
        self._is_paused = False
        self._mode = Mode.HEAD
        self._left = 0
        self._chunks: ChunkedEnd | ChunkedBody | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def close(self) -> None:
        self.transport.close()

    def begin(self, exchange: "Exchange") -> None:
        self._exchange = exchange
        self.has_answered = False
        self._interim = 0
        self._expect_head()

    def _expect_head(self) -> None:
        self._mode = Mode.HEAD
        self._head = Head()
        self._parser = httptools.HttpResponseParser(self._head)
        self._cutter = Cutter()
        self._head_bytes = 0

    def let_go(self) -> None:
        """The exchange ends before its answer does: nobody can tell any more what comes here."""
        self._exchange = None
        self.transport.abort()

    def pause(self, is_paused: bool) -> None:
        """The client reads slower than the replica sends."""
        if is_paused != self._is_paused and not self.is_closing():
            self._is_paused = is_paused
            if is_paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.is_full = True
        self._steer_client()

    def resume_writing(self) -> None:
        self.is_full = False
        self._steer_client()

    def _steer_client(self) -> None:
        if self._exchange is not None:
            self._exchange.touch()
            self._exchange.down.steer()

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.close()  # it speaks unasked
            return
        exchange.touch()
        try:
            if self._mode is Mode.HEAD:
                self.has_answered = True
                self._read_head(exchange, data)
            elif self._mode is Mode.TUNNEL:
                exchange.write(data)
            else:
                self._read_body(exchange, b"", data)
        except FramingError as error:
            exchange.bad_answer(str(error))

    def _read_head(self, exchange: "Exchange", data: bytes) -> None:
        limits = self.pool.endpoint.gateway.limits
        end = 0
        while end < len(data):
            start, end = end, self._cutter.cut(data, end)
            self._head_bytes += end - start
            if self._head_bytes > limits.head_bytes:
                raise FramingError("head too large")
            fed(self._parser, data[start:end])
            if not self._head.is_complete:
                continue
            answer = read_answer(self._parser, self._head, exchange.request, exchange.form)
            if answer.status >= 200:
                self._begin_body(exchange, answer, data[end:])
                return
            if answer.status == 101:
                self._mode = Mode.TUNNEL
                exchange.switch(answer, data[end:])
                return
            self._interim += 1
            if self._interim > limits.interim_answers:
                raise FramingError("too many interim answers")
            exchange.interim(answer)
            self._expect_head()

    def _begin_body(self, exchange: "Exchange", answer: Answer, rest: bytes) -> None:
        is_11 = exchange.request.is_11
        self._is_reusable = answer.is_reusable
        if not answer.has_body:
            self._mode, self._left = Mode.LENGTH, 0
        elif answer.length is not None:
            self._mode, self._left = Mode.LENGTH, answer.length
        elif not answer.is_chunked:
            self._mode = Mode.TO_END
        elif is_11:
            self._mode, self._chunks = Mode.CHUNKED, ChunkedEnd()
        else:
            limit = self.pool.endpoint.gateway.limits.head_bytes
            self._mode, self._chunks = (
                Mode.PLAIN,
                ChunkedBody(is_request=False, plain=True, overhead_bytes=limit),
            )
        head = exchange.answer_head(answer, is_chunked=is_11 and answer.has_body and answer.length is None)
        self._read_body(exchange, head, rest)

    def _read_body(self, exchange: "Exchange", head: bytes, data: bytes) -> None:
        """`head` goes out in the same write as what there is of the body."""
        is_complete = False
        used = len(data)
        out = data
        match self._mode:
            case Mode.LENGTH:
                if used > self._left:
                    used, out = self._left, data[: self._left]
                self._left -= used
                is_complete = self._left == 0
            case Mode.CHUNKED:
                assert isinstance(self._chunks, ChunkedEnd)
                used = self._chunks.feed(data)
                if used < len(data):
                    out = data[:used]
                is_complete = self._chunks.is_complete
            case Mode.PLAIN:
                assert isinstance(self._chunks, ChunkedBody)
                out, used = self._chunks.feed(data)
                is_complete = self._chunks.is_complete
            case Mode.TO_END:
                if data and exchange.request.is_11:
                    out = b"%x\r\n%b\r\n" % (len(data), data)
            case _:
                raise AssertionError(self._mode)
        if head:
            out = head + out
        if out:
            exchange.write(out)
        if is_complete:
            self._complete(exchange, is_reusable=self._is_reusable and used == len(data))

    def _complete(self, exchange: "Exchange", *, is_reusable: bool) -> None:
        self._exchange = None
        self._chunks = None
        self.is_fresh = False
        # A body that is still coming in belongs to an answered request: no other may follow it.
        if is_reusable and exchange.is_body_sent and not self.is_closing():
            self.pause(False)
            self.pool.keep(self)
        else:
            self.close()
        exchange.complete()

    def eof_received(self) -> bool:
        if self._mode is Mode.TUNNEL and self._exchange is not None:
            return self._exchange.replica_sent_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            self.pool.forget(self)
        elif self._mode is Mode.TO_END and exc is None:
            if exchange.request.is_11:
                exchange.write(LAST_CHUNK)
            exchange.complete()
        elif self._mode is Mode.TUNNEL:
            exchange.complete()
        else:
            exchange.lost_replica(self)
