"""The one writer: a thread that runs queued writes, many to a commit."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from sqlalchemy import Engine, event
from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.orm import Session as AnySession
from sqlmodel import Session

from ..errors import StoreUnavailable
from .node_use import NodeUse
from .unit import UnitOfWork

T = TypeVar("T")
MAX_BATCH = 500
DATABASE = "database"  # where a session of the writer has the sqlite3 connection
UNIT = "unit"  # its unit of work
CHANGED = "changed"  # and the ids of the workloads that it has changed; EVERYTHING may have
EVERYTHING = ""
# Not the write's own fault: no room, no access, a disk or file that is damaged.
STORAGE_FAILURES = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
})  # fmt: skip

_Answer = tuple[Any, BaseException | None]
_Settled = tuple["asyncio.Future[Any]", Any, BaseException | None]
_Job = tuple[Callable[[Session], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class Writer:
    """
    `write` answers after the commit that holds it (synchronous=FULL), never before. Where a neighbour
    is refused it may be run a second time, so it must change nothing but its session.
    `trouble` is why nothing can be written, "" while all is well; the next commit clears it.
    `commits` grows with each, so that who remembers what was read knows when to read again;
    `take_changed` tells of which workloads.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.trouble = ""
        self.commits = 0
        self._unanswered = 0
        self._lock = threading.Lock()
        self._changed: set[str] = {EVERYTHING}
        self._use = NodeUse()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Session], T]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put((work, loop, done))
        self._unanswered += 1
        try:
            return await done
        finally:
            self._unanswered -= 1

    def take_changed(self) -> set[str]:
        """Ids of the workloads that were changed, or whose attempts were, since this was last asked."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return changed

    @property
    def unanswered(self) -> int:
        """Writes whose askers wait, be it for their turn or for the commit."""
        return self._unanswered

    @property
    def queued(self) -> int:
        """Writes that wait for a commit."""
        return self._jobs.qsize()

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch: list[_Job] = []
            job = self._jobs.get()
            while job is not None:
                batch.append(job)
                if len(batch) == MAX_BATCH:
                    break  # before another is taken, which nobody would run
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            is_open = job is not None
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Job]) -> None:
        try:
            answers = self._together(batch)
            if answers is None or answers[0][1] is not None:
                self._use.forget()  # it was undone
            answers = answers or self._apart(batch)
            self.trouble = ""
        except Exception as error:  # the commit itself failed: nobody may believe in it
            self._use.forget()
            if found := _storage_failure(error):
                self.trouble = f"the store cannot write ({found}); it goes on by itself once it can"
                error = StoreUnavailable(self.trouble)
            answers = [(None, error) for _ in batch]
        self.commits += 1
        settled: dict[asyncio.AbstractEventLoop, list[_Settled]] = {}
        for (_, loop, done), (value, error) in zip(batch, answers, strict=True):
            settled.setdefault(loop, []).append((done, value, error))
        for loop, mine in settled.items():  # one wake-up for all of them
            with contextlib.suppress(RuntimeError):  # it was closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, mine)

    def _together(self, batch: list[_Job]) -> list[_Answer] | None:
        """
        All of them without a savepoint for each, which costs more than most writes do.

        Returns:
            None: one of several was refused. Nothing of any is written, and all are to be run again.
        """
        answers: list[_Answer] = []
        with self._session() as session:
            for work, _, _ in batch:
                try:
                    value = work(session)
                    session.flush()
                except Exception as error:  # handed to whoever asked for this write
                    if _storage_failure(error):
                        raise
                    return [(None, error)] if len(batch) == 1 else None
                answers.append((value, None))
            try:
                session.info[UNIT].flush()
            except Exception as error:
                if _storage_failure(error):
                    raise
                return [(None, error)] if len(batch) == 1 else None
            self._commit_session(session)
        return answers

    def _apart(self, batch: list[_Job]) -> list[_Answer]:
        """One bad write must not undo its neighbours."""
        answers: list[_Answer] = []
        with self._session() as session:
            for work, _, _ in batch:
                try:
                    with session.begin_nested():
                        session.connection()  # without it the savepoint is made only by SQLAlchemy's own SQL
                        value = work(session)
                        session.info[UNIT].flush()
                    answers.append((value, None))
                except Exception as error:  # handed to whoever asked for this write
                    if _storage_failure(error):  # SQLite may have undone the neighbours as well
                        raise
                    session.info[UNIT].lose()
                    answers.append((None, error))
            self._commit_session(session)
        return answers

    def _commit_session(self, session: Session) -> None:
        session.commit()
        with self._lock:
            self._changed |= session.info[CHANGED]

    @contextlib.contextmanager
    def _session(self) -> Generator[Session]:
        """With its connection at hand: to ask for it each time costs more than most statements."""
        with _WriteSession(self._engine, expire_on_commit=False) as session:
            database = session.info[DATABASE] = session.connection().connection.dbapi_connection
            assert isinstance(database, sqlite3.Connection)
            session.info[UNIT] = UnitOfWork(database, self._use)
            session.info[CHANGED] = set[str]()
            yield session


class _WriteSession(Session):
    """What its unit of work holds is written before any statement that may ask for it."""


@event.listens_for(_WriteSession, "do_orm_execute")
def _flush_before(state: ORMExecuteState) -> None:
    unit_of(state.session).flush()


def unit_of(session: AnySession) -> UnitOfWork:
    """What the write has read and saved of workloads so far."""
    found = session.info[UNIT]
    assert isinstance(found, UnitOfWork)
    return found


def database_of(session: Session) -> sqlite3.Connection:
    """
    What SQL made once is run on, within the session's transaction; for tables other than those of
    workloads, attempts and events, of which the unit of work may hold more than they do.
    """
    connection = session.info.get(DATABASE) or session.connection().connection.dbapi_connection
    assert isinstance(connection, sqlite3.Connection)
    return connection


def _storage_failure(error: BaseException | None) -> sqlite3.Error | None:
    """It may lie under others: after it SQLAlchemy fails to roll back what SQLite has rolled back already."""
    while error is not None:
        original = getattr(error, "orig", error)
        if isinstance(original, sqlite3.Error):
            code: int = getattr(original, "sqlite_errorcode", 0)
            if code & 0xFF in STORAGE_FAILURES:
                return original
        error = error.__cause__ or error.__context__
    return None


def _settle(settled: list[_Settled]) -> None:
    for done, value, error in settled:
        if done.done():
            continue
        if error is None:
            done.set_result(value)
        else:
            done.set_exception(error)
