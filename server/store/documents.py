"""Domain objects as JSON and back: what the `doc` columns hold, never a vendor's words."""

from functools import cache, lru_cache
from typing import TypeVar

from pydantic import TypeAdapter
from pydantic_core import to_json

from ..domain.workload import Attempt, Workload
from ..errors import Invalid

T = TypeVar("T", Workload, Attempt)
NOT_JSON = ("NaN", "Infinity")
# What is written is read again within moments, mostly more than once: by the loop, by the next
# write of the same thing, by who asked for it. What is read is frozen, so all may have the same.
KEPT = 4096


class _Kept:
    """The last that were written or read, by their docs; twice as many at most."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._now: dict[str, Attempt] = {}
        self._before: dict[str, Attempt] = {}

    def get(self, doc: str) -> Attempt | None:
        return self._now.get(doc) or self._before.get(doc)

    def keep(self, doc: str, attempt: Attempt) -> Attempt:
        if len(self._now) >= self._size:
            self._before, self._now = self._now, {}
        self._now[doc] = attempt
        return attempt


_attempts = _Kept(KEPT)


@cache
def _reader(kind: type[T]) -> TypeAdapter[T]:
    """
    pydantic's own parser: half the time of json and the constructors, and the types are checked. Made at
    its first use, so that no start waits for it.
    """
    return TypeAdapter(kind)


def to_doc(thing: Workload | Attempt) -> str:
    """
    A workload, which is made of what came from outside, is read back to see that it can be. An attempt is
    our own, and flat: only a number that JSON has not can be wrong with it.

    Raises:
        Invalid: it would not be read as it was written (a lone surrogate, NaN, Infinity, hundreds of
            levels), and so would break every list and comparison that it is in.
    """
    try:
        if isinstance(thing, Attempt):
            told = to_json(thing, inf_nan_mode="constants").decode()
            if not any(word in told for word in NOT_JSON):
                _attempts.keep(told, thing)
                return told
        doc = to_json(thing, inf_nan_mode="null").decode()
        again = workload_from(doc) if isinstance(thing, Workload) else attempt_from(doc)
    except ValueError as error:
        raise Invalid("body", f"cannot be kept as JSON: {error}") from error
    if again != thing:
        raise Invalid("body", "cannot be kept as JSON: it has NaN or Infinity in it")
    return doc


@lru_cache(KEPT)
def workload_from(doc: str) -> Workload:
    return _reader(Workload).validate_json(doc)


def attempt_from(doc: str) -> Attempt:
    return _attempts.get(doc) or _attempts.keep(doc, _reader(Attempt).validate_json(doc))
