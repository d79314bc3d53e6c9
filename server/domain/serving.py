"""What makes a workload serve: replicas that run until they are stopped, probes, who may ask."""

from dataclasses import dataclass

from ...runtime.probes import Probe


@dataclass(frozen=True, slots=True)
class Access:
    """
    Who may send requests to an endpoint.

    Args:
        tokens: hashes (SHA-256, hex) of bearer tokens of its own.
        takes_workspace_token: every token of its workspace is good too.
        addresses: IP addresses and networks that may ask; empty is everybody.
    """

    tokens: tuple[str, ...] = ()
    takes_workspace_token: bool = False
    addresses: tuple[str, ...] = ()

    @property
    def is_public(self) -> bool:
        return not (self.tokens or self.takes_workspace_token)


@dataclass(frozen=True, slots=True)
class Serving:
    """
    Args:
        replicas: as many as its user wants; 0 is stopped.
        port: of the container, where requests go; None takes none.
        needs_approval: ready only after somebody has approved of the replica.
        timeout_s: that the gateway waits for an answer.
        pins_replicas: a request may name its replica.
    """

    replicas: int = 1
    port: int | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    needs_approval: bool = False
    access: Access = Access()
    timeout_s: int = 300
    pins_replicas: bool = False
