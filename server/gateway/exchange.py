"""One request from its head to the end of its answer."""

from typing import TYPE_CHECKING

from ..routing import AccessRecord, Share
from .checks import Refusal, Request, path_of
from .headers import END, END_CLOSING, END_OF_OLD, Answer, PathForm, write_interim

if TYPE_CHECKING:
    from .downstream import Downstream
    from .endpoint import Endpoint
    from .pool import ReplicaPool
    from .upstream import Upstream

MOST_REPLICAS = 3  # tried for one request
SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
CLIENT_LEFT = 499


class Known:
    """
    A request whose head was checked and whose endpoint was found, open to this client.

    Args:
        target: without the prefix of the path form.
        fields: what the replica gets behind the target, up to the request's id.
        form: puts the path form's prefix back into the answer.
        revision: of the table it was looked up in.
        share: of the ingress that chose the endpoint, which chooses anew for each request.
        path: for the record; None: the request's own.
        is_lasting: it is true of an equal request, too, until the table changes.
    """

    __slots__ = (
        "endpoint", "fields", "form", "is_lasting", "method", "path", "request", "revision", "share", "start",
    )  # fmt: skip

    def __init__(
        self,
        request: Request,
        endpoint: "Endpoint",
        target: bytes,
        fields: bytes,
        form: PathForm | None,
        revision: int,
        share: Share | None = None,
        path: str | None = None,
        *,
        is_lasting: bool = True,
    ) -> None:
        self.request, self.endpoint, self.fields = request, endpoint, fields
        self.is_lasting = is_lasting
        self.form, self.revision, self.share = form, revision, share
        self.start = b"%b %b%b" % (request.method, target, fields)
        self.method, self.path = request.method.decode(), request.path if path is None else path

    def elsewhere(self, target: bytes) -> "Known":
        """The same request to another path of its endpoint; `target` is without the prefix."""
        prefix = self.form.prefix if self.form else b""
        return Known(
            self.request, self.endpoint, target, self.fields, self.form, self.revision, self.share,
            path_of(prefix + target),
        )  # fmt: skip


class Exchange:
    """Between a client's connection and a replica's. Several in a row may share what is known."""

    __slots__ = (
        "_known", "_pending", "_pool", "_started_s", "_time_ms", "_tried", "_up", "bytes_in", "bytes_out",
        "down", "endpoint", "first_byte_s", "form", "has_answer", "head", "is_body_sent", "is_over", "note",
        "pending_bytes", "replica", "request", "request_id", "status", "wait_until",
    )  # fmt: skip

    def __init__(self, down: "Downstream", known: Known, started_s: float) -> None:
        endpoint, request = known.endpoint, known.request
        gateway = endpoint.gateway
        self.down, self.endpoint, self.request, self.form = down, endpoint, request, known.form
        self._known, self._started_s = known, started_s
        self.request_id = request.request_id or gateway.new_id()
        self.head = known.start + self.request_id + END
        self._pending: list[bytes] = []
        self.pending_bytes = 0
        self._pool: ReplicaPool | None = None
        self._up: Upstream | None = None
        self._tried: tuple[str, ...] = ()
        self.replica = self.note = ""
        self.is_body_sent = not request.has_body
        self.has_answer = self.is_over = False
        self.status = self.bytes_in = self.bytes_out = 0
        self.first_byte_s = self.wait_until = 0.0
        counters = endpoint.counters
        counters.requests += 1
        counters.open += 1
        counters.last_request_ms = self._time_ms = gateway.now_ms()
        gateway.touched.add(endpoint.key)

    # --- towards the replica

    def start(self) -> None:
        """To a replica, or to wait for one, or refused."""
        endpoint = self.endpoint
        refused = endpoint.admit(self)
        if isinstance(refused, Refusal):
            self.fail(refused)

    def connect(self, pool: "ReplicaPool", *, anew: bool = False) -> None:
        self._pool = pool
        self.replica = pool.id
        self._tried += (pool.id,)
        pool.open += 1
        up = None if anew else pool.take()
        if up is not None:
            self.attach(up)
            return
        gateway = self.endpoint.gateway
        self.wait_until = self.down.deadline = gateway.now() + gateway.limits.connect_s
        pool.dial(self)

    def attach(self, up: "Upstream") -> None:
        self._up = up
        up.begin(self)
        is_late = self.wait_until > 0
        self.wait_until = 0.0
        if self._pending:
            up.transport.write(b"".join((self.head, *self._pending)))
            self._pending = []
            self.pending_bytes = 0
        else:
            up.transport.write(self.head)
        down = self.down
        if is_late or not self.is_body_sent or down.is_paused:
            self.touch()
            down.steer()
        else:
            down.deadline = self._started_s + self.endpoint.route.timeout_s
        if down.is_full:
            up.pause(True)

    def unreachable(self, why: str) -> None:
        """Nothing was sent, so another replica may have it, whatever the method."""
        if self.is_over:
            return
        self._leave_pool()
        pool = self.endpoint.pick(self, self._tried) if len(self._tried) < MOST_REPLICAS else None
        if pool is None:
            self.note = f"connect: {why}"
            self.fail(Refusal(502, "replica_unreachable", "no replica of the endpoint could be reached"))
        else:
            self.connect(pool)

    def send(self, data: bytes) -> None:
        """Body bytes, framed for the replica."""
        if self._up is not None:
            self._up.transport.write(data)
        else:
            self._pending.append(data)
            self.pending_bytes += len(data)
            self.endpoint.holds_more(self, len(data))

    @property
    def share(self) -> Share | None:
        return self._known.share

    @property
    def is_replica_full(self) -> bool:
        """Nothing more should be read from the client now."""
        if self._up is not None:
            return self._up.is_full
        return self.pending_bytes >= self.down.gateway.limits.buffer_bytes

    def touch(self) -> None:
        """Something moved."""
        if self.wait_until == 0.0:
            gateway = self.endpoint.gateway
            patience_s = gateway.limits.body_idle_s if self._awaits_body else self.endpoint.route.timeout_s
            self.down.deadline = gateway.now() + patience_s

    @property
    def _awaits_body(self) -> bool:
        """It is the client's turn."""
        return self.down.is_reading_body and not self.has_answer and not self.is_replica_full

    def pause_replica(self, is_paused: bool) -> None:
        if self._up is not None:
            self._up.pause(is_paused)

    # --- towards the client

    def answer_head(self, answer: Answer, now_s: float) -> bytes:
        """What the client gets before the body."""
        self.status = answer.status
        self.has_answer = True
        self.first_byte_s = now_s
        down, request = self.down, self.request
        if not request.is_11 and answer.has_body and answer.length is None:
            down.is_last = True
        if down.is_last or self.endpoint.gateway.is_draining:
            down.is_last = True
            return b"".join((answer.start, self.request_id, END_CLOSING))
        return b"".join((answer.start, self.request_id, END if request.is_11 else END_OF_OLD))

    def interim(self, answer: Answer) -> None:
        is_asked = answer.status != 100 or self.request.expects_continue
        if is_asked and self.request.is_11:
            self.write(write_interim(answer))

    def switch(self, answer: Answer, rest: bytes) -> None:
        """101: from now on bytes go both ways as they are."""
        if not self.request.upgrade or answer.upgrade.lower() != self.request.upgrade.lower():
            self.bad_answer("a switch of protocols that nobody asked for")
            return
        self.status = 101
        self.has_answer = True
        self.first_byte_s = self.endpoint.gateway.now()
        self.down.is_last = True
        self.write(write_interim(answer) + rest)
        self.down.begin_tunnel()

    def write(self, data: bytes) -> None:
        self.bytes_out += len(data)
        self.down.transport.write(data)

    def complete(self, now_s: float = 0.0) -> None:
        if not self.is_over:
            self._up = None
            now_s = now_s or self.endpoint.gateway.now()
            self._end(now_s)
            self.down.answered(self, now_s)

    def fail(self, refusal: Refusal) -> None:
        """An answer of the gateway's own, or the end of the connection where one has begun."""
        if self.is_over:
            return
        self._drop_replica()
        if self.has_answer:
            self.note = self.note or refusal.code
            self._end()
            self.down.break_off()
        else:
            self.status = refusal.status
            self.note = self.note or refusal.code
            self._end()
            self.down.refuse(refusal, self)

    def bad_answer(self, why: str) -> None:
        self.note = f"answer: {why}"
        self.fail(Refusal(502, "bad_answer", "the replica's answer is not valid HTTP"))

    def lost_replica(self, up: "Upstream") -> None:
        """
        The connection ended inside an answer, or before it.

        A kept connection that ends before its first byte counts as one that could not be
        made, for a request that changes nothing: the replica had closed it already.
        """
        if self.is_over:
            return
        self._up = None
        if not up.is_fresh and not up.has_answered and self.request.method in SAFE and self.is_body_sent:
            pool = self._pool
            self._leave_pool()
            if pool is not None and not self.request.has_body:
                if pool.is_retired:
                    pool = self.endpoint.pick(self, self._tried)
                if pool is not None:
                    self.connect(pool, anew=True)
                    return
        self.note = "the replica closed the connection"
        self.fail(Refusal(502, "replica_closed", "the replica closed the connection before it had answered"))

    def timed_out(self) -> None:
        if self.wait_until and self._pool is None:
            self.note = "hold"
            self.fail(Refusal(503, "not_ready", "no replica became ready in time", (b"Retry-After: 5\r\n",)))
        elif self.wait_until:
            assert self._pool is not None
            self._pool.stop_dialling(self)
            self._pool.rest()
            self.unreachable("timed out")
        elif self._awaits_body:
            self.fail(Refusal(408, "body_timeout", "the request body stopped coming"))
        else:
            self.note = "timeout"
            self.fail(Refusal(504, "replica_timeout", "the replica did not answer in time"))

    def replica_sent_eof(self) -> bool:
        """In a tunnel each direction ends on its own. True keeps the other one open."""
        return self.down.end_writing()

    def end_sending(self) -> None:
        if self._up is not None and self._up.transport.can_write_eof():
            self._up.transport.write_eof()

    def end_tunnel(self) -> None:
        """Both directions have ended."""
        if self._up is not None:
            self._up.close()

    def cancel(self) -> None:
        """The client is gone."""
        if not self.is_over:
            self._drop_replica()
            if self.status != 101:
                self.status, self.note = CLIENT_LEFT, self.note or "client left"
            self._end()

    def _drop_replica(self) -> None:
        if self._up is not None:
            up, self._up = self._up, None
            up.let_go()
        elif self._pool is not None:
            self._pool.stop_dialling(self)
        self.endpoint.let_go(self)

    def _leave_pool(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.done()

    def _end(self, now_s: float = 0.0) -> None:
        self.is_over = True
        pool = self._pool
        if pool is not None:
            self._pool = None
            pool.done()
        endpoint, known = self.endpoint, self._known
        gateway, counters = endpoint.gateway, endpoint.counters
        duration_s = (now_s or gateway.now()) - self._started_s
        counters.open -= 1
        gateway.touched.add(endpoint.key)
        counters.add_answer(self.status, duration_s * 1000, self.bytes_in, self.bytes_out)
        first_us = int((self.first_byte_s - self._started_s) * 1e6) if self.first_byte_s else 0
        gateway.record(AccessRecord(
            self._time_ms, self.request_id.decode(), endpoint.key, self.replica, self.down.client,
            known.method, known.path, self.status, self.bytes_in, self.bytes_out,
            first_us, int(duration_s * 1e6), self.note,
        ))  # fmt: skip
