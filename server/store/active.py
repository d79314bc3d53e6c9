"""What is not at rest, in memory: each look reads only what the commits since the last one have changed."""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, literal_column
from sqlmodel import col, func, select

from ..domain.workload import Attempt, Phase
from .documents import attempt_from
from .found import FOUND, Found, one_of, prepared
from .tables import AttemptRow, WorkloadRow
from .writer import EVERYTHING

_w, _a = WorkloadRow, AttemptRow
# In no order: with one, SQLite would read all there ever was rather than the index.
UNSETTLED = prepared(select(col(_w.id)).where(col(_w.is_settled) == literal_column("0")))
EXPIRED = prepared(select(col(_w.id)).where(col(_w.expires_at_ms) <= bindparam("now")))
NEXT_EXPIRY = prepared(
    select(func.min(col(_w.expires_at_ms))).where(col(_w.expires_at_ms) > bindparam("now"))
)
ROWS = prepared(
    FOUND.where(
        col(_w.id).in_(one_of("ids")),
        (col(_w.is_settled) == literal_column("0")) | (col(_w.expires_at_ms) <= bindparam("now")),
    ).order_by(col(_w.seq))
)
ATTEMPTS = prepared(
    select(col(_a.workload_id), col(_a.doc))
    .where(col(_a.workload_id).in_(one_of("ids")))
    .order_by(col(_a.number), col(_a.replica_id))
)


class Entry(NamedTuple):
    """A workload and all its attempts, oldest first, as of one commit."""

    found: Found
    attempts: Sequence[Attempt]


class Changes:
    """Ids of what has changed, come or gone since its owner last took them."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def add(self, ids: Iterable[str]) -> None:
        self._ids.update(ids)

    @contextlib.contextmanager
    def taking(self) -> Generator[set[str]]:
        """They count as taken only if nothing is raised."""
        taken, self._ids = self._ids, set()
        try:
            yield taken
        except BaseException:
            self._ids |= taken
            raise


class ActiveTable:
    """
    What the reconcile loop looks after: what is not settled, and what is to be archived by now. A
    hundred thousand that wait cost nothing until one of them changes.

    Args:
        take_changed: ids of the workloads that were written since it was last called.
    """

    def __init__(self, connection: sqlite3.Connection, take_changed: Callable[[], set[str]]) -> None:
        self._db, self._take_changed = connection, take_changed
        self._entries: dict[str, Entry] = {}
        self._serving: dict[str, Entry] = {}
        self._exposing: dict[str, Entry] = {}
        self._followers: list[Changes] = []
        self._next_ms: int | None = None

    def follow(self) -> Changes:
        """For somebody who wants to be told; all that is there has changed for a beginning."""
        changes = Changes()
        changes.add(self._entries)
        self._followers.append(changes)
        return changes

    def look(self, now_ms: int) -> Mapping[str, Entry]:
        """By id, mostly oldest first; the same mapping each time."""
        changed = self._take_changed()
        if EVERYTHING in changed:
            changed = {i for (i,) in self._db.execute(UNSETTLED)} | self._entries.keys()
        if changed or (self._next_ms is not None and self._next_ms <= now_ms):
            values = {"now": now_ms}
            changed |= {i for (i,) in self._db.execute(EXPIRED, values) if i not in self._entries}
            self._read(changed, now_ms)
            self._next_ms = self._db.execute(NEXT_EXPIRY, values).fetchone()[0]
        return self._entries

    def serving(self, now_ms: int) -> Mapping[str, Entry]:
        """Those of `look` that serve."""
        self.look(now_ms)
        return self._serving

    def exposing(self, now_ms: int) -> Mapping[str, Entry]:
        """Those of `look` that have exposed ports."""
        self.look(now_ms)
        return self._exposing

    @property
    def next_expiry_ms(self) -> int | None:
        """When, after the last look, something more is to be archived."""
        return self._next_ms

    def _read(self, changed: set[str], now_ms: int) -> None:
        ids = json.dumps(sorted(changed))
        rows = self._db.execute(ROWS, {"ids": ids, "now": now_ms}).fetchall()
        attempts: dict[str, list[Attempt]] = {}
        for workload_id, doc in self._db.execute(ATTEMPTS, {"ids": ids}):
            attempts.setdefault(workload_id, []).append(attempt_from(doc))
        for id_, seq, revision, phase, doc in rows:
            found = Found(id_, seq, revision, Phase(phase), doc)
            entry = self._entries[id_] = Entry(found, attempts.get(id_, ()))
            if found.workload.spec.serving is not None:
                self._serving[id_] = entry
            if found.workload.spec.exposures:
                self._exposing[id_] = entry
        for gone in changed - {row[0] for row in rows}:
            self._entries.pop(gone, None)
            self._serving.pop(gone, None)
            self._exposing.pop(gone, None)
        for follower in self._followers:
            follower.add(changed)
