"""Request models, spelt as leptonai 0.26.4 to 0.47.1 send them. Unknown fields are kept and echoed."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

INT32 = 2**31 - 1  # what Kubernetes has for counts and seconds; the database holds no more than 63 bits


def _without_nul(text: str) -> str:
    if "\0" in text:  # the kernel ends a string there, so no program can be given it
        raise PydanticCustomError("nul", "must not hold a NUL character")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]


class Wire(BaseModel):
    model_config = ConfigDict(extra="allow", populate_by_name=True)


class SecretRef(Wire):
    secret_name_ref: str | None = None


class EnvVar(Wire):
    name: str = Field(pattern=r"^[A-Za-z_.-][A-Za-z0-9_.-]*$")
    value: Text | None = None
    value_from: SecretRef | None = None


class MountOptions(Wire):
    read_only: bool | None = None


class Mount(Wire):
    """`from` is optional before 0.27.3: the classic file system `default` is meant then."""

    path: str | None = None
    mount_path: str
    from_: str | None = Field(default=None, alias="from")
    mount_options: MountOptions | None = None


class ContainerPort(Wire):
    container_port: int = Field(ge=1, le=65535)
    protocol: str | None = None
    expose_strategies: list[str] | None = None
    host_port: int | None = Field(default=None, ge=0, le=65535)


class Container(Wire):
    image: Text | None = None
    command: list[Text] | None = None
    ports: list[ContainerPort] | None = None


class Log(Wire):
    """What the workspace would do by itself is to collect."""

    enable_collection: bool | None = None


class QueueConfig(Wire):
    priority_class: str | None = None
    can_be_preempted: bool | None = None
    can_preempt: bool | None = None


class ReservationConfig(Wire):
    reservation_id: str | None = None
    allow_burst_to_other_reservations: bool | None = None


class TimeSchedule(Wire):
    start_at: int | None = None  # Unix seconds


class SegmentConfig(Wire):
    count_per_segment: int = Field(ge=1, le=INT32)


class Affinity(Wire):
    allowed_dedicated_node_groups: list[str] | None = None
    allowed_nodes_in_node_group: list[str] | None = None


class JobSpec(Wire):
    resource_shape: str | None = None
    affinity: Affinity | None = None
    container: Container = Container()
    shared_memory_size: int | None = Field(
        default=None, ge=0, le=INT32
    )  # 0, which `lep` allows: as without it
    completions: int | None = Field(default=1, ge=1, le=1024)
    parallelism: int | None = Field(default=1, ge=1, le=1024)
    max_failure_retry: int | None = Field(default=None, ge=0, le=INT32)
    max_job_failure_retry: int | None = Field(default=None, ge=0, le=INT32)
    envs: list[EnvVar] | None = None
    mounts: list[Mount] | None = None
    image_pull_secrets: list[str] | None = None
    ttl_seconds_after_finished: int | None = Field(default=None, ge=0, le=INT32)
    queue_config: QueueConfig | None = None
    reservation_config: ReservationConfig | None = None
    time_schedule: TimeSchedule | None = None
    segment_config: SegmentConfig | None = None
    log: Log | None = None
    stopped: bool | None = None


class JobMetadata(Wire):
    id: str | None = None
    name: str | None = None
    labels: dict[str, str] | None = None
    visibility: Literal["public", "private"] | None = None


class Job(Wire):
    metadata: JobMetadata
    spec: JobSpec


class JobPatchSpec(Wire):
    stopped: bool | None = None
    queue_config: QueueConfig | None = None
    ttl_seconds_after_finished: int | None = Field(default=None, ge=0, le=INT32)
    max_failure_retry: int | None = Field(default=None, ge=0, le=INT32)
    max_job_failure_retry: int | None = Field(default=None, ge=0, le=INT32)


class JobPatchMetadata(Wire):
    labels: dict[str, str | None] | None = None
    visibility: Literal["public", "private"] | None = None


class JobPatch(Wire):
    metadata: JobPatchMetadata = JobPatchMetadata()
    spec: JobPatchSpec = JobPatchSpec()
