"""What has held a place on the machine, and when: read from the attempts, which stay after an archive."""

from sqlalchemy import literal_column, select, tuple_
from sqlmodel import Session, col, func, or_

from ..domain.billing import Held
from .tables import AttemptRow, WorkloadRow

_a, _w = AttemptRow, WorkloadRow
Cursor = tuple[str, int]  # replica id and number of the last attempt that was read
START: Cursor = ("", -1)


def read_held(
    session: Session, workspace: str, since_ms: int, after: Cursor, size: int, viewer: str | None = None
) -> tuple[list[Held], Cursor]:
    """
    A page of those that held a place at or after `since_ms`, in the order of their keys; short at the end.

    Attempts from before they noted their shape have the one of their workload now.

    Args:
        viewer: an owner, without what others have that is private; None sees all.
    """
    placed = func.json_extract(col(_a.doc), "$.placed_at_ms")
    until = func.json_extract(col(_a.doc), "$.finished_at_ms")
    shape = func.coalesce(
        func.nullif(func.json_extract(col(_a.doc), "$.shape"), ""),
        func.json_extract(col(_w.doc), "$.spec.shape"),
    )
    portion = func.coalesce(func.json_extract(col(_a.doc), "$.gpu_portion"), literal_column("1.0"))
    is_private = func.json_extract(col(_w.doc), "$.spec.is_private")
    query = (
        select(
            col(_a.replica_id), col(_a.number), col(_w.id), col(_w.owner), shape,
            placed, until, col(_a.is_live), portion,
        )
        .join(_w, col(_w.id) == col(_a.workload_id))
        .where(
            col(_w.workspace) == workspace,
            tuple_(col(_a.replica_id), col(_a.number)) > after,
            or_(col(_a.is_live), func.max(until, placed) >= since_ms),
            or_(viewer is None, col(_w.owner) == viewer, is_private.is_not(True)),
        )
        .order_by(col(_a.replica_id), col(_a.number))
        .limit(size)
    )  # fmt: skip
    rows = session.connection().execute(query).all()
    held = [
        Held(workload_id, replica_id, owner, shape_now, began, None if is_live else (ended or began), part)
        for replica_id, _, workload_id, owner, shape_now, began, ended, is_live, part in rows
    ]
    return held, (rows[-1][0], rows[-1][1]) if rows else after
