"""What the control plane tells the gateway and hears from it: plain values, each with a JSON form."""

import ipaddress
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, NamedTuple

# Counted up when an older gateway could misread what a newer control plane sends.
PROTOCOL = 3
# The names of the Host form. The second is where leptonai's `Client("workspace", "endpoint")` looks
# (0.27.3 and 0.47.1, config.ENDPOINT_BASE_DOMAIN); `homeport exec` leads it here.
LOCAL_DOMAIN, VENDOR_DOMAIN = "localhost", "xenon.lepton.run"


def hosts_of(workspace: str, endpoint: str) -> tuple[str, ...]:
    """Under which names an endpoint answers, besides its path and its ingresses."""
    label = f"{workspace}-{endpoint}".lower()
    return f"{label}.{LOCAL_DOMAIN}", f"{label}.{VENDOR_DOMAIN}"


# No endpoint's name has it, so no path leads to an ingress.
INGRESS_MARK = "@"


class RouteState(Enum):
    SERVING = "serving"  # without a replica: 503 with Retry-After
    ZERO = "zero"  # scaled to zero: a request is held, and asks for a wake
    ASLEEP = "asleep"  # scaled to zero where no request wakes: 503 with Retry-After
    STOPPED = "stopped"  # by its user: 503 at once, never woken


class Balancing(Enum):
    LEAST_REQUEST = "least_request"
    MAGLEV = "maglev"
    ROUND_ROBIN = "round_robin"


@dataclass(frozen=True, slots=True)
class Target:
    """A replica that is ready. `host` is an address, never a name: nothing is looked up."""

    id: str
    host: str
    port: int

    def __post_init__(self) -> None:
        ipaddress.ip_address(self.host)
        if not 0 < self.port < 65536:
            raise ValueError(f"replica {self.id!r}: {self.port} is not a port")


@dataclass(frozen=True, slots=True)
class Signed:
    """
    Tokens that the control plane has signed, and keeps no list of.

    Args:
        key: of their signature (HS256), in hex.
        holders: client ids of those whose tokens open the endpoint.
    """

    key: str = field(repr=False)
    holders: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AccessRule:
    """
    Args:
        tokens: sha256 (hex) of each token that opens the endpoint; None means public.
        secrets: sha256 of tokens that are never sent on, whether or not they open this
            endpoint: the workspace's own belong here. `tokens` always count as such.
        networks: addresses and CIDRs that may connect; empty means any.
        signed: tokens that are good beside `tokens`, and never sent on either.
    """

    tokens: frozenset[str] | None = None
    secrets: frozenset[str] = frozenset()
    networks: tuple[str, ...] = ()
    signed: Signed | None = None

    def __post_init__(self) -> None:
        for network in self.networks:
            ipaddress.ip_network(network, strict=False)


@dataclass(frozen=True, slots=True)
class Share:
    """
    One endpoint's part in the requests of an ingress.

    Args:
        key: of the endpoint's route, which need not be in the table.
        weight: beside the other weights of that ingress; 0 gets nothing.
        balancing: among the endpoint's replicas, None: as its own route says.
    """

    key: str
    weight: int
    balancing: Balancing | None = None
    choice_count: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """
    One endpoint, reached as `/e/{workspace}/{endpoint}/...` and by each of `hosts`; or an ingress,
    which is reached by its hosts only, and hands on to endpoints; or a port that is exposed, which is
    reached by its hosts or its prefix only.

    Args:
        is_exposed_port: see above; its `endpoint` tells it from all others.
        prefix: `/part/part`, of paths that lead to an exposed port and reach it as they are; "": none do.
            Who browses to one on this machine is sent on to the first of `hosts`.
        shares: makes it an ingress, whose `endpoint` is INGRESS_MARK and its domain. Its `access`
            is asked for beside the endpoint's own; replicas, state and times mean nothing.
        requests_per_minute: of an ingress, over all clients; None means any number.
        hosts: looked up whole, in lower case, without a port.
        choice_count: for least_request, how many replicas are drawn; None means all.
        timeout_s: how long a replica may send nothing while a request is open.
        hold_s: how long a request waits for a replica while scaled to zero.
        body_bytes: the largest request body; None means the gateway's own limit.
        may_name_replica: `X-Lepton-Replica-Target` chooses the replica.
    """

    workspace: str
    endpoint: str
    replicas: tuple[Target, ...] = ()
    access: AccessRule = AccessRule()
    hosts: tuple[str, ...] = ()
    state: RouteState = RouteState.SERVING
    balancing: Balancing = Balancing.LEAST_REQUEST
    choice_count: int | None = None
    timeout_s: float = 300.0
    hold_s: float = 300.0
    body_bytes: int | None = None
    may_name_replica: bool = False
    shares: tuple[Share, ...] | None = None
    requests_per_minute: float | None = None
    is_exposed_port: bool = False
    prefix: str = ""

    @property
    def claims(self) -> tuple[str, ...]:
        """What no other route may have."""
        return (*self.hosts, self.prefix) if self.prefix else self.hosts

    @property
    def key(self) -> str:
        return f"{self.workspace}/{self.endpoint}"

    @property
    def is_ingress(self) -> bool:
        return self.shares is not None

    def to_json(self) -> dict[str, Any]:
        access = self.access
        return asdict(self) | {
            "access": {
                "tokens": None if access.tokens is None else sorted(access.tokens),
                "secrets": sorted(access.secrets),
                "networks": list(access.networks),
                "signed": access.signed and _signed_to_json(access.signed),
            },
            "state": self.state.value,
            "balancing": self.balancing.value,
            "shares": None if self.shares is None else [_share_to_json(s) for s in self.shares],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Route":
        """
        Fields that a newer control plane may have added are left out.

        Raises:
            ValueError, KeyError, TypeError: it is no route.
        """
        known: dict[str, Any] = {k: v for k, v in data.items() if k in cls.__slots__}
        access = known.get("access", {})
        tokens = access.get("tokens")
        known["replicas"] = tuple(Target(t["id"], t["host"], t["port"]) for t in known.get("replicas", ()))
        known["access"] = AccessRule(
            None if tokens is None else frozenset(tokens),
            frozenset(access.get("secrets", ())),
            tuple(access.get("networks", ())),
            _signed_from_json(access.get("signed")),
        )
        known["hosts"] = tuple(known.get("hosts", ()))
        known["state"] = RouteState(known.get("state", "serving"))
        known["balancing"] = Balancing(known.get("balancing", "least_request"))
        shares = known.get("shares")
        known["shares"] = None if shares is None else tuple(_share_from_json(s) for s in shares)
        return cls(**known)


def _signed_to_json(signed: Signed) -> dict[str, Any]:
    return {"key": signed.key, "holders": sorted(signed.holders)}


def _signed_from_json(data: Mapping[str, Any] | None) -> Signed | None:
    return None if data is None else Signed(data["key"], frozenset(data["holders"]))


def _share_to_json(share: Share) -> dict[str, Any]:
    return asdict(share) | {"balancing": share.balancing and share.balancing.value}


def _share_from_json(data: Mapping[str, Any]) -> Share:
    balancing = data.get("balancing")
    return Share(
        data["key"], data["weight"], Balancing(balancing) if balancing else None, data.get("choice_count")
    )


class HostTaken(ValueError):
    """Another endpoint has this host name or prefix; the table is unchanged."""

    def __init__(self, host: str, owner: str) -> None:
        super().__init__(f"host {host!r} already belongs to {owner}")
        self.host, self.owner = host, owner


class RouteTable:
    """Routes by key; one change costs the same however many there are."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._routes: dict[str, Route] = {}
        self._owners: dict[str, str] = {}
        for route in routes:
            self.put(route)

    def put(self, route: Route) -> Route | None:
        """
        Adds or replaces; gives what was there.

        Raises:
            HostTaken: nothing was changed.
        """
        for host in route.claims:
            owner = self._owners.get(host, route.key)
            if owner != route.key:
                raise HostTaken(host, owner)
        before = self.remove(route.key)
        self._routes[route.key] = route
        self._owners.update(dict.fromkeys(route.claims, route.key))
        return before

    def remove(self, key: str) -> Route | None:
        before = self._routes.pop(key, None)
        for claim in before.claims if before else ():
            del self._owners[claim]
        return before

    def get(self, key: str) -> Route | None:
        return self._routes.get(key)

    def routes(self) -> tuple[Route, ...]:
        return tuple(self._routes.values())


# Upper bounds in milliseconds; one more bucket is for what took longer.
LATENCY_BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000)


@dataclass(slots=True)
class TrafficCounters:
    """
    Of one endpoint since the gateway began; only `open` and `held` also fall.

    `latency` counts answers by LATENCY_BOUNDS_MS, from request to the answer's end; `latency_ms`
    is their sum.
    """

    requests: int = 0
    open: int = 0
    held: int = 0
    unauthorized: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    last_request_ms: int = 0
    by_status: dict[int, int] = field(default_factory=dict[int, int])
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_MS) + 1))
    latency_ms: float = 0.0

    def add_answer(self, status: int, duration_ms: float, bytes_in: int, bytes_out: int) -> None:
        self.by_status[status] = self.by_status.get(status, 0) + 1
        self.latency[bisect_left(LATENCY_BOUNDS_MS, duration_ms)] += 1
        self.latency_ms += duration_ms
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TrafficCounters":
        known: dict[str, Any] = {k: v for k, v in data.items() if k in cls.__slots__}
        known["by_status"] = {int(k): v for k, v in known.get("by_status", {}).items()}
        return cls(**known)


class AccessRecord(NamedTuple):
    """
    One request, told when it has ended; `time_ms` is when it began. Travels as a JSON array in this order.

    `status` 499 means that the client left before its answer was complete; `note` says
    in a word why something went wrong. `path` is without its query, which may hold secrets.
    """

    time_ms: int
    request_id: str
    key: str
    replica: str
    client: str
    method: str
    path: str
    status: int
    bytes_in: int
    bytes_out: int
    first_byte_us: int
    duration_us: int
    note: str
