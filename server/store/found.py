"""A row of the workloads as it is read, and SQL made once from the tables."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy.dialects import sqlite
from sqlmodel import func, select

from ..domain.workload import Phase, Workload
from .documents import workload_from
from .tables import WorkloadRow


@dataclass(frozen=True)
class Found:
    """
    A workload as a list needs it; its doc is read when somebody asks for more.

    Args:
        revision: grows with each change of it or its attempts.
    """

    id: str
    seq: int
    revision: int
    phase: Phase
    doc: str

    @cached_property
    def workload(self) -> Workload:
        return workload_from(self.doc)


FOUND: Any = select(*(getattr(WorkloadRow, field.name) for field in fields(Found)))


def prepared(query: Any) -> str:
    """The SQL of a statement on the tables, with named parameters, for sqlite3 itself."""
    return str(query.compile(dialect=sqlite.dialect(paramstyle="named")))


def one_of(name: str) -> Any:
    """The values of a parameter that is a JSON array: one statement for any number of them."""
    return select(func.json_each(bindparam(name)).table_valued("value").c.value)
