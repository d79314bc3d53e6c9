"""The pure parts of the gateway: framing, heads, balancing, values."""

import json
import random
from collections import Counter
from dataclasses import dataclass, replace

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.server.gateway.access import address_of, hash_bearer
from homeport.server.gateway.balancing import Balancer, maglev_table
from homeport.server.gateway.checks import host_name, split_target
from homeport.server.gateway.framing import ChunkedBody, ChunkedEnd, Cutter, FramingError
from homeport.server.gateway.headers import PathForm
from homeport.server.routing import (
    AccessRecord,
    AccessRule,
    Balancing,
    HostTaken,
    Route,
    RouteState,
    RouteTable,
    Target,
    TrafficCounters,
)

# --- framing


@given(
    st.binary(max_size=200).map(lambda b: b.translate(bytes(b"\r\nabcd"[i % 6] for i in range(256)))),
    st.data(),
)
def test_each_blank_line_is_a_cut_however_the_bytes_arrive(stream: bytes, data: st.DataObject) -> None:
    cutter, cuts, offset = Cutter(), set[int](), 0
    while offset < len(stream):
        size = data.draw(st.integers(1, 9))
        piece, end = stream[offset : offset + size], 0
        while end < len(piece):
            before, end = end, cutter.cut(piece, end)
            assert end > before
            cuts.add(offset + end)
        offset += size
    blank_lines = {i + 4 for i in range(len(stream)) if stream[i : i + 4] == b"\r\n\r\n"}
    assert blank_lines <= cuts


def test_a_blank_line_is_a_cut_when_it_shares_bytes_with_one_of_two_pieces() -> None:
    cutter = Cutter()
    assert cutter.cut(b"a\r\n\r", 0) == 4
    assert cutter.cut(b"\n\r\nb", 0) == 1
    assert cutter.cut(b"\n\r\nb", 1) == 3


def chunked(parts: list[bytes], trailer: bytes = b"") -> bytes:
    return b"".join(b"%x;x=y\r\n%b\r\n" % (len(p), p) for p in parts if p) + b"0\r\n" + trailer + b"\r\n"


BODIES = st.lists(st.binary(max_size=30) | st.just(b"\r\n\r\n") | st.just(b"0\r\n\r\n"), max_size=5)


@settings(deadline=None)
@given(
    BODIES,
    st.sampled_from([b"", b"A: b\r\n"]),
    st.integers(1, 40),
    st.sampled_from([b"", b"GET / HTTP/1.1\r\n"]),
)
def test_a_chunked_body_ends_where_it_ends(
    parts: list[bytes], trailer: bytes, size: int, behind: bytes
) -> None:
    body = chunked(parts, trailer)
    stream = body + behind
    end, anew, plain = (
        ChunkedEnd(),
        *(ChunkedBody(is_request=p, plain=not p, overhead_bytes=1000) for p in (True, False)),
    )
    used, written, taken, data = 0, b"", 0, b""
    for start in range(0, len(stream), size):
        piece = stream[start : start + size]
        used += end.feed(piece)
        out, count = anew.feed(piece)
        written, taken = written + out, taken + count
        data += plain.feed(piece)[0]
    assert (used, taken) == (len(body), len(body))
    assert data == b"".join(parts)
    assert end.is_complete
    assert anew.is_complete
    assert anew.size == len(data)
    again = ChunkedBody(is_request=True, plain=True, overhead_bytes=10_000)
    assert again.feed(written) == (data, len(written))
    assert again.is_complete
    assert (b"A: b\r\n" in written) == bool(trailer)


@pytest.mark.parametrize("body", [b"x\r\n", b"3\nabc", b"3\r\nabcd\r\n", b"1;" + b"e" * 5000])
def test_malformed_chunks_are_an_error(body: bytes) -> None:
    with pytest.raises(FramingError):
        ChunkedBody(is_request=True, overhead_bytes=1000).feed(body)


def test_llhttp_still_leaves_out_what_we_check() -> None:
    """What it accepts here is refused by us; what it refuses here we do not look at."""

    def accepted(data: bytes) -> bool:
        try:
            httptools.HttpRequestParser(object()).feed_data(data)
        except httptools.HttpParserError:
            return False
        return True

    assert accepted(b"GET / HTTP/1.1\r\n\r\n")
    assert accepted(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert accepted(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert accepted(b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n")
    assert accepted(b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")
    assert not accepted(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert not accepted(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n")
    assert not accepted(b"GET / HTTP/1.1\nHost: a\n\n")
    assert not accepted(b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n")
    assert not accepted(b"GET / HTTP/1.1\r\nHost: a\x00\r\n\r\n")


# --- targets and headers


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/e/ws/ep/a/b?c=/d", ("ws/ep", b"/e/ws/ep", b"/a/b?c=/d")),
        (b"/e/ws/ep", ("ws/ep", b"/e/ws/ep", b"/")),
        (b"/e/ws/ep?a", ("ws/ep", b"/e/ws/ep", b"/?a")),
        (b"/e/ws/ep//x", ("ws/ep", b"/e/ws/ep", b"//x")),
        (b"/e/ws", None), (b"/e/ws/", None), (b"/e//ep/", None), (b"/", None), (b"/x/e/ws/ep", None),
        (b"//e/ws/ep", None), (b"/e/ws?/ep/", None),
    ],
)  # fmt: skip
def test_split_target(target: bytes, expected: object) -> None:
    assert split_target(target) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [(b"A.b:80", "a.b"), (b"a.b.", "a.b"), (b"[::1]:80", "[::1]"), (b"127.0.0.1", "127.0.0.1")],
)
def test_host_name(host: bytes, expected: str) -> None:
    assert host_name(host) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"/a", b"/e/w/x/a"), (b"//other/a", b"//other/a"), (b"a/b", b"a/b"), (b"/e/w/x", b"/e/w/x"),
        (b"/e/w/x/a", b"/e/w/x/a"), (b"/e/w/xy", b"/e/w/x/e/w/xy"), (b"http://h:1/a", b"http://h:1/e/w/x/a"),
        (b"http://h:12/a", b"http://h:12/a"), (b"https://h:1/a", b"https://h:1/a"),
    ],
)  # fmt: skip
def test_location(value: bytes, expected: bytes) -> None:
    assert PathForm(b"/e/w/x").location(value, b"h:1") == expected


def test_an_ipv4_client_of_an_ipv6_listener_is_an_ipv4_client() -> None:
    assert str(address_of("::ffff:10.0.0.1")) == "10.0.0.1"
    assert str(address_of("fe80::1%eth0")) == "fe80::1"


# --- balancing


@dataclass
class Copy:
    id: str
    open: int = 0
    resting_until: float = 0.0


def test_the_least_loaded_is_picked_and_equals_take_turns() -> None:
    copies = [Copy("a", 2), Copy("b", 1), Copy("c", 1)]
    balancer = Balancer(copies)
    assert Counter(c.id for _ in range(10) if (c := balancer.pick(0, ""))) == {"b": 5, "c": 5}


def test_a_resting_replica_is_passed_over_unless_no_other_is_left() -> None:
    copies = [Copy("a", 5), Copy("b", 0, resting_until=10.0)]
    balancer = Balancer(copies)

    def pick(now_s: float, *tried: str) -> str | None:
        found = balancer.pick(now_s, "", tried)
        return found and found.id

    assert pick(0) == "a"
    assert pick(0, "a") == "b"
    assert pick(10) == "b"
    assert pick(0, "a", "b") is None
    assert Balancer[Copy]([]).pick(0, "") is None


def test_drawing_two_prefers_the_less_loaded_of_them() -> None:
    copies = [Copy("a", 9), Copy("b", 0), Copy("c", 9)]
    balancer = Balancer(copies, Balancing.LEAST_REQUEST, 2, random.Random(1))
    found = Counter(c.id for _ in range(300) if (c := balancer.pick(0, "")))
    assert 150 < found["b"] < 250


def test_maglev_is_even_and_moves_little() -> None:
    ids = [f"r{n}" for n in range(8)]
    before, after = maglev_table(ids), maglev_table(ids[:-1])
    shares = Counter(before)
    assert max(shares.values()) - min(shares.values()) <= 1
    moved = sum(1 for a, b in zip(before, after, strict=True) if a != b and a != 7)
    assert moved < len(before) / 4
    assert maglev_table([]) == ()


def test_maglev_leaves_a_resting_replica_to_another() -> None:
    copies = [Copy(f"r{n}") for n in range(3)]
    balancer = Balancer(copies, Balancing.MAGLEV)
    first = balancer.pick(0, "10.0.0.1")
    assert first is not None
    assert balancer.pick(0, "10.0.0.1") is first
    first.resting_until = 5.0
    other = balancer.pick(0, "10.0.0.1")
    assert other is not None
    assert other is not first
    assert balancer.pick(5, "10.0.0.1") is first


# --- values


ROUTE = Route(
    "ws", "ep",
    (Target("r0", "127.0.0.1", 8080), Target("r1", "::1", 9)),
    AccessRule(frozenset({hash_bearer(b"Bearer a")}), frozenset({"b"}), ("10.0.0.0/8",)),
    ("ep.example",), RouteState.ZERO, Balancing.MAGLEV, 2, 600.0, 30.0, 1000, True,
)  # fmt: skip


@pytest.mark.parametrize(
    "route", [ROUTE, Route("ws", "ep"), Route("ws", "ep", access=AccessRule(frozenset()))]
)
def test_a_route_survives_json(route: Route) -> None:
    told = json.loads(json.dumps(route.to_json()))
    assert Route.from_json(told) == route
    assert Route.from_json(told | {"of_a_newer_version": 1}) == route


def test_counters_and_records_survive_json() -> None:
    counters = TrafficCounters(requests=2)
    counters.add_answer(200, 3.0, 1, 2)
    counters.add_answer(503, 1e9, 0, 0)
    assert TrafficCounters.from_json(json.loads(json.dumps(counters.to_json()))) == counters
    assert (counters.latency[2], counters.latency[-1]) == (1, 1)
    record = AccessRecord(1, "id", "ws/ep", "r0", "::1", "GET", "/", 200, 1, 2, 500, 1500, "")
    assert AccessRecord(*json.loads(json.dumps(record))) == record


@pytest.mark.parametrize("host", ["localhost", "169.254.169.254.nip.io", "0x7f.1", ""])
def test_a_replica_is_an_address_never_a_name(host: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        Target("r0", host, 80)


def test_a_host_name_belongs_to_one_route() -> None:
    table = RouteTable([ROUTE])
    with pytest.raises(HostTaken, match=r"ep\.example"):
        table.put(Route("ws", "other", hosts=("new.example", "ep.example")))
    assert table.get("ws/other") is None
    assert table.put(replace(ROUTE, hosts=())) == ROUTE
    table.put(Route("ws", "other", hosts=("ep.example",)))
    assert table.remove("ws/other") is not None
    assert table.remove("ws/other") is None
    assert table.routes() == (replace(ROUTE, hosts=()),)
