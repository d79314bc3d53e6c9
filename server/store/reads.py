"""
Hot reads: SQL made once from the tables, run on sqlite3 directly.

A session for each request costs ten times as much and wedges under load; these
answer from the page cache, on the event loop's thread.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Any, NamedTuple

from sqlalchemy import bindparam, literal_column
from sqlalchemy.dialects import sqlite
from sqlmodel import col, func, select

from ..domain.workload import Attempt, Phase, Workload
from .documents import attempt_from, workload_from
from .tables import AttemptRow, ProjectRow, TokenRow, WorkloadRow


@dataclass(frozen=True)
class Found:
    """
    A workload as a list needs it; its doc is read when somebody asks for more.

    Args:
        revision: grows with each change of it or its attempts.
    """

    id: str
    seq: int
    revision: int
    phase: Phase
    doc: str

    @cached_property
    def workload(self) -> Workload:
        return workload_from(self.doc)


class Token(NamedTuple):
    """A row of the tokens as it is compared with what a request bears."""

    sha256: str
    workspace: str
    prefix: str
    suffix: str
    owner: str
    expires_at_ms: int


_w, _a, _t = WorkloadRow, AttemptRow, TokenRow


def prepared(query: Any) -> str:
    """The SQL of a statement on the tables, with named parameters, for sqlite3 itself."""
    return str(query.compile(dialect=sqlite.dialect(paramstyle="named")))


def _one_of(name: str) -> Any:
    """The values of a parameter that is a JSON array: one statement for any number of them."""
    return select(func.json_each(bindparam(name)).table_valued("value").c.value)


def _found() -> Any:
    return select(*(getattr(_w, field.name) for field in fields(Found)))


@cache
def _page_sql(by_archived: bool, by_phase: bool, by_name: bool) -> str:
    """A statement for each combination of filters, so that each can use its index."""
    query = _found().where(
        col(_w.workspace) == bindparam("ws"),
        col(_w.kind) == bindparam("kind"),
        col(_w.seq) < bindparam("before"),
    )
    if by_archived:
        query = query.where(col(_w.is_archived) == bindparam("archived"))
    if by_phase:
        query = query.where(col(_w.phase).in_(_one_of("phases")))
    if by_name:
        query = query.where(func.instr(col(_w.id), bindparam("name")) > literal_column("0"))
    return prepared(query.order_by(col(_w.seq).desc())) + " LIMIT :size"


GET = prepared(_found().where(col(_w.id) == bindparam("id"), col(_w.workspace) == bindparam("ws")))
_keys = select(col(_w.id), col(_w.revision)).order_by(col(_w.seq))
UNSETTLED = prepared(_keys.where(col(_w.is_settled) == literal_column("0")))
EXPIRED = prepared(_keys.where(col(_w.expires_at_ms) <= bindparam("now")))
IDS_AFTER = prepared(
    select(col(_w.seq), col(_w.id)).where(col(_w.seq) > bindparam("seq")).order_by(col(_w.seq))
)
LAST_SEQ = prepared(select(func.max(col(_w.seq))))
BY_SEQ = prepared(_found().where(col(_w.seq) == bindparam("seq")))


@cache
def _everywhere_sql(by_name: bool, by_workspace: bool, by_phase: bool) -> str:
    """A statement for each combination of filters, as `_page_sql`."""
    query = _found().where(col(_w.is_archived) == bindparam("archived"), col(_w.seq) > bindparam("after"))
    if by_name:
        query = query.where(col(_w.name) == bindparam("name"))
    if by_workspace:
        query = query.where(col(_w.workspace) == bindparam("ws"))
    if by_phase:
        query = query.where(col(_w.phase).in_(_one_of("phases")))
    return prepared(query.order_by(col(_w.seq))) + " LIMIT :size OFFSET :offset"


ALL_OF = prepared(select(func.count()).where(col(_w.is_archived) == bindparam("archived")))
BY_IDS = prepared(_found().where(col(_w.id).in_(_one_of("ids"))))
NEXT_EXPIRY = prepared(
    select(func.min(col(_w.expires_at_ms))).where(col(_w.expires_at_ms) > bindparam("now"))
)
COUNTS = prepared(
    select(col(_w.kind), func.count())
    .where(col(_w.workspace) == bindparam("ws"), col(_w.is_archived) == literal_column("0"))
    .group_by(col(_w.kind))
)
# The names of the workspaces make it a look into an index for each, instead of at all there ever was.
_workspaces = select(col(ProjectRow.name)).union(select(col(_t.workspace)))
SERVES = prepared(
    _found().where(
        col(_w.workspace).in_(_workspaces),
        col(_w.kind).in_((literal_column("'endpoint'"), literal_column("'pod'"))),
        col(_w.is_archived) == literal_column("0"),
    )
)
_attempts = select(col(_a.workload_id), col(_a.doc)).order_by(col(_a.number), col(_a.replica_id))
ATTEMPTS = prepared(_attempts.where(col(_a.workload_id).in_(_one_of("ids"))))
ATTEMPTS_OF_ONE = prepared(_attempts.where(col(_a.workload_id) == bindparam("id")))
LIVE = prepared(select(col(_a.doc)).where(col(_a.is_live) == literal_column("1")))
ATTEMPT = prepared(
    select(col(_a.doc)).where(col(_a.replica_id) == bindparam("id"), col(_a.number) == bindparam("n"))
)
TOKENS = prepared(select(*(getattr(_t, name) for name in Token._fields)))


class Reads:
    """`commits` counts what was written: the tokens, which each request needs, are read once for each."""

    def __init__(self, connection: sqlite3.Connection, commits: Callable[[], int]) -> None:
        self._db, self._commits = connection, commits
        self._tokens: tuple[int, list[Token]] = (-1, [])
        self._active: dict[str, Found] = {}
        self._attempts: dict[str, tuple[int, list[Attempt]]] = {}  # at which revision of their workload
        self._asked: tuple[int, list[tuple[str, int]]] = (-1, [])  # at which commit, and what had expired

    def get(self, workspace: str, workload_id: str) -> Found | None:
        rows = self._found(GET, id=workload_id, ws=workspace)
        return rows[0] if rows else None

    def page(
        self,
        workspace: str,
        kind: str,
        *,
        size: int,
        before: int | None = None,
        archived: bool | None = None,
        phases: Sequence[Phase] | None = None,
        name: str = "",
    ) -> list[Found]:
        """Newest first, those before the row `before`; `name` is a part of the id, which holds the name."""
        sql = _page_sql(archived is not None, phases is not None, bool(name))
        return self._found(
            sql, ws=workspace, kind=kind, size=size, archived=archived, name=name,
            before=2**62 if before is None else before,
            phases=json.dumps([p.value for p in phases or ()]),
        )  # fmt: skip

    def active(self, now_ms: int) -> list[Found]:
        """Over all workspaces what the reconcile loop looks after: oldest first, then the expired."""
        commits = self._commits()
        expired = self._db.execute(EXPIRED, {"now": now_ms}).fetchall()
        if self._asked == (commits, expired):
            return list(self._active.values())
        keys = self._db.execute(UNSETTLED).fetchall() + expired
        # Asked for over and over while thousands wait: what has not changed is not read anew.
        known = self._active
        stale = [id_ for id_, revision in keys if id_ not in known or known[id_].revision != revision]
        fresh = {f.id: f for f in self.by_ids(stale)} if stale else {}
        self._active = {i: one for i, _ in keys if (one := fresh.get(i) or known.get(i)) is not None}
        self._asked = (commits, expired)
        return list(self._active.values())

    def serves(self) -> list[Found]:
        """What serves, of all workspaces, unless it is archived; in no order."""
        return self._found(SERVES)

    def everywhere(
        self,
        *,
        archived: bool,
        after: int,
        size: int,
        offset: int = 0,
        name: str | None = None,
        workspace: str | None = None,
        phases: Sequence[Phase] | None = None,
    ) -> list[Found]:
        """Of all workspaces and kinds, oldest first, those after the row `after` but for `offset` of them."""
        sql = _everywhere_sql(name is not None, workspace is not None, phases is not None)
        return self._found(
            sql, archived=archived, after=after, size=size, offset=offset, name=name, ws=workspace,
            phases=json.dumps([p.value for p in phases or ()]),
        )  # fmt: skip

    def count_everywhere(self, *, archived: bool) -> int:
        return self._db.execute(ALL_OF, {"archived": archived}).fetchone()[0]

    def by_seq(self, seq: int) -> Found | None:
        rows = self._found(BY_SEQ, seq=seq)
        return rows[0] if rows else None

    def last_seq(self) -> int:
        """Of the newest row, 0 where there is none."""
        return self._db.execute(LAST_SEQ).fetchone()[0] or 0

    def ids_after(self, seq: int) -> list[tuple[int, str]]:
        """Rows and ids of all workloads that came later."""
        return self._db.execute(IDS_AFTER, {"seq": seq}).fetchall()

    def by_ids(self, ids: Sequence[str]) -> list[Found]:
        return self._found(BY_IDS, ids=json.dumps(list(ids)))

    def next_expiry_ms(self, now_ms: int) -> int | None:
        return self._db.execute(NEXT_EXPIRY, {"now": now_ms}).fetchone()[0]

    def attempts(self, ids: Sequence[str]) -> dict[str, list[Attempt]]:
        found: dict[str, list[Attempt]] = {i: [] for i in ids}
        if len(ids) == 1:  # asked for most; a list costs twice as much to look up
            rows = self._db.execute(ATTEMPTS_OF_ONE, {"id": ids[0]})
        else:
            rows = self._db.execute(ATTEMPTS, {"ids": json.dumps(list(ids))})
        for workload_id, doc in rows:
            found[workload_id].append(attempt_from(doc))
        return found

    def attempts_of(self, found: Sequence[Found]) -> dict[str, list[Attempt]]:
        """
        As `attempts`, for the loop, which asks over and over: what has not changed since is the same list.
        """
        known = self._attempts
        stale = [f.id for f in found if (one := known.get(f.id)) is None or one[0] != f.revision]
        fresh = self.attempts(stale) if stale else {}
        self._attempts = {
            f.id: (f.revision, fresh[f.id]) if f.id in fresh else known[f.id] for f in found
        } if stale or len(found) != len(known) else known  # fmt: skip
        return {f.id: self._attempts[f.id][1] for f in found}

    def live_attempts(self) -> list[Attempt]:
        return [attempt_from(doc) for (doc,) in self._db.execute(LIVE)]

    def attempt(self, replica_id: str, number: int) -> Attempt | None:
        row = self._db.execute(ATTEMPT, {"id": replica_id, "n": number}).fetchone()
        return None if row is None else attempt_from(row[0])

    def counts(self, workspace: str) -> dict[str, int]:
        """Unarchived workloads by kind."""
        return dict(self._db.execute(COUNTS, {"ws": workspace}).fetchall())

    def tokens(self) -> list[Token]:
        commits = self._commits()
        if self._tokens[0] != commits:
            self._tokens = (commits, [Token(*row) for row in self._db.execute(TOKENS)])
        return self._tokens[1]

    def _found(self, sql: str, **values: object) -> list[Found]:
        rows = self._db.execute(sql, values).fetchall()
        return [Found(id_, seq, rev, Phase(phase), doc) for id_, seq, rev, phase, doc in rows]
