"""CPU and memory that live attempts have of each node: never more than it has, checked at each commit."""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import literal_column
from sqlmodel import col, select

from ..domain.workload import Attempt
from ..errors import Conflict
from .documents import attempt_from
from .found import prepared
from .tables import AttemptRow

EPSILON = 1e-6  # cores are sums of fractions
LIVE = prepared(select(col(AttemptRow.doc)).where(col(AttemptRow.is_live) == literal_column("1")))


class Capacity(NamedTuple):
    """Of one node, with its overcommit; or what is used of it."""

    cpu_cores: float
    memory_mib: float


NONE = Capacity(0, 0)


class NodeUse:
    """
    What is taken, with all that the writer has written, committed or not: so what two writes of one commit
    take is added up. It is read from the table once, and again after anything was undone or went round it;
    nobody is refused before it was read again, so that it can be no worse than a sum over the table.
    """

    def __init__(self) -> None:
        self._live: dict[tuple[str, int], tuple[str, float, int]] | None = None
        self._used: dict[str, Capacity] = {}

    def forget(self) -> None:
        """What was added may have been undone."""
        self._live = None

    def put(self, attempts: Iterable[Attempt]) -> None:
        """They are in the table as they are here."""
        if self._live is None:
            return
        for attempt in attempts:
            before = self._live.pop(attempt.key, None)
            if before is not None:
                self._add(before[0], -before[1], -before[2])
            if attempt.is_live:
                self._live[attempt.key] = held = (attempt.node, attempt.cpu_cores, attempt.memory_mib)
                self._add(*held)

    def check(self, database: sqlite3.Connection, limits: Mapping[str, Capacity]) -> None:
        """
        Args:
            limits: of each node that something was placed on.

        Raises:
            Conflict: more is taken of one of them than it has.
        """
        if self._live is None:
            self._read(database)
        elif any(self._excess(node, has) for node, has in limits.items()):
            self._read(database)  # sums of fractions drift
        for node, has in limits.items():
            if excess := self._excess(node, has):
                raise Conflict(f"node {node} is already taken: {excess}")

    def used(self, node: str) -> Capacity:
        return self._used.get(node, NONE)

    def _excess(self, node: str, has: Capacity) -> str:
        used = self.used(node)
        if used.cpu_cores > has.cpu_cores + EPSILON:
            return f"{used.cpu_cores:g} of its {has.cpu_cores:g} CPU core(s) would be"
        if used.memory_mib > has.memory_mib:
            return f"{used.memory_mib:g} of its {has.memory_mib:g} MiB memory would be"
        return ""

    def _read(self, database: sqlite3.Connection) -> None:
        self._live, self._used = {}, {}
        self.put([attempt_from(doc) for (doc,) in database.execute(LIVE)])

    def _add(self, node: str, cpu_cores: float, memory_mib: int) -> None:
        used = self._used.get(node, NONE)
        self._used[node] = Capacity(used.cpu_cores + cpu_cores, used.memory_mib + memory_mib)
