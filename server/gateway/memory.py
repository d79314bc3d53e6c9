"""What a connection remembers of its last request: clients repeat themselves."""

import re

from .access import hash_bearer
from .exchange import Known

MOST_REMEMBERED = 4096  # bytes of a head
# The end of a request line, with nothing in the target that would need a second look.
TARGET_AND_VERSION = re.compile(rb"([A-Za-z0-9._~!$&'()*+,;=:@/?%-]*) HTTP/1\.1")


class Memory:
    """
    Equal bytes on the same connection mean the same, as long as the table has not changed. Where
    only the target differs, below the same endpoint, so does only what the replica gets of it.
    """

    __slots__ = ("_authorization", "_fields", "_hashed", "_line", "head", "known", "size")

    def __init__(self) -> None:
        self.known: Known | None = None
        self.head, self.size = b"", -1  # `size` is looked for first: it differs nearly always where heads do
        self._line = self._fields = b""  # what the request line begins with, and all that follows it
        self._authorization, self._hashed = b"", ""

    def keep(self, known: Known, head: bytes) -> None:
        """b"": it did not come in one piece."""
        request = known.request
        if not head or not request.keep_alive or known.share is not None or not known.is_lasting:
            return
        self.known, self.head, self.size = known, head, len(head)
        prefix = known.form.prefix if known.form else b""
        self._line = b"%b %b/" % (request.method, prefix)
        # Below an exposed port's prefix there may be that of another.
        is_alone = known.form is None or not known.form.is_kept
        self._fields = head[head.find(b"\r\n") :] if request.is_11 and is_alone else b""

    def recall(self, data: bytes, end: int, revision: int) -> Known | None:
        """What is known of a head like the last one; it is `data` up to `end`."""
        if self.known is None:
            return None
        if end == self.size and data.startswith(self.head):
            return self._if_valid(revision)
        return self._elsewhere(data, end, revision)

    def _if_valid(self, revision: int) -> Known | None:
        if self.known is None or self.known.revision != revision:
            self.size, self._fields = -1, b""
            return None
        return self.known

    def _elsewhere(self, data: bytes, end: int, revision: int) -> Known | None:
        """It differs from the last one in its target only."""
        fields = self._fields
        line_end = end - len(fields)
        if not fields or end > MOST_REMEMBERED or not data.startswith(self._line):
            return None
        if data.find(b"\r\n") != line_end or data[line_end:end] != fields:
            return None
        match = TARGET_AND_VERSION.fullmatch(data, len(self._line), line_end)
        known = self._if_valid(revision) if match else None
        return known.elsewhere(b"/" + match[1]) if known and match else None

    def hash_of(self, authorization: bytes) -> str:
        """Most connections use one token."""
        if authorization != self._authorization:
            self._authorization, self._hashed = authorization, hash_bearer(authorization)
        return self._hashed
