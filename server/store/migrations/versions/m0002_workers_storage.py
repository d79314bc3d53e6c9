"""Workers and retries; volumes, secrets and reservations; logs whose lines have times."""

import json
import re
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op

from homeport.server.store.migrations.columns import number, text  # Alembic loads a step by its path

revision, down_revision = "0002", "0001"

DATED = re.compile(rb"\d{19}[ +]")
SETTLED_PHASES = ("completed", "failed", "stopped", "archived")


def upgrade() -> None:
    connection = op.get_bind()
    op.drop_index("ix_workload_phase", "workload")
    op.drop_index("ix_workload_is_archived", "workload")
    with op.batch_alter_table("workload") as table:
        table.add_column(sa.Column("kind", sa.String(), nullable=True))
        table.add_column(sa.Column("owner", sa.String(), nullable=True))
        table.add_column(sa.Column("is_settled", sa.Boolean(), nullable=True))
        table.add_column(sa.Column("expires_at_ms", sa.Integer(), nullable=True))
    for workload_id, phase, doc in connection.execute(sa.text("SELECT id, phase, doc FROM workload")).all():
        made: dict[str, Any] = {"history": [], **json.loads(doc)}
        made["spec"] = {"secret_env": [], "mounts": [], "ports": [], **made["spec"]}
        connection.execute(
            sa.text(
                "UPDATE workload SET kind = :kind, owner = :owner, is_settled = :settled, doc = :doc"
                " WHERE id = :id"
            ),
            {
                "kind": made["kind"], "owner": made["owner"], "settled": phase in SETTLED_PHASES,
                "doc": json.dumps(made), "id": workload_id,
            },
        )  # fmt: skip
    with op.batch_alter_table("workload") as table:
        for name, type_ in (("kind", sa.String()), ("owner", sa.String()), ("is_settled", sa.Boolean())):
            table.alter_column(name, existing_type=type_, nullable=False)
        table.create_index("ix_workload_is_settled", ["is_settled"])
        table.create_index("ix_workload_expires_at_ms", ["expires_at_ms"])
        table.create_index("workload_list", ["workspace", "kind", "is_archived", "seq"])
    _add_index_of_replicas(connection)
    _date_logs(connection)
    op.create_table(
        "volume", text("node_group", primary_key=True), text("name", primary_key=True), text("doc")
    )
    op.create_table(
        "storage_permission", text("node_group", primary_key=True), text("volume", primary_key=True),
        text("prefix", primary_key=True), text("doc"),
    )  # fmt: skip
    op.create_table(
        "secret", text("workspace", primary_key=True), text("name", primary_key=True), text("sealed"),
        text("doc"),
    )  # fmt: skip
    op.create_table("reservation", number("seq", primary_key=True), text("id", unique=True), text("doc"))


def _add_index_of_replicas(connection: sa.Connection) -> None:
    for replica_id, count, doc in connection.execute(
        sa.text("SELECT replica_id, number, doc FROM attempt")
    ).all():
        connection.execute(
            sa.text("UPDATE attempt SET doc = :doc WHERE replica_id = :id AND number = :number"),
            {"doc": json.dumps({"index": 0, **json.loads(doc)}), "id": replica_id, "number": count},
        )


def _date_logs(connection: sa.Connection) -> None:
    """Logs had no times: each line gets the end of its attempt, a nanosecond after the one before."""
    file = connection.execute(sa.text("PRAGMA database_list")).all()[0][2]
    folder = Path(file).parent / "logs"
    for replica_id, count, doc in connection.execute(
        sa.text("SELECT replica_id, number, doc FROM attempt")
    ).all():
        log = folder / f"{replica_id}-{count}.log"
        if not log.exists() or DATED.match(log.open("rb").readline()):  # or by a try that was cut short
            continue
        at_ns = (json.loads(doc)["finished_at_ms"] or 0) * 10**6
        dated = log.with_suffix(".dated")
        with log.open("rb") as source, dated.open("wb") as target:
            for offset, line in enumerate(source):
                mark, line_text = (b" ", line[:-1]) if line.endswith(b"\n") else (b"+", line)
                target.write(b"%019d%b%b\n" % (at_ns + offset, mark, line_text))
        dated.replace(log)
