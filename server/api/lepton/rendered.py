"""Jobs as bytes of JSON, made once per revision; and where the pages of a list began."""

import json
from collections import OrderedDict
from collections.abc import Hashable, Sequence

from ...domain.runs import phase_of
from ...store.reads import Found
from ...store.store import Store
from .translate.jobs import job_to_wire

MOST_JOBS, MOST_PAGES = 4096, 1024


class RenderedJobs:
    """A revision never comes back, so what was rendered for one stays right."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bytes: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._pages: OrderedDict[Hashable, int] = OrderedDict()

    def render(self, found: Sequence[Found]) -> list[bytes]:
        missing = {f.workload.id for f in found if (f.workload.id, f.revision) not in self._bytes}
        attempts = self._store.reads.attempts(sorted(missing)) if missing else {}
        return [self._one(f, attempts) for f in found]

    def _one(self, found: Found, attempts: dict[str, list]) -> bytes:  # type: ignore[type-arg]
        key = (found.workload.id, found.revision)
        if (known := self._bytes.get(key)) is not None:
            return known
        mine = attempts[found.workload.id]
        wire = job_to_wire(found.workload, phase_of(found.workload, mine), mine)
        made = json.dumps(wire, ensure_ascii=False, separators=(",", ":")).encode()
        _remember(self._bytes, key, made, MOST_JOBS)
        return made

    def page_start(self, question: Hashable, page: int) -> int | None:
        """The row before which a page begins, if its predecessor was asked for."""
        return self._pages.get((question, page))

    def page_ended(self, question: Hashable, page: int, last_seq: int) -> None:
        _remember(self._pages, (question, page + 1), last_seq, MOST_PAGES)


def _remember(memory: OrderedDict, key: Hashable, value: object, most: int) -> None:  # type: ignore[type-arg]
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > most:
        memory.popitem(last=False)
