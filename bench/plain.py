"""
The plain way: FastAPI with a SQLModel session per request, on the tables of Homeport.

The usual defaults, but for a pool of as many connections as there will be clients: on
the default one it stops answering for good at 64 of them.
Started as `python -m bench.plain PORT DATABASE`.
"""

import hashlib
import secrets
import sys
from collections.abc import Generator, Sequence
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy import Engine, event
from sqlmodel import Session, col, create_engine, select

from homeport.server.api.lepton import wire
from homeport.server.api.lepton.translate.jobs import job_to_wire, to_spec
from homeport.server.domain.inventory import Shape
from homeport.server.domain.runs import phase_of
from homeport.server.domain.workload import Attempt, Workload
from homeport.server.store.documents import attempt_from, to_doc, workload_from
from homeport.server.store.tables import AttemptRow, EventRow, TokenRow, WorkloadRow

CREATED_AT_MS = 1_700_000_000_000
app = FastAPI()


class JobOut(BaseModel):
    metadata: dict[str, Any]
    spec: dict[str, Any]
    status: dict[str, Any]


class Jobs(BaseModel):
    jobs: list[JobOut]


def session(request: Request) -> Generator[Session]:
    with Session(request.app.state.engine) as made:
        yield made


Db = Annotated[Session, Depends(session)]


def caller(ws: str, db: Db, authorization: Annotated[str, Header()] = "") -> TokenRow:
    token = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).hexdigest()
    row = db.get(TokenRow, token)
    if row is None or row.workspace != ws:
        raise HTTPException(401)
    return row


Authorized = Annotated[TokenRow, Depends(caller)]


def to_wire(db: Session, rows: Sequence[WorkloadRow]) -> list[dict[str, Any]]:
    query = select(AttemptRow).where(col(AttemptRow.workload_id).in_([r.id for r in rows]))
    attempts: dict[str, list[Attempt]] = {row.id: [] for row in rows}
    for attempt in db.exec(query.order_by(col(AttemptRow.number))):
        attempts[attempt.workload_id].append(attempt_from(attempt.doc))
    answer: list[dict[str, Any]] = []
    for row in rows:
        workload, mine = workload_from(row.doc), attempts[row.id]
        answer.append(job_to_wire(workload, phase_of(workload, mine), mine))
    return answer


@app.get("/hello")
def hello() -> dict[str, str]:
    return {"hello": "world"}


@app.get("/api/v2/workspaces/{ws}/jobs/{job_id}", response_model=JobOut)
def get_job(job_id: str, who: Authorized, db: Db) -> Any:
    query = select(WorkloadRow).where(WorkloadRow.id == job_id, WorkloadRow.workspace == who.workspace)
    row = db.exec(query).first()
    if row is None:
        raise HTTPException(404)
    return to_wire(db, [row])[0]


@app.get("/api/v2/workspaces/{ws}/jobs", response_model=Jobs)
def list_jobs(who: Authorized, db: Db, page: int = 1, page_size: int = 100) -> Any:
    query = select(WorkloadRow).where(
        WorkloadRow.workspace == who.workspace,
        WorkloadRow.kind == "job",
        col(WorkloadRow.is_archived).is_(False),
    )
    newest = query.order_by(col(WorkloadRow.seq).desc()).offset((page - 1) * page_size).limit(page_size)
    return {"jobs": to_wire(db, db.exec(newest).all())}


@app.post("/api/v2/workspaces/{ws}/jobs", response_model=JobOut, status_code=201)
def create_job(job: wire.Job, who: Authorized, db: Db) -> Any:
    """Kept, and no more: nothing runs here."""
    name = job.metadata.id or ""
    spec = to_spec(job, Shape("cpu.small", 1.0, 4096), node_groups=[])
    job_id = f"{name}-{secrets.token_hex(4)}"
    workload = Workload(job_id, who.workspace, name, "job", who.owner, CREATED_AT_MS, spec)
    phase = phase_of(workload, [])
    db.add(
        WorkloadRow(
            id=job_id, workspace=who.workspace, kind="job", name=name, owner=who.owner, revision=1,
            phase=phase.value, is_archived=False, is_settled=False, doc=to_doc(workload),
        )
    )  # fmt: skip
    db.add(
        EventRow(
            workload_id=job_id, type="Normal", reason="Created", message=f"job {job_id} was created",
            count=1, last_ms=CREATED_AT_MS,
        )
    )  # fmt: skip
    db.commit()
    return job_to_wire(workload, phase, [])


def open_database(path: str) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}", connect_args={"check_same_thread": False, "timeout": 30}, pool_size=64
    )

    def set_up(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    event.listen(engine, "connect", set_up)
    return engine


if __name__ == "__main__":
    app.state.engine = open_database(sys.argv[2])
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        http="httptools",
        access_log=False,
        log_level="warning",
    )
