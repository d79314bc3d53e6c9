"""The replica's side: one connection, and the reading of its answers."""

import asyncio
from typing import TYPE_CHECKING, cast

import httptools

from .checks import Head, Request
from .framing import BLANK_LINE, LAST_CHUNK, ChunkedBody, ChunkedEnd, Cutter, FramingError, fed
from .headers import Answer, PathForm, read_answer, write_answer

if TYPE_CHECKING:
    from .exchange import Exchange
    from .pool import ReplicaPool


class HeadReader:
    """One answer's head that may come in pieces. A parser of its own, never fed what follows."""

    __slots__ = ("_cutter", "_size", "head", "parser")

    def __init__(self) -> None:
        self.head = Head()
        self.parser = httptools.HttpResponseParser(self.head)
        self._cutter = Cutter()
        self._size = 0

    def feed(self, data: bytes, most_bytes: int) -> int:
        """
        How many bytes of `data` belong to the head.

        Raises:
            FramingError: it is malformed, or too large.
        """
        end = 0
        while end < len(data) and not self.head.is_complete:
            start, end = end, self._cutter.cut(data, end)
            self._size += end - start
            if self._size > most_bytes:
                raise FramingError("head too large")
            fed(self.parser, data[start:end])
        return end


# What is being read. Plain numbers: they are compared for each piece of each answer.
M_HEAD, M_LENGTH, M_CHUNKED, M_PLAIN, M_TO_END, M_TUNNEL = range(6)
# CHUNKED is passed on as it came, PLAIN is taken apart for HTTP/1.0, TO_END lasts until the replica closes
MOST_REMEMBERED = 4096  # bytes of a head


class Upstream(asyncio.Protocol):
    """One connection to a replica; carries one request at a time."""

    def __init__(self, pool: "ReplicaPool") -> None:
        self.pool = pool
        self.idle_until = 0.0
        self.is_full = False  # the replica reads slower than the client sends
        self.is_fresh = True  # it has carried no request yet
        self.has_answered = False  # any byte, to the present request
        self._exchange: Exchange | None = None
        self.transport: asyncio.Transport
        self._is_paused = False
        self._mode = M_HEAD
        self._left = 0
        self._chunks: ChunkedEnd | ChunkedBody | None = None
        self._reader: HeadReader | None = None
        self._last_head = b""
        self._last_answer: Answer
        self._last_request: Request
        self._last_form: PathForm | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def close(self) -> None:
        self.transport.close()

    def begin(self, exchange: "Exchange") -> None:
        self._exchange = exchange
        self.has_answered = False
        self._interim = 0
        self._mode = M_HEAD
        self._reader = None

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
        mode = self._mode
        try:
            if mode == M_HEAD:
                self.has_answered = True
                self._read_head(exchange, data)
                return
            exchange.touch()
            if mode == M_TUNNEL:
                exchange.write(data)
            else:
                self._read_body(exchange, b"", data, 0.0)
        except FramingError as error:
            exchange.bad_answer(str(error))

    def _read_head(self, exchange: "Exchange", data: bytes) -> None:
        reader = self._reader
        if reader is None:
            found = data.find(BLANK_LINE)
            if found >= 0:
                self._read_whole_head(exchange, data, found + 4)
                return
            reader = self._reader = HeadReader()
        exchange.touch()
        end = reader.feed(data, self.pool.endpoint.gateway.limits.head_bytes)
        if reader.head.is_complete:
            self._reader = None
            self._begin_answer(exchange, self._answer_of(exchange, reader.parser, reader.head), data[end:])

    def _read_whole_head(self, exchange: "Exchange", data: bytes, end: int) -> None:
        """
        The usual case: all of it came at once.

        Replicas repeat themselves, so the last head is remembered: equal bytes in answer to
        the same kind of request mean the same.
        """
        head = data[:end]
        request = exchange.request
        if (
            head == self._last_head
            and request.method == self._last_request.method
            and request.host == self._last_request.host
            and request.is_11 == self._last_request.is_11
            and exchange.form is self._last_form
        ):
            self._begin_body(exchange, self._last_answer, data[end:])
            return
        if end > self.pool.endpoint.gateway.limits.head_bytes:
            raise FramingError("head too large")
        found = Head()
        parser = httptools.HttpResponseParser(found)
        fed(parser, head)
        if not found.is_complete:  # blank lines before it
            raise FramingError("no status line")
        answer = self._answer_of(exchange, parser, found)
        if answer.status >= 200 and end <= MOST_REMEMBERED:
            self._last_head, self._last_answer = head, answer
            self._last_request, self._last_form = request, exchange.form
        self._begin_answer(exchange, answer, data[end:])

    def _answer_of(self, exchange: "Exchange", parser: httptools.HttpResponseParser, head: Head) -> Answer:
        request = exchange.request
        answer = read_answer(parser, head, request, exchange.form)
        if answer.status >= 200:
            is_chunked = request.is_11 and answer.has_body and answer.length is None
            answer.start = write_answer(answer, is_chunked=is_chunked)
        return answer

    def _begin_answer(self, exchange: "Exchange", answer: Answer, rest: bytes) -> None:
        if answer.status >= 200:
            self._begin_body(exchange, answer, rest)
            return
        exchange.touch()
        if answer.status == 101:
            self._mode = M_TUNNEL
            exchange.switch(answer, rest)
            return
        self._interim += 1
        if self._interim > self.pool.endpoint.gateway.limits.interim_answers:
            raise FramingError("too many interim answers")
        exchange.interim(answer)
        if rest:
            self._read_head(exchange, rest)

    def _begin_body(self, exchange: "Exchange", answer: Answer, rest: bytes) -> None:
        now_s = self.pool.endpoint.gateway.now()
        self._is_reusable = answer.is_reusable
        self._mode = M_LENGTH
        if not answer.has_body:
            self._left = 0
        elif answer.length is not None:
            self._left = answer.length
        elif not answer.is_chunked:
            self._mode = M_TO_END
        elif exchange.request.is_11:
            self._mode, self._chunks = M_CHUNKED, ChunkedEnd()
        else:
            limit = self.pool.endpoint.gateway.limits.head_bytes
            self._mode = M_PLAIN
            self._chunks = ChunkedBody(is_request=False, plain=True, overhead_bytes=limit)
        self._read_body(exchange, exchange.answer_head(answer, now_s), rest, now_s)

    def _read_body(self, exchange: "Exchange", head: bytes, data: bytes, now_s: float) -> None:
        """`head` goes out in the same write as what there is of the body."""
        is_complete = False
        used, out, mode = len(data), data, self._mode
        if mode == M_LENGTH:
            if used > self._left:
                used, out = self._left, data[: self._left]
            self._left -= used
            is_complete = self._left == 0
        elif mode == M_TO_END:
            if data and exchange.request.is_11:
                out = b"%x\r\n%b\r\n" % (len(data), data)
        elif isinstance(self._chunks, ChunkedEnd):
            used = self._chunks.feed(data)
            if used < len(data):
                out = data[:used]
            is_complete = self._chunks.is_complete
        elif self._chunks is not None:
            out, used = self._chunks.feed(data)
            is_complete = self._chunks.is_complete
        if head:
            out = head + out
        if out:
            exchange.write(out)
        if is_complete:
            self._complete(exchange, self._is_reusable and used == len(data), now_s)
        elif head:
            exchange.touch()

    def _complete(self, exchange: "Exchange", is_reusable: bool, now_s: float) -> None:
        self._exchange = self._chunks = None
        self.is_fresh = False
        # A body that is still coming in belongs to an answered request: no other may follow it.
        if is_reusable and exchange.is_body_sent:
            if self._is_paused:
                self.pause(False)
            self.pool.keep(self, now_s or self.pool.endpoint.gateway.now())
        else:
            self.close()
        exchange.complete(now_s)

    def eof_received(self) -> bool:
        if self._mode == M_TUNNEL and self._exchange is not None:
            return self._exchange.replica_sent_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            self.pool.forget(self)
        elif self._mode == M_TO_END and exc is None:
            if exchange.request.is_11:
                exchange.write(LAST_CHUNK)
            exchange.complete()
        elif self._mode == M_TUNNEL:
            exchange.complete()
        else:
            exchange.lost_replica(self)
