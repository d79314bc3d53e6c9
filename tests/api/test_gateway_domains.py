"""What the gateway does for domains: shares, limits, rules; guessed tokens; the ways to balance."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from homeport.runtime.clock import VirtualClock
from homeport.server.gateway.gateway import Gateway
from homeport.server.gateway.rates import GUESSES
from homeport.server.routing import AccessRule, Balancing, Route, RouteState, Share
from tests.api.gateways import PROTECTED, TOKEN, Front, Replica, eventually, front, get, replica, run, tokens

BEARER = f"Authorization: Bearer {TOKEN}"


def ask_of(host: str, *lines: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def domain(*shares: tuple[str, int], **more: Any) -> Route:
    parts = tuple(Share(f"ws/{name}", weight) for name, weight in shares)
    return Route("ws", "@d.example", hosts=("d.example",), shares=parts, **more)


class Endpoints:
    """Endpoints of one replica each, which are in the table under their own names."""

    def __init__(self, gate: Front, *names: str) -> None:
        self.gate = gate
        self.by_name = {name: Replica(name=name) for name in names}

    async def put(self, **more: Any) -> None:
        for name, one in self.by_name.items():
            self.gate.gateway.put(Route("ws", name, (await one.start(),), **more))

    def counts(self) -> dict[str, int]:
        return {name: len(one.seen) for name, one in self.by_name.items()}

    def close(self) -> None:
        for one in self.by_name.values():
            one.close()


async def asked(gate: Front, times: int, *lines: str, host: str = "d.example") -> Counter[int]:
    """Statuses of requests on one connection, which remembers its last head."""
    client = await gate.client()
    found = Counter([(await client.ask(ask_of(host, *lines))).status for _ in range(times)])
    client.close()
    return found


def test_requests_are_shared_by_weight_on_one_connection_too() -> None:
    async def scenario() -> None:
        async with front() as gate:
            some = Endpoints(gate, "stable", "canary", "off")
            await some.put()
            gate.gateway.put(domain(("stable", 80), ("canary", 20), ("off", 0)))
            assert await asked(gate, 50) == {200: 50}
            assert some.counts() == {"stable": 40, "canary": 10, "off": 0}
            gate.gateway.put(domain(("stable", 1), ("canary", 3)))
            assert await asked(gate, 40) == {200: 40}
            assert some.counts() == {"stable": 50, "canary": 40, "off": 0}
            some.close()

    run(scenario)


def test_share_of_what_cannot_answer_goes_to_the_others() -> None:
    async def scenario() -> None:
        async with front() as gate:
            some = Endpoints(gate, "a", "b")
            await some.put()
            gate.gateway.put(domain(("a", 50), ("b", 50), ("never-was", 100)))
            gate.gateway.put(Route("ws", "b", state=RouteState.STOPPED))
            assert await asked(gate, 10) == {200: 10}
            gate.gateway.remove("ws/b")
            assert await asked(gate, 10) == {200: 10}
            assert some.counts() == {"a": 20, "b": 0}
            gate.gateway.put(Route("ws", "a"))
            answer = await gate.ask(ask_of("d.example"))
            assert (answer.status, answer.header("Retry-After")) == (503, "2")
            gate.gateway.remove("ws/a")
            assert b"no endpoint" in (await gate.ask(ask_of("d.example"))).body
            gate.gateway.remove("ws/@d.example")
            assert (await gate.ask(ask_of("d.example"))).status == 404
            some.close()

    run(scenario)


def test_no_path_leads_to_a_domain() -> None:
    async def scenario() -> None:
        async with front() as gate:
            some = Endpoints(gate, "a")
            await some.put()
            gate.gateway.put(domain(("a", 1)))
            for path in ("/e/ws/@d.example/", "/e/ws/%40d.example/"):
                asked_for = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
                assert (await gate.ask(asked_for.encode())).status == 404
            some.close()

    run(scenario)


def test_limited_domain_takes_its_burst_then_its_rate_and_says_when() -> None:
    """60 a minute: ten at once, then one a second, over all clients; its endpoint's other names are free."""

    async def scenario() -> None:
        async with front(virtual=True) as gate:
            some = Endpoints(gate, "a")
            await some.put(hosts=("ws-a.localhost",))
            gate.gateway.put(domain(("a", 1), requests_per_minute=60))
            assert await asked(gate, 8) == {200: 8}
            assert await asked(gate, 5) == {200: 2, 429: 3}
            refused = await gate.ask(ask_of("d.example"))
            assert (refused.status, refused.header("Retry-After")) == (429, "1")
            assert b"rate_limited" in refused.body
            await eventually("it is recorded", lambda: gate.records[-1].status == 429)
            assert (gate.records[-1].key, gate.records[-1].note) == ("ws/@d.example", "rate_limited")
            assert await asked(gate, 20, host="ws-a.localhost") == {200: 20}
            await gate.advance(3)
            gate.gateway.put(domain(("a", 2), requests_per_minute=60))  # another change keeps its account
            assert await asked(gate, 5) == {200: 3, 429: 2}
            gate.gateway.put(domain(("a", 2)))
            assert await asked(gate, 30) == {200: 30}
            some.close()

    run(scenario)


@pytest.mark.parametrize(
    ("of_domain", "of_endpoint", "lines", "status"),
    [
        pytest.param(PROTECTED, AccessRule(), (BEARER,), 200, id="domain-asks-and-gets"),
        pytest.param(PROTECTED, AccessRule(), (), 401, id="domain-asks-in-vain"),
        pytest.param(AccessRule(), PROTECTED, (), 401, id="endpoint-still-asks"),
        pytest.param(AccessRule(networks=("10.0.0.0/8",)), AccessRule(), (), 403, id="domain-has-addresses"),
        pytest.param(PROTECTED, AccessRule(tokens("other")), (BEARER,), 401, id="both-have-to-agree"),
    ],
)  # fmt: skip
def test_domain_has_rules_beside_those_of_the_endpoint(
    of_domain: AccessRule, of_endpoint: AccessRule, lines: tuple[str, ...], status: int
) -> None:
    async def scenario() -> None:
        async with front() as gate:
            some = Endpoints(gate, "a")
            await some.put(access=of_endpoint)
            gate.gateway.put(domain(("a", 1), access=of_domain))
            assert (await gate.ask(ask_of("d.example", *lines))).status == status
            assert all(TOKEN.encode() not in seen for seen in some.by_name["a"].seen)
            some.close()

    run(scenario)


def test_domain_may_balance_the_replicas_in_its_own_way() -> None:
    async def scenario() -> None:
        all_ = [Replica(name=f"r{n}") for n in range(3)]
        async with front(*all_) as gate:
            share = Share("ws/ep", 1, Balancing.MAGLEV)
            gate.gateway.put(Route("ws", "@d.example", hosts=("d.example",), shares=(share,)))
            assert await asked(gate, 6) == {200: 6}
            assert sorted(len(r.seen) for r in all_) == [0, 0, 6]
            for _ in range(3):
                await gate.ask(get())
            assert sorted(len(r.seen) for r in all_) == [1, 1, 7]

    run(scenario)


def test_name_of_the_vendors_domain_is_told_to_the_replica_as_https() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one, hosts=("ws-ep.xenon.lepton.run", "ws-ep.localhost")) as gate:
            await gate.ask(ask_of("ws-ep.xenon.lepton.run"))
            await gate.ask(ask_of("ws-ep.localhost"))
            assert b"X-Forwarded-Proto: https\r\n" in one.seen[0]
            assert b"X-Forwarded-Proto: http\r\n" in one.seen[1]

    run(scenario)


# --- guessed tokens


def test_guesser_is_told_to_wait_and_others_go_on() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one, virtual=True, access=PROTECTED) as gate:
            early = await gate.client()
            assert (await early.ask(get("/", BEARER))).status == 200
            client = await gate.client()
            statuses = [(await client.ask(get("/", f"{BEARER}{n}"))).status for n in range(GUESSES + 5)]
            assert Counter(statuses) == {401: GUESSES, 429: 5}
            answer = await client.ask(get("/", f"{BEARER}-last"))
            assert (answer.status, answer.header("Retry-After")) == (429, "1")
            await eventually("it is recorded", lambda: gate.records[-1].status == 429)
            assert gate.records[-1].note == "too_many_tokens"
            assert gate.gateway.counters()["ws/ep"].unauthorized == GUESSES + 6
            assert (await early.ask(get("/", BEARER))).status == 200
            assert (await gate.ask(get("/", BEARER))).status == 200  # known to be right from this address
            assert (await gate.ask(get())).status == 401  # without a token nothing is guessed
            await gate.advance(2)
            assert (await gate.ask(get("/", f"{BEARER}-x"))).status == 401
            early.close()
            client.close()

    run(scenario)


def test_right_token_found_too_late_is_not_told() -> None:
    """Who has guessed too often learns nothing, not even from the right one."""

    async def scenario() -> None:
        async with front(Replica(), virtual=True, access=PROTECTED) as gate:
            client = await gate.client()
            for n in range(GUESSES):
                await client.ask(get("/", f"{BEARER}{n}"))
            assert (await client.ask(get("/", BEARER))).status == 429
            await gate.advance(2)
            assert (await client.ask(get("/", BEARER))).status == 200
            client.close()

    run(scenario)


# --- the ways to balance, with requests that take their time


def slow(go: asyncio.Event):  # type: ignore[no-untyped-def]
    def bound(one: Replica):  # type: ignore[no-untyped-def]
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                if b"/slow" in await one.head(reader):
                    await go.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        return serve

    return bound


@pytest.mark.parametrize(
    ("way", "more", "quick"),
    [
        pytest.param(Balancing.LEAST_REQUEST, {}, [0, 6, 6], id="least-request-avoids-the-busy-one"),
        pytest.param(Balancing.LEAST_REQUEST, {"choice_count": 3}, [0, 6, 6], id="three-of-three-are-all"),
        pytest.param(Balancing.ROUND_ROBIN, {}, [4, 4, 4], id="round-robin-does-not-look"),
    ],
)
def test_busy_replica(way: Balancing, more: dict[str, Any], quick: list[int]) -> None:
    async def scenario() -> None:
        go = asyncio.Event()
        all_ = [replica(slow(go), f"r{n}") for n in range(3)]
        async with front(*all_, balancing=way, **more) as gate:
            held = await gate.client()
            held.send(get("/slow"))
            busy = await eventually("one is busy", lambda: next((r for r in all_ if r.seen), None))
            waiting = [await gate.client() for _ in range(12)]
            for client in waiting:
                client.send(get())
                if way is Balancing.LEAST_REQUEST:
                    await client.answer()
            go.set()
            await eventually("all came", lambda: sum(len(r.seen) for r in all_) == 13)
            others = sorted(len(r.seen) for r in all_ if r is not busy)
            assert sorted([len(busy.seen) - 1, *others]) == quick
            for client in (held, *waiting):
                client.close()

    run(scenario)


def test_choice_of_one_is_chance_and_of_two_takes_the_less_busy() -> None:
    async def scenario() -> None:
        all_ = [Replica(name=f"r{n}") for n in range(4)]
        async with front(*all_, balancing=Balancing.LEAST_REQUEST, choice_count=1) as gate:
            gate.gateway.draw.seed(7)
            for _ in range(60):
                await gate.ask(get())
            assert min(len(r.seen) for r in all_) >= 5
            assert len({len(r.seen) for r in all_}) > 1  # rotation would be even

    run(scenario)


def test_shares_are_even_over_any_stretch() -> None:
    """No more than one request off at any moment: smooth, not in blocks."""
    gateway = Gateway(VirtualClock(), draw=random.Random(1))
    for name in "abc":
        gateway.put(Route("ws", name))
    gateway.put(domain(("a", 5), ("b", 1), ("c", 1)))
    of = gateway._ingresses["ws/@d.example"]  # pyright: ignore[reportPrivateUsage]
    order = [chosen[1].key[-1] for _ in range(7) if (chosen := of.choose())]
    assert Counter(order) == {"a": 5, "b": 1, "c": 1}
    assert "aaaa" not in "".join(order)
