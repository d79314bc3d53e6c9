"""
Pieces of a write, for use inside `Store.write`.

What every job passes through is SQL made once from the tables and run on the session's
own connection, within its transaction: the ORM would take ten times as long.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from sqlalchemy import bindparam, literal_column, update
from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, col, func, select

from ..domain.lifecycle import expires_at_ms, phase_of
from ..domain.workload import TERMINAL, Attempt, Workload
from .documents import attempt_from, to_doc, workload_from
from .found import prepared
from .leases import check_devices, free_leases, restore_leases, take_leases
from .tables import AttemptRow, EventRow, WorkloadRow
from .writer import CHANGED, EVERYTHING, database_of

_w, _a, _e = WorkloadRow, AttemptRow, EventRow
Merge = Callable[[Attempt, Attempt], Attempt]
ONE = literal_column("1")
_given = insert(_w).values({
    name: bindparam(name)
    for name in (
        "id", "workspace", "kind", "name", "owner", "phase", "is_archived", "is_settled", "expires_at_ms",
        "doc",
    )
} | {"revision": ONE})  # fmt: skip
_follows = ("phase", "is_archived", "is_settled", "expires_at_ms", "doc")
SAVE = prepared(
    _given.on_conflict_do_update(
        index_elements=["id"],
        set_={name: _given.excluded[name] for name in _follows} | {"revision": col(_w.revision) + ONE},
    )
)
FOLLOW = prepared(
    update(_w)
    .where(col(_w.id) == bindparam("id_"))
    .values({name: bindparam(name) for name in ("phase", "is_settled", "expires_at_ms")})
    .values(revision=col(_w.revision) + ONE)
)
DOC = prepared(select(col(_w.doc)).where(col(_w.id) == bindparam("id")))
ATTEMPTS = prepared(
    select(col(_a.doc))
    .where(col(_a.workload_id) == bindparam("id"))
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
_last = select(func.max(col(_e.seq))).where(col(_e.workload_id) == bindparam("id")).scalar_subquery()
REPEAT = prepared(
    update(_e)
    .where(
        col(_e.seq) == _last,
        col(_e.type) == bindparam("type_"),
        col(_e.reason) == bindparam("reason_"),
        col(_e.message) == bindparam("message_"),
    )
    .values(count=col(_e.count) + ONE, last_ms=func.max(col(_e.last_ms), bindparam("now")))
)
_before = select(func.max(col(_e.last_ms))).where(col(_e.workload_id) == bindparam("id")).scalar_subquery()
ADD = prepared(
    insert(_e).values(
        workload_id=bindparam("id"), type=bindparam("type_"), reason=bindparam("reason_"),
        message=bindparam("message_"), count=ONE,
        last_ms=func.max(bindparam("now"), func.coalesce(_before, literal_column("0"))),
    )
)  # fmt: skip


def note_changed(session: Session, workload_id: str = EVERYTHING) -> None:
    """Part of each write of a workload or its attempts: without it the loop would not see it."""
    session.info.setdefault(CHANGED, set[str]()).add(workload_id)


def load_workload(session: Session, workload_id: str) -> Workload | None:
    row = database_of(session).execute(DOC, {"id": workload_id}).fetchone()
    return None if row is None else workload_from(row[0])


def load_named(session: Session, workspace: str, kind: str, name: str) -> Workload | None:
    """The one of that name that is neither archived nor on its way there."""
    query = select(WorkloadRow).where(
        WorkloadRow.workspace == workspace, WorkloadRow.kind == kind, WorkloadRow.name == name,
        col(WorkloadRow.is_archived).is_(False),
    )  # fmt: skip
    found = (workload_from(row.doc) for row in session.exec(query.order_by(col(WorkloadRow.seq).desc())))
    return next((w for w in found if not w.is_deleting), None)


def load_attempts(session: Session, workload_id: str) -> list[Attempt]:
    rows = database_of(session).execute(ATTEMPTS, {"id": workload_id}).fetchall()
    return [attempt_from(doc) for (doc,) in rows]


def save_workload(session: Session, workload: Workload) -> None:
    """Insert or replace, with the columns that follow from it, in the same transaction."""
    values = {
        "id": workload.id, "workspace": workload.workspace, "kind": workload.kind, "name": workload.name,
        "owner": workload.owner, "is_archived": workload.archived_at_ms is not None, "doc": to_doc(workload),
    }  # fmt: skip
    database_of(session).execute(SAVE, values | _following(workload, load_attempts(session, workload.id)))
    note_changed(session, workload.id)


def _following(workload: Workload, attempts: Sequence[Attempt]) -> dict[str, object]:
    """The columns that follow from it and its attempts."""
    phase = phase_of(workload, attempts)
    return {
        "phase": phase.value,
        "is_settled": phase in TERMINAL and not any(a.is_live for a in attempts),
        "expires_at_ms": expires_at_ms(workload, attempts),
    }


def load_attempt(session: Session, key: tuple[str, int]) -> Attempt | None:
    row = database_of(session).execute(ATTEMPT, {"id": key[0], "n": key[1]}).fetchone()
    return None if row is None else attempt_from(row[0])


def save_attempt(session: Session, attempt: Attempt) -> None:
    """As `save_attempts`, of one."""
    save_attempts(session, attempt.workload_id, [attempt])


def save_attempts(
    session: Session, workload_id: str, changed: Sequence[Attempt], merge: Merge = lambda _before, now: now
) -> None:
    """
    Insert or replace, all of one workload; leases follow the attempts: taken while they live, freed
    when they end. What has ended stays so, whatever somebody who did not know yet has to say.

    Args:
        merge: what is to be written, of what is stored of an attempt and what it is to be.

    Raises:
        Conflict: a GPU of a new attempt has not that much left.
    """
    database = database_of(session)
    attempts = {a.key: a for a in load_attempts(session, workload_id)}
    for attempt in changed:
        before = attempts.get(attempt.key)
        if before is not None:
            if attempt.is_live and not before.is_live:
                continue
            attempt = merge(before, attempt)
        was_live = before is not None and before.is_live
        values = {
            "replica_id": attempt.replica_id, "number": attempt.number, "workload_id": workload_id,
            "is_live": attempt.is_live, "doc": to_doc(attempt),
        }  # fmt: skip
        database.execute(SAVE_ATTEMPT, values)
        if attempt.gpu_uuids and attempt.is_live != was_live:
            (take_leases if attempt.is_live else free_leases)(database, attempt)
        attempts[attempt.key] = attempt
    workload = load_workload(session, workload_id)
    if workload is not None:
        ordered = sorted(attempts.values(), key=lambda a: (a.number, a.replica_id))
        database.execute(FOLLOW, {"id_": workload.id} | _following(workload, ordered))
        note_changed(session, workload.id)


def insert_attempts(session: Session, new: Sequence[Attempt], devices: Mapping[str, Collection[str]]) -> None:
    """
    Those of one workload that were just placed.

    Args:
        devices: UUIDs of the GPUs that each node has now.

    Raises:
        Conflict: a node has not that GPU, or not that much left of it.
    """
    for attempt in new:
        check_devices(attempt, devices)
    if new:
        save_attempts(session, new[0].workload_id, new)


def keep_leases(session: Session, attempt: Attempt) -> None:
    """A live attempt gets back those of its leases that were lost, where nobody else has them."""
    restore_leases(database_of(session), attempt)


def add_event(
    session: Session, workload_id: str, now_ms: int, reason: str, message: str, *, type_: str = "Normal"
) -> None:
    """The same event again, directly after itself, only counts up."""
    values = {"id": workload_id, "type_": type_, "reason_": reason, "message_": message, "now": now_ms}
    if not database_of(session).execute(REPEAT, values).rowcount:
        database_of(session).execute(ADD, values)
