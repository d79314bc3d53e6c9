"""Who gets to which replica: access, headers, balancing, states, host names."""

import asyncio
import contextlib

import pytest

from homeport.server.gateway.limits import Limits
from homeport.server.routing import AccessRule, Balancing, HostTaken, Route, RouteState, Target
from tests.api.gateways import (
    OK,
    PROTECTED,
    TOKEN,
    Client,
    Front,
    Replica,
    eventually,
    free_port,
    front,
    get,
    replica,
    run,
    says,
    tokens,
)

BEARER = f"Authorization: Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("rule", "lines", "status"),
    [
        pytest.param(AccessRule(), (), 200, id="public"),
        pytest.param(PROTECTED, (BEARER,), 200, id="right-token"),
        pytest.param(PROTECTED, (BEARER.replace("Bearer", "bearer"),), 200, id="scheme-in-any-case"),
        pytest.param(PROTECTED, (), 401, id="no-token"),
        pytest.param(PROTECTED, (BEARER + "x",), 401, id="wrong-token"),
        pytest.param(PROTECTED, (BEARER.replace("Bearer", "Basic"),), 401, id="other-scheme"),
        pytest.param(PROTECTED, (BEARER, "Authorization: Bearer x"), 400, id="two-of-them"),
        pytest.param(AccessRule(tokens=frozenset()), (BEARER,), 401, id="nobody"),
        pytest.param(AccessRule(networks=("127.0.0.0/8", "::1")), (), 200, id="listed-address"),
        pytest.param(AccessRule(networks=("10.0.0.1", "192.168.0.0/16")), (), 403, id="other-address"),
        pytest.param(
            AccessRule(tokens("tok-1"), networks=("10.0.0.0/8",)), (BEARER,), 403, id="token-from-elsewhere"
        ),
        pytest.param(
            AccessRule(networks=("10.0.0.0/8",)),
            ("X-Forwarded-For: 10.0.0.1",),
            403,
            id="address-only-claimed",
        ),
    ],
)
def test_access(rule: AccessRule, lines: tuple[str, ...], status: int) -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one, access=rule) as gate:
            answer = await gate.ask(get("/", *lines))
            assert answer.status == status
            assert answer.header("WWW-Authenticate") == ("Bearer" if status == 401 else None)
            assert len(one.seen) == (status == 200)
            await eventually("it is recorded", lambda: gate.records)
            assert gate.records[0].status == status

    run(scenario)


def test_a_change_of_the_rules_holds_for_open_connections_at_once() -> None:
    """A connection remembers its last request; it must not remember too well."""

    async def scenario() -> None:
        one, two = Replica(name="r1"), Replica(name="r2")
        async with front(one, access=PROTECTED) as gate:
            await two.start()
            client = await gate.client()
            request = get("/", BEARER)
            assert [(await client.ask(request)).status for _ in range(3)] == [200] * 3
            gate.route(two, access=PROTECTED)
            assert [(await client.ask(request)).status for _ in range(2)] == [200] * 2
            assert (len(one.seen), len(two.seen)) == (3, 2)
            gate.route(two, access=AccessRule(tokens("another")))
            assert (await client.ask(request)).status == 401
            gate.route(two, access=PROTECTED)
            assert [(await client.ask(request)).status for _ in range(2)] == [200] * 2
            gate.route(state=RouteState.STOPPED, access=PROTECTED)
            assert (await client.ask(request + request)).status == 503
            assert (await client.answer()).status == 503
            gate.gateway.put(Route("ws", "host", (two.target,), hosts=("127.0.0.1",)))
            assert (await client.ask(request)).status == 200  # the host now belongs to another endpoint
            gate.gateway.remove("ws/host")
            gate.gateway.remove("ws/ep")
            assert (await client.ask(request)).status == 404
            client.close()
            two.close()

    run(scenario)


def _line(target: str, host: str = "127.0.0.1", version: str = "1.1", method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/{version}\r\nHost: {host}\r\n\r\n".encode("latin-1")


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(_line("/e/ws/ep/b?c=/e/ws/other/"), id="another-path"),
        pytest.param(_line("/e/ws/ep//"), id="an-empty-segment"),
        pytest.param(_line("/e/ws/ep/../other/"), id="dots"),
        pytest.param(_line("/e/ws/ep"), id="without-the-slash"),
        pytest.param(_line("/e/ws/ep?x"), id="a-query-at-once"),
        pytest.param(_line("/e/ws/other/a"), id="another-endpoint"),
        pytest.param(_line("/e/ws/epx/a"), id="a-longer-name"),
        pytest.param(_line("/e/ws/ep/a#b"), id="a-fragment"),
        pytest.param(_line("/e/ws/ep/a b"), id="a-blank"),
        pytest.param(_line("/e/ws/ep/\xe4"), id="not-ascii"),
        pytest.param(_line('/e/ws/ep/"<>\\^`{|}'), id="odd-characters"),
        pytest.param(_line("/e/ws/ep/\x00"), id="a-nul"),
        pytest.param(_line("/e/ws/ep/a\tb"), id="a-tab"),
        pytest.param(_line("/e/ws/ep/b", version="1.0"), id="an-older-version"),
        pytest.param(_line("/e/ws/ep/b", version="1.2"), id="a-version-there-is-not"),
        pytest.param(_line("/e/ws/ep/b", method="HEAD"), id="another-method"),
        pytest.param(_line("/e/ws/ep/b", method="get"), id="a-method-there-is-not"),
        pytest.param(_line("/e/ws/ep/b", host="localhost"), id="another-host"),
        pytest.param(_line("http://127.0.0.1/e/ws/ep/b"), id="an-absolute-target"),
        pytest.param(_line("/e/ws/ep/b").replace(b"\r\n", b"\n", 1), id="a-bare-line-feed"),
        pytest.param(_line("/e/ws/ep/b").replace(b"\r\n", b"\r\nX-A: 1\r\n", 1), id="one-more-field"),
        pytest.param(_line("/e/ws/ep/b").replace(b" HTTP", b"  HTTP"), id="two-blanks"),
        pytest.param(_line("/e/ws/ep/" + "x" * 8000), id="a-long-one"),
    ],
)
def test_second_request_of_a_connection_means_what_it_would_mean_as_the_first(second: bytes) -> None:
    """Its head is compared with the last one, and may differ from it in the target only."""

    async def answered(gate: Front, client: Client) -> tuple[object, ...]:
        one, two = replicas
        seen, records = len(one.seen) + len(two.seen), len(gate.records)
        client.send(second)
        answer = await client.answer("HEAD" if second.startswith(b"HEAD") else "GET")
        await eventually("it is recorded", lambda: len(gate.records) > records)
        request_id = (answer.header("X-Request-Id") or "-").encode()
        heads = [head.replace(request_id, b"") for head in [*one.seen, *two.seen][seen:]]
        lines = [line for line in answer.headers if line[0] != "X-Request-Id"]
        record = gate.records[-1]
        return answer.status, lines, answer.body, heads, record.key, record.method, record.path, record.status

    async def scenario() -> None:
        one, two = replicas
        async with front(one) as gate:
            gate.gateway.put(Route("ws", "other", (await two.start(),)))
            fresh, used = await gate.client(), await gate.client()
            expected = await answered(gate, fresh)
            assert (await used.ask(_line("/e/ws/ep/a"))).status == 200
            one.seen.clear()
            two.seen.clear()
            assert await answered(gate, used) == expected
            for each in (fresh, used):
                each.close()
            two.close()

    replicas = Replica(), Replica(name="r1")
    run(scenario)


def test_each_request_has_an_id_of_its_own_and_its_own_body() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await one.head(reader)
                body = await reader.readexactly(3)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + body)

        one = Replica(serve)
        async with front(one) as gate:
            client = await gate.client()
            ids: set[str | None] = set()
            for n in range(20):
                body = b"%03d" % n
                answer = await client.ask(get(method="POST", body=body))
                assert answer.body == body
                ids.add(answer.header("X-Request-Id"))
            assert len(ids) == 20
            assert {r.request_id for r in gate.records} == ids
            client.close()

    run(scenario)


def test_no_token_of_ours_reaches_a_replica_or_a_record() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one, access=PROTECTED) as gate:
            assert (await gate.ask(get("/?token=" + TOKEN, BEARER))).status == 200
            # the workspace's token is sent by its clients also where nothing is asked for
            gate.route(one, access=AccessRule(secrets=tokens("workspace")))
            assert (await gate.ask(get("/", "Authorization: Bearer workspace"))).status == 200
            assert b"Authorization" not in b"".join(one.seen)
            assert (await gate.ask(get("/", "Authorization: Bearer the-apps-own"))).status == 200
            assert b"Authorization: Bearer the-apps-own\r\n" in one.seen[-1]
            assert TOKEN not in repr(gate.records)
            assert "workspace" not in repr(gate.records)

    run(scenario)


def test_headers_of_one_hop_and_claims_about_earlier_ones_are_not_passed_on() -> None:
    async def scenario() -> None:
        answer = (
            b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Private\r\nKeep-Alive: timeout=5\r\n"
            b"X-Private: 1\r\nX-Request-Id: theirs\r\nProxy-Authenticate: x\r\nContent-Type: text/plain\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        one = replica(says(answer))
        async with front(one, access=PROTECTED) as gate:
            found = await gate.ask(
                get(
                    "/", BEARER, "Connection: keep-alive, X-Secret, authorization, x-forwarded-for",
                    "X-Secret: s", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https",
                    "X-Forwarded-Host: evil", "X-Forwarded-Prefix: /evil", "X-Forwarded-User: root",
                    "X_Forwarded_For: 6.6.6.6", "Forwarded: for=evil", "X-Real-IP: 6.6.6.6", "Keep-Alive: 1",
                    "Proxy-Authorization: p", "TE: trailers", "X-Kept: yes", "Content_Length: 5",
                    "X-Request-Id: mine-1",
                )
            )  # fmt: skip
            seen = one.seen[0]
            for gone in (
                b"evil",
                b"6.6.6.6",
                b"https",
                b"root",
                b"Secret",
                b"Keep-Alive",
                b"Proxy-",
                b"TE:",
                b"Content_",
            ):
                assert gone not in seen
            assert seen.count(b"X-Forwarded-For: 127.0.0.1\r\n") == 1
            assert b"X-Kept: yes\r\n" in seen
            assert b"X-Request-Id: mine-1\r\n" in seen
            assert [n for n, _ in found.headers] == ["Content-Type", "Content-Length", "X-Request-Id"]
            assert found.header("X-Request-Id") == "mine-1"

    run(scenario)


@pytest.mark.parametrize("forged", ["a b", "x" * 200, 'a"b', "ünï"])
def test_a_request_id_that_could_confuse_a_log_is_replaced(forged: str) -> None:
    async def scenario() -> None:
        async with front(Replica()) as gate:
            found = (await gate.ask(get("/", f"X-Request-Id: {forged}"))).header("X-Request-Id")
            assert found
            assert forged not in found

    run(scenario)


def test_pages_of_the_path_form_are_sandboxed_and_stay_below_their_prefix() -> None:
    async def scenario() -> None:
        def page(*lines: str) -> bytes:
            return "\r\n".join(["HTTP/1.1 302 Found", *lines, "Content-Length: 0", "", ""]).encode()

        one = replica(
            says(
                page(
                    "Content-Type: text/html; charset=utf-8", "Location: /login?x",
                    "Set-Cookie: a=1; Domain=x; HttpOnly",
                ),
                page(
                    "Content-Type: image/svg+xml", "Location: http://127.0.0.1/a",
                    "Set-Cookie: a=1; Path=/b; Secure",
                ),
                page("Content-Type: application/json", "Location: /e/ws/ep/done"),
                page("Location: https://elsewhere/x"),
                page("Content-Type: text/html", "Location: /login", "Set-Cookie: a=1"),
            )
        )  # fmt: skip
        sandbox = "sandbox allow-scripts allow-forms"
        async with front(one) as gate:
            gate.route(one, hosts=("ep.localhost",))
            client = await gate.client()
            found = [await client.ask(get()) for _ in range(4)]
            assert [f.header("Content-Security-Policy") for f in found] == [sandbox, sandbox, None, sandbox]
            assert [f.header("Location") for f in found] == [
                "/e/ws/ep/login?x", "http://127.0.0.1/e/ws/ep/a", "/e/ws/ep/done", "https://elsewhere/x",
            ]  # fmt: skip
            assert found[0].header("Set-Cookie") == "a=1; HttpOnly; Path=/e/ws/ep/"
            assert found[1].header("Set-Cookie") == "a=1; Secure; Path=/e/ws/ep/b"
            plain = await client.ask(b"GET / HTTP/1.1\r\nHost: ep.localhost:80\r\n\r\n")
            assert (plain.header("Content-Security-Policy"), plain.header("Location")) == (None, "/login")
            client.close()

    run(scenario)


def test_a_host_name_is_looked_up_whole() -> None:
    async def scenario() -> None:
        one, two = Replica(name="r1"), Replica(name="r2")
        async with front(one) as gate:
            await two.start()
            gate.route(one, hosts=("ws-ep.localhost", "models.example"))
            gate.gateway.put(Route("ws", "other", (two.target,), hosts=("other.example",)))

            async def ask(host: str, path: str = "/x") -> int:
                return (await gate.ask(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())).status

            assert await ask("ws-ep.localhost:8788") == 200
            assert await ask("Models.Example") == 200
            assert one.seen[-1].startswith(b"GET /x HTTP/1.1\r\nHost: Models.Example\r\n")
            assert b"Prefix" not in one.seen[-1]
            assert await ask("a.models.example") == 404
            assert await ask("models.example.evil") == 404
            assert await ask("other.example", "/e/ws/ep/") == 200
            assert len(two.seen) == 1  # the path form does not lead out of a host of another endpoint
            with pytest.raises(HostTaken):
                gate.gateway.put(Route("ws", "third", hosts=("models.example",)))
            gate.route(one, hosts=("ws-ep.localhost",))
            assert await ask("models.example") == 404
            gate.gateway.put(Route("ws", "third", (two.target,), hosts=("models.example",)))
            assert await ask("models.example") == 200
            two.close()

    run(scenario)


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8788", 200), ("[::1]:8788", 200), ("192.168.1.7", 200), ("gpu.lan", 200),
     ("x.localhost", 200), ("rebound.evil", 421)],
)  # fmt: skip
def test_the_path_form_answers_only_under_names_of_its_own(host: str, status: int) -> None:
    async def scenario() -> None:
        async with front(Replica(), own_hosts=("GPU.lan",), access=AccessRule(secrets=tokens(TOKEN))) as gate:
            assert (await gate.ask(get().replace(b"127.0.0.1", host.encode()))).status == status
            assert (await gate.ask(get("/", BEARER).replace(b"127.0.0.1", host.encode()))).status == 200

    run(scenario)


def test_the_replica_with_the_fewest_open_requests_is_chosen_and_equals_take_turns() -> None:
    async def scenario() -> None:
        go = asyncio.Event()

        def waits(one: Replica):  # type: ignore[no-untyped-def]
            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                while True:
                    if b"/slow" in await one.head(reader):
                        await go.wait()
                    writer.write(OK)

            return serve

        all_ = [replica(waits, f"r{n}") for n in range(3)]
        async with front(*all_) as gate:
            for _ in range(9):
                await gate.ask(get())
            assert [len(r.seen) for r in all_] == [3, 3, 3]
            slow = [await gate.client() for _ in range(2)]
            for client in slow:
                client.send(get("/slow"))
            await eventually("both wait", lambda: sum(b"/slow" in r.seen[-1] for r in all_) == 2)
            free = next(r for r in all_ if b"/slow" not in r.seen[-1])
            for _ in range(4):
                await gate.ask(get())
            assert len(free.seen) == 7
            go.set()
            for client in slow:
                assert (await client.answer()).status == 200
                client.close()

    run(scenario)


def test_maglev_sends_a_client_to_the_same_replica() -> None:
    async def scenario() -> None:
        all_ = [Replica(name=f"r{n}") for n in range(3)]
        async with front(*all_, balancing=Balancing.MAGLEV) as gate:
            for _ in range(6):
                await gate.ask(get())
            assert sorted(len(r.seen) for r in all_) == [0, 0, 6]

    run(scenario)


def test_a_request_may_name_its_replica_where_the_route_allows_it() -> None:
    async def scenario() -> None:
        all_ = [Replica(name=f"r{n}") for n in range(3)]
        async with front(*all_, may_name_replica=True) as gate:
            for _ in range(4):
                assert (await gate.ask(get("/", "X-Lepton-Replica-Target: r1"))).status == 200
            assert [len(r.seen) for r in all_] == [0, 4, 0]
            unknown = await gate.ask(get("/", "X-Lepton-Replica-Target: gone"))
            assert (unknown.status, unknown.header("Retry-After")) == (503, "2")
            gate.route(*all_)
            for _ in range(3):
                await gate.ask(get("/", "X-Lepton-Replica-Target: r1"))
            assert [len(r.seen) for r in all_] == [1, 5, 1]

    run(scenario)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_replica_that_cannot_be_reached_is_passed_over(method: str) -> None:
    async def scenario() -> None:
        one = Replica(name="live")
        async with front(one) as gate:
            dead = Target("dead", "127.0.0.1", free_port())
            gate.gateway.put(Route("ws", "ep", (dead, one.target)))
            for _ in range(6):
                assert (await gate.ask(get(method=method))).status == 200
            gate.gateway.put(Route("ws", "ep", (dead,)))
            answer = await gate.ask(get(method=method))
            assert (answer.status, b"replica_unreachable" in answer.body) == (502, True)
            assert gate.records[-1].note.startswith("connect: ")

    run(scenario)


@pytest.mark.parametrize(("method", "status", "times"), [("GET", 200, 3), ("POST", 502, 2)])
def test_a_kept_connection_that_was_closed_is_replaced_for_requests_that_change_nothing(
    method: str, status: int, times: int
) -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await one.head(reader)
            writer.write(OK)
            if one.connections == 1:
                await one.head(reader)  # and closes without an answer
            else:
                await reader.read()

        one = Replica(serve)
        async with front(one) as gate:
            client = await gate.client()
            assert (await client.ask(get())).status == 200
            assert (await client.ask(get(method=method))).status == status
            assert len(one.seen) == times
            client.close()

    run(scenario)


def test_a_request_that_a_replica_has_read_is_not_sent_to_another() -> None:
    async def scenario() -> None:
        one, two = replica(says(b"", close=True), "r1"), replica(says(b"", close=True), "r2")
        async with front(one, two) as gate:
            assert (await gate.ask(get())).status == 502
            assert len(one.seen) + len(two.seen) == 1

    run(scenario)


def test_a_removed_replica_ends_what_it_has_and_gets_no_more() -> None:
    async def scenario() -> None:
        go = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await old.head(reader)
            await go.wait()
            writer.write(OK)
            await reader.read()

        old, new = Replica(serve, "old"), Replica(name="new")
        async with front(old) as gate:
            await new.start()
            client = await gate.client()
            client.send(get())
            await eventually("the old one has it", lambda: old.seen)
            gate.route(new)
            assert (await gate.ask(get())).status == 200
            assert not gate.drained
            go.set()
            assert (await client.answer()).body == b"ok"
            assert gate.drained == [("ws/ep", "old")]
            assert await eventually("its connection is closed", lambda: old.open == 0)
            assert len(new.seen) == 1
            client.close()
            new.close()

    run(scenario)


def test_a_thousand_changes_a_second_fail_no_request() -> None:
    async def scenario() -> None:
        all_ = [Replica(name=f"r{n}") for n in range(3)]
        async with front(*all_) as gate:
            stop = asyncio.Event()

            async def drive() -> int:
                client, count = await gate.client(), 0
                while not stop.is_set():
                    assert (await client.ask(get())).status == 200
                    count += 1
                client.close()
                return count

            clients = [asyncio.create_task(drive()) for _ in range(4)]
            for n in range(500):
                gate.route(*(r for i, r in enumerate(all_) if i != n % 3))
                gate.gateway.put(Route("ws", f"other-{n}"))
                await asyncio.sleep(0.001)
            stop.set()
            assert sum(await asyncio.gather(*clients)) > 50

    run(scenario)


@pytest.mark.parametrize(
    ("state", "code", "retry"),
    [(RouteState.STOPPED, b"stopped", None), (RouteState.SERVING, b"not_ready", "2")],
)
def test_without_a_replica_a_request_is_refused_at_once(
    state: RouteState, code: bytes, retry: str | None
) -> None:
    async def scenario() -> None:
        async with front() as gate:
            gate.route(state=state)
            answer = await gate.ask(get())
            assert (answer.status, code in answer.body, answer.header("Retry-After")) == (503, True, retry)
            assert not gate.wakes
            if state is RouteState.STOPPED:
                assert b"Stopped" in answer.body

    run(scenario)


def test_requests_wait_for_an_endpoint_at_zero_which_is_woken_once() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                if b"Content-Length: 3" in await one.head(reader):
                    assert await reader.readexactly(3) == b"abc"
                writer.write(OK)

        one = Replica(serve)
        await one.start()
        async with front() as gate:
            gate.route(state=RouteState.ZERO)
            clients = [await gate.client() for _ in range(200)]
            for n, client in enumerate(clients):
                client.send(get(f"/{n}", method="POST", body=b"abc") if n % 2 else get(f"/{n}"))
            counters = gate.gateway.counters()["ws/ep"]
            await eventually("all of them wait", lambda: counters.held == 200)
            for client in clients[:20]:
                client.close()
            await eventually("those that left do not", lambda: counters.held == 180)
            assert gate.wakes == ["ws/ep"]
            gate.route(one)
            answers = [await client.answer() for client in clients[20:]]
            assert {a.status for a in answers} == {200}
            assert len(one.seen) == 180
            assert (counters.held, counters.open, gate.gateway._held, gate.gateway._held_bytes) == (
                0,
                0,
                0,
                0,
            )
            for client in clients:
                client.close()
            one.close()

    run(scenario)


def test_what_may_wait_is_bounded_in_number_bytes_and_time() -> None:
    async def scenario() -> None:
        limits = Limits(held=3, held_bytes=4096)
        async with front(virtual=True, limits=limits) as gate:
            gate.route(state=RouteState.ZERO, hold_s=60)
            waiting = [await gate.client() for _ in range(3)]
            for client in waiting:
                client.send(get())
            counters = gate.gateway.counters()["ws/ep"]
            await eventually("they wait", lambda: counters.held == 3)
            more = await gate.ask(get())
            assert (more.status, more.header("Retry-After")) == (503, "2")
            await gate.advance(61)
            late = [await client.answer() for client in waiting]
            assert {(a.status, a.header("Retry-After")) for a in late} == {(503, "5")}
            big = await gate.ask(get(method="POST", body=b"x" * 5000))
            assert (big.status, b"too_many_waiting" in big.body) == (503, True)
            assert gate.gateway._held_bytes == 0
            for client in waiting:
                client.close()

    run(scenario)


def test_those_who_wait_are_refused_when_the_endpoint_is_stopped_or_removed() -> None:
    async def scenario() -> None:
        async with front() as gate:
            for end in (lambda: gate.route(state=RouteState.STOPPED), lambda: gate.gateway.remove("ws/ep")):
                gate.route(state=RouteState.ZERO)
                client = await gate.client()
                client.send(get())
                await eventually("it waits", lambda: gate.gateway.wanted() == ["ws/ep"])
                end()
                assert (await client.answer()).status == 503
                client.close()
            assert (await gate.ask(get())).status == 404
            assert gate.wakes == ["ws/ep", "ws/ep"]

    run(scenario)


def test_each_request_leaves_a_record_and_is_counted() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one) as gate:
            await gate.ask(get("/a?secret=1"))
            record = gate.records[0]
            assert (record.key, record.replica, record.client) == ("ws/ep", "r0", "127.0.0.1")
            assert (record.method, record.path, record.status) == ("GET", "/e/ws/ep/a", 200)
            assert record.request_id
            assert 0 < record.first_byte_us <= record.duration_us
            counters = gate.gateway.counters()["ws/ep"]
            assert (counters.requests, counters.open, counters.by_status) == (1, 0, {200: 1})
            assert counters.bytes_out == record.bytes_out > len(b"ok")
            assert sum(counters.latency) == 1
            with contextlib.suppress(ConnectionError):
                await gate.ask(b"nonsense\r\n\r\n")
            assert (gate.records[1].status, gate.records[1].method) == (400, "-")

    run(scenario)
