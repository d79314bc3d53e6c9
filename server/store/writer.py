"""The one writer: a thread that runs queued writes, many to a commit."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlmodel import Session

from ..errors import StoreUnavailable

T = TypeVar("T")
MAX_BATCH = 500
# Not the write's own fault: no room, no access, a disk or file that is damaged.
STORAGE_FAILURES = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
})  # fmt: skip

_Job = tuple[Callable[[Session], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class Writer:
    """
    `write` answers after the commit that holds it (synchronous=FULL), never before.
    `trouble` is why nothing can be written, "" while all is well; the next commit clears it.
    `commits` grows with each, so that who remembers what was read knows when to read again.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.trouble = ""
        self.commits = 0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Session], T]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put((work, loop, done))
        return await done

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
            first = self._jobs.get()
            batch: list[_Job] = []
            while first is not None and len(batch) < MAX_BATCH:
                batch.append(first)
                try:
                    first = self._jobs.get_nowait()
                except queue.Empty:
                    break
            is_open = first is not None
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Job]) -> None:
        answers: list[tuple[_Job, Any, BaseException | None]] = []
        try:
            with Session(self._engine, expire_on_commit=False) as session:
                for job in batch:
                    try:
                        with session.begin_nested():  # one bad write must not undo its neighbours
                            answers.append((job, job[0](session), None))
                    except Exception as error:  # handed to whoever asked for this write
                        if _storage_failure(error):  # SQLite may have undone the neighbours as well
                            raise
                        answers.append((job, None, error))
                session.commit()
            self.trouble = ""
        except Exception as error:  # the commit itself failed: nobody may believe in it
            if found := _storage_failure(error):
                self.trouble = f"the store cannot write ({found}); it goes on by itself once it can"
                error = StoreUnavailable(self.trouble)
            answers = [(job, None, error) for job in batch]
        self.commits += 1
        for (_, loop, done), value, error in answers:
            loop.call_soon_threadsafe(_settle, done, value, error)


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


def _settle(done: "asyncio.Future[Any]", value: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(value)
    else:
        done.set_exception(error)
