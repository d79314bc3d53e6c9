"""
Hot reads: SQL made once from the tables, run on sqlite3 directly.

A session for each request costs ten times as much and wedges under load; these
answer from the page cache, on the event loop's thread.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import bindparam, literal_column
from sqlmodel import col, func, select

from ..domain.ingresses import Ingress
from ..domain.reservations import Reservation
from ..domain.workload import Attempt, Phase
from .active import ActiveTable
from .documents import attempt_from
from .found import FOUND, Found, one_of, prepared
from .ingresses import list_ingresses
from .reservations import list_reservations
from .tables import AttemptRow, ProjectRow, TokenRow, WorkloadRow


class Token(NamedTuple):
    """A row of the tokens as it is compared with what a request bears."""

    sha256: str
    workspace: str
    prefix: str
    suffix: str
    owner: str
    expires_at_ms: int


_w, _a, _t = WorkloadRow, AttemptRow, TokenRow


@cache
def _page_sql(by_archived: bool, by_phase: bool, by_name: bool) -> str:
    """A statement for each combination of filters, so that each can use its index."""
    query = FOUND.where(
        col(_w.workspace) == bindparam("ws"),
        col(_w.kind) == bindparam("kind"),
        col(_w.seq) < bindparam("before"),
    )
    if by_archived:
        query = query.where(col(_w.is_archived) == bindparam("archived"))
    if by_phase:
        query = query.where(col(_w.phase).in_(one_of("phases")))
    if by_name:
        query = query.where(func.instr(col(_w.id), bindparam("name")) > literal_column("0"))
    return prepared(query.order_by(col(_w.seq).desc())) + " LIMIT :size"


GET = prepared(FOUND.where(col(_w.id) == bindparam("id"), col(_w.workspace) == bindparam("ws")))
IDS_AFTER = prepared(
    select(col(_w.seq), col(_w.id)).where(col(_w.seq) > bindparam("seq")).order_by(col(_w.seq))
)
LAST_SEQ = prepared(select(func.max(col(_w.seq))))
BY_SEQ = prepared(FOUND.where(col(_w.seq) == bindparam("seq")))


@cache
def _everywhere_sql(by_name: bool, by_workspace: bool, by_phase: bool) -> str:
    """A statement for each combination of filters, as `_page_sql`."""
    query = FOUND.where(col(_w.is_archived) == bindparam("archived"), col(_w.seq) > bindparam("after"))
    if by_name:
        query = query.where(col(_w.name) == bindparam("name"))
    if by_workspace:
        query = query.where(col(_w.workspace) == bindparam("ws"))
    if by_phase:
        query = query.where(col(_w.phase).in_(one_of("phases")))
    return prepared(query.order_by(col(_w.seq))) + " LIMIT :size OFFSET :offset"


ALL_OF = prepared(select(func.count()).where(col(_w.is_archived) == bindparam("archived")))
BY_IDS = prepared(FOUND.where(col(_w.id).in_(one_of("ids"))))
COUNTS = prepared(
    select(col(_w.kind), func.count())
    .where(col(_w.workspace) == bindparam("ws"), col(_w.is_archived) == literal_column("0"))
    .group_by(col(_w.kind))
)
# The names of the workspaces make it a look into an index for each, instead of at all there ever was.
_workspaces = select(col(ProjectRow.name)).union(select(col(_t.workspace)))
SERVES = prepared(
    FOUND.where(
        col(_w.workspace).in_(_workspaces),
        col(_w.kind).in_((literal_column("'endpoint'"), literal_column("'pod'"))),
        col(_w.is_archived) == literal_column("0"),
    )
)
_attempts = select(col(_a.workload_id), col(_a.doc)).order_by(col(_a.number), col(_a.replica_id))
ATTEMPTS = prepared(_attempts.where(col(_a.workload_id).in_(one_of("ids"))))
ATTEMPTS_OF_ONE = prepared(_attempts.where(col(_a.workload_id) == bindparam("id")))
LIVE = prepared(select(col(_a.doc)).where(col(_a.is_live) == literal_column("1")))
ATTEMPT = prepared(
    select(col(_a.doc)).where(col(_a.replica_id) == bindparam("id"), col(_a.number) == bindparam("n"))
)
TOKENS = prepared(select(*(getattr(_t, name) for name in Token._fields)))


class Reads:
    """
    `commits` counts what was written: the tokens, which each request needs, are read once for each.
    `table` has what is not at rest.
    """

    def __init__(
        self, connection: sqlite3.Connection, commits: Callable[[], int], take_changed: Callable[[], set[str]]
    ) -> None:
        self._db, self._commits = connection, commits
        self._tokens: tuple[int, list[Token]] = (-1, [])
        self.table = ActiveTable(connection, take_changed)

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
        """Over all workspaces what the reconcile loop looks after, mostly oldest first."""
        return [entry.found for entry in self.table.look(now_ms).values()]

    def reservations(self) -> list[Reservation]:
        """Oldest first, the expired ones too."""
        return list_reservations(self._db)

    def ingresses(self) -> list[Ingress]:
        """Of all workspaces, by domain."""
        return list_ingresses(self._db)

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

    def attempts(self, ids: Sequence[str]) -> dict[str, list[Attempt]]:
        found: dict[str, list[Attempt]] = {i: [] for i in ids}
        if len(ids) == 1:  # asked for most; a list costs twice as much to look up
            rows = self._db.execute(ATTEMPTS_OF_ONE, {"id": ids[0]})
        else:
            rows = self._db.execute(ATTEMPTS, {"ids": json.dumps(list(ids))})
        for workload_id, doc in rows:
            found[workload_id].append(attempt_from(doc))
        return found

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
