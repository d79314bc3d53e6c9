"""What the Run:ai handlers are given by `app.py`."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ....scheduler.model import Unplaced
from ...domain.exposures import GatewayNames
from ...gateway.rates import Guesses
from ...metrics import Metrics
from ...services.attempt_logs import LogSources
from ...services.context import Services
from ...services.jwt_tokens import TokenIssuer

TENANT_ID = 1  # there is one


@dataclass(frozen=True, slots=True)
class RunaiContext:
    """
    Args:
        issuer: makes and reads the tokens.
        gateway_url: where what workloads serve is reached. host: the address at which host ports are.
        waiting: why a workload has no place yet, by its id; None: it does not wait, or was not looked at.
        created_at_ms: when this data directory was made; the cluster and what it began with are as old.
        down: nodes that cannot be reached now.
        own_names: of this server, which no workload's URL may take. is_local: it is reached from this
            machine only.
        refused: how often each operation that is not served was asked for, as "METHOD path".
        guesses: wrong secrets of applications, by who sent them.
    """

    services: Services
    issuer: TokenIssuer
    logs: LogSources
    metrics: Metrics
    gateway_url: str
    host: str
    waiting: Callable[[str], Unplaced | None]
    version: str
    created_at_ms: int
    down: Callable[[], frozenset[str]] = frozenset
    refused: Counter[str] = field(default_factory=Counter[str])
    guesses: Guesses = field(default_factory=Guesses)
    own_names: frozenset[str] = frozenset()
    is_local: bool = True

    @property
    def gateway(self) -> GatewayNames:
        return GatewayNames(self.gateway_url, self.own_names)
