"""
Inferences as they come. Source of the spelling and of the bounds: the models of runapy 1.224.0
(InferenceCreationRequest, InferenceUpdateRequest, AutoScaling, ServingConfiguration, ServingPort).
"""

from typing import Literal

from pydantic import Field

from .wire_workloads import INT32, Creation, PodSpec, Wire

Authorization = Literal[
    "public", "authenticatedUsers", "authorizedUsers", "authorizedGroups", "authorizedUsersOrGroups"
]


class ServingPort(Wire):
    container: int | None = Field(default=None, ge=1, le=65535)
    protocol: Literal["http", "grpc"] = "http"
    authorization_type: Authorization = "public"
    authorized_users: list[str] = []
    authorized_groups: list[str] = []
    cluster_local_access_only: bool = False


class AutoScaling(Wire):
    """What is not given follows from `min_replicas`; see `translate.scaling`."""

    min_replicas: int | None = Field(default=None, ge=0, le=1024)
    max_replicas: int | None = Field(default=None, ge=1, le=1024)
    initial_replicas: int | None = Field(default=None, ge=0)
    activation_replicas: int | None = Field(default=None, ge=1)
    metric: str | None = Field(default=None, pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")
    metric_threshold: int | None = Field(default=None, ge=1, le=INT32)
    metric_threshold_percentage: float | None = Field(default=None, ge=1, le=100, allow_inf_nan=False)
    concurrency_hard_limit: int | None = Field(default=None, ge=0)
    scale_to_zero_retention_seconds: int | None = Field(default=None, ge=0, le=3600)
    scale_down_delay_seconds: int | None = Field(default=None, ge=0, le=3600)
    initialization_timeout_seconds: int | None = Field(default=None, ge=1, le=INT32)


class ServingConfiguration(Wire):
    initialization_timeout_seconds: int | None = Field(default=None, ge=1, le=INT32)
    request_timeout_seconds: int | None = Field(default=None, ge=1, le=INT32)


class InferenceSpec(PodSpec):
    """`JOB_CONTROL` are fields of the others that it has not."""

    serving_port: ServingPort | None = None
    autoscaling: AutoScaling = AutoScaling()
    serving_configuration: ServingConfiguration = ServingConfiguration()


JOB_CONTROL = (
    "stdin", "backoff_limit", "restart_policy", "termination_grace_period_seconds",
    "auto_deletion_time_after_completion_seconds", "terminate_after_preemption",
)  # fmt: skip

# What an update may name: the fields of InferenceUpdateSpecSpec.
CHANGEABLE = (
    "autoscaling", "servingConfiguration", "args", "category", "command", "compute", "createHomeDir",
    "environmentVariables", "image", "imagePullPolicy", "imagePullSecrets", "nodeAffinityRequired",
    "nodePools", "nodeType", "podAffinity", "preemptibility", "priorityClass", "probes", "workingDir",
)  # fmt: skip


class InferenceCreation(Creation):
    spec: InferenceSpec = InferenceSpec()
