"""The heads that the gateway writes: to replicas, to clients, and its own answers."""

import json
from dataclasses import dataclass
from http import HTTPStatus

import httptools

from .checks import Head, Refusal, Request, tokens_of
from .framing import FramingError

SANDBOX = b"Content-Security-Policy: sandbox allow-scripts allow-forms\r\n"
# Written anew by each hop. Connection and Transfer-Encoding are handled on their own.
HOP_BY_HOP = frozenset(
    {b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"te", b"upgrade", b"x-request-id"}
)
END = b"\r\n\r\n"
END_CLOSING = b"\r\nConnection: close\r\n\r\n"
END_OF_OLD = b"\r\nConnection: keep-alive\r\n\r\n"  # HTTP/1.0 has to be told
REASONS = {s.value: s.phrase.encode() for s in HTTPStatus}

# HTTP/2 for one who began to speak it: SETTINGS, then GOAWAY with HTTP_1_1_REQUIRED and a sentence.
_WHY = b"this gateway speaks HTTP/1.1; HTTP/2 and gRPC need a proxy in front of it that speaks HTTP/2"
H2_GOAWAY = (
    bytes(3) + b"\x04\x00" + bytes(4)
    + (8 + len(_WHY)).to_bytes(3, "big") + b"\x07\x00" + bytes(4) + bytes(4) + (0xD).to_bytes(4, "big") + _WHY
)  # fmt: skip


def write_fields(request: Request, prefix: bytes, client: bytes, *, hides_token: bool) -> bytes:
    """
    The head behind the target, up to the request's id, which comes last; END follows.

    Args:
        prefix: of the path form, that the target has lost.
        client: `X-Forwarded-For` and `-Proto` of this connection, as lines.
    """
    parts = [b" HTTP/1.1\r\nHost: ", request.host or b"localhost", b"\r\n"]
    parts += request.lines
    if request.authorization and not hides_token:
        parts += (b"Authorization: ", request.authorization, b"\r\n")
    parts.append(client)
    if request.host:
        parts += (b"X-Forwarded-Host: ", request.host, b"\r\n")
    if prefix:
        parts += (b"X-Forwarded-Prefix: ", prefix, b"\r\n")
    if request.is_chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif request.length is not None:
        parts.append(b"Content-Length: %d\r\n" % request.length)
    if request.upgrade:
        parts += (b"Connection: Upgrade\r\nUpgrade: ", request.upgrade, b"\r\n")
    if request.expects_continue:
        parts.append(b"Expect: 100-continue\r\n")
    parts.append(b"X-Request-Id: ")
    return b"".join(parts)


@dataclass(slots=True)
class Answer:
    """
    The head of a replica's answer.

    Args:
        lines: the fields to pass on, each ending in CRLF.
        length: of the body; None where only its end shows it, or its chunks do.
        start: the head for the client, up to the request's id.
        is_reusable: the connection, once this answer is complete.
    """

    status: int
    reason: bytes
    lines: list[bytes]
    length: int | None
    is_chunked: bool
    is_reusable: bool
    has_body: bool
    upgrade: bytes = b""
    start: bytes = b""


def read_answer(
    parser: httptools.HttpResponseParser, head: Head, request: Request, form: "PathForm | None"
) -> Answer:
    """
    Raises:
        FramingError: what llhttp lets pass but no client should see.
    """
    status = parser.get_status_code()
    is_11 = parser.get_http_version() == "1.1"
    answer = Answer(status, head.reason, [], None, False, is_11, True)
    content_type: bytes | None = None
    nominated: list[bytes] = []
    passed: list[tuple[bytes, bytes]] = []
    for name, value in head.fields:
        low = name.lower()
        if low == b"content-length":
            answer.length = int(value)
        elif low == b"transfer-encoding":
            if value.strip().lower() != b"chunked" or not is_11 or answer.is_chunked:
                raise FramingError("Transfer-Encoding")
            answer.is_chunked = True
        elif low == b"connection":
            nominated += tokens_of(value)
        elif low == b"upgrade":
            answer.upgrade = value.strip()
        elif low not in HOP_BY_HOP:
            if low == b"content-type":
                content_type = value.strip().lower()
            elif form is not None and low in (b"location", b"set-cookie"):
                value = form.location(value, request.host) if low == b"location" else form.cookie(value)
            passed.append((low, b"%b: %b\r\n" % (name, value)))
    if answer.is_chunked and answer.length is not None:
        raise FramingError("both Content-Length and Transfer-Encoding")
    if nominated:
        answer.is_reusable = b"close" not in nominated and (is_11 or b"keep-alive" in nominated)
        passed = [(low, line) for low, line in passed if low not in nominated]
    if status < 200 or status in (204, 304) or request.method == b"HEAD":
        answer.has_body = False
    elif answer.length is None and not answer.is_chunked:
        answer.is_reusable = False
    answer.lines = [line for _, line in passed]
    if form is not None and status >= 200 and may_be_page(content_type):
        answer.lines.append(SANDBOX)
    return answer


def may_be_page(content_type: bytes | None) -> bool:
    """A browser could run scripts in it. Without a type a browser guesses."""
    return not content_type or b"html" in content_type or b"xml" in content_type


@dataclass(frozen=True, slots=True)
class PathForm:
    """
    Puts the prefix that was stripped from a request back into its answer.

    Applications know their own paths only; what one sets for `/` must not reach the next endpoint.

    Args:
        is_kept: the request still has its prefix, and the application knows where it is.
    """

    prefix: bytes
    scheme: bytes = b"http"
    is_kept: bool = False

    def location(self, value: bytes, host: bytes) -> bytes:
        if self.is_kept:
            return value
        origin, path = b"", value
        start = self.scheme + b"://" + host.lower()
        if host and value.lower().startswith(start):
            origin, path = value[: len(start)], value[len(start) :]
        is_ours = path.startswith(b"/") and not path.startswith(b"//")
        if not is_ours or self._has_prefix(path):
            return value
        return origin + self.prefix + path

    def cookie(self, value: bytes) -> bytes:
        """Its Path goes below the prefix, its Domain goes: it would reach other endpoints."""
        parts = [p.strip() for p in value.split(b";")]
        kept = [
            p for p in parts[1:] if not p.lower().startswith((b"path=", b"path ", b"domain=", b"domain "))
        ]
        path = next((p[5:] for p in parts[1:] if p.lower().startswith(b"path=")), b"/")
        if not self._has_prefix(path):
            path = self.prefix + (path if path.startswith(b"/") else b"/")
        return b"; ".join([parts[0], *kept, b"Path=" + path])

    def _has_prefix(self, path: bytes) -> bool:
        return path.startswith(self.prefix) and path[len(self.prefix) : len(self.prefix) + 1] in (
            b"",
            b"/",
            b"?",
        )


def write_answer(answer: Answer, *, is_chunked: bool) -> bytes:
    """The head up to the request's id. `is_chunked`: the body that follows is written in chunks."""
    parts = [b"HTTP/1.1 %d %b\r\n" % (answer.status, answer.reason), *answer.lines]
    if answer.length is not None and answer.status != 204:
        parts.append(b"Content-Length: %d\r\n" % answer.length)
    elif is_chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    parts.append(b"X-Request-Id: ")
    return b"".join(parts)


def write_interim(answer: Answer) -> bytes:
    """1xx: a head only. 101 names the protocol that both sides go over to."""
    parts = [b"HTTP/1.1 %d %b\r\n" % (answer.status, answer.reason), *answer.lines]
    if answer.status == 101:
        parts += (b"Connection: Upgrade\r\nUpgrade: ", answer.upgrade, b"\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def write_refusal(refusal: Refusal, request_id: bytes, *, is_head: bool, is_closing: bool) -> bytes:
    body = json.dumps({"code": refusal.code, "message": refusal.message}).encode()
    parts = [
        b"HTTP/1.1 %d %b\r\n" % (refusal.status, REASONS[refusal.status]),
        b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body),
        *refusal.headers,
    ]
    if request_id:
        parts += (b"X-Request-Id: ", request_id, b"\r\n")
    if is_closing:
        parts.append(b"Connection: close\r\n")
    parts.append(b"\r\n")
    if not is_head:
        parts.append(body)
    return b"".join(parts)
