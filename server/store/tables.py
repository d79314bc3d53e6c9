"""The only schema. `doc` columns hold the domain object's JSON, never a vendor's."""

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

SCHEMA_VERSION = "0003"  # the newest of migrations/versions


class WorkloadRow(SQLModel, table=True):
    """
    The columns beside `doc` follow from it and its attempts, and are set in the same transaction.

    `is_settled`: nothing about it changes by itself any more, apart from expiry.
    """

    __tablename__ = "workload"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("workload_list", "workspace", "kind", "is_archived", "seq"),)
    seq: int | None = Field(default=None, primary_key=True)  # order of arrival: ids may share a millisecond
    id: str = Field(unique=True)
    workspace: str
    kind: str
    name: str
    owner: str
    phase: str
    is_archived: bool
    is_settled: bool = Field(index=True)
    expires_at_ms: int | None = Field(default=None, index=True)
    revision: int
    doc: str


class AttemptRow(SQLModel, table=True):
    __tablename__ = "attempt"  # pyright: ignore[reportAssignmentType]
    replica_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    workload_id: str = Field(index=True)
    is_live: bool = Field(index=True)
    doc: str


class LeaseRow(SQLModel, table=True):
    """A GPU that is taken: the primary key is what makes a double claim impossible."""

    __tablename__ = "gpu_lease"  # pyright: ignore[reportAssignmentType]
    gpu_uuid: str = Field(primary_key=True)
    replica_id: str
    number: int


class EventRow(SQLModel, table=True):
    __tablename__ = "event"  # pyright: ignore[reportAssignmentType]
    seq: int | None = Field(default=None, primary_key=True)
    workload_id: str = Field(index=True)
    type: str  # Normal or Warning
    reason: str
    message: str
    count: int
    last_ms: int


class TokenRow(SQLModel, table=True):
    """Only the hash of a token is kept; `prefix` and `suffix` let its owner tell it from others."""

    __tablename__ = "token"  # pyright: ignore[reportAssignmentType]
    sha256: str = Field(primary_key=True)
    workspace: str
    prefix: str
    suffix: str
    owner: str
    expires_at_ms: int


class SettingRow(SQLModel, table=True):
    """Facts about this data directory itself, such as its instance id."""

    __tablename__ = "setting"  # pyright: ignore[reportAssignmentType]
    name: str = Field(primary_key=True)
    value: str


class VolumeRow(SQLModel, table=True):
    """Volumes that were added; the builtin ones have no row."""

    __tablename__ = "volume"  # pyright: ignore[reportAssignmentType]
    node_group: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    doc: str


class StoragePermissionRow(SQLModel, table=True):
    """`prefix` is the path prefix without anything redundant; the doc has it as it was spelt."""

    __tablename__ = "storage_permission"  # pyright: ignore[reportAssignmentType]
    node_group: str = Field(primary_key=True)
    volume: str = Field(primary_key=True)
    prefix: str = Field(primary_key=True)
    doc: str


class SecretRow(SQLModel, table=True):
    """`sealed` is the encrypted value (secret_box.py); the doc has everything but the value."""

    __tablename__ = "secret"  # pyright: ignore[reportAssignmentType]
    workspace: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    sealed: str
    doc: str


class ReservationRow(SQLModel, table=True):
    __tablename__ = "reservation"  # pyright: ignore[reportAssignmentType]
    seq: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    doc: str


class RegistryRow(SQLModel, table=True):
    """A login to an image registry. `sealed` is its password (secret_box.py), which the doc lacks."""

    __tablename__ = "registry"  # pyright: ignore[reportAssignmentType]
    workspace: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    sealed: str
    doc: str


class HostPortRow(SQLModel, table=True):
    """A port of the host that is a workload's for as long as it lives, also while it is stopped."""

    __tablename__ = "host_port"  # pyright: ignore[reportAssignmentType]
    host_port: int = Field(primary_key=True)
    protocol: str = Field(primary_key=True)
    workload_id: str = Field(index=True)
    container_port: int


class IngressRow(SQLModel, table=True):
    """`name` is the domain, which belongs to one workspace only."""

    __tablename__ = "ingress"  # pyright: ignore[reportAssignmentType]
    name: str = Field(primary_key=True)
    workspace: str = Field(index=True)
    doc: str


class MetricRow(SQLModel, table=True):
    """What one workload did in the minute that begins at `at_ms`."""

    __tablename__ = "metric"  # pyright: ignore[reportAssignmentType]
    workload_id: str = Field(primary_key=True)
    at_ms: int = Field(primary_key=True)
    doc: str
