"""Workloads of one replica, their attempts, GPU leases, events and tokens."""

from alembic import op

from homeport.server.store.migrations.columns import flag, number, text  # Alembic loads a step by its path

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "workload", number("seq", primary_key=True), text("id", unique=True), text("workspace"), text("name"),
        text("phase"), flag("is_archived"), number("revision"), text("doc"),
    )  # fmt: skip
    op.create_index("ix_workload_phase", "workload", ["phase"])
    op.create_index("ix_workload_is_archived", "workload", ["is_archived"])
    op.create_table(
        "attempt", text("replica_id", primary_key=True), number("number", primary_key=True),
        text("workload_id"), flag("is_live"), text("doc"),
    )  # fmt: skip
    op.create_index("ix_attempt_workload_id", "attempt", ["workload_id"])
    op.create_index("ix_attempt_is_live", "attempt", ["is_live"])
    op.create_table("gpu_lease", text("gpu_uuid", primary_key=True), text("replica_id"), number("number"))
    op.create_table(
        "event", number("seq", primary_key=True), text("workload_id"), text("type"), text("reason"),
        text("message"), number("count"), number("last_ms"),
    )  # fmt: skip
    op.create_index("ix_event_workload_id", "event", ["workload_id"])
    op.create_table(
        "token", text("sha256", primary_key=True), text("workspace"), text("prefix"), text("suffix"),
        text("owner"), number("expires_at_ms"),
    )  # fmt: skip
    op.create_table("setting", text("name", primary_key=True), text("value"))
