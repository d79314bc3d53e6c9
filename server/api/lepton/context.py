"""What the Lepton routes are given by `app.py`."""

from dataclasses import dataclass

from ...services.attempt_logs import LogSources
from ...services.context import Services
from .rendered import RenderedJobs


@dataclass(frozen=True, slots=True)
class LeptonContext:
    """`created_at_ms`: when this data directory was made; nodes and groups are as old."""

    services: Services
    logs: LogSources
    jobs: RenderedJobs
    version: str
    created_at_ms: int
