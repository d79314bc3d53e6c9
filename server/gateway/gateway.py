"""The gateway itself: table, connections, time. `feed.py` puts it on a unix socket; tests use it as it is."""

import asyncio
import contextlib
import itertools
import random
import secrets
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from ...runtime.clock import Clock
from ..routing import VENDOR_DOMAIN, AccessRecord, AccessRule, Route, RouteTable, Share, TrafficCounters
from ..tls import ServedTls
from .access import UNAUTHORIZED, Networks, is_address, is_secret, judge
from .checks import Refusal, Request, host_name, split_target
from .downstream import Downstream
from .endpoint import Endpoint
from .exchange import Known
from .headers import write_fields
from .ingress import EMPTY, Ingress, too_many
from .limits import Limits
from .listening import first_of, open_listener
from .prefixes import Prefixes, own_origin
from .rates import Guesses
from .signed import holder_of

NOT_FOUND = Refusal(404, "not_found", "no endpoint is served at this address")
MISDIRECTED = Refusal(421, "misdirected", "this host name is not the gateway's; `--allow-host` admits it")
TLS_LOOK_S = 1.0  # a certificate that was made anew is taken up after so long
FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def _ignore(*_: object) -> None:
    pass


class Gateway:
    """
    Args:
        hosts: names under which the path form answers, besides addresses and localhost. A
            page of another name (DNS rebinding) gets nothing without a token of ours.
        on_wake: a request waits for this endpoint (its key), which is scaled to zero.
        on_record: one request has ended.
        on_drained: (key, replica id) was removed from its route and has no request left.
        draw: source of chance.
    """

    def __init__(
        self,
        clock: Clock,
        limits: Limits | None = None,
        *,
        hosts: Iterable[str] = (),
        on_wake: Callable[[str], None] = _ignore,
        on_record: Callable[[AccessRecord], None] = _ignore,
        on_drained: Callable[[str, str], None] = _ignore,
        draw: random.Random | None = None,
    ) -> None:
        self.clock, self.limits = clock, limits or Limits()
        self.now, self.now_ms = clock.monotonic_s, clock.now_ms
        self.on_wake, self.record, self.on_drained = on_wake, on_record, on_drained
        self.draw = draw or random.Random()
        self.is_draining = False
        self._hosts = frozenset(h.lower() for h in hosts)
        self._table = RouteTable()
        self._endpoints: dict[str, Endpoint] = {}
        self._ingresses: dict[str, Ingress] = {}
        self._by_host: dict[str, Endpoint | Ingress] = {}
        self._prefixes = Prefixes()
        self._guesses = Guesses()
        self._tls: ServedTls | None = None
        self._tls_again_s = 0.0
        self._connections: set[Downstream] = set()
        self._silent: dict[Downstream, None] = {}
        self._is_empty = asyncio.Event()
        self._unfinished: dict[str, dict[Downstream, None]] = {}
        self._held = self._held_bytes = 0
        self._ids = itertools.count(1)
        self._id_prefix = secrets.token_hex(6).encode()
        self.revision = 0  # of the table
        self.touched: set[str] = set()  # keys of endpoints whose counters have changed; for `feed`
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None

    # --- the table

    def put(self, route: Route) -> None:
        """
        Adds or replaces one endpoint; at once, and however many there are.

        Raises:
            HostTaken: nothing was changed.
        """
        before = self._table.put(route)
        self.revision += 1
        self._unclaim(before)
        self._serve(route)

    def _unclaim(self, before: Route | None) -> None:
        """No host and no prefix leads to it any more."""
        if before is not None:
            for host in before.hosts:
                self._by_host.pop(host, None)
            self._prefixes.remove(before.prefix)

    def _serve(self, route: Route) -> None:
        """Begins to, or goes on in another way."""
        found = self._served(route.key)
        if found is not None:
            found.change(route)
        elif route.is_ingress:
            found = self._ingresses[route.key] = Ingress(self, route)
        else:
            found = self._endpoints[route.key] = Endpoint(self, route)
        self._by_host.update(dict.fromkeys(route.hosts, found))
        if route.prefix and isinstance(found, Endpoint):
            self._prefixes.put(route.prefix, found)

    def _served(self, key: str) -> Endpoint | Ingress | None:
        return self._endpoints.get(key) or self._ingresses.get(key)

    def remove(self, key: str) -> None:
        before = self._table.remove(key)
        if before is None:
            return
        self.revision += 1
        self._unclaim(before)
        if before.is_ingress:
            del self._ingresses[key]
        else:
            self._endpoints.pop(key).close()

    def replace(self, routes: Iterable[Route]) -> None:
        """
        The whole table; what stays equal is not touched.

        Raises:
            HostTaken: nothing was changed.
        """
        wanted = {route.key: route for route in routes}
        table = RouteTable(wanted.values())
        self.revision += 1
        for key in (self._endpoints.keys() | self._ingresses.keys()) - wanted.keys():
            self.remove(key)
        changed = [r for r in wanted.values() if self._table.get(r.key) != r]
        for route in changed:  # a host name may go from one endpoint to another
            self._unclaim(self._table.get(route.key))
        self._table = table
        for route in changed:
            self._serve(route)

    def endpoint(self, key: str) -> Endpoint | None:
        return self._endpoints.get(key)

    def counters(self) -> dict[str, TrafficCounters]:
        return {key: endpoint.counters for key, endpoint in self._endpoints.items()}

    def wanted(self) -> list[str]:
        """Keys of endpoints for which requests wait."""
        return [key for key, endpoint in self._endpoints.items() if endpoint.is_wanted]

    # --- requests

    def resolve(self, down: Downstream, request: Request) -> Known | Refusal:
        """
        Where a request goes. Without a share of an ingress, the same for an equal one of this
        connection, until the table changes.
        """
        name = host_name(request.host) if self._by_host else ""
        endpoint = self._by_host.get(name)
        prefix, target, is_by_path = b"", request.target, False
        hashed = down.hash_of(request.authorization) if request.authorization else ""
        share: Share | None = None
        is_ours = False
        if isinstance(endpoint, Ingress):
            is_ours = bool(hashed) and is_secret(endpoint.route.access, hashed)
            chosen = self._through(endpoint, down, hashed)
            if isinstance(chosen, Refusal):
                return chosen
            endpoint, share = chosen
        elif endpoint is None:
            found = self._by_path(target)
            if found is None:
                return NOT_FOUND
            endpoint, prefix, target = found
            is_by_path = True
            if endpoint.route.prefix and (moved := own_origin(request, endpoint.route, self.scheme)):
                return moved
        rule = endpoint.route.access
        holder = holder_of(request.authorization, rule.signed, self.now_ms()) if rule.signed else ""
        is_ours = is_ours or bool(holder) or (bool(hashed) and is_secret(rule, hashed))
        if is_by_path and not is_ours and not self._is_own_host(request.host):
            return MISDIRECTED
        refusal = self._judge(rule, endpoint.networks, down, hashed, holder)
        if refusal is not None:
            endpoint.counters.unauthorized += 1
            self.touched.add(endpoint.key)
            return refusal
        forwarded = down.forwarded if not name.endswith(VENDOR_DOMAIN) else down.forwarded_as("https")
        fields = write_fields(request, prefix, forwarded, hides_token=is_ours)
        form = endpoint.form if is_by_path else None
        return Known(request, endpoint, target, fields, form, self.revision, share, is_lasting=not holder)

    def _by_path(self, target: bytes) -> tuple[Endpoint, bytes, bytes] | None:
        """The endpoint, the prefix that the request loses on its way, and what is left of its target."""
        split = split_target(target)
        if split is not None:
            endpoint = self._endpoints.get(split[0])
            if endpoint is not None and not endpoint.route.is_exposed_port:
                return endpoint, split[1], split[2]
        endpoint = self._prefixes.find(target) if self._prefixes else None
        return None if endpoint is None else (endpoint, b"", target)

    def _through(self, ingress: Ingress, down: Downstream, hashed: str) -> tuple[Endpoint, Share] | Refusal:
        """Past what the ingress itself asks for; the endpoint's own rules come after."""
        refusal = self._judge(ingress.route.access, ingress.networks, down, hashed) or ingress.limit()
        return refusal or ingress.choose() or EMPTY

    def _judge(
        self, rule: AccessRule, networks: Networks, down: Downstream, hashed: str, holder: str = ""
    ) -> Refusal | None:
        """
        None lets the request pass. Who has tried many wrong tokens has to wait before the next.

        Args:
            holder: whose signed token it bears, "" where it bears none that is good.
        """
        if holder and rule.tokens is not None and rule.signed is not None and holder in rule.signed.holders:
            rule = replace(rule, tokens=None)
        if rule.tokens is None or not hashed:
            return judge(rule, networks, down.client, hashed)
        guesses, now_s = self._guesses, self.now()
        if not guesses.is_known(down.client, hashed) and (wait_s := guesses.pause_s(down.client, now_s)):
            return too_many("too_many_tokens", "too many wrong tokens came from this address", wait_s)
        refusal = judge(rule, networks, down.client, hashed)
        if refusal is None:
            guesses.was_right(down.client, hashed, now_s)
        elif refusal is UNAUTHORIZED:
            guesses.was_wrong(down.client, now_s)
        return refusal

    @property
    def scheme(self) -> bytes:
        return b"https" if self._tls else b"http"

    def new_id(self) -> bytes:
        return b"%b-%x" % (self._id_prefix, next(self._ids))

    def record_refusal(
        self, down: Downstream, request: Request | None, refusal: Refusal, duration_s: float
    ) -> None:
        """Of what never became an exchange; None was not even a request."""
        request_id, key, method, path = "", "", "-", "-"
        if request is not None:
            request_id, method, path = request.request_id.decode(), request.method.decode(), request.path
            found = self._by_host.get(host_name(request.host))
            if found is None and (below := self._by_path(request.target)) is not None:
                found = below[0]
            key = found.route.key if found else ""
        self.record(AccessRecord(
            self.now_ms(), request_id, key, "", down.client, method, path, refusal.status,
            0, 0, 0, int(duration_s * 1e6), refusal.code,
        ))  # fmt: skip

    def _is_own_host(self, host: bytes) -> bool:
        name = host_name(host)
        return (
            name in ("", "localhost", "127.0.0.1")
            or name in self._hosts
            or name.endswith(".localhost")
            or is_address(name)
        )

    def hold(self, count: int, size: int) -> bool:
        """Counts what waits, over all endpoints; False, and nothing counted, beyond the limits."""
        is_more = count > 0 or size > 0
        limits = self.limits
        if is_more and (self._held + count > limits.held or self._held_bytes + size > limits.held_bytes):
            return False
        self._held += count
        self._held_bytes += size
        return True

    # --- connections

    def add(self, down: Downstream) -> None:
        self._connections.add(down)
        if len(self._connections) <= self.limits.connections:
            self._silent[down] = None
        elif self._silent:
            oldest = next(iter(self._silent))
            self.has_spoken(oldest)
            oldest.abort()
            self._silent[down] = None
        else:
            down.goodbye(FULL)

    def discard(self, down: Downstream) -> None:
        self._connections.discard(down)
        self.has_spoken(down)
        self.has_head(down)
        if not self._connections:
            self._is_empty.set()

    def has_spoken(self, down: Downstream) -> None:
        """It has sent something; those that have not are the first to go when there are too many."""
        self._silent.pop(down, None)

    def lacks_head(self, down: Downstream) -> None:
        """Part of a head has come. Who begins many and ends none loses the oldest."""
        of_client = self._unfinished.setdefault(down.client, {})
        of_client[down] = None
        if len(of_client) > self.limits.unfinished_heads:
            oldest = next(iter(of_client))
            self.has_head(oldest)
            oldest.abort()

    def has_head(self, down: Downstream) -> None:
        of_client = self._unfinished.get(down.client)
        if of_client is not None:
            of_client.pop(down, None)
            if not of_client:
                del self._unfinished[down.client]

    # --- life

    async def listen(
        self,
        listener: socket.socket | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ServedTls | None = None,
    ) -> int:
        """
        Begins to serve, on a socket that is given or on one of its own.

        Args:
            listener: made with proto=IPPROTO_TCP; asyncio sets TCP_NODELAY only then.
            tls: HTTPS only, with this certificate.

        Returns:
            The port.
        """
        listener = listener or open_listener(host, port)
        loop = asyncio.get_running_loop()
        more: dict[str, Any] = {}
        if tls is not None:
            self._tls = tls
            more = {"ssl_handshake_timeout": self.limits.head_s, "ssl_shutdown_timeout": self.limits.linger_s}
        self._servers.append(
            await loop.create_server(
                lambda: Downstream(self), sock=listener, backlog=1024, ssl=tls and tls.context, **more
            )
        )
        if self._sweeper is None:
            self._sweeper = loop.create_task(self._sweep())
        return listener.getsockname()[1]

    async def _sweep(self) -> None:
        while True:
            await self.clock.sleep(self.limits.sweep_s)
            now_s = self.now()
            for down in tuple(self._connections):
                down.check(now_s)
            for endpoint in tuple(self._endpoints.values()):
                endpoint.sweep(now_s)
            if self._tls is not None and now_s >= self._tls_again_s:
                self._tls_again_s = now_s + TLS_LOOK_S
                self._tls.look()

    async def close(self, drain_s: float = 0.0) -> None:
        """No new connection; open requests have `drain_s` to end, then they are cut."""
        self.is_draining = True
        for server in self._servers:
            server.close()
        for down in tuple(self._connections):
            down.close_if_idle()
        if self._connections and drain_s > 0:
            self._is_empty.clear()
            await first_of(self._is_empty.wait(), self.clock.sleep(drain_s))
        for down in tuple(self._connections):
            down.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        for key in (*self._endpoints, *self._ingresses):
            self.remove(key)
