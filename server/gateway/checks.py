"""What llhttp leaves unchecked in a request's head; what of it is passed on, and what is not."""

import re
from dataclasses import dataclass
from enum import IntEnum

import httptools

from .framing import FramingError

# One name or address, perhaps with a port; no user, no list, no blank.
HOST = re.compile(rb"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
H2_PREFACE = b"PRI * HTTP/2.0"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answered by the gateway itself. `code` is stable, the message is for people."""

    status: int
    code: str
    message: str
    headers: tuple[bytes, ...] = ()


class Field(IntEnum):
    HOST = 1
    CONTENT_LENGTH = 2
    TRANSFER_ENCODING = 3
    CONNECTION = 4
    UPGRADE = 5
    EXPECT = 6
    AUTHORIZATION = 7
    REQUEST_ID = 8
    REPLICA_TARGET = 9
    CONTENT_TYPE = 10
    DROPPED = 11


FIELDS = {
    b"host": Field.HOST,
    b"content-length": Field.CONTENT_LENGTH,
    b"transfer-encoding": Field.TRANSFER_ENCODING,
    b"connection": Field.CONNECTION,
    b"upgrade": Field.UPGRADE,
    b"expect": Field.EXPECT,
    b"authorization": Field.AUTHORIZATION,
    b"x-request-id": Field.REQUEST_ID,
    b"x-lepton-replica-target": Field.REPLICA_TARGET,
    b"content-type": Field.CONTENT_TYPE,
    # hop by hop, or a claim about an earlier hop, which only a proxy of ours could make
    **dict.fromkeys(
        (
            b"keep-alive", b"proxy-connection", b"proxy-authorization", b"proxy-authenticate",
            b"te", b"trailer", b"http2-settings", b"forwarded", b"x-real-ip", b"x-original-url",
            b"x-rewrite-url", b"x-original-host", b"x-client-ip", b"true-client-ip", b"x-cluster-client-ip",
        ),
        Field.DROPPED,
    ),
}  # fmt: skip
ONCE = frozenset({Field.HOST, Field.AUTHORIZATION, Field.EXPECT, Field.UPGRADE, Field.CONTENT_TYPE})


class Head:
    """Collects what llhttp finds in one head, of a request or of an answer."""

    __slots__ = ("fields", "is_complete", "reason", "target")

    def __init__(self) -> None:
        self.target = b""
        self.reason = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.is_complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.is_complete = True


@dataclass(slots=True)
class Request:
    """
    Args:
        target: origin form, path and query.
        host: as the client wrote it; b"" only in HTTP/1.0.
        lines: the fields to pass on, each ending in CRLF.
        length: of the body; None where there is no Content-Length.
    """

    method: bytes
    target: bytes
    host: bytes
    is_11: bool
    keep_alive: bool
    lines: list[bytes]
    length: int | None = None
    is_chunked: bool = False
    upgrade: bytes = b""
    expects_continue: bool = False
    authorization: bytes = b""
    request_id: bytes = b""
    replica_target: bytes = b""

    @property
    def has_body(self) -> bool:
        return self.is_chunked or bool(self.length)


def tokens_of(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.lower().split(b",")]


def read_request(parser: httptools.HttpRequestParser, head: Head, most_fields: int) -> Request | Refusal:
    """A head that llhttp has accepted, made into a request or refused."""
    version = parser.get_http_version()
    method = parser.get_method()
    if version not in ("1.1", "1.0"):
        return Refusal(505, "http_version", "this gateway speaks HTTP/1.1")
    if method in (b"CONNECT", b"TRACE", b"PRI"):
        return Refusal(405, "method_not_allowed", f"{method.decode()} is not served")
    if len(head.fields) > most_fields:
        return Refusal(431, "too_many_headers", f"more than {most_fields} header fields")
    is_11 = version == "1.1"
    request = Request(method, head.target, b"", is_11, is_11, [])
    try:
        _sort_fields(request, head.fields)
        _normalise_target(request)
    except FramingError as error:
        return Refusal(400, "bad_request", str(error))
    except _Refused as refused:
        return refused.why
    return request


class _Refused(Exception):
    def __init__(self, why: Refusal) -> None:
        super().__init__(why.message)
        self.why = why


def _sort_fields(request: Request, fields: list[tuple[bytes, bytes]]) -> None:
    seen: set[Field] = set()
    nominated: list[bytes] = []
    upgrade = content_type = expect = b""
    passed: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        low = name.lower()
        if b"_" in low and _is_special(low.replace(b"_", b"-")):
            continue  # servers that read '_' as '-' would take it for the real one
        kind = FIELDS.get(low)
        if kind is None:
            if not low.startswith(b"x-forwarded-"):
                passed.append((low, b"%b: %b\r\n" % (name, value)))
            continue
        if kind in seen and kind in ONCE:
            raise FramingError(f"more than one {name.decode('latin-1')} header")
        seen.add(kind)
        match kind:
            case Field.HOST:
                request.host = value.strip()
            case Field.CONTENT_LENGTH:
                request.length = _length(value)
            case Field.TRANSFER_ENCODING:
                if value.strip().lower() != b"chunked" or request.is_chunked:
                    raise _Refused(
                        Refusal(501, "transfer_encoding", "the only transfer encoding served is chunked")
                    )
                request.is_chunked = True
            case Field.CONNECTION:
                nominated += tokens_of(value)
            case Field.UPGRADE:
                upgrade = value.strip()
            case Field.EXPECT:
                expect = value.strip().lower()
            case Field.AUTHORIZATION:
                request.authorization = value.strip()
            case Field.REQUEST_ID:
                request.request_id = value.strip() if REQUEST_ID.fullmatch(value.strip()) else b""
            case Field.REPLICA_TARGET:
                request.replica_target = value.strip()
                passed.append((low, b"%b: %b\r\n" % (name, value)))
            case Field.CONTENT_TYPE:
                content_type = value.strip().lower()
                passed.append((low, b"%b: %b\r\n" % (name, value)))
            case Field.DROPPED:
                pass
    if request.is_chunked and not request.is_11:
        raise FramingError("Transfer-Encoding needs HTTP/1.1")
    if request.is_chunked and request.length is not None:
        raise FramingError("both Content-Length and Transfer-Encoding")
    if not HOST.fullmatch(request.host) and (request.is_11 or request.host):
        raise FramingError("exactly one valid Host header is needed")
    if content_type.startswith(b"application/grpc") and not content_type.startswith(b"application/grpc-web"):
        raise _Refused(Refusal(505, "needs_http2", "gRPC needs HTTP/2, and this gateway speaks HTTP/1.1"))
    if expect and request.is_11:
        if expect != b"100-continue":
            raise _Refused(Refusal(417, "expectation_failed", "the only expectation served is 100-continue"))
        request.expects_continue = request.has_body
    if nominated:
        request.keep_alive = b"close" not in nominated and (request.is_11 or b"keep-alive" in nominated)
        passed = [(low, line) for low, line in passed if low not in nominated]
        may_upgrade = request.is_11 and not request.has_body and not upgrade.lower().startswith(b"h2")
        if b"upgrade" in nominated and may_upgrade:
            request.upgrade = upgrade
    request.lines = [line for _, line in passed]


def _is_special(low: bytes) -> bool:
    return low in FIELDS or low.startswith(b"x-forwarded-")


def _length(value: bytes) -> int:
    text = value.strip()
    if not text.isdigit() or len(text) > 18:
        raise FramingError("Content-Length is not a number")
    return int(text)


def _normalise_target(request: Request) -> None:
    target = request.target
    if not target.startswith(b"/"):
        scheme, _, rest = target.partition(b"://")
        if scheme.lower() != b"http" or not rest:
            raise FramingError("the request target is neither a path nor an http address")
        at = min((i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0), default=len(rest))
        if rest[:at].lower() != request.host.lower():
            raise FramingError("the request target and Host differ")
        target = rest[at:] if rest[at : at + 1] == b"/" else b"/" + rest[at:]
    if b"#" in target or not target.isascii():
        raise FramingError("the request target holds what a client must encode")
    request.target = target


def split_target(target: bytes) -> tuple[str, bytes, bytes] | None:
    """`/e/{ws}/{endpoint}/rest` as (key, prefix, rest); None for another path."""
    if not target.startswith(b"/e/"):
        return None
    path, mark, query = target.partition(b"?")
    parts = path.split(b"/", 4)
    if len(parts) < 4 or not parts[2] or not parts[3]:
        return None
    rest = b"/" + (parts[4] if len(parts) == 5 else b"") + mark + query
    return f"{parts[2].decode()}/{parts[3].decode()}", b"/e/%b/%b" % (parts[2], parts[3]), rest


def host_name(host: bytes) -> str:
    """Without its port, in lower case; an IPv6 address keeps its brackets."""
    name = host.decode("latin-1").lower()
    if name.startswith("["):
        return name[: name.find("]") + 1]
    return name.partition(":")[0].rstrip(".")
