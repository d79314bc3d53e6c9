"""Org units, node pools and notes on nodes: what there is, and pieces of a write."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from pydantic import TypeAdapter
from pydantic_core import to_json
from sqlalchemy import bindparam, func, literal_column, update
from sqlmodel import Session, col, delete, select

from ..domain.org import Department, NodePool, Project
from ..domain.pools import NodeNote
from ..domain.workload import Phase
from ..errors import Invalid
from .found import prepared
from .tables import (
    DepartmentRow,
    HostPortRow,
    IngressRow,
    NodeNoteRow,
    NodePoolRow,
    ProjectRow,
    RegistryRow,
    SecretRow,
    SettingRow,
    TokenRow,
    WorkloadRow,
)
from .writer import database_of
from .writes import note_changed

Unit = TypeVar("Unit", Department, Project, NodePool, NodeNote)
OrgUnit = TypeVar("OrgUnit", Department, Project)
UNITS = (Department, Project, NodePool, NodeNote)
_ADAPTERS: dict[type, TypeAdapter[object]] = {kind: TypeAdapter(kind) for kind in UNITS}
ROWS = {Department: DepartmentRow, Project: ProjectRow, NodePool: NodePoolRow}
MOST_UNITS = 10_000  # docs that stay decoded


class OrgRows(NamedTuple):
    """
    As they are stored, oldest first. The same object as long as nothing of it has changed.

    Args:
        departments, projects: with whether they have the whole machine.
        notes: by node.
    """

    departments: tuple[tuple[Department, bool], ...]
    projects: tuple[tuple[Project, bool], ...]
    pools: tuple[NodePool, ...]
    notes: tuple[tuple[str, NodeNote], ...]


_d, _p, _n, _note = DepartmentRow, ProjectRow, NodePoolRow, NodeNoteRow
DEPARTMENTS = prepared(select(col(_d.doc), col(_d.owns_machine)).order_by(col(_d.number)))
PROJECTS = prepared(select(col(_p.doc), col(_p.owns_machine)).order_by(col(_p.number)))
POOLS = prepared(select(col(_n.doc)).order_by(col(_n.number)))
HAS_PROJECT = prepared(select(col(_p.number)).where(col(_p.name) == bindparam("name")))
REVISION = prepared(
    select(col(SettingRow.value)).where(col(SettingRow.name) == literal_column("'org_revision'"))
)
NOTES = prepared(select(col(_note.node), col(_note.doc)).order_by(col(_note.node)))


class _Decoded(Generic[OrgUnit]):
    """
    Units of one kind in the order of their rows. Most rows are as they were the last time, in the same
    place: to compare a doc with the one that was there is much cheaper than to look it up.
    """

    def __init__(self, kind: type[OrgUnit]) -> None:
        self._kind = kind
        self._docs: list[tuple[str, int]] = []
        self.units: list[tuple[OrgUnit, bool]] = []

    def read(self, docs: list[tuple[str, int]]) -> None:
        """Each with whether it has the whole machine."""
        before, known = self._docs, self.units
        self.units = [
            known[at] if at < len(before) and before[at] == row else (_read(self._kind, row[0]), bool(row[1]))
            for at, row in enumerate(docs)
        ]
        self._docs = docs


class OrgReads:
    """`commits` counts what was written; after each it is one number that tells whether to read anew."""

    def __init__(self, connection: sqlite3.Connection, commits: Callable[[], int]) -> None:
        self._db, self._commits = connection, commits
        self._at, self._revision = -1, ""
        self._rows = OrgRows((), (), (), ())
        self._departments, self._projects = _Decoded(Department), _Decoded(Project)

    def rows(self) -> OrgRows:
        commits = self._commits()
        if self._at != commits:
            found = self._db.execute(REVISION).fetchone()
            revision = found[0] if found else ""
            if revision != self._revision:
                self._rows = self._read_rows()
            self._at, self._revision = commits, revision
        return self._rows

    def _read_rows(self) -> OrgRows:
        departments, projects, pools, notes = (
            self._db.execute(sql).fetchall() for sql in (DEPARTMENTS, PROJECTS, POOLS, NOTES)
        )
        self._departments.read(departments)
        self._projects.read(projects)
        return OrgRows(
            tuple(self._departments.units), tuple(self._projects.units),
            tuple(_read(NodePool, doc) for (doc,) in pools),
            tuple((node, _read(NodeNote, doc)) for node, doc in notes),
        )  # fmt: skip


@lru_cache(MOST_UNITS)
def _read(kind: type[Unit], doc: str) -> Unit:
    unit = _ADAPTERS[kind].validate_json(doc)
    assert isinstance(unit, kind)
    return unit


def to_doc(unit: Department | Project | NodePool | NodeNote) -> str:
    """
    Raises:
        Invalid: it would not be read as it was written.
    """
    try:
        doc = to_json(unit, inf_nan_mode="null").decode()
        again = _ADAPTERS[type(unit)].validate_json(doc)
    except ValueError as error:
        raise Invalid("body", f"cannot be kept as JSON: {error}") from error
    if again != unit:
        raise Invalid("body", "cannot be kept as JSON: it has NaN or Infinity in it")
    return doc


def next_id(session: Session) -> str:
    """A number that was never given before: over all kinds of org units and node pools."""
    row = session.get(SettingRow, "last_org_id") or SettingRow(name="last_org_id", value="0")
    row.value = str(int(row.value) + 1)
    session.add(row)
    session.flush()
    return row.value


def touch(session: Session) -> None:
    """Part of each write here: without it nobody would see what was written."""
    row = session.get(SettingRow, "org_revision") or SettingRow(name="org_revision", value="0")
    row.value = str(int(row.value) + 1)
    session.add(row)
    session.flush()


def has_project(session: Session, name: str) -> bool:
    """Asked for each workload that is made, so by SQL made once."""
    return database_of(session).execute(HAS_PROJECT, {"name": name}).fetchone() is not None


def load_department(session: Session, department_id: str) -> Department | None:
    row = session.get(DepartmentRow, number_of(department_id))
    return None if row is None else _read(Department, row.doc)


def load_project(session: Session, project_id: str) -> Project | None:
    row = session.get(ProjectRow, number_of(project_id))
    return None if row is None else _read(Project, row.doc)


def project_in(session: Session, namespace: str) -> str | None:
    """The name of the project that has it."""
    doc = col(ProjectRow.doc)
    may_be = func.instr(doc, f'"{namespace}"') > 0  # few have; to read the JSON of each takes longer
    of_doc = func.json_extract(doc, "$.namespace")
    return session.exec(select(col(ProjectRow.name)).where(may_be, of_doc == namespace)).first()


def load_node_pool(session: Session, pool_id: str) -> NodePool | None:
    row = session.get(NodePoolRow, number_of(pool_id))
    return None if row is None else _read(NodePool, row.doc)


def load_note(session: Session, node: str) -> NodeNote:
    row = session.get(NodeNoteRow, node)
    return NodeNote() if row is None else _read(NodeNote, row.doc)


def number_of(unit_id: str) -> int:
    """-1, which is nobody's, for what is no id."""
    return int(unit_id) if unit_id.isascii() and unit_id.isdigit() and len(unit_id) < 11 else -1


def has_name(session: Session, kind: type[Department] | type[Project] | type[NodePool], name: str) -> bool:
    row = ROWS[kind]
    return session.exec(select(col(row.number)).where(col(row.name) == name)).first() is not None


def names(session: Session, kind: type[Department] | type[Project] | type[NodePool]) -> dict[str, str]:
    """Name and id of all of one kind."""
    row = ROWS[kind]
    return {name: str(number) for name, number in session.exec(select(col(row.name), col(row.number)))}


def save_unit(
    session: Session, unit: Department | Project | NodePool, *, owns_machine: bool | None = None
) -> None:
    """
    Insert or replace.

    Args:
        owns_machine: None leaves it as it is.
    """
    number, doc = int(unit.id), to_doc(unit)
    match unit:
        case NodePool():
            session.merge(NodePoolRow(number=number, name=unit.name, doc=doc))
        case Department() | Project():
            kind = DepartmentRow if isinstance(unit, Department) else ProjectRow
            row = session.get(kind, number) or kind(number=number, name="", owns_machine=False, doc="")
            row.name, row.doc = unit.name, doc
            row.owns_machine = row.owns_machine if owns_machine is None else owns_machine
            session.add(row)
    touch(session)


def save_note(session: Session, node: str, note: NodeNote) -> None:
    if note == NodeNote():
        session.exec(delete(NodeNoteRow).where(col(NodeNoteRow.node) == node))
    else:
        session.merge(NodeNoteRow(node=node, doc=to_doc(note)))
    touch(session)


def projects_below(session: Session, department_id: str) -> list[str]:
    """Their names."""
    docs = session.exec(select(ProjectRow.doc).order_by(col(ProjectRow.number))).all()
    found = (_read(Project, doc) for doc in docs)
    return [p.name for p in found if p.department_id == department_id]


def unfinished_in(session: Session, workspace: str) -> list[str]:
    """Ids of workloads that run, wait or could be started again, oldest first."""
    query = select(WorkloadRow.id).where(
        WorkloadRow.workspace == workspace,
        col(WorkloadRow.is_archived).is_(False),
        col(WorkloadRow.is_settled).is_(False)
        | col(WorkloadRow.phase).not_in([Phase.COMPLETED.value, Phase.FAILED.value]),
    )
    return list(session.exec(query.order_by(col(WorkloadRow.seq))).all())


def remove_department(session: Session, department_id: str) -> None:
    session.exec(delete(DepartmentRow).where(col(DepartmentRow.number) == int(department_id)))
    touch(session)


def remove_project(session: Session, project: Project) -> None:
    """
    With its tokens, secrets, logins and domains. What has ended in it stays for the bill, below
    a name that no project can have: a later one of the same name must not see it.
    """
    for table in (TokenRow, SecretRow, RegistryRow, IngressRow):
        session.exec(delete(table).where(col(table.workspace) == project.name))
    ended = select(WorkloadRow.id).where(WorkloadRow.workspace == project.name)
    session.exec(delete(HostPortRow).where(col(HostPortRow.workload_id).in_(ended)))
    aside = former_name(project)
    session.exec(
        update(WorkloadRow)
        .where(col(WorkloadRow.workspace) == project.name)
        .values(
            workspace=aside,
            doc=func.json_set(col(WorkloadRow.doc), literal_column("'$.workspace'"), aside),
            revision=col(WorkloadRow.revision) + 1,
        )
    )
    session.exec(delete(ProjectRow).where(col(ProjectRow.number) == int(project.id)))
    note_changed(session)
    touch(session)


def former_name(project: Project) -> str:
    """The workspace of what a removed project leaves."""
    return f"{project.name}#{project.id}"


def remove_node_pool(session: Session, pool: NodePool) -> None:
    """With the quotas of it, and from the orders in which projects try pools."""
    for row_kind, kind in ((DepartmentRow, Department), (ProjectRow, Project)):
        for row in session.exec(select(row_kind)).all():
            unit = _read(kind, row.doc)
            rest = replace(
                unit,
                quotas=tuple(q for q in unit.quotas if q.pool != pool.id),
                default_pools=tuple(n for n in unit.default_pools if n != pool.name),
            )
            if rest != unit:
                save_unit(session, rest)
    session.exec(delete(NodePoolRow).where(col(NodePoolRow.number) == int(pool.id)))
    touch(session)
