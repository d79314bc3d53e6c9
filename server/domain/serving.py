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
class Scaling:
    """
    What moves the number of replicas between the user's least and `most`.

    Args:
        most: never more replicas.
        no_traffic_timeout_s: without a request for so long it goes to zero; 0: never.
        qpm: requests per minute that one replica is to take; None: not by this.
        methods, paths: of the requests that count for `qpm`; empty: all.
        gpu_percent: utilisation that the GPUs are to have, 1..100; None: not by this.
    """

    most: int = 1
    no_traffic_timeout_s: int = 0
    qpm: float | None = None
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    gpu_percent: int | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """
    Args:
        replicas: as many as its user wants, or at least wants where it scales; 0 is stopped.
        scaling: None where the number stays as it is.
        port: of the container, where requests go; None takes none.
        needs_approval: ready only after somebody has approved of the replica.
        timeout_s: that the gateway waits for an answer.
        pins_replicas: a request may name its replica.
        balancing: how the gateway chooses a replica, as it names it in `routing.Balancing`.
        choice_count: for least_request, of how many replicas the idlest is taken; None: of all.
        is_exposed: the gateway leads to it.
        is_kept_alive: without a command it runs on until it is stopped, as a dev pod does.
    """

    replicas: int = 1
    scaling: Scaling | None = None
    port: int | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    needs_approval: bool = False
    access: Access = Access()
    timeout_s: int = 300
    pins_replicas: bool = False
    balancing: str = "least_request"
    choice_count: int | None = None
    is_exposed: bool = True
    is_kept_alive: bool = False
