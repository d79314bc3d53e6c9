"""Figures by workload and minute: pieces of a read or a write."""

from collections.abc import Mapping, Sequence

from pydantic import TypeAdapter
from pydantic_core import to_json
from sqlmodel import Session, col, delete, func, select

from ..domain.metrics import Minute
from .tables import AttemptRow, MetricRow, WorkloadRow

_MINUTE = TypeAdapter(Minute)


def endpoint_named(session: Session, workspace: str, name: str, kinds: Sequence[str]) -> str | None:
    """The id of the newest of that name, whether or not it is archived by now."""
    query = select(WorkloadRow.id).where(
        WorkloadRow.workspace == workspace, col(WorkloadRow.kind).in_(kinds), WorkloadRow.name == name
    )
    return session.exec(query.order_by(col(WorkloadRow.seq).desc()).limit(1)).first()


def add_minute(session: Session, workload_id: str, at_ms: int, minute: Minute) -> None:
    """To what is known of that minute: a server that was started again within it has written a part."""
    row = session.get(MetricRow, (workload_id, at_ms))
    if row is None:
        session.add(MetricRow(workload_id=workload_id, at_ms=at_ms, doc=to_json(minute).decode()))
        return
    whole = _MINUTE.validate_json(row.doc)
    whole.add(minute)
    row.doc = to_json(whole).decode()
    session.add(row)


def minutes_of(
    session: Session, workload_id: str, since_ms: int, until_ms: int | None = None
) -> Mapping[int, Minute]:
    """By when they begin, oldest first; minutes in which nothing was seen have none."""
    query = select(MetricRow).where(MetricRow.workload_id == workload_id, MetricRow.at_ms >= since_ms)
    if until_ms is not None:
        query = query.where(MetricRow.at_ms < until_ms)
    rows = session.exec(query.order_by(col(MetricRow.at_ms)))
    return {row.at_ms: _MINUTE.validate_json(row.doc) for row in rows}


def forget_before(session: Session, at_ms: int, workload_id: str | None = None) -> None:
    """Of one workload, which its key finds quickly; or of all."""
    query = delete(MetricRow).where(col(MetricRow.at_ms) < at_ms)
    if workload_id is not None:
        query = query.where(col(MetricRow.workload_id) == workload_id)
    session.exec(query)


def count_phases(session: Session, workspace: str) -> dict[tuple[str, str], int]:
    """Workloads that are not archived, by kind and phase."""
    query = (
        select(WorkloadRow.kind, WorkloadRow.phase, func.count())
        .where(WorkloadRow.workspace == workspace, col(WorkloadRow.is_archived).is_(False))
        .group_by(col(WorkloadRow.kind), col(WorkloadRow.phase))
    )
    return {(kind, phase): count for kind, phase, count in session.exec(query)}


def count_attempts(session: Session) -> int:
    """All that there ever were."""
    return session.exec(select(func.count()).select_from(AttemptRow)).one()
