"""Ingresses, as leptonai 0.22.9 to 0.47.1 send them, misspelt names and all. Unknown fields are kept."""

from pydantic import Field

from .wire import Wire
from .wire_deployments import LoadBalance


class WorkspaceTokenAuth(Wire):
    remove_authorization_header: bool | None = None


class IngressAuth(Wire):
    lepton_workspace_token_auth: WorkspaceTokenAuth | None = None
    ip_allowlist: list[str] | None = None


class IngressEndpoint(Wire):
    deployment: str
    weight: int | None = Field(default=None, ge=0, le=1_000_000)
    load_balance_config: LoadBalance | None = None


class WorkspaceTier(Wire):
    """Has no field: how many requests that are is the workspace's affair."""


class RateLimit(Wire):
    workspace_tier_ratelimiter: WorkspaceTier | None = None


class TrafficShadowing(Wire):
    percentage: int | None = Field(default=None, ge=0, le=100)
    endpoint: IngressEndpoint | None = None


class IngressSpec(Wire):
    domain_name: str = Field(min_length=1)
    endpoints: list[IngressEndpoint] | None = None
    retelimit_config: RateLimit | None = None
    auth_config: IngressAuth | None = None
    traffic_shadowing_config: TrafficShadowing | None = None


class IngressBody(Wire):
    spec: IngressSpec
