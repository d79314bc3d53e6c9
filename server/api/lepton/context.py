"""What the Lepton routes are given by `app.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...metrics import Metrics
from ...services.attempt_logs import LogSources
from ...services.context import Services
from .rendered import RenderedJobs


@dataclass(frozen=True, slots=True)
class LeptonContext:
    """
    Args:
        gateway_url: where endpoints are reached. host: the address at which host ports are.
        has_new_families: `/endpoints` and `/devpods` are announced; they are served anyhow.
        is_secure_by_default: an endpoint that says nothing about access gets a token.
        refusal: why a workload is not placed, by its id.
        own_names: of this server, which no ingress may take.
        created_at_ms: when this data directory was made; nodes and groups are as old.
    """

    services: Services
    logs: LogSources
    jobs: RenderedJobs
    gateway_url: str
    host: str
    has_new_families: bool
    is_secure_by_default: bool
    refusal: Callable[[str], Sequence[str]]
    version: str
    created_at_ms: int
    metrics: Metrics
    own_names: frozenset[str] = frozenset()
