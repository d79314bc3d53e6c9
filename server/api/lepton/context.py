"""What the Lepton routes are given by `app.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...services.attempt_logs import LogSources
from ...services.context import Services
from .rendered import RenderedJobs


@dataclass(frozen=True, slots=True)
class LeptonContext:
    """
    Args:
        gateway_url: where endpoints are reached.
        refusal: why a workload is not placed, by its id.
        created_at_ms: when this data directory was made; nodes and groups are as old.
    """

    services: Services
    logs: LogSources
    jobs: RenderedJobs
    gateway_url: str
    refusal: Callable[[str], Sequence[str]]
    version: str
    created_at_ms: int
