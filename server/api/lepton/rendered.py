"""Jobs as bytes of JSON, made once per revision; and where the pages of a list began."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence

from pydantic_core import to_json

from ...domain.workload import Attempt
from ...store.found import Found
from ...store.store import Store
from .translate.jobs import job_to_wire

MOST_BYTES, MOST_PAGES = 16 * 2**20, 1024


class RenderedJobs:
    """A revision never comes back, so what was rendered for one stays right."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bytes: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._held = 0  # how many bytes these are
        self._pages: OrderedDict[Hashable, int] = OrderedDict()

    def render(self, found: Sequence[Found]) -> list[bytes]:
        known = [self._bytes.get((f.id, f.revision)) for f in found]
        missing = [f.id for f, made in zip(found, known, strict=True) if made is None]
        attempts = self._store.reads.attempts(missing) if missing else {}
        return [made or self._make(f, attempts[f.id]) for f, made in zip(found, known, strict=True)]

    def _make(self, found: Found, attempts: Sequence[Attempt]) -> bytes:
        made = to_json(job_to_wire(found.workload, found.phase, attempts))
        self._bytes[found.id, found.revision] = made
        self._held += len(made)
        while self._held > MOST_BYTES:
            self._held -= len(self._bytes.popitem(last=False)[1])
        return made

    def page_start(self, question: Hashable, page: int) -> int | None:
        """The row before which a page begins, if its predecessor was asked for."""
        return self._pages.get((question, page))

    def page_ended(self, question: Hashable, page: int, last_seq: int) -> None:
        self._pages[question, page + 1] = last_seq
        self._pages.move_to_end((question, page + 1))
        if len(self._pages) > MOST_PAGES:
            self._pages.popitem(last=False)
