"""The only schema. `doc` columns hold the domain object's JSON, never a vendor's."""

from sqlmodel import Field, SQLModel

SCHEMA_VERSION = "0001"


class WorkloadRow(SQLModel, table=True):
    __tablename__ = "workload"  # pyright: ignore[reportAssignmentType]
    seq: int | None = Field(default=None, primary_key=True)  # order of arrival: ids may share a millisecond
    id: str = Field(unique=True)
    workspace: str
    name: str
    phase: str = Field(index=True)
    is_archived: bool = Field(default=False, index=True)
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
