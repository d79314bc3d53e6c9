"""A domain in front of several endpoints: who may ask, how often, and who of them gets a request."""

import math
from typing import TYPE_CHECKING

from ..routing import Route, Share
from .access import networks_of
from .checks import Refusal
from .rates import Bucket

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .gateway import Gateway

BURST_S = 10.0  # a limited ingress takes the requests of so long at once
EMPTY = Refusal(503, "no_endpoint", "the domain has no endpoint", (b"Retry-After: 2\r\n",))


def too_many(code: str, message: str, wait_s: float) -> Refusal:
    return Refusal(429, code, message, (b"Retry-After: %d\r\n" % max(1, math.ceil(wait_s)),))


class Ingress:
    def __init__(self, gateway: "Gateway", route: Route) -> None:
        self.gateway = gateway
        self._bucket: Bucket | None = None
        self._lead: dict[str, float] = {}  # by endpoint, how far it is behind its share
        self.change(route)

    def change(self, route: Route) -> None:
        self.route = route
        self.networks = networks_of(route.access)
        self._shares = [s for s in route.shares or () if s.weight > 0]
        self._lead = {s.key: self._lead.get(s.key, 0.0) for s in self._shares}
        per_minute = route.requests_per_minute
        if per_minute is None:
            self._bucket = None
        elif self._bucket is None or self._bucket.per_s != per_minute / 60:
            per_s = per_minute / 60
            self._bucket = Bucket(per_s, max(1.0, per_s * BURST_S), self.gateway.now())

    def limit(self) -> Refusal | None:
        """Counts one request, or says why not."""
        if self._bucket is None or not (wait_s := self._bucket.take(self.gateway.now())):
            return None
        return too_many("rate_limited", "the domain takes no more requests at the moment", wait_s)

    def choose(self) -> "tuple[Endpoint, Share] | None":
        """
        The endpoint whose turn it is; over any number of requests each gets its share, evenly mixed.

        One that cannot answer now leaves its turn to the others; where none can, the refusal
        is that of the endpoint chosen. None: there is none at all.
        """
        there = [(e, s) for s in self._shares if (e := self.gateway.endpoint(s.key)) is not None]
        if not there:
            return None
        usable = [(e, s) for e, s in there if e.can_answer] or there
        total = 0
        for _, share in usable:
            self._lead[share.key] += share.weight
            total += share.weight
        chosen = max(usable, key=lambda pair: self._lead[pair[1].key])
        self._lead[chosen[1].key] -= total
        return chosen
