"""Lepton's request models, spelt as leptonai 0.47.1 sends them. Unknown fields are kept and echoed."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Wire(BaseModel):
    model_config = ConfigDict(extra="allow")


class EnvVar(Wire):
    name: str = Field(pattern=r"^[A-Za-z_.-][A-Za-z0-9_.-]*$")
    value: str | None = None
    value_from: dict[str, Any] | None = None


class Container(Wire):
    image: str | None = None
    command: list[str] | None = None
    ports: list[dict[str, Any]] | None = None


class Affinity(Wire):
    allowed_dedicated_node_groups: list[str] | None = None
    allowed_nodes_in_node_group: list[str] | None = None


class JobSpec(Wire):
    resource_shape: str | None = None
    affinity: Affinity | None = None
    container: Container = Container()
    shared_memory_size: int | None = Field(default=None, ge=1)
    completions: int | None = Field(default=1, ge=1)
    parallelism: int | None = Field(default=1, ge=1)
    envs: list[EnvVar] | None = None
    stopped: bool | None = None


class JobMetadata(Wire):
    id: str | None = None
    name: str | None = None


class Job(Wire):
    metadata: JobMetadata
    spec: JobSpec


class JobPatchSpec(Wire):
    stopped: bool | None = None


class JobPatch(Wire):
    spec: JobPatchSpec = JobPatchSpec()
