"""What the rules look at: values of one moment, and how they are read from a server."""

import contextlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import sqlalchemy
from sqlmodel import AutoString, Session, SQLModel, func, select, text

from ...runtime.errors import RuntimeUnavailable
from ...runtime.model import Observed
from ..app import Home
from ..domain.workload import Attempt, Phase, Workload
from ..errors import StoreRefused
from ..services.org import nodes_now
from ..services.org_usage import usage_now
from ..store import registries, secrets
from ..store.active import Entry
from ..store.documents import attempt_from, workload_from
from ..store.tables import AttemptRow, EventRow, LeaseRow, WorkloadRow

SHORTEST_SECRET = 6  # what is shorter may stand anywhere by chance


class Lease(NamedTuple):
    node: str
    gpu_uuid: str
    portion: float
    replica_id: str
    number: int


LEASES = sqlalchemy.select(*(getattr(LeaseRow, name) for name in Lease._fields))


@dataclass(frozen=True, slots=True)
class Facts:
    """
    Args:
        now_ms: when they were looked at, Unix milliseconds.
        workloads: all of them, by id. phases: as their rows have them.
        devices: UUIDs of each node's GPUs.
        observed: a complete list from the driver; None: it does not answer.
        groups: networks that it has, by workload.
        events: reasons, and how often each, by workload.
        served: replicas by route, as the gateway was shown them.
        allocated: GPUs by project, as its users are told.
        leaks: where a secret's value was found in clear.
        integrity: what SQLite says of its file; "ok" where nothing is wrong.
        wal_bytes: size of its write-ahead log.
        kept: what the loop has in memory, by workload; None: it was not asked.
    """

    now_ms: int = 0
    workloads: Mapping[str, Workload] = field(default_factory=dict[str, Workload])
    phases: Mapping[str, Phase] = field(default_factory=dict[str, Phase])
    attempts: Sequence[Attempt] = ()
    leases: Sequence[Lease] = ()
    devices: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])
    observed: Sequence[Observed] | None = ()
    groups: Collection[str] = ()
    events: Mapping[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    served: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])
    allocated: Mapping[str, float] = field(default_factory=dict[str, float])
    leaks: Sequence[str] = ()
    integrity: str = "ok"
    wal_bytes: int = 0
    kept: Mapping[str, Entry] | None = None

    def of(self, workload_id: str) -> list[Attempt]:
        """Its attempts, in the order of their numbers."""
        return sorted((a for a in self.attempts if a.workload_id == workload_id), key=lambda a: a.number)


async def facts_of(home: Home) -> Facts:
    """As they are now; what comes from the store is of one moment."""
    services = home.services

    def read(session: Session) -> Facts:
        rows = session.exec(select(WorkloadRow.id, WorkloadRow.phase, WorkloadRow.doc)).all()
        events: dict[str, Counter[str]] = {}
        told = select(EventRow.workload_id, EventRow.reason, func.sum(EventRow.count))
        for id_, reason, count in session.exec(told.group_by(EventRow.workload_id, EventRow.reason)).all():
            events.setdefault(id_, Counter())[reason] = count
        allocated: dict[str, float] = {}
        for (project, _), usage in usage_now(services).items():
            allocated[project] = allocated.get(project, 0.0) + usage.allocated.gpus
        file = Path(session.connection().execute(text("PRAGMA database_list")).all()[0][2])
        log = file.with_name(f"{file.name}-wal")
        return Facts(
            now_ms=services.clock.now_ms(),
            workloads={id_: workload_from(doc) for id_, _, doc in rows},
            phases={id_: Phase(phase) for id_, phase, _ in rows},
            attempts=[attempt_from(doc) for doc in session.exec(select(AttemptRow.doc)).all()],
            leases=[Lease(*row) for row in session.connection().execute(LEASES)],
            devices={node.id: {gpu.uuid for gpu in node.gpus} for node in nodes_now(services)},
            observed=observed,
            groups=groups,
            events=events,
            served={key: [t.id for t in route.replicas] for key, route in home.loop.routes.items()},
            allocated=allocated,
            leaks=[*_leaks(session, file.parent, list(_secrets(home, session)))],
            integrity=str(session.connection().execute(text("PRAGMA integrity_check")).scalar_one()),
            wal_bytes=log.stat().st_size if log.exists() else 0,
            kept=dict(services.store.reads.table.look(services.clock.now_ms())),
        )

    observed, groups = None, ()
    with contextlib.suppress(RuntimeUnavailable):
        observed, groups = await home.driver.list_owned(), await home.driver.list_groups()
    return services.store.read(read)


def _secrets(home: Home, session: Session) -> Iterator[str]:
    """Values of secrets and registry passwords, as far as they open with the key that is given."""
    sealed = secrets.all_sealed(session)
    sealed += [(r.workspace, r.label, text_) for r, text_ in registries.all_sealed(session)]
    for workspace, name, one in sealed:
        with contextlib.suppress(StoreRefused):
            value = home.services.secret_box.open(workspace, name, one)
            if len(value) >= SHORTEST_SECRET:
                yield value


def _leaks(session: Session, data_dir: Path, values: Iterable[str]) -> Iterator[str]:
    """Columns and journals that hold one of them, as it is or as JSON has it."""
    forms = {form for value in values for form in (value, json.dumps(value)[1:-1])}
    if not forms:
        return
    for table in SQLModel.metadata.sorted_tables:
        for column in (c for c in table.columns if isinstance(c.type, AutoString)):
            if any(session.exec(select(func.count()).where(func.instr(column, f) > 0)).one() for f in forms):
                yield f"{table.name}.{column.name}"
    for path in sorted(data_dir.glob("*.json*")):
        if path.name != "credentials.json" and any(f.encode() in path.read_bytes() for f in forms):
            yield path.name
