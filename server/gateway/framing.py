"""Where messages end. llhttp decides; here it is only kept from seeing more than one message at a time."""

from typing import Protocol

import httptools

BLANK_LINE = b"\r\n\r\n"
CHUNKED_REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_RESPONSE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
# A field of a trailer may not change what the head has settled (RFC 9110, 6.5.1).
NO_TRAILERS = frozenset({
    b"authorization", b"connection", b"content-encoding", b"content-length", b"content-range",
    b"content-type", b"cookie", b"expect", b"forwarded", b"host", b"keep-alive", b"max-forwards",
    b"proxy-authorization", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"x-real-ip", b"x-request-id",
})  # fmt: skip


class FramingError(Exception):
    """What was read is not HTTP/1.1, or goes past a limit."""


class Parser(Protocol):
    def feed_data(self, data: bytes) -> None: ...


class Cutter:
    """
    Cuts a stream behind each blank line.

    A head and a chunked body can only end there (llhttp, strict, takes no bare LF), so a
    parser that is fed piece by piece has never seen bytes behind the end of its message.
    A cut in the middle of a body does no harm.
    """

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    def cut(self, data: bytes, start: int) -> int:
        """The end of the piece that begins at `start`; the caller asks again from there."""
        if start < 3 and self._tail:  # the blank line may have begun before `data`
            found = (self._tail + data[start : start + 3]).find(BLANK_LINE)
            if found >= 0:
                end = start + found + 4 - len(self._tail)
                self._tail = (self._tail + data[start:end])[-3:]
                return end
        found = data.find(BLANK_LINE, max(start - 3, 0))
        end = len(data) if found < 0 else found + 4
        self._tail = data[end - 3 : end] if end >= 3 else (self._tail + data[start:end])[-3:]
        return end


def fed(parser: Parser, data: bytes) -> None:
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        return  # the head is complete; what follows is not for this parser
    except httptools.HttpParserError as error:
        raise FramingError(str(error) or "malformed") from error


class ChunkedEnd:
    """Finds the end of a chunked body that is passed on as it came. Keeps nothing of it."""

    __slots__ = ("_cutter", "_parser", "is_complete")

    def __init__(self) -> None:
        self.is_complete = False
        self._cutter = Cutter()
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(CHUNKED_RESPONSE)

    def on_message_complete(self) -> None:
        self.is_complete = True

    def feed(self, data: bytes) -> int:
        """
        How many bytes of `data` belong to the body.

        Raises:
            FramingError: the chunks are malformed.
        """
        end = 0
        while end < len(data) and not self.is_complete:
            start, end = end, self._cutter.cut(data, end)
            fed(self._parser, data[start:end] if start or end < len(data) else data)
        return end


class ChunkedBody:
    """
    Reads a chunked body apart and writes it anew: no chunk extensions, a trailer without
    the fields that could pass for another head.

    Args:
        plain: give only the data, without chunks.
        overhead_bytes: the most that may arrive without any data among it.
    """

    __slots__ = (
        "_cutter",
        "_idle",
        "_overhead",
        "_parser",
        "_parts",
        "_plain",
        "_trailer",
        "is_complete",
        "size",
    )

    def __init__(self, *, is_request: bool, plain: bool = False, overhead_bytes: int) -> None:
        self.is_complete = False
        self.size = 0
        self._plain, self._overhead, self._idle = plain, overhead_bytes, 0
        self._parts: list[bytes] = []
        self._trailer: list[bytes] | None = None
        self._cutter = Cutter()
        if is_request:
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(CHUNKED_REQUEST)
        else:
            self._parser = httptools.HttpResponseParser(self)
            self._parser.feed_data(CHUNKED_RESPONSE)
        self._trailer = []  # what came so far were the fields of the head above

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._trailer is None:
            return
        low = name.lower().replace(b"_", b"-")
        if low not in NO_TRAILERS and not low.startswith(b"x-forwarded-"):
            self._trailer.append(b"%b: %b\r\n" % (name, value))

    def on_body(self, data: bytes) -> None:
        self.size += len(data)
        self._idle = 0
        self._parts += (data,) if self._plain else (b"%x\r\n" % len(data), data, b"\r\n")

    def on_message_complete(self) -> None:
        self.is_complete = True
        if not self._plain:
            self._parts += (b"0\r\n", *(self._trailer or ()), b"\r\n")

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """
        What to send on, and how many bytes of `data` belong to the body.

        Raises:
            FramingError: the chunks are malformed, or nearly all overhead.
        """
        end = 0
        while end < len(data) and not self.is_complete:
            start, end = end, self._cutter.cut(data, end)
            self._idle += end - start
            fed(self._parser, data[start:end])
            if self._idle > self._overhead:
                raise FramingError("chunk extensions or trailer too large")
        parts, self._parts = self._parts, []
        return b"".join(parts), end
