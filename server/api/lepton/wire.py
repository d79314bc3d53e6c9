"""Request models, spelt as leptonai 0.26.4 to 0.47.1 send them. Unknown fields are kept and echoed."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

VARIABLE = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*")
INT32 = 2**31 - 1  # what Kubernetes has for counts and seconds; the database holds no more than 63 bits


def _without_nul(text: str) -> str:
    if "\0" in text:  # the kernel ends a string there, so no program can be given it
        raise PydanticCustomError("nul", "must not hold a NUL character")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]


def _variable(name: str) -> str:
    if VARIABLE.fullmatch(name) is None:
        raise PydanticCustomError(
            "variable", "must be letters, digits, '-', '_' and '.', and not begin with a digit"
        )
    return name


class Wire(BaseModel):
    model_config = ConfigDict(extra="allow", populate_by_name=True)


class SecretRef(Wire):
    secret_name_ref: str | None = None


class EnvVar(Wire):
    name: Annotated[str, AfterValidator(_variable)]
    value: Text | None = None
    value_from: SecretRef | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if self.value and self.value_from is not None:  # as Kubernetes; else one would silently win
            raise PydanticCustomError("sources", "has both value and value_from; keep one of them")
        return self


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
