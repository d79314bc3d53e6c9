"""What the gateway does for exposed ports: paths that stay, hosts, tokens that are signed."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from homeport.server.routing import AccessRule, HostTaken, Route, RouteTable, Signed, Target
from tests.api.gateways import Replica, front, get, replica, run, says, tokens

KEY = "ab" * 32
FAR_S = 4_000_000_000


def exposed(name: str, target: Target, **more: Any) -> Route:
    return Route("ws", f"{name}:0", (target,), is_exposed_port=True, **more)


def ask_of(path: str, *lines: str, host: str = "127.0.0.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def first_lines(one: Replica) -> list[bytes]:
    return [head.split(b"\r\n")[0] for head in one.seen]


def token(holder: str = "me", *, key: str = KEY, **claims: Any) -> str:
    def part(value: Any) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    told = {"azp": holder, "typ": "access", "exp": FAR_S} | claims
    text = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(told)
    signature = hmac.new(bytes.fromhex(key), text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_request_keeps_its_path() -> None:
    page = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: s=1; Path=/\r\nLocation: /login\r\n"
        b"Content-Length: 2\r\n\r\nok"
    )

    async def scenario() -> None:
        one = replica(says(page, page))
        async with front() as gate:
            gate.gateway.put(exposed("nb", await one.start(), prefix="/p/nb"))
            for path in ("/p/nb", "/p/nb/lab?x=/../y"):
                answer = await gate.ask(ask_of(path))
                assert (answer.status, answer.body) == (200, b"ok")
            assert first_lines(one) == [b"GET /p/nb HTTP/1.1", b"GET /p/nb/lab?x=/../y HTTP/1.1"]
            assert b"X-Forwarded-Prefix" not in one.seen[0]
            assert (answer.header("Content-Security-Policy") or "").startswith("sandbox")
            assert answer.header("Location") == "/login"
            assert answer.header("Set-Cookie") == "s=1; Path=/p/nb/"  # other workloads have this address, too
            assert gate.records[-1].key == "ws/nb:0"
        one.close()

    run(scenario)


@pytest.mark.parametrize(
    ("host", "line", "location"),
    [
        ("127.0.0.1:8788", "Sec-Fetch-Dest: document", "http://ws-nb.localhost:8788/p/nb/lab?x=1"),
        ("localhost", "Sec-Fetch-Dest: document", "http://ws-nb.localhost/p/nb/lab?x=1"),
        ("[::1]:80", "sec-fetch-dest: document", "http://ws-nb.localhost:80/p/nb/lab?x=1"),
        ("10.0.0.9:8788", "Sec-Fetch-Dest: document", None),
        ("127.0.0.1:8788", "Sec-Fetch-Dest: empty", None),
        ("ws-nb.localhost:8788", "Sec-Fetch-Dest: document", None),
    ],
)
def test_who_browses_on_this_machine_is_sent_to_a_name_of_its_own(
    host: str, line: str, location: str | None
) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: s=1\r\nContent-Length: 2\r\n\r\nok"

    async def scenario() -> None:
        one = replica(says(page))
        async with front() as gate:
            gate.gateway.put(exposed("nb", await one.start(), prefix="/p/nb", hosts=("ws-nb.localhost",)))
            answer = await gate.ask(ask_of("/p/nb/lab?x=1", line, host=host))
            assert (answer.status, answer.header("Location")) == (307 if location else 200, location)
            if host.startswith("ws-nb."):  # there the page is as it would be anywhere
                assert answer.header("Content-Security-Policy") is None
                assert answer.header("Set-Cookie") == "s=1"
                assert first_lines(one) == [b"GET /p/nb/lab?x=1 HTTP/1.1"]
        one.close()

    run(scenario)


def test_longest_prefix_leads_also_on_one_connection() -> None:
    async def scenario() -> None:
        outer, inner = Replica(name="outer"), Replica(name="inner")
        async with front() as gate:
            gate.gateway.put(exposed("outer", await outer.start(), prefix="/p/nb"))
            gate.gateway.put(exposed("inner", await inner.start(), prefix="/p/nb/6006"))
            client = await gate.client()
            for path in ("/p/nb/a", "/p/nb/6006/b", "/p/nb/c", "/p/nb/60060", "/p/nb/6006"):
                assert (await client.ask(ask_of(path))).status == 200
            assert (await client.ask(ask_of("/p/nbx"))).status == 404
            client.close()
            assert [line.split()[1] for line in first_lines(outer)] == [
                b"/p/nb/a",
                b"/p/nb/c",
                b"/p/nb/60060",
            ]
            assert [line.split()[1] for line in first_lines(inner)] == [b"/p/nb/6006/b", b"/p/nb/6006"]
        outer.close()
        inner.close()

    run(scenario)


def test_path_form_of_endpoints_does_not_lead_to_an_exposed_port() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(Replica()) as gate:
            gate.gateway.put(exposed("nb", await one.start(), prefix="/p/nb"))
            assert (await gate.ask(ask_of("/e/ws/nb:0/"))).status == 404
            assert (await gate.ask(get("/"))).status == 200  # an endpoint beside it
            assert (await gate.ask(ask_of("/" + "a/" * 20_000))).status == 404
        one.close()

    run(scenario)


def test_prefix_leads_nowhere_once_its_route_has_another_or_is_gone() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front() as gate:
            target = await one.start()
            gate.gateway.put(exposed("nb", target, prefix="/p/nb"))
            gate.gateway.put(exposed("nb", target, prefix="/p/other"))
            assert (await gate.ask(ask_of("/p/nb/"))).status == 404
            assert (await gate.ask(ask_of("/p/other/"))).status == 200
            gate.gateway.replace([exposed("nb", target, hosts=("nb.example",))])
            assert (await gate.ask(ask_of("/p/other/"))).status == 404
            assert (await gate.ask(ask_of("/any", host="nb.example:80"))).status == 200
            gate.gateway.remove("ws/nb:0")
            assert (await gate.ask(ask_of("/any", host="nb.example"))).status == 404
        one.close()

    run(scenario)


def test_page_of_a_foreign_name_gets_nothing_by_a_path() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front() as gate:
            gate.gateway.put(exposed("nb", await one.start(), prefix="/p/nb"))
            assert (await gate.ask(ask_of("/p/nb/", host="evil.example"))).status == 421
            assert one.seen == []
        one.close()

    run(scenario)


def test_websocket_goes_through_with_its_path() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

    async def scenario() -> None:
        one = replica(says(switch))
        async with front() as gate:
            gate.gateway.put(exposed("nb", await one.start(), prefix="/p/nb"))
            answer = await gate.ask(ask_of("/p/nb/ws", "Connection: Upgrade", "Upgrade: websocket"))
            assert answer.status == 101
            assert first_lines(one) == [b"GET /p/nb/ws HTTP/1.1"]
        one.close()

    run(scenario)


@pytest.mark.parametrize(
    ("bearer", "status"),
    [
        pytest.param(token(), 200, id="of-who-is-named"),
        pytest.param("tok-1", 200, id="of-the-list"),
        pytest.param(token("other"), 401, id="of-somebody-else"),
        pytest.param(token(exp=1_000), 401, id="expired"),
        pytest.param(token(typ="refresh"), 401, id="refresh"),
        pytest.param(token(via="provider"), 401, id="by-an-identity-provider"),
        pytest.param(token(key="cd" * 32), 401, id="signed-by-somebody-else"),
        pytest.param(token().replace(".", ".e30", 1), 401, id="changed"),
        pytest.param(f"{'e30.' * 2}", 401, id="without-a-signature"),
        pytest.param("\xff.\xff.\xff", 401, id="no-text"),
    ],
)
def test_signed_token_opens_for_its_holder(bearer: str, status: int) -> None:
    async def scenario() -> None:
        one = Replica()
        access = AccessRule(tokens("tok-1"), signed=Signed(KEY, frozenset({"me"})))
        async with front() as gate:
            gate.gateway.put(exposed("nb", await one.start(), prefix="/p/nb", access=access))
            ask = ask_of("/p/nb/").replace(
                b"\r\n\r\n", b"\r\nAuthorization: Bearer " + bearer.encode("latin-1") + b"\r\n\r\n"
            )
            assert (await gate.ask(ask)).status == status
            assert not any(b"Authorization" in head for head in one.seen)
        one.close()

    run(scenario)


def test_signed_token_never_reaches_a_container_that_is_open() -> None:
    async def scenario() -> None:
        one = Replica()
        access = AccessRule(signed=Signed(KEY))
        async with front() as gate:
            gate.gateway.put(exposed("nb", await one.start(), prefix="/p/nb", access=access))
            for line in (f"Authorization: Bearer {token()}", "Authorization: token its-own"):
                assert (await gate.ask(ask_of("/p/nb/", line))).status == 200
            assert [b"Authorization" in head for head in one.seen] == [False, True]
        one.close()

    run(scenario)


def test_signed_token_is_refused_on_the_same_connection_once_it_has_expired() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(virtual=True) as gate:
            end_s = gate.clock.now_ms() // 1000 + 5
            access = AccessRule(frozenset(), signed=Signed(KEY, frozenset({"me"})))
            gate.gateway.put(exposed("nb", await one.start(), prefix="/p/nb", access=access))
            client = await gate.client()
            ask = ask_of("/p/nb/", f"Authorization: Bearer {token(exp=end_s)}")
            assert [(await client.ask(ask)).status for _ in range(2)] == [200, 200]
            await gate.advance(6)
            assert (await client.ask(ask)).status == 401
            client.close()
        one.close()

    run(scenario)


def test_route_of_an_exposed_port_is_the_same_after_its_way_to_the_gateway() -> None:
    access = AccessRule(frozenset({"a"}), signed=Signed(KEY, frozenset({"me", "you"})))
    route = exposed("nb", Target("r", "127.0.0.1", 80), prefix="/p/nb", access=access)
    assert Route.from_json(json.loads(json.dumps(route.to_json()))) == route
    assert KEY not in repr(route)


def test_prefix_of_another_route_is_refused() -> None:
    table = RouteTable([exposed("nb", Target("r", "127.0.0.1", 80), prefix="/p/nb")])
    with pytest.raises(HostTaken):
        table.put(exposed("other", Target("r", "127.0.0.1", 80), prefix="/p/nb"))
    table.remove("ws/nb:0")
    table.put(exposed("other", Target("r", "127.0.0.1", 80), prefix="/p/nb"))
