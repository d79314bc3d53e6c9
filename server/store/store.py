"""Domain in, domain out. Writes go through the writer thread, reads through a connection of their own."""

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sqlmodel import Session, col, select

from ..domain.workload import Attempt, Workload
from ..errors import StoreUnavailable
from .opening import check_file, connect, engine, migrate, take_lock
from .org import OrgReads
from .reads import Reads
from .tables import EventRow, SettingRow, TokenRow
from .writer import Writer

T = TypeVar("T")


class Store:
    """
    Holds the data directory's lock as long as it is open; kill -9 frees it.

    `reads` are the hot ones. `read` is for the others, in a short session.
    """

    def __init__(self, data_dir: Path) -> None:
        self._lock = take_lock(data_dir)
        path = data_dir / "homeport.db"
        check_file(path)
        self._write_engine = engine(path)
        migrate(self._write_engine, path)
        self._read_engine = engine(path)
        self._connection = connect(path)
        self._writer = Writer(self._write_engine)
        self.reads = Reads(self._connection, lambda: self._writer.commits, self._writer.take_changed)
        self.org = OrgReads(self._connection, lambda: self._writer.commits)

    def close(self) -> None:
        self._writer.close()
        self._connection.close()
        self._read_engine.dispose()
        self._write_engine.dispose()
        os.close(self._lock)

    async def trouble(self) -> str:
        """Why nothing can be written, or ""; where it was so the last time, it is tried again."""

        def touch(session: Session) -> None:
            row = session.get(SettingRow, "last_try") or SettingRow(name="last_try", value="")
            row.value = "odd" if row.value == "even" else "even"
            session.add(row)

        if self._writer.trouble:
            with contextlib.suppress(StoreUnavailable):
                await self.write(touch)
        return self._writer.trouble

    async def write(self, work: Callable[[Session], T]) -> T:
        return await self._writer.write(work)

    def read(self, work: Callable[[Session], T]) -> T:
        """Called on the event loop's thread only; SQLite answers from the page cache."""
        with Session(self._read_engine) as session:
            return work(session)

    def get_workload(self, workspace: str, workload_id: str) -> Workload | None:
        found = self.reads.get(workspace, workload_id)
        return None if found is None else found.workload

    def attempts_of(self, workload_id: str) -> list[Attempt]:
        return self.reads.attempts([workload_id])[workload_id]

    def events_of(self, workload_id: str) -> Sequence[EventRow]:
        query = select(EventRow).where(EventRow.workload_id == workload_id).order_by(col(EventRow.seq))
        return self.read(lambda s: s.exec(query).all())

    def tokens(self) -> Sequence[TokenRow]:
        return self.read(lambda s: s.exec(select(TokenRow)).all())

    @property
    def commits(self) -> int:
        """Since this server began."""
        return self._writer.commits

    @property
    def queued_writes(self) -> int:
        return self._writer.queued

    @property
    def unanswered_writes(self) -> int:
        """Those whose askers wait, be it for their turn or for the commit."""
        return self._writer.unanswered

    def setting(self, name: str) -> str | None:
        row = self.read(lambda s: s.get(SettingRow, name))
        return None if row is None else row.value
