"""Pieces of a write, for use inside `Store.write`; the session's unit of work has what they save."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from sqlmodel import Session, col, select

from ..domain.workload import Attempt, Workload
from .documents import workload_from
from .leases import check_devices, free_leases, restore_leases, take_leases
from .node_use import Capacity
from .tables import WorkloadRow
from .unit import Key
from .writer import CHANGED, EVERYTHING, database_of, unit_of

Merge = Callable[[Attempt, Attempt], Attempt]


def note_changed(session: Session, workload_id: str = EVERYTHING) -> None:
    """
    Part of each write of a workload or its attempts: without it the loop would not see it.

    Args:
        workload_id: EVERYTHING: of many, by a statement that went round this module.
    """
    session.info.setdefault(CHANGED, set[str]()).add(workload_id)
    if workload_id == EVERYTHING:
        unit_of(session).flush()
        unit_of(session).lose()


def preload(session: Session, workload_ids: Iterable[str]) -> None:
    """Many that will be loaded, and their attempts, at once."""
    unit_of(session).preload(workload_ids)


def load_workload(session: Session, workload_id: str) -> Workload | None:
    return unit_of(session).workload(workload_id)


def load_named(session: Session, workspace: str, kind: str, name: str) -> Workload | None:
    """The one of that name that is neither archived nor on its way there."""
    query = select(WorkloadRow).where(
        WorkloadRow.workspace == workspace, WorkloadRow.kind == kind, WorkloadRow.name == name,
        col(WorkloadRow.is_archived).is_(False),
    )  # fmt: skip
    found = (workload_from(row.doc) for row in session.exec(query.order_by(col(WorkloadRow.seq).desc())))
    return next((w for w in found if not w.is_deleting), None)


def load_attempts(session: Session, workload_id: str) -> list[Attempt]:
    """Oldest first."""
    return unit_of(session).attempts(workload_id)


def load_attempt(session: Session, key: Key) -> Attempt | None:
    return unit_of(session).attempt(key)


def save_workload(session: Session, workload: Workload) -> None:
    """Insert or replace, with the columns that follow from it, in the same transaction."""
    unit_of(session).save(workload)
    note_changed(session, workload.id)


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
    unit, database = unit_of(session), database_of(session)
    for attempt in changed:
        before = unit.attempt_of(workload_id, attempt.key)
        if before is not None:
            if attempt.is_live and not before.is_live:
                continue
            attempt = merge(before, attempt)
        was_live = before is not None and before.is_live
        unit.save_attempt(attempt)
        if attempt.gpu_uuids and attempt.is_live != was_live:
            (take_leases if attempt.is_live else free_leases)(database, attempt)
    note_changed(session, workload_id)


def insert_attempts(
    session: Session, new: Sequence[Attempt], devices: Mapping[str, Collection[str]],
    capacity: Mapping[str, Capacity] = MappingProxyType({}),
) -> None:  # fmt: skip
    """
    Those of one workload that were just placed.

    Args:
        devices: UUIDs of the GPUs that each node has now.
        capacity: of those nodes; once all of the transaction is written, no more is taken of any.

    Raises:
        Conflict: a node has not that GPU, or not that much left of it.
    """
    for attempt in new:
        check_devices(attempt, devices)
    if new:
        unit_of(session).limit({a.node: capacity[a.node] for a in new if a.node in capacity})
        save_attempts(session, new[0].workload_id, new)


def keep_leases(session: Session, attempt: Attempt) -> None:
    """A live attempt gets back those of its leases that were lost, where nobody else has them."""
    restore_leases(database_of(session), attempt)


def add_event(
    session: Session, workload_id: str, now_ms: int, reason: str, message: str, *, type_: str = "Normal"
) -> None:
    """The same event again, directly after itself, only counts up."""
    unit_of(session).tell(workload_id, type_, reason, message, now_ms)
