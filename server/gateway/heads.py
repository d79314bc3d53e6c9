"""One head after another, out of what a client sends."""

import httptools

from .checks import Head, Refusal, Request, read_request
from .framing import Cutter, FramingError, fed
from .limits import Limits


class HeadReader:
    """Is fed in pieces that end where a head may end, so that its parser never sees what follows."""

    __slots__ = ("_head", "_limits", "_parser", "cut", "is_complete", "size")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.cut = Cutter().cut
        self.renew()

    def renew(self) -> None:
        """A parser for each head: bodies are not shown to it, so it could not go on."""
        self._head = Head()
        self._parser = httptools.HttpRequestParser(self._head)
        self.size = 0  # bytes of this head so far
        self.is_complete = False

    def feed(self, piece: bytes) -> Refusal | None:
        self.size += len(piece)
        try:
            fed(self._parser, piece)
        except FramingError as error:
            return Refusal(400, "bad_request", f"not HTTP/1.1: {error}")
        if self.size > self._limits.head_bytes:
            return Refusal(431, "head_too_large", f"more than {self._limits.head_bytes} bytes of header")
        self.is_complete = self._head.is_complete
        return None

    def request(self) -> Request | Refusal:
        """What the complete head says."""
        return read_request(self._parser, self._head, self._limits.head_lines)
