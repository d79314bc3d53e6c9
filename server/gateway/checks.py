"""What llhttp leaves unchecked in a request's head; what of it is passed on, and what is not."""

import re
from dataclasses import dataclass

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


# Plain numbers: this is looked at for each field of each request.
F_HOST, F_LENGTH, F_ENCODING, F_CONNECTION, F_UPGRADE, F_EXPECT = 1, 2, 3, 4, 5, 6
F_AUTHORIZATION, F_REQUEST_ID, F_REPLICA, F_TYPE, F_DROPPED = 7, 8, 9, 10, 11
FIELDS = {
    b"host": F_HOST,
    b"content-length": F_LENGTH,
    b"transfer-encoding": F_ENCODING,
    b"connection": F_CONNECTION,
    b"upgrade": F_UPGRADE,
    b"expect": F_EXPECT,
    b"authorization": F_AUTHORIZATION,
    b"x-request-id": F_REQUEST_ID,
    b"x-lepton-replica-target": F_REPLICA,
    b"content-type": F_TYPE,
    # hop by hop, or a claim about an earlier hop, which only a proxy of ours could make
    **dict.fromkeys(
        (
            b"keep-alive", b"proxy-connection", b"proxy-authorization", b"proxy-authenticate",
            b"te", b"trailer", b"http2-settings", b"forwarded", b"x-real-ip", b"x-original-url",
            b"x-rewrite-url", b"x-original-host", b"x-client-ip", b"true-client-ip", b"x-cluster-client-ip",
        ),
        F_DROPPED,
    ),
}  # fmt: skip
ONCE = frozenset({F_HOST, F_AUTHORIZATION, F_EXPECT, F_UPGRADE, F_TYPE})
NO_FIELDS = frozenset({b"keep-alive", b"close", b"upgrade"})  # what Connection says besides names of fields


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
        request_id: the client's own, where it is fit to be passed on.
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

    @property
    def path(self) -> str:
        return path_of(self.target)


def path_of(target: bytes) -> str:
    """Without the query, which may hold secrets; for records."""
    return target.partition(b"?")[0].decode("latin-1")[:2048]


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


PASSED = frozenset({F_REPLICA, F_TYPE})
ENCODING = Refusal(501, "transfer_encoding", "the only transfer encoding served is chunked")
EXPECTATION = Refusal(417, "expectation_failed", "the only expectation served is 100-continue")
GRPC = Refusal(505, "needs_http2", "gRPC needs HTTP/2, and this gateway speaks HTTP/1.1")


class _Refused(Exception):
    def __init__(self, why: Refusal) -> None:
        super().__init__(why.message)
        self.why = why


def _sort_fields(request: Request, fields: list[tuple[bytes, bytes]]) -> None:
    seen: set[int] = set()
    nominated: list[bytes] = []
    upgrade = content_type = expect = b""
    lines = request.lines
    names: list[bytes] = []  # of the lines
    for name, value in fields:
        low = name.lower()
        kind = FIELDS.get(low)
        if kind is None:
            if low.startswith(b"x-forwarded-") or (b"_" in low and _is_special(low.replace(b"_", b"-"))):
                continue  # servers that read '_' as '-' would take it for the real one
        else:
            if kind in ONCE:
                if kind in seen:
                    raise FramingError(f"more than one {name.decode('latin-1')} header")
                seen.add(kind)
            if kind == F_HOST:
                request.host = value.strip()
            elif kind == F_AUTHORIZATION:
                request.authorization = value.strip()
            elif kind == F_CONNECTION:
                nominated += tokens_of(value)
            elif kind == F_LENGTH:
                request.length = _length(value)
            elif kind == F_ENCODING:
                if value.strip().lower() != b"chunked" or request.is_chunked:
                    raise _Refused(ENCODING)
                request.is_chunked = True
            elif kind == F_UPGRADE:
                upgrade = value.strip()
            elif kind == F_EXPECT:
                expect = value.strip().lower()
            elif kind == F_REQUEST_ID:
                own_id = value.strip()
                request.request_id = own_id if REQUEST_ID.fullmatch(own_id) else b""
            elif kind == F_REPLICA:
                request.replica_target = value.strip()
            elif kind == F_TYPE:
                content_type = value.strip().lower()
            if kind not in PASSED:
                continue
        lines.append(b"%b: %b\r\n" % (name, value))
        names.append(low)
    if request.is_chunked and (not request.is_11 or request.length is not None):
        raise FramingError("Transfer-Encoding needs HTTP/1.1, and no Content-Length beside it")
    if not HOST.fullmatch(request.host) and (request.is_11 or request.host):
        raise FramingError("exactly one valid Host header is needed")
    if content_type.startswith(b"application/grpc") and not content_type.startswith(b"application/grpc-web"):
        raise _Refused(GRPC)
    if expect and request.is_11:
        if expect != b"100-continue":
            raise _Refused(EXPECTATION)
        request.expects_continue = request.has_body
    if nominated:
        _obey_connection(request, nominated, names, upgrade)


def _obey_connection(request: Request, nominated: list[bytes], names: list[bytes], upgrade: bytes) -> None:
    """
    Args:
        nominated: what the Connection fields say. names: of `request.lines`, in lower case.
    """
    request.keep_alive = b"close" not in nominated and (request.is_11 or b"keep-alive" in nominated)
    if not NO_FIELDS.issuperset(nominated):
        pairs = zip(request.lines, names, strict=True)
        request.lines = [line for line, low in pairs if low not in nominated]
    may_upgrade = request.is_11 and not request.has_body and not upgrade.lower().startswith(b"h2")
    if b"upgrade" in nominated and may_upgrade:
        request.upgrade = upgrade


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
