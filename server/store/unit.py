"""
Unit of work: what one transaction has read of workloads, and what it is about to write of them.

Thousands of transitions go into one commit. Written one by one each would cost several statements,
and each statement a turn of the interpreter's lock; so they are written together, once it is over.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, literal_column, update
from sqlalchemy.dialects.sqlite import insert
from sqlmodel import col, func, select

from ..domain.lifecycle import expires_at_ms, phase_of
from ..domain.workload import TERMINAL, Attempt, Workload
from .documents import attempt_from, to_doc, workload_from
from .found import one_of, prepared
from .node_use import Capacity, NodeUse
from .tables import AttemptRow, EventRow, WorkloadRow

Key = tuple[str, int]  # of an attempt: replica and number
_w, _a, _e = WorkloadRow, AttemptRow, EventRow
ONE = literal_column("1")
FOLLOWING = ("phase", "is_settled", "expires_at_ms")
_given = insert(_w).values({
    name: bindparam(name)
    for name in ("id", "workspace", "kind", "name", "owner", "is_archived", "doc", *FOLLOWING)
} | {"revision": ONE})  # fmt: skip
SAVE = prepared(
    _given.on_conflict_do_update(
        index_elements=["id"],
        set_={name: _given.excluded[name] for name in ("is_archived", "doc", *FOLLOWING)}
        | {"revision": col(_w.revision) + ONE},
    )
)
FOLLOW = prepared(
    update(_w)
    .where(col(_w.id) == bindparam("id_"))
    .values({name: bindparam(name) for name in FOLLOWING})
    .values(revision=col(_w.revision) + ONE)
)
DOC = prepared(select(col(_w.doc)).where(col(_w.id) == bindparam("id")))
DOCS = prepared(select(col(_w.id), col(_w.doc)).where(col(_w.id).in_(one_of("ids"))))
ATTEMPTS = prepared(
    select(col(_a.doc))
    .where(col(_a.workload_id) == bindparam("id"))
    .order_by(col(_a.number), col(_a.replica_id))
)
ALL_ATTEMPTS = prepared(
    select(col(_a.workload_id), col(_a.doc))
    .where(col(_a.workload_id).in_(one_of("ids")))
    .order_by(col(_a.number), col(_a.replica_id))
)
ATTEMPT = prepared(
    select(col(_a.doc)).where(col(_a.replica_id) == bindparam("id"), col(_a.number) == bindparam("n"))
)
_attempted = insert(_a).values({
    name: bindparam(name) for name in ("replica_id", "number", "workload_id", "is_live", "doc")
})  # fmt: skip
SAVE_ATTEMPT = prepared(
    _attempted.on_conflict_do_update(
        index_elements=["replica_id", "number"],
        set_={name: _attempted.excluded[name] for name in ("is_live", "doc")},
    )
)
EVENT = ("workload_id", "type", "reason", "message", "count", "last_ms")
_newest = (
    select(func.max(col(_e.seq))).where(col(_e.workload_id).in_(one_of("ids"))).group_by(col(_e.workload_id))
)
LAST_EVENTS = prepared(
    select(*(getattr(_e, name) for name in (*EVENT, "seq"))).where(col(_e.seq).in_(_newest))
)
REPEAT = prepared(
    update(_e)
    .where(col(_e.seq) == bindparam("seq_"))
    .values(count=bindparam("count_"), last_ms=bindparam("last_"))
)
ADD = prepared(insert(_e).values({name: bindparam(name) for name in EVENT}))


@dataclass(slots=True)
class _Event:
    """A row of the table, or one to be; `seq` is None until it is in the table."""

    workload_id: str
    type: str
    reason: str
    message: str
    count: int
    last_ms: int
    seq: int | None = None

    @property
    def told(self) -> tuple[str, str, str]:
        return self.type, self.reason, self.message


class UnitOfWork:
    """
    Reads see what was saved before them in the same transaction, whether or not it is written yet.
    `flush` writes; whoever asks the tables by statements of their own has it called before.
    """

    def __init__(self, database: sqlite3.Connection, use: NodeUse | None = None) -> None:
        self._db, self._use = database, use or NodeUse()
        self.forget()

    def forget(self) -> None:
        """Nothing is known of the tables any more; what was not written is given up."""
        self._workloads: dict[str, Workload | None] = {}
        self._attempts: dict[str, dict[Key, Attempt]] = {}
        self._saved: dict[str, str] = {}  # docs, by id
        self._touched: dict[str, None] = {}  # those whose columns follow anew
        self._tried: dict[Key, tuple[Attempt, str]] = {}  # with their docs
        self._told: list[_Event] = []
        self._limits: dict[str, Capacity] = {}
        self._new: set[str] = set()  # workloads of which nothing was in the tables

    def lose(self) -> None:
        """`forget`, of what was undone, or done by others: what is taken of nodes is counted anew, too."""
        self.forget()
        self._use.forget()

    # -- reads

    def preload(self, ids: Iterable[str]) -> None:
        """Two statements in place of two for each."""
        wanted = [i for i in ids if i not in self._workloads or i not in self._attempts]
        if len(wanted) < 2:
            return
        packed = {"ids": json.dumps(wanted)}
        docs: dict[str, str] = dict(self._db.execute(DOCS, packed).fetchall())
        tried: dict[str, dict[Key, Attempt]] = {i: {} for i in wanted}
        for workload_id, doc in self._db.execute(ALL_ATTEMPTS, packed).fetchall():
            attempt = attempt_from(doc)
            tried[workload_id][attempt.key] = attempt
        for i in wanted:
            self._workloads.setdefault(i, workload_from(docs[i]) if i in docs else None)
            self._attempts.setdefault(i, tried[i])

    def workload(self, workload_id: str) -> Workload | None:
        if workload_id not in self._workloads:
            row = self._db.execute(DOC, {"id": workload_id}).fetchone()
            self._workloads[workload_id] = None if row is None else workload_from(row[0])
        return self._workloads[workload_id]

    def attempts(self, workload_id: str) -> list[Attempt]:
        """All of a workload's, oldest first."""
        found = list(self._attempts_of(workload_id).values())
        return found if len(found) < 2 else sorted(found, key=lambda a: (a.number, a.replica_id))

    def attempt_of(self, workload_id: str, key: Key) -> Attempt | None:
        return self._attempts_of(workload_id).get(key)

    def attempt(self, key: Key) -> Attempt | None:
        """Where its workload is not known."""
        if key in self._tried:
            return self._tried[key][0]
        row = self._db.execute(ATTEMPT, {"id": key[0], "n": key[1]}).fetchone()
        return None if row is None else attempt_from(row[0])

    def _attempts_of(self, workload_id: str) -> dict[Key, Attempt]:
        if workload_id not in self._attempts:
            rows = self._db.execute(ATTEMPTS, {"id": workload_id}).fetchall()
            self._attempts[workload_id] = {a.key: a for a in (attempt_from(doc) for (doc,) in rows)}
        return self._attempts[workload_id]

    # -- writes

    def save(self, workload: Workload) -> None:
        """Raises: Invalid: it cannot be kept as JSON."""
        doc = to_doc(workload)
        if self._workloads.get(workload.id, workload) is None:
            self._new.add(workload.id)
            self._attempts.setdefault(workload.id, {})
        self._saved[workload.id] = doc
        self._workloads[workload.id] = workload

    def save_attempt(self, attempt: Attempt) -> None:
        """Raises: Invalid: it cannot be kept as JSON."""
        self._tried[attempt.key] = (attempt, to_doc(attempt))
        self._attempts_of(attempt.workload_id)[attempt.key] = attempt
        self._touched[attempt.workload_id] = None

    def limit(self, nodes: Mapping[str, Capacity]) -> None:
        """What is taken of them may not be more than that once all is written."""
        self._limits.update(nodes)

    def tell(self, workload_id: str, type_: str, reason: str, message: str, now_ms: int) -> None:
        """The same event again, directly after itself, only counts up."""
        self._told.append(_Event(workload_id, type_, reason, message, 1, now_ms))

    def flush(self) -> None:
        """
        All that was saved goes into the transaction.

        Raises:
            Conflict: more is placed on a node than it has.
        """
        if self._saved:
            self._write(SAVE, [self._row(i, doc) for i, doc in self._saved.items()])
        if followers := [w for i in self._touched if i not in self._saved and (w := self.workload(i))]:
            self._write(FOLLOW, [{"id_": w.id, **self._following(w)} for w in followers])
        if self._tried:
            self._write(SAVE_ATTEMPT, [_attempt_row(a, doc) for a, doc in self._tried.values()])
            self._use.put([a for a, _ in self._tried.values()])
            if self._limits:
                self._use.check(self._db, self._limits)
                self._limits = {}
        if self._told:
            self._flush_events()
        self._saved, self._touched, self._tried, self._told = {}, {}, {}, []
        self._new.clear()

    def _row(self, workload_id: str, doc: str) -> dict[str, object]:
        workload = self._workloads[workload_id]
        assert workload is not None
        return {
            "id": workload.id, "workspace": workload.workspace, "kind": workload.kind, "name": workload.name,
            "owner": workload.owner, "is_archived": workload.archived_at_ms is not None, "doc": doc,
            **self._following(workload),
        }  # fmt: skip

    def _following(self, workload: Workload) -> dict[str, object]:
        """The columns that follow from it and its attempts."""
        attempts = self.attempts(workload.id)
        phase = phase_of(workload, attempts)
        return {
            "phase": phase.value,
            "is_settled": phase in TERMINAL and not any(a.is_live for a in attempts),
            "expires_at_ms": expires_at_ms(workload, attempts),
        }

    def _flush_events(self) -> None:
        last = self._last_events({e.workload_id for e in self._told} - self._new)
        added: list[_Event] = []
        repeated: dict[int, _Event] = {}
        for event in self._told:
            before = last.get(event.workload_id)
            if before is not None:
                event.last_ms = max(event.last_ms, before.last_ms)  # no clock turns them round
            if before is None or before.told != event.told:
                last[event.workload_id] = event
                added.append(event)
                continue
            before.count, before.last_ms = before.count + 1, event.last_ms
            if before.seq is not None:
                repeated[before.seq] = before
        again = [{"seq_": seq, "count_": e.count, "last_": e.last_ms} for seq, e in repeated.items()]
        self._write(REPEAT, again)
        self._write(ADD, [{name: getattr(e, name) for name in EVENT} for e in added])

    def _last_events(self, ids: Collection[str]) -> dict[str, _Event]:
        if not ids:
            return {}
        rows = self._db.execute(LAST_EVENTS, {"ids": json.dumps(list(ids))}).fetchall()
        return {row[0]: _Event(*row) for row in rows}

    def _write(self, sql: str, rows: Sequence[Mapping[str, object]]) -> None:
        if rows:
            self._db.executemany(sql, rows)


def _attempt_row(attempt: Attempt, doc: str) -> dict[str, object]:
    return {
        "replica_id": attempt.replica_id, "number": attempt.number, "workload_id": attempt.workload_id,
        "is_live": attempt.is_live, "doc": doc,
    }  # fmt: skip
