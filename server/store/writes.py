"""Pieces of a write, for use inside `Store.write`."""

from sqlmodel import Session, col, delete, select

from ..domain.runs import expires_at_ms, phase_of
from ..domain.workload import TERMINAL, Attempt, Workload
from ..errors import Conflict
from .documents import attempt_from, to_doc, workload_from
from .tables import AttemptRow, EventRow, LeaseRow, WorkloadRow


def load_workload(session: Session, workload_id: str) -> Workload | None:
    row = session.exec(select(WorkloadRow).where(WorkloadRow.id == workload_id)).first()
    return None if row is None else workload_from(row.doc)


def load_attempts(session: Session, workload_id: str) -> list[Attempt]:
    query = select(AttemptRow).where(AttemptRow.workload_id == workload_id)
    rows = session.exec(query.order_by(col(AttemptRow.number), col(AttemptRow.replica_id)))
    return [attempt_from(r.doc) for r in rows]


def save_workload(session: Session, workload: Workload) -> None:
    """Insert or replace, with the columns that follow from it, in the same transaction."""
    row = session.exec(select(WorkloadRow).where(WorkloadRow.id == workload.id)).first()
    row = row or WorkloadRow(
        id=workload.id, workspace=workload.workspace, kind=workload.kind, name=workload.name,
        owner=workload.owner, phase="", is_archived=False, is_settled=False, revision=0, doc="",
    )  # fmt: skip
    attempts = load_attempts(session, workload.id)
    phase = phase_of(workload, attempts)
    row.phase, row.is_archived = phase.value, workload.archived_at_ms is not None
    row.is_settled = phase in TERMINAL and not any(a.is_live for a in attempts)
    row.expires_at_ms = expires_at_ms(workload, attempts)
    row.doc = to_doc(workload)
    row.revision += 1
    session.add(row)
    session.flush()


def save_attempt(session: Session, attempt: Attempt) -> None:
    """Insert or replace; leases follow the attempt: taken while it lives, freed when it ends."""
    row = session.get(AttemptRow, attempt.key)
    is_new = row is None
    row = row or AttemptRow(
        replica_id=attempt.replica_id, number=attempt.number, workload_id=attempt.workload_id,
        is_live=True, doc="",
    )  # fmt: skip
    row.is_live, row.doc = attempt.is_live, to_doc(attempt)
    session.add(row)
    if is_new:
        for uuid in attempt.gpu_uuids:
            if session.get(LeaseRow, uuid) is not None:
                raise Conflict(f"GPU {uuid} is already taken")
            session.add(LeaseRow(gpu_uuid=uuid, replica_id=attempt.replica_id, number=attempt.number))
    elif not attempt.is_live:
        session.exec(
            delete(LeaseRow).where(
                col(LeaseRow.replica_id) == attempt.replica_id, col(LeaseRow.number) == attempt.number
            )
        )
    session.flush()
    workload = load_workload(session, attempt.workload_id)
    if workload is not None:
        save_workload(session, workload)


def add_event(
    session: Session, workload_id: str, now_ms: int, reason: str, message: str, *, type_: str = "Normal"
) -> None:
    """The same event again, directly after itself, only counts up."""
    query = select(EventRow).where(EventRow.workload_id == workload_id).order_by(col(EventRow.seq).desc())
    last = session.exec(query.limit(1)).first()
    if last is not None and (last.type, last.reason, last.message) == (type_, reason, message):
        last.count += 1
        last.last_ms = max(last.last_ms, now_ms)
    else:
        before = 0 if last is None else last.last_ms
        last = EventRow(
            workload_id=workload_id, type=type_, reason=reason, message=message, count=1,
            last_ms=max(now_ms, before),
        )  # fmt: skip
    session.add(last)
