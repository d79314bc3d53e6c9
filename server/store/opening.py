"""Taking a data directory: its lock, its file, its schema."""

import contextlib
import fcntl
import logging
import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, StaticPool, event
from sqlmodel import SQLModel, create_engine

from ..errors import StoreRefused
from .tables import SCHEMA_VERSION

log = logging.getLogger(__name__)


def take_lock(data_dir: Path) -> int:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        why = f"{data_dir} cannot be used: {error.strerror}; choose another --data-dir"
        raise StoreRefused(why) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise StoreRefused(f"{data_dir} is in use by another server (pid {pid}); stop it first") from error
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def check_file(path: Path) -> None:
    if not path.exists():
        return
    try:
        # Read-only: a close would otherwise write what the log beside it holds into a damaged file.
        only_read = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(only_read, uri=True)) as connection:
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("quick_check found damage")
    except sqlite3.DatabaseError as error:
        code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if code & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StoreRefused(f"{path} cannot be opened ({error}); nothing was changed") from error
        raise StoreRefused(
            f"{path} cannot be read ({error}). It was left as it is. To try a recovery: "
            f"sqlite3 {path} .recover | sqlite3 {path}.recovered; or move it aside to start empty"
        ) from error


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def engine(path: Path) -> Engine:
    made = create_engine("sqlite://", creator=lambda: connect(path), poolclass=StaticPool)

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")  # sqlite3's own habits of beginning are switched off above

    event.listen(made, "begin", begin)
    return made


def migrate(engine: Engine, path: Path) -> None:
    """A fresh file gets today's schema, an older one is brought forward."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        has = connection.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if has else None
    found = row[0] if row else None
    if found == SCHEMA_VERSION:
        return
    if found is not None:
        from .migrations import upgrade  # Alembic costs start-up time, and is seldom needed

        copy = upgrade(engine, path, found, SCHEMA_VERSION)
        log.warning("%s had schema %s and now has %s; %s is as it was", path, found, SCHEMA_VERSION, copy)
        return
    with contextlib.closing(sqlite3.connect(path)) as connection:
        if connection.execute("SELECT name FROM sqlite_master").fetchone():
            raise StoreRefused(f"{path} is a database that Homeport did not make; use another --data-dir")
    with engine.begin() as connection:
        SQLModel.metadata.create_all(connection, checkfirst=False)  # it was seen above that there is none
        connection.exec_driver_sql(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{SCHEMA_VERSION}')")
