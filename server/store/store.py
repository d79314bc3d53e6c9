"""Domain in, domain out. Writes go through the writer thread, reads through a connection of their own."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, StaticPool, event
from sqlmodel import Session, SQLModel, col, create_engine, delete, select

from ..domain.volumes import MountRequest
from ..domain.workload import Attempt, AttemptState, Phase, Workload, WorkloadSpec, phase_of
from ..errors import Conflict, StoreRefused
from .tables import SCHEMA_VERSION, AttemptRow, EventRow, LeaseRow, SettingRow, TokenRow, WorkloadRow
from .writer import Writer

T = TypeVar("T")


class Store:
    """Holds the data directory's lock as long as it is open; kill -9 frees it."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(data_dir)
        path = data_dir / "homeport.db"
        _check_file(path)
        self._write_engine = _engine(path)
        _migrate(self._write_engine, path)
        self._read_engine = _engine(path)
        self._writer = Writer(self._write_engine)

    def close(self) -> None:
        self._writer.close()
        self._read_engine.dispose()
        self._write_engine.dispose()
        os.close(self._lock)

    async def write(self, work: Callable[[Session], T]) -> T:
        return await self._writer.write(work)

    def read(self, work: Callable[[Session], T]) -> T:
        """Called on the event loop's thread only; SQLite answers from the page cache."""
        with Session(self._read_engine) as session:
            return work(session)

    # -- reads -------------------------------------------------------------

    def get_workload(self, workspace: str, workload_id: str) -> Workload | None:
        row = self.read(lambda s: s.exec(select(WorkloadRow).where(WorkloadRow.id == workload_id)).first())
        return workload_from(row.doc) if row is not None and row.workspace == workspace else None

    def list_workloads(self, workspace: str, *, archived: bool | None) -> list[tuple[Workload, Phase]]:
        """Newest first. `archived` None lists both kinds."""
        query = select(WorkloadRow).where(WorkloadRow.workspace == workspace)
        if archived is not None:
            query = query.where(WorkloadRow.is_archived == archived)
        query = query.order_by(col(WorkloadRow.seq).desc())
        return self.read(lambda s: [(workload_from(r.doc), Phase(r.phase)) for r in s.exec(query)])

    def unarchived_workloads(self) -> list[Workload]:
        """Oldest first, over all workspaces: what the reconcile loop looks after."""
        query = (
            select(WorkloadRow).where(col(WorkloadRow.is_archived).is_(False)).order_by(col(WorkloadRow.seq))
        )
        return self.read(lambda s: [workload_from(r.doc) for r in s.exec(query)])

    def attempts_of(self, workload_id: str) -> list[Attempt]:
        return self.read(lambda s: _attempts(s, workload_id))

    def unarchived_attempts(self) -> list[Attempt]:
        owner = select(WorkloadRow.id).where(col(WorkloadRow.is_archived).is_(False))
        query = select(AttemptRow).where(col(AttemptRow.workload_id).in_(owner))
        query = query.order_by(col(AttemptRow.number), col(AttemptRow.replica_id))
        return self.read(lambda s: [attempt_from(r.doc) for r in s.exec(query)])

    def get_attempt(self, replica_id: str, number: int) -> Attempt | None:
        row = self.read(lambda s: s.get(AttemptRow, (replica_id, number)))
        return None if row is None else attempt_from(row.doc)

    def events_of(self, workload_id: str) -> Sequence[EventRow]:
        query = select(EventRow).where(EventRow.workload_id == workload_id).order_by(col(EventRow.seq))
        return self.read(lambda s: s.exec(query).all())

    def tokens(self) -> Sequence[TokenRow]:
        return self.read(lambda s: s.exec(select(TokenRow)).all())

    def setting(self, name: str) -> str | None:
        row = self.read(lambda s: s.get(SettingRow, name))
        return None if row is None else row.value


# -- pieces of a write, for use inside `Store.write` -------------------------


def load_workload(session: Session, workload_id: str) -> Workload | None:
    row = session.exec(select(WorkloadRow).where(WorkloadRow.id == workload_id)).first()
    return None if row is None else workload_from(row.doc)


def save_workload(session: Session, workload: Workload) -> None:
    """Insert or replace, with the phase that follows from it, in the same transaction."""
    row = session.exec(select(WorkloadRow).where(WorkloadRow.id == workload.id)).first()
    phase = phase_of(workload, _attempts(session, workload.id)).value
    is_archived = workload.archived_at_ms is not None
    if row is None:
        row = WorkloadRow(
            id=workload.id, workspace=workload.workspace, name=workload.name, phase=phase,
            is_archived=is_archived, revision=0, doc="",
        )  # fmt: skip
    row.phase, row.is_archived, row.doc = phase, is_archived, to_doc(workload)
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
    last = session.exec(query).first()
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


# -- documents ---------------------------------------------------------------


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


def to_doc(thing: Workload | Attempt) -> str:
    return json.dumps(asdict(thing), default=_plain, separators=(",", ":"))


def workload_from(doc: str) -> Workload:
    raw: dict[str, Any] = json.loads(doc)
    spec: dict[str, Any] = raw.pop("spec")
    for name in ("env", "secret_env", "ports"):
        spec[name] = tuple(tuple(item) for item in spec[name])
    spec["mounts"] = tuple(MountRequest(**m) for m in spec["mounts"])
    for name in ("command", "node_groups", "nodes"):
        spec[name] = tuple(spec[name])
    return Workload(spec=WorkloadSpec(**spec), **raw)


def attempt_from(doc: str) -> Attempt:
    raw: dict[str, Any] = json.loads(doc)
    raw["gpu_uuids"], raw["state"] = tuple(raw["gpu_uuids"]), AttemptState(raw["state"])
    return Attempt(**raw)


def _attempts(session: Session, workload_id: str) -> list[Attempt]:
    query = select(AttemptRow).where(AttemptRow.workload_id == workload_id)
    rows = session.exec(query.order_by(col(AttemptRow.number), col(AttemptRow.replica_id)))
    return [attempt_from(r.doc) for r in rows]


# -- opening -----------------------------------------------------------------


def _take_lock(data_dir: Path) -> int:
    lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise StoreRefused(f"{data_dir} is in use by another server (pid {pid}); stop it first") from error
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _check_file(path: Path) -> None:
    if not path.exists():
        return
    try:
        with sqlite3.connect(path) as connection:
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("quick_check found damage")
    except sqlite3.DatabaseError as error:
        raise StoreRefused(
            f"{path} cannot be read ({error}). It was left as it is. To try a recovery: "
            f"sqlite3 {path} .recover | sqlite3 {path}.recovered; or move it aside to start empty"
        ) from error


def _engine(path: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")  # sqlite3's own habits of beginning are switched off above

    event.listen(engine, "begin", begin)
    return engine


def _migrate(engine: Engine, path: Path) -> None:
    """A fresh file gets today's schema; there is no older one yet that could be brought forward."""
    with sqlite3.connect(path) as connection:
        has = connection.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if has else None
    found = row[0] if row else None
    if found == SCHEMA_VERSION:
        return
    if found is not None:
        raise StoreRefused(
            f"{path} has schema {found}, this Homeport knows {SCHEMA_VERSION}: "
            "install the version that made it, or use another --data-dir"
        )
    with engine.begin() as connection:
        SQLModel.metadata.create_all(connection)
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{SCHEMA_VERSION}')")
