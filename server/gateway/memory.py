"""What a connection remembers of its last request: clients repeat themselves."""

from .access import hash_bearer
from .exchange import Known

MOST_REMEMBERED = 4096  # bytes of a head


class Memory:
    """Equal bytes on the same connection mean the same, as long as the table has not changed."""

    __slots__ = ("_authorization", "_hashed", "head", "known", "size")

    def __init__(self) -> None:
        self.known: Known | None = None
        self.head, self.size = b"", -1  # `size` is looked for first: it differs nearly always where heads do
        self._authorization, self._hashed = b"", ""

    def keep(self, known: Known, head: bytes) -> None:
        """b"": it did not come in one piece."""
        if head and known.request.keep_alive and known.share is None:
            self.known, self.head, self.size = known, head, len(head)

    def recall(self, revision: int) -> Known | None:
        if self.known is None or self.known.revision != revision:
            self.size = -1
            return None
        return self.known

    def hash_of(self, authorization: bytes) -> str:
        """Most connections use one token."""
        if authorization != self._authorization:
            self._authorization, self._hashed = authorization, hash_bearer(authorization)
        return self._hashed
