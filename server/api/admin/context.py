"""What the routes of /homeport are given by `app.py`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from ...data_plane import DataPlane
from ...levers import Levers
from ...metrics import Metrics
from ...reconcile.loop import ReconcileLoop
from ...services.attempt_logs import LogSources
from ...services.context import Services
from ...services.exec_sessions import ExecSessions


@dataclass(frozen=True, slots=True)
class AdminContext:
    services: Services
    loop: ReconcileLoop
    logs: LogSources
    plane: DataPlane
    runtime: str
    version: str
    refused: Mapping[str, Counter[str]]  # by dialect: how often what is not served was asked for
    metrics: Metrics
    prices: Mapping[str, Decimal]  # per hour, by shape
    execs: ExecSessions
    levers: Levers
