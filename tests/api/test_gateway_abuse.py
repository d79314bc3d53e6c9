"""What a gateway must refuse or make harmless. The replica of most of these must never be asked."""

import asyncio
import random

import pytest

from homeport.server.gateway.limits import Limits
from tests.api.gateways import OK, Client, Front, Replica, eventually, front, get, replica, run, says

E = "/e/ws/ep/"
HOST = "Host: 127.0.0.1"


def raw(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def post(*lines: str, body: bytes = b"") -> bytes:
    return raw(f"POST {E} HTTP/1.1", HOST, *lines, body=body)


SMUGGLED = b"0\r\n\r\nGET /e/ws/ep/smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
CL, TE = "Content-Length: 6", "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        # two ways to tell where a body ends
        pytest.param(post(CL, TE, body=SMUGGLED), 400, id="length-and-chunked"),
        pytest.param(post(TE, CL, body=SMUGGLED), 400, id="chunked-and-length"),
        pytest.param(post(CL, "Content-Length: 7", body=SMUGGLED), 400, id="two-lengths"),
        pytest.param(post(CL, CL, body=SMUGGLED), 400, id="the-same-length-twice"),
        pytest.param(post("Content-Length: 6, 6", body=SMUGGLED), 400, id="a-list-of-lengths"),
        pytest.param(post("Content-Length: +6", body=SMUGGLED), 400, id="a-signed-length"),
        pytest.param(post("Content-Length: -1", body=SMUGGLED), 400, id="a-negative-length"),
        pytest.param(post("Content-Length: 0x6", body=SMUGGLED), 400, id="a-hexadecimal-length"),
        pytest.param(post("Content-Length: 6 6", body=SMUGGLED), 400, id="a-length-with-a-blank"),
        pytest.param(post("Content-Length: ", body=SMUGGLED), 400, id="an-empty-length"),
        pytest.param(post("Content-Length: " + "9" * 20, body=SMUGGLED), 400, id="an-endless-length"),
        pytest.param(post(TE, TE, body=SMUGGLED), 400, id="chunked-twice"),
        pytest.param(post("Transfer-Encoding: xchunked", body=SMUGGLED), 400, id="xchunked"),
        pytest.param(post("Transfer-Encoding: chunked, identity", body=SMUGGLED), 400, id="chunked-not-last"),
        pytest.param(post("Transfer-Encoding: gzip, chunked", body=SMUGGLED), 501, id="gzip-chunked"),
        pytest.param(post("Transfer-Encoding : chunked", body=SMUGGLED), 400, id="blank-before-colon"),
        pytest.param(post("Transfer-Encoding:\x0bchunked", body=SMUGGLED), 400, id="vertical-tab"),
        pytest.param(post("Transfer-Encoding: \x00chunked", body=SMUGGLED), 400, id="nul-in-a-value"),
        pytest.param(post("X: a", " Transfer-Encoding: chunked", body=SMUGGLED), 400, id="folded-line"),
        pytest.param(post("X: a\rTransfer-Encoding: chunked", body=SMUGGLED), 400, id="bare-cr"),
        pytest.param(post("X: a\nTransfer-Encoding: chunked", body=SMUGGLED), 400, id="bare-lf"),
        pytest.param(raw(f"POST {E} HTTP/1.0", HOST, TE, body=SMUGGLED), 400, id="chunked-in-1.0"),
        pytest.param(post(TE, body=b"5\nabcde\r\n0\r\n\r\n"), 400, id="lf-behind-a-chunk-size"),
        pytest.param(post(TE, body=b"5 \r\nabcde\r\n0\r\n\r\n"), 400, id="blank-behind-a-chunk-size"),
        pytest.param(post(TE, body=b"-5\r\nabcde\r\n0\r\n\r\n"), 400, id="negative-chunk"),
        pytest.param(post(TE, body=b"fffffffffffffffff\r\nabcde"), 400, id="endless-chunk"),
        pytest.param(post(TE, body=b"3\r\nabcde\r\n0\r\n\r\n"), 400, id="chunk-longer-than-its-size"),
        # who is meant
        pytest.param(raw(f"GET {E} HTTP/1.1"), 400, id="no-host"),
        pytest.param(raw(f"GET {E} HTTP/1.1", HOST, HOST), 400, id="two-hosts"),
        pytest.param(raw(f"GET {E} HTTP/1.1", HOST, "host: evil"), 400, id="two-hosts-in-other-case"),
        pytest.param(raw(f"GET {E} HTTP/1.1", "Host:"), 400, id="empty-host"),
        pytest.param(raw(f"GET {E} HTTP/1.1", "Host: a, b"), 400, id="a-list-of-hosts"),
        pytest.param(raw(f"GET {E} HTTP/1.1", "Host: a@b"), 400, id="host-with-a-user"),
        pytest.param(raw(f"GET {E} HTTP/1.1", "Host: a/b"), 400, id="host-with-a-path"),
        pytest.param(raw(f"GET http://evil{E} HTTP/1.1", HOST), 400, id="absolute-elsewhere"),
        pytest.param(raw(f"GET https://127.0.0.1{E} HTTP/1.1", HOST), 400, id="absolute-in-https"),
        pytest.param(raw(f"GET http://u@127.0.0.1{E} HTTP/1.1", HOST), 400, id="absolute-with-a-user"),
        pytest.param(raw(f"GET {E}#f HTTP/1.1", HOST), 400, id="fragment"),
        pytest.param(raw(f"GET {E}\xe9 HTTP/1.1", HOST), 400, id="target-not-ascii"),
        pytest.param(raw("OPTIONS * HTTP/1.1", HOST), 400, id="asterisk"),
        pytest.param(raw("CONNECT 169.254.169.254:80 HTTP/1.1", HOST), 405, id="connect"),
        pytest.param(raw("CONNECT 127.0.0.1:22 HTTP/1.1", "Host: a:22"), 405, id="connect-to-loopback"),
        pytest.param(raw(f"TRACE {E} HTTP/1.1", HOST), 405, id="trace"),
        pytest.param(raw(f"SPY {E} HTTP/1.1", HOST), 400, id="unknown-method"),
        pytest.param(raw(f"get {E} HTTP/1.1", HOST), 400, id="method-in-lower-case"),
        pytest.param(raw(f"GET {E} HTTP/2.0", HOST), 505, id="another-version"),
        pytest.param(raw(f"GET {E} HTTP/0.9", HOST), 505, id="an-old-version"),
        pytest.param(raw(f"GET {E}"), 505, id="no-version"),
        pytest.param(raw("\x16\x03\x01\x02\x00\x01"), 400, id="tls"),
        pytest.param(raw(f"GET {E} HTTP/1.1", HOST, ": v"), 400, id="field-without-a-name"),
        pytest.param(raw(f"GET {E} HTTP/1.1", HOST, "a b: v"), 400, id="field-name-with-a-blank"),
        pytest.param(raw(f"GET {E} HTTP/1.1", HOST, "Expect: magic"), 417, id="expectation"),
        # how much
        pytest.param(raw(f"GET {E} HTTP/1.1", HOST, *["a: b"] * 100), 431, id="many-fields"),
        pytest.param(raw(f"GET {E} HTTP/1.1", HOST, "a: " + "b" * 70_000), 431, id="long-field"),
        pytest.param(raw(f"GET {E}{'a' * 70_000} HTTP/1.1", HOST), 431, id="long-target"),
        pytest.param(raw(f"GET {E} HTTP/1.1", HOST, "b" * 70_000 + ": a"), 431, id="long-name"),
        pytest.param(post("Content-Length: 99999999999"), 413, id="large-body-by-length"),
        pytest.param(post("Content-Length: 99999999999", "Expect: 100-continue"), 413, id="announced"),
    ],
)  # fmt: skip
def test_refused(request_: bytes, status: int) -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one, limits=Limits(linger_s=0.1)) as gate:
            client = await gate.client()
            answer = await client.ask(request_)
            assert answer.status == status
            assert answer.header("Connection") == "close"
            assert await client.is_closed()
            assert not any(b"smuggled" in seen for seen in one.seen)
            if b"request body" not in answer.body:
                assert not one.seen
            client.close()

    run(scenario)


def test_an_absolute_target_of_this_host_is_an_ordinary_request() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one) as gate:
            assert (await gate.ask(raw(f"GET http://127.0.0.1{E}a?b HTTP/1.1", HOST))).status == 200
            assert one.seen[0].startswith(b"GET /a?b HTTP/1.1\r\nHost: 127.0.0.1\r\n")

    run(scenario)


def test_a_head_that_comes_byte_by_byte_is_read_like_any_other() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one) as gate:
            client = await gate.client()
            for byte in get("/", "X-A: b"):
                client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await client.answer()).status == 200
            client.close()

    run(scenario)


def test_head_and_get_on_one_kept_connection_are_never_mixed_up() -> None:
    """Each answer names its request; a replica that sends a body after HEAD loses the connection."""

    async def scenario() -> None:
        choice = random.Random(7)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                method, path, _ = (await one.head(reader)).split(b" ", 2)
                kind = path.split(b"/")[1]
                if kind == b"chunked":
                    framing, body = (
                        b"Transfer-Encoding: chunked",
                        b"%x\r\n%b\r\n0\r\n\r\n" % (len(path), path),
                    )
                else:
                    framing, body = b"Content-Length: %d" % len(path), path
                wrong = method == b"HEAD" and kind == b"wrong"
                writer.write(b"HTTP/1.1 200 OK\r\n%b\r\nX-Path: %b\r\n\r\n" % (framing, path))
                if method == b"GET" or wrong:
                    writer.write(body)

        one = Replica(serve)
        async with front(one) as gate:
            clients = [await gate.client() for _ in range(3)]
            for n in range(300):
                method = choice.choice(["GET", "HEAD"])
                path = f"/{choice.choice(['chunked', 'length', 'wrong'])}/{n}"
                answer = await choice.choice(clients).ask(get(path, method=method), method)
                assert answer.header("X-Path") == path
                assert answer.body == (path.encode() if method == "GET" else b"")
            assert 3 < one.connections < 200
            for client in clients:
                client.close()

    run(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no-http"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", id="bare-lf"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", id="lengths"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na", id="length-and-te"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", id="gzip-chunked"),
        pytest.param(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked-in-1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000, id="endless-head"),
        pytest.param(b"HTTP/1.1 103 Early\r\n\r\n" * 50, id="flood-of-interim-answers"),
        pytest.param(b"", id="nothing"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_http_is_a_bad_gateway(answer: bytes) -> None:
    async def scenario() -> None:
        one = replica(says(answer, close=not answer))
        async with front(one) as gate:
            assert (await gate.ask(get(version="1.1"))).status == 502
            assert await eventually("its connection is not kept", lambda: one.open == 0)

    run(scenario)


@pytest.mark.parametrize("behind", [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"x"])
@pytest.mark.parametrize(
    "answer",
    [OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
    ids=["length", "chunked"],
)
def test_what_a_replica_sends_behind_its_answer_reaches_nobody(answer: bytes, behind: bytes) -> None:
    async def scenario() -> None:
        one = replica(says(answer + behind))
        async with front(one) as gate:
            client = await gate.client()
            for _ in range(3):
                assert (await client.ask(get())).body == b"ok"
            assert one.connections == 3
            client.close()

    run(scenario)


def test_a_replica_that_speaks_unasked_loses_its_connection() -> None:
    async def scenario() -> None:
        go = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await one.head(reader)
            writer.write(OK)
            await go.wait()
            writer.write(OK.replace(b"ok", b"no"))
            await reader.read()

        one = Replica(serve)
        async with front(one) as gate:
            client = await gate.client()
            assert (await client.ask(get())).body == b"ok"
            go.set()
            await eventually("the connection is closed", lambda: one.open == 0)
            assert (await client.ask(get())).body == b"ok"
            client.close()

    run(scenario)


def test_a_chunked_body_past_the_limit_is_refused_while_it_comes() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await one.head(reader)
            while await reader.read(1 << 16):
                pass

        one = Replica(serve)
        async with front(one, limits=Limits(body_bytes=1 << 20)) as gate:
            client = await gate.client()
            client.send(post(TE))
            reading = asyncio.create_task(client.answer())
            sent = 0
            while not reading.done():
                client.send(b"4000\r\n%b\r\n" % bytes(0x4000))
                sent += 0x4000
                await client.writer.drain()
                await asyncio.sleep(0)
            assert (await reading).status == 413
            assert sent < 4 << 20
            assert await eventually("the replica's connection ended", lambda: one.open == 0)
            gate.route(one, body_bytes=10)
            assert (await gate.ask(get(method="POST", body=b"x" * 11))).status == 413

    run(scenario)


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(b"1;" + b"x" * 200_000, id="one-endless-extension"),
        pytest.param(b"1\r\nx\r\n0\r\n" + b"A: b\r\n" * 40_000, id="endless-trailer"),
    ],
)
def test_chunk_extensions_and_trailers_are_bounded(flood: bytes) -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await one.head(reader)
            await reader.read()

        one = Replica(serve)
        async with front(one) as gate:
            assert (await gate.ask(post(TE) + flood)).status == 400

    run(scenario)


async def drip(gate: Front, client: Client, data: bytes, *, every_s: float) -> None:
    for byte in data:
        client.send(bytes([byte]))
        await gate.advance(every_s)


def test_a_head_that_never_ends_is_cut_after_ten_seconds_while_others_are_served() -> None:
    async def scenario() -> None:
        async with front(Replica(), virtual=True) as gate:
            slow = [await gate.client() for _ in range(50)]
            for client in slow:
                client.send(b"GET /e/ws")
            await eventually(
                "they are known", lambda: len(gate.gateway._unfinished.get("127.0.0.1", ())) == 50
            )
            for _ in range(9):
                await gate.advance(1)
                for client in slow:
                    client.send(b"x")
                assert (await gate.ask(get())).status == 200
            await gate.advance(2)
            assert {(await client.answer()).status for client in slow} == {408}
            for client in slow:
                client.close()
            await eventually("none is left", lambda: not gate.gateway._connections)

    run(scenario)


def test_a_client_that_begins_many_heads_loses_the_oldest() -> None:
    async def scenario() -> None:
        async with front(Replica(), limits=Limits(unfinished_heads=20)) as gate:
            slow = [await gate.client() for _ in range(60)]
            for client in slow:
                client.send(b"GET /")
            assert await eventually("only some are left", lambda: len(gate.gateway._connections) == 20)
            assert (await gate.ask(get())).status == 200
            assert await slow[0].is_closed()
            for client in slow:
                client.close()

    run(scenario)


def test_when_all_places_are_taken_silent_connections_make_room() -> None:
    async def scenario() -> None:
        async with front(Replica(), limits=Limits(connections=20)) as gate:
            silent = [await gate.client() for _ in range(30)]
            assert await eventually("20 are left", lambda: len(gate.gateway._connections) == 20)
            assert (await gate.ask(get())).status == 200
            for client in silent:
                client.close()
            await eventually("they are gone", lambda: not gate.gateway._connections)
            busy = [await gate.client() for _ in range(20)]
            for client in busy:
                await client.ask(get())
            more = await gate.client()
            answer = await more.answer()
            assert (answer.status, answer.header("Retry-After")) == (503, "1")
            for client in (*busy, more):
                client.close()

    run(scenario)


def test_silent_idle_and_half_sent_connections_end_in_time() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while b"POST" not in await one.head(reader):
                writer.write(OK)
            await reader.read()

        one = Replica(serve)
        async with front(one, virtual=True) as gate:
            silent, idle, half = [await gate.client() for _ in range(3)]
            assert (await idle.ask(get())).status == 200
            half.send(post("Content-Length: 100", body=b"x" * 50))
            await eventually("the replica has its head", lambda: len(one.seen) == 2)
            await gate.advance(11)
            assert await silent.is_closed()
            await gate.advance(50)
            assert (await half.answer()).status == 408
            await gate.advance(15)
            assert await idle.is_closed()

    run(scenario)


def test_a_client_that_reads_nothing_is_cut() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await one.head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()

        one = Replica(serve)
        async with front(one, virtual=True) as gate:
            client = await gate.client()
            client.send(get())
            await client.head()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await eventually("it is full", lambda: next(iter(gate.gateway._connections)).is_full)
            await gate.advance(61)
            await eventually("it is cut", lambda: gate.records)
            assert gate.records[0].note == "client does not read"
            assert await eventually("the replica's connection ended", lambda: one.open == 0)
            client.close()

    run(scenario)


def test_pipelined_requests_of_a_client_that_reads_nothing_are_not_answered_into_memory() -> None:
    async def scenario() -> None:
        async with front(Replica()) as gate:
            client = await gate.client()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            one = b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n" * 100
            await eventually("it is there", lambda: gate.gateway._connections)
            down = next(iter(gate.gateway._connections))
            while not down.is_paused:
                client.send(one)
                await asyncio.sleep(0)
            assert down.transport.get_write_buffer_size() < 1 << 20
            assert len(down._buffer) < 1 << 20
            client.writer.transport.abort()

    run(scenario)
