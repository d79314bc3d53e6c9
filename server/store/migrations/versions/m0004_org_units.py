"""Departments, projects, node pools, notes on nodes, applications; leases of portions of a GPU."""

import sqlalchemy as sa
from alembic import op

from homeport.server.store.migrations.columns import flag, number, real, text  # loaded by its path

revision, down_revision = "0004", "0003"

# Until now a lease was of a whole device; only its attempt knows on which node.
BRING_OVER = """
INSERT INTO gpu_lease (node, gpu_uuid, slice, portion, replica_id, number)
SELECT coalesce(json_extract(a.doc, '$.node'), 'local'), l.gpu_uuid, 0, 1.0, l.replica_id, l.number
FROM gpu_lease_before AS l
LEFT JOIN attempt AS a ON a.replica_id = l.replica_id AND a.number = l.number
"""


def upgrade() -> None:
    for table in ("department", "project"):
        op.create_table(
            table, number("number", primary_key=True), text("name", unique=True), flag("owns_machine"),
            text("doc"),
        )  # fmt: skip
    op.create_table("node_pool", number("number", primary_key=True), text("name", unique=True), text("doc"))
    op.create_table("node_note", text("node", primary_key=True), text("doc"))
    op.create_table(
        "application", text("client_id", primary_key=True), text("name"), text("sha256"),
        number("created_at_ms"), text("doc"),
    )  # fmt: skip
    op.rename_table("gpu_lease", "gpu_lease_before")
    op.create_table(
        "gpu_lease", text("node", primary_key=True), text("gpu_uuid", primary_key=True),
        number("slice", primary_key=True), real("portion"), text("replica_id"), number("number"),
        sa.UniqueConstraint("gpu_uuid", "replica_id", "number", name="gpu_lease_holder"),
    )  # fmt: skip
    op.execute(BRING_OVER)
    op.drop_table("gpu_lease_before")
