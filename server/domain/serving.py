"""What makes a workload serve: replicas that run until they are stopped, probes, who may ask."""

from dataclasses import dataclass

from ...runtime.probes import Probe

EVERYBODY = "*"
CALM_S = 300  # the default of Kubernetes' autoscaler


@dataclass(frozen=True, slots=True)
class Access:
    """
    Who may send requests to an endpoint.

    Args:
        tokens: hashes (SHA-256, hex) of bearer tokens of its own.
        takes_workspace_token: every token of its workspace is good too.
        addresses: IP addresses and networks that may ask; empty is everybody.
        people: owners of tokens, and applications by client id or name, whose tokens are good. EVERYBODY
            with `takes_workspace_token`: those of all applications too.
    """

    tokens: tuple[str, ...] = ()
    takes_workspace_token: bool = False
    addresses: tuple[str, ...] = ()
    people: tuple[str, ...] = ()

    @property
    def is_public(self) -> bool:
        return not (self.tokens or self.takes_workspace_token or self.people)


@dataclass(frozen=True, slots=True)
class Exposure:
    """
    A port of what runs to an end, to which the gateway leads. Requests reach it as they came, with the
    whole of their path.

    Args:
        port: of the container.
        host: name that leads to it, whatever the path; "": its path does, on the gateway's own names.
        path: `/part/part`; with a host only where a client begins, and perhaps "".
        access: None: whoever reaches the gateway, while it listens on loopback only; else who has a
            token of the workspace.
    """

    port: int
    host: str = ""
    path: str = ""
    access: Access | None = None

    @property
    def claim(self) -> str:
        """What no other may have."""
        return self.host or self.path


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
        concurrency: requests that one replica is to have open at a time; None: not by this.
        latency_ms: that requests are to take on average; None: not by this.
        calm_s: fewer replicas only once fewer have been enough for so long.
        woken: replicas that it has after a wake; None: the user's least.
    """

    most: int = 1
    no_traffic_timeout_s: int = 0
    qpm: float | None = None
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    gpu_percent: int | None = None
    concurrency: float | None = None
    latency_ms: float | None = None
    calm_s: int = CALM_S
    woken: int | None = None


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
        ready_within_s: once it has a place, a replica has to be ready within this time, or it is given
            up; None: it is tried without end, and an update for as long as any.
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
    ready_within_s: int | None = None
