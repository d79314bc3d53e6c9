"""The only schema. `doc` columns hold the domain object's JSON, never a vendor's."""

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

SCHEMA_VERSION = "0004"  # the newest of migrations/versions


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
    """
    A portion (0..1) of a GPU that is taken, in one of its slices.

    The primary key is what makes a double claim of a slice impossible; that the portions of one
    device never add up to more than 1 is checked on every commit.
    """

    __tablename__ = "gpu_lease"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (UniqueConstraint("gpu_uuid", "replica_id", "number", name="gpu_lease_holder"),)
    node: str = Field(primary_key=True)
    gpu_uuid: str = Field(primary_key=True)
    slice: int = Field(primary_key=True)
    portion: float
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


class DepartmentRow(SQLModel, table=True):
    """`owns_machine`: its quota is all there is, as long as nobody has set one."""

    __tablename__ = "department"  # pyright: ignore[reportAssignmentType]
    number: int = Field(primary_key=True)  # the id, which is this as text
    name: str = Field(unique=True)
    owns_machine: bool
    doc: str


class ProjectRow(SQLModel, table=True):
    """`name` is the id of the Lepton workspace that it is."""

    __tablename__ = "project"  # pyright: ignore[reportAssignmentType]
    number: int = Field(primary_key=True)
    name: str = Field(unique=True)
    owns_machine: bool
    doc: str


class NodePoolRow(SQLModel, table=True):
    __tablename__ = "node_pool"  # pyright: ignore[reportAssignmentType]
    number: int = Field(primary_key=True)
    name: str = Field(unique=True)
    doc: str


class NodeNoteRow(SQLModel, table=True):
    """What people have said of a node, beside what it says of itself: labels and taints."""

    __tablename__ = "node_note"  # pyright: ignore[reportAssignmentType]
    node: str = Field(primary_key=True)
    doc: str


class ApplicationRow(SQLModel, table=True):
    """A program that may ask for tokens of Run:ai's API: the hash of its secret; the doc has its roles."""

    __tablename__ = "application"  # pyright: ignore[reportAssignmentType]
    client_id: str = Field(primary_key=True)
    name: str
    sha256: str
    created_at_ms: int
    doc: str
