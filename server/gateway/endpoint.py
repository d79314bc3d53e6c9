"""What the gateway keeps of one endpoint: its route, its replicas, its traffic, and who waits for it."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..routing import Balancing, Route, RouteState, Share, Target, TrafficCounters
from .access import networks_of
from .balancing import Balancer
from .checks import Refusal
from .headers import PathForm
from .pool import ReplicaPool

if TYPE_CHECKING:
    from .exchange import Exchange
    from .gateway import Gateway

SOON = (b"Retry-After: 2\r\n",)
STOPPED = Refusal(503, "stopped", "the endpoint is Stopped")
ASLEEP = Refusal(503, "asleep", "the endpoint has no replica for want of traffic; start it again", SOON)
NOT_READY = Refusal(503, "not_ready", "no replica of the endpoint is ready", SOON)
TOO_MANY = Refusal(503, "too_many_waiting", "too many requests wait for this endpoint to start", SOON)
NOT_THERE = Refusal(
    503, "replica_not_ready", "the replica named by X-Lepton-Replica-Target is not ready", SOON
)


def form_of(route: Route, scheme: bytes) -> PathForm:
    """How answers to requests that came by a path are led back there."""
    prefix = route.prefix if route.is_exposed_port else f"/e/{route.key}"
    return PathForm(prefix.encode(), scheme, is_kept=route.is_exposed_port)


class Endpoint:
    def __init__(self, gateway: "Gateway", route: Route) -> None:
        self.gateway, self.route = gateway, route
        self.key = route.key
        self.form = form_of(route, gateway.scheme)
        self.counters = TrafficCounters()
        self._pools: dict[Target, ReplicaPool] = {}
        self._waiting: dict[Exchange, int] = {}  # and the bytes that are kept for it
        self._is_woken = False
        self.change(route)

    def change(self, route: Route) -> None:
        """Open requests go on where they are."""
        if route.prefix != self.route.prefix:
            self.form = form_of(route, self.gateway.scheme)
        self.route = route
        self.networks = networks_of(route.access)
        before, self._pools = self._pools, {}
        for target in route.replicas:
            self._pools[target] = before.pop(target, None) or ReplicaPool(self, target)
        self._balancer = Balancer(
            list(self._pools.values()), route.balancing, route.choice_count, self.gateway.draw
        )
        for pool in before.values():
            pool.retire()
        self._balancers: dict[tuple[Balancing, int | None], Balancer[ReplicaPool]] = {}
        self._is_woken = False
        if route.state is RouteState.STOPPED:
            self._refuse_waiting(STOPPED)
        elif self._pools:
            for exchange in list(self._waiting):
                self.let_go(exchange)
                exchange.start()
        elif self._waiting and route.state is RouteState.ZERO:
            self.wake()

    def close(self) -> None:
        """It was removed."""
        self._refuse_waiting(NOT_READY)
        for pool in self._pools.values():
            pool.retire()
        self._pools = {}

    def _refuse_waiting(self, why: Refusal) -> None:
        for exchange in list(self._waiting):
            exchange.fail(why)

    def admit(self, exchange: "Exchange") -> Refusal | None:
        """Connects the exchange or holds it; else says why not."""
        if self.route.state is RouteState.STOPPED:
            return STOPPED
        if self._pools:
            pool = self.pick(exchange, ())
            if pool is None:
                return NOT_THERE
            exchange.connect(pool)
            return None
        if self.route.state is not RouteState.ZERO:
            return ASLEEP if self.route.state is RouteState.ASLEEP else NOT_READY
        size = len(exchange.head) + exchange.pending_bytes
        if not self.gateway.hold(1, size):
            return TOO_MANY
        self._waiting[exchange] = size
        self.counters.held += 1
        self.gateway.touched.add(self.key)
        exchange.wait_until = exchange.down.deadline = self.gateway.now() + self.route.hold_s
        if not self._is_woken:
            self.wake()
        return None

    def pick(self, exchange: "Exchange", tried: Collection[str]) -> ReplicaPool | None:
        named = exchange.request.replica_target.decode("latin-1") if self.route.may_name_replica else ""
        if named:
            return next((p for p in self._pools.values() if p.id == named and p.id not in tried), None)
        return self._balancer_of(exchange.share).pick(self.gateway.now(), exchange.down.client, tried)

    def _balancer_of(self, share: Share | None) -> Balancer[ReplicaPool]:
        """An ingress may choose among the replicas in a way of its own."""
        if share is None or share.balancing is None:
            return self._balancer
        way = share.balancing, share.choice_count
        if way not in self._balancers:
            self._balancers[way] = Balancer(list(self._pools.values()), *way, self.gateway.draw)
        return self._balancers[way]

    @property
    def can_answer(self) -> bool:
        """Now, or once it has started."""
        return bool(self._pools) or self.route.state is RouteState.ZERO

    def wake(self) -> None:
        self._is_woken = True
        self.gateway.on_wake(self.route.key)

    @property
    def is_wanted(self) -> bool:
        """Requests wait for it to start."""
        return bool(self._waiting)

    def holds_more(self, exchange: "Exchange", size: int) -> None:
        """Another part of a body came while its request waits."""
        if exchange in self._waiting:
            if self.gateway.hold(0, size):
                self._waiting[exchange] += size
            else:
                exchange.fail(TOO_MANY)

    def let_go(self, exchange: "Exchange") -> None:
        """It waits no longer."""
        size = self._waiting.pop(exchange, None)
        if size is not None:
            exchange.wait_until = 0.0
            self.counters.held -= 1
            self.gateway.touched.add(self.key)
            self.gateway.hold(-1, -size)

    def drained(self, pool: ReplicaPool) -> None:
        self.gateway.on_drained(self.route.key, pool.id)

    def sweep(self, now_s: float) -> None:
        for pool in self._pools.values():
            pool.close_idle(now_s)
