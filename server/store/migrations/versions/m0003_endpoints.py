"""Registry logins, host ports, ingresses and metrics."""

from alembic import op

from homeport.server.store.migrations.columns import number, text  # Alembic loads a step by its path

revision, down_revision = "0003", "0002"


def upgrade() -> None:
    op.create_table(
        "registry", text("workspace", primary_key=True), text("name", primary_key=True), text("sealed"),
        text("doc"),
    )  # fmt: skip
    op.create_table(
        "host_port", number("host_port", primary_key=True), text("protocol", primary_key=True),
        text("workload_id", index=True), number("container_port"),
    )  # fmt: skip
    op.create_table("ingress", text("name", primary_key=True), text("workspace", index=True), text("doc"))
    op.create_table(
        "metric", text("workload_id", primary_key=True), number("at_ms", primary_key=True), text("doc")
    )
