"""Endpoints of the legacy family, as leptonai 0.26.4 to 0.47.1 send them. Unknown fields are kept."""

from typing import Any, Literal

from pydantic import Field, StrictBool

from .wire import (
    INT32,
    Affinity,
    Container,
    EnvVar,
    JobMetadata,
    Log,
    Mount,
    QueueConfig,
    ReservationConfig,
    Wire,
)


class ResourceRequirement(Wire):
    resource_shape: str | None = None
    affinity: Affinity | None = None
    shared_memory_size: int | None = Field(default=None, ge=0, le=INT32)
    min_replicas: int | None = Field(default=None, ge=0, le=1024)
    max_replicas: int | None = Field(default=None, ge=0, le=1024)


class ScaleDown(Wire):
    no_traffic_timeout: int | None = Field(default=None, ge=0, le=INT32)


class TargetThroughput(Wire):
    qpm: float | None = Field(default=None, ge=0)
    paths: list[str] | None = None
    methods: list[str] | None = None


class AutoScaler(Wire):
    scale_down: ScaleDown | None = None
    target_gpu_utilization_percentage: int | None = Field(default=None, ge=0, le=100)
    target_throughput: TargetThroughput | None = None


class TokenRef(Wire):
    token_name_ref: str


class ApiToken(Wire):
    value: str | None = None
    value_from: TokenRef | None = None


class TcpCheck(Wire):
    port: int = Field(ge=1, le=65535)


class Liveness(Wire):
    initial_delay_seconds: int | None = Field(default=None, ge=0, le=INT32)
    tcp: TcpCheck | None = None


class Readiness(Wire):
    require_approval: bool | None = None


class Health(Wire):
    readiness: Readiness | None = None
    liveness: Liveness | None = None


class AuthConfig(Wire):
    ip_allowlist: list[str] | None = None


class LeastRequest(Wire):
    choice_count: int | None = Field(default=None, ge=1, le=INT32)


class Maglev(Wire):
    pass


class LoadBalance(Wire):
    """An update sends the one that is not meant as null."""

    least_request: LeastRequest | None = None
    maglev: Maglev | None = None


class UserSecurityContext(Wire):
    """Taken and given back; containers run as Homeport's policy says, never privileged."""

    privileged: bool | None = None
    no_specific_user: bool | None = None


class RoutingPolicy(Wire):
    enable_header_based_replica_routing: bool | None = None


class SchedulingPolicy(Wire):
    replica_spread: Literal["Required", "Preferred"] | None = None


class DeploymentSpec(Wire):
    container: Container | None = None
    resource_requirement: ResourceRequirement | None = None
    auto_scaler: AutoScaler | None = None
    api_tokens: list[ApiToken] | None = None
    envs: list[EnvVar] | None = None
    mounts: list[Mount] | None = None
    reservation_config: ReservationConfig | None = None
    image_pull_secrets: list[str] | None = None
    health: Health | None = None
    is_pod: bool | None = None
    queue_config: QueueConfig | None = None
    auth_config: AuthConfig | None = None
    routing_policy: RoutingPolicy | None = None
    load_balance_config: LoadBalance | None = None
    user_security_context: UserSecurityContext | None = None
    scheduling_policy: SchedulingPolicy | None = None
    ingress_enabled: bool | None = None
    log: Log | None = None
    allow_unauthenticated_access: StrictBool | None = None
    ingress_timeout_seconds: int | None = Field(default=None, ge=300, le=6000)


class Deployment(Wire):
    """`component` is what this family has no place for; see translate/http_endpoints.py."""

    metadata: JobMetadata
    spec: DeploymentSpec
    component: dict[str, Any] | None = None
