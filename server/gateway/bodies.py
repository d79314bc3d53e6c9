"""The body of a request while it comes in."""

from .checks import Refusal, Request
from .clients import too_large
from .framing import ChunkedBody, FramingError


class RequestBody:
    """`is_complete` once all of it was fed."""

    __slots__ = ("_chunks", "_left", "_limit", "is_complete")

    def __init__(self, request: Request, limit_bytes: int, overhead_bytes: int) -> None:
        self._limit, self._left = limit_bytes, request.length or 0
        self._chunks = (
            ChunkedBody(is_request=True, overhead_bytes=overhead_bytes) if request.is_chunked else None
        )
        self.is_complete = False

    @property
    def is_announced_too_large(self) -> bool:
        return self._left > self._limit

    def feed(self, data: bytes) -> tuple[bytes, int] | Refusal:
        """What to send on, and how many bytes of `data` belong to the body."""
        if self._chunks is None:
            used = min(self._left, len(data))
            self._left -= used
            self.is_complete = self._left == 0
            return (data if used == len(data) else data[:used]), used
        try:
            out, used = self._chunks.feed(data)
        except FramingError as error:
            return Refusal(400, "bad_request", f"the request body is malformed: {error}")
        if self._chunks.size > self._limit:
            return too_large(self._limit)
        self.is_complete = self._chunks.is_complete
        return out, used
