"""HTTP/1.1 through the gateway, over real sockets."""

import asyncio
import socket
import struct

import pytest

from homeport.server.gateway.limits import Limits
from tests.api.gateways import OK, Client, Replica, eventually, front, get, replica, run, says

CHUNKED = "Transfer-Encoding: chunked"


def test_the_path_form_is_stripped_and_told_to_the_replica() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one) as gate:
            answer = await gate.ask(get("/a/b?c=d"))
            assert (answer.status, answer.body) == (200, b"ok")
            seen = one.seen[0].decode()
            assert seen.startswith("GET /a/b?c=d HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            for line in (
                "X-Forwarded-Prefix: /e/ws/ep", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http",
                "X-Forwarded-Host: 127.0.0.1", f"X-Request-Id: {answer.header('X-Request-Id')}",
            ):  # fmt: skip
                assert f"\r\n{line}\r\n" in seen

    run(scenario)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "/"),
        ("/", "/"),
        ("?q=1", "/?q=1"),
        ("//x", "//x"),
        ("/%2e%2e/x", "/%2e%2e/x"),
        ("/../../b", "/../../b"),
    ],
)
def test_what_follows_the_prefix_reaches_this_endpoint_as_it_is(path: str, expected: str) -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one) as gate:
            assert (await gate.ask(get(path))).status == 200
            assert one.seen[0].decode().split(" ")[1] == expected

    run(scenario)


def test_one_connection_carries_many_requests_and_so_does_the_replicas() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one) as gate:
            client = await gate.client()
            for _ in range(5):
                assert (await client.ask(get())).body == b"ok"
            assert (len(one.seen), one.connections) == (5, 1)
            client.close()

    run(scenario)


def test_pipelined_requests_are_answered_in_order_and_one_at_a_time() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                path = (await one.head(reader)).split(b" ")[1]
                await asyncio.sleep(0.005)
                assert not reader._buffer, "the next request came before this one's answer"  # type: ignore
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

        one = Replica(serve)
        async with front(one) as gate:
            client = await gate.client()
            client.send(b"".join(get(f"/{n}") for n in range(20)) + get("/nowhere").replace(b"/ws/", b"/no/"))
            assert [(await client.answer()).body for _ in range(20)] == [b"/%d" % n for n in range(20)]
            assert (await client.answer()).status == 404
            assert (await client.ask(get("/again"))).body == b"/again"
            client.close()

    run(scenario)


def test_hundreds_of_pipelined_refusals_leave_room_for_others() -> None:
    async def scenario() -> None:
        async with front(Replica()) as gate:
            greedy = await gate.client()
            greedy.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
            assert (await gate.ask(get())).status == 200
            assert [(await greedy.answer()).status for _ in range(500)] == [404] * 500
            greedy.close()

    run(scenario)


def test_a_body_with_a_length_arrives_whole() -> None:
    async def scenario() -> None:
        body = bytes(range(256)) * 40

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                assert b"Content-Length: 10240\r\n" in await one.head(reader)
                assert await reader.readexactly(len(body)) == body
                writer.write(OK)

        one = Replica(serve)
        async with front(one) as gate:
            client = await gate.client()
            assert (
                await client.ask(get(method="POST", body=body) + get(method="POST", body=body))
            ).status == 200
            assert (await client.answer()).status == 200
            client.close()

    run(scenario)


@pytest.mark.parametrize("size", [1, 7, 100_000], ids=lambda n: f"in-pieces-of-{n}")
def test_a_chunked_body_is_written_anew_without_extensions_or_forbidden_trailers(size: int) -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for _ in range(2):
                assert b"Transfer-Encoding: chunked\r\n" in await one.head(reader)
                one.seen.append(await reader.readuntil(b"X-Sum: 1\r\n\r\n"))
                writer.write(OK)

        one = Replica(serve)
        body = (
            b"3;name=v\r\na\r\n\r\n4\r\nbcde\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nX-Forwarded-For: evil\r\n\r\n"
        )
        request = get("/", CHUNKED, method="POST") + body
        async with front(one) as gate:
            client = await gate.client()
            data = request + request
            for start in range(0, len(data), size):
                client.send(data[start : start + size])
                await client.writer.drain()
                await asyncio.sleep(0)
            assert [(await client.answer()).status for _ in range(2)] == [200, 200]
            sent = one.seen[1]
            if size > 7:  # else the data comes in more, smaller chunks
                assert sent == b"3\r\na\r\n\r\n4\r\nbcde\r\n0\r\nX-Sum: 1\r\n\r\n"
            assert b"evil" not in sent
            assert b"name" not in sent
            client.close()

    run(scenario)


def test_a_chunked_answer_passes_with_its_trailer_and_the_connection_is_kept() -> None:
    async def scenario() -> None:
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n"
        one = replica(says(chunked, OK))
        async with front(one) as gate:
            client = await gate.client()
            answer = await client.ask(get())
            assert (answer.body, answer.trailer) == (b"abc", b"X-Sum: 9\r\n")
            assert (await client.ask(get())).body == b"ok"
            assert one.connections == 1
            client.close()

    run(scenario)


def test_an_answer_that_ends_with_its_connection_is_chunked_for_the_client() -> None:
    async def scenario() -> None:
        one = replica(says(b"HTTP/1.0 200 OK\r\n\r\nhello", close=True))
        async with front(one) as gate:
            client = await gate.client()
            for _ in range(2):
                assert (await client.ask(get())).body == b"hello"
            assert one.connections == 2
            client.close()

    run(scenario)


@pytest.mark.parametrize(
    ("answer", "keeps"),
    [
        pytest.param(OK, True, id="length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", False, id="chunked"
        ),
    ],
)
def test_a_client_of_http_1_0_gets_no_chunks(answer: bytes, keeps: bool) -> None:
    async def scenario() -> None:
        async with front(replica(says(answer, answer))) as gate:
            client = await gate.client()
            found = await client.ask(get("/", "Connection: keep-alive", version="1.0"))
            assert (found.body, found.header("Transfer-Encoding")) == (b"ok", None)
            assert found.header("Connection") == ("keep-alive" if keeps else "close")
            plain = await gate.ask(get("/", version="1.0"))
            assert plain.header("Connection") == "close"
            client.close()

    run(scenario)


@pytest.mark.parametrize(
    ("method", "answer", "length"),
    [
        pytest.param("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "5", id="HEAD"),
        pytest.param(
            "HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None, id="HEAD-chunked"
        ),
        pytest.param("GET", b"HTTP/1.1 204 No Content\r\n\r\n", None, id="204"),
        pytest.param("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "5", id="304"),
    ],
)
def test_answers_without_a_body_leave_both_connections_usable(
    method: str, answer: bytes, length: str | None
) -> None:
    async def scenario() -> None:
        one = replica(says(answer, OK, answer, OK))
        async with front(one) as gate:
            client = await gate.client()
            for _ in range(2):
                found = await client.ask(get(method=method), method)
                assert found.header("Content-Length") == length
                assert (await client.ask(get())).body == b"ok"
            assert one.connections == 1
            client.close()

    run(scenario)


def test_interim_answers_pass_and_100_only_to_one_who_asked() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                head = await one.head(reader)
                writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
                if b"Expect: 100-continue\r\n" in head:
                    assert await reader.readexactly(3) == b"abc"
                writer.write(OK)

        one = Replica(serve)
        async with front(one) as gate:
            client = await gate.client()
            assert (await client.ask(get())).interim == [103]
            client.send(get("/", "Expect: 100-continue", "Content-Length: 3", method="POST"))
            assert [(await client.head()).status for _ in range(2)] == [103, 100]
            assert (await client.ask(b"abc")).status == 200
            assert (await client.ask(get("/", version="1.0"))).interim == []
            client.close()

    run(scenario)


def test_a_final_answer_in_place_of_100_ends_the_connection() -> None:
    async def scenario() -> None:
        one = replica(says(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n"))
        async with front(one) as gate:
            client = await gate.client()
            answer = await client.ask(get("/", "Expect: 100-continue", "Content-Length: 3", method="POST"))
            assert answer.status == 413
            assert await client.is_closed()
            assert await eventually("the replica's connection ended", lambda: one.open == 0)

    run(scenario)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_large_bodies_stream_both_ways_at_once(framing: str) -> None:
    async def scenario() -> None:
        size, piece = 16 << 20, b"x" * 65536

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await one.head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            left = size
            while left > 0:
                data = await reader.read(1 << 16)
                data = data if b"chunked" not in head else b"x" * min(left, len(data))
                left -= len(data)
                writer.write(data)
                await writer.drain()
            await reader.read()

        one = Replica(serve)
        async with front(one) as gate:
            client = await gate.client()
            line = CHUNKED if framing == "chunked" else f"Content-Length: {size}"
            client.send(get("/", line, method="POST"))

            async def upload() -> None:
                for _ in range(size // len(piece)):
                    client.send(b"10000\r\n%b\r\n" % piece if framing == "chunked" else piece)
                    await client.writer.drain()
                if framing == "chunked":
                    client.send(b"0\r\n\r\n")

            sending = asyncio.create_task(upload())
            answer = await client.answer()
            await sending
            assert answer.body == b"x" * size
            assert gate.gateway.counters()["ws/ep"].bytes_out >= size
            client.close()

    run(scenario)


def test_a_client_that_does_not_read_stops_the_replica() -> None:
    async def scenario() -> None:
        sent = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await one.head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
            while True:
                writer.write(b"y" * 65536)
                await writer.drain()
                sent += 65536

        one = Replica(serve)
        async with front(one) as gate:
            client = await gate.client()
            client.send(get())
            await client.head()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.2)
            assert sent < 64 << 20  # what the kernel's buffers on the way hold
            down = next(iter(gate.gateway._connections))
            assert down.transport.get_write_buffer_size() < 1 << 20
            client.writer.transport.abort()
            assert await eventually("the replica's connection ended", lambda: one.open == 0)

    run(scenario)


def test_a_replica_that_does_not_read_stops_the_client() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await one.head(reader)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.Event().wait()

        one = Replica(serve)
        async with front(one) as gate:
            client = await gate.client()
            client.send(get("/", f"Content-Length: {1 << 30}", method="PUT"))
            sent, before = 0, -1
            while sent != before:
                before = sent
                for _ in range(100):
                    client.send(b"z" * 65536)
                    try:
                        await asyncio.wait_for(client.writer.drain(), 0.2)
                    except TimeoutError:
                        break
                    sent += 65536
            assert sent < 64 << 20
            down = next(iter(gate.gateway._connections))
            assert down.is_paused
            reset_now = struct.pack("ii", 1, 0)
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_now)
            client.writer.transport.abort()
            # reading is paused, so it is the sweep that notices
            assert await eventually("the request is over", lambda: gate.records)
            assert gate.records[0].status == 499

    run(scenario)


def test_events_arrive_one_by_one_and_a_client_that_leaves_ends_the_stream() -> None:
    async def scenario() -> None:
        go = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await one.head(reader)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for n in range(3):
                writer.write(b"8\r\ndata: %d\n\r\n" % n)
                await go.wait()
                go.clear()
            await reader.read()

        one = Replica(serve)
        async with front(one) as gate:
            client = await gate.client()
            client.send(get())
            await client.head()
            for n in range(3):
                assert await client.reader.readexactly(13) == b"8\r\ndata: %d\n\r\n" % n
                go.set()
            client.close()
            assert await eventually("the replica's connection ended", lambda: one.open == 0)
            assert (gate.records[0].status, gate.records[0].note) == (499, "client left")
            assert gate.gateway.counters()["ws/ep"].open == 0

    run(scenario)


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
SWITCH = (
    b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n"
)


def test_a_websocket_is_passed_through_with_what_came_early() -> None:
    async def scenario() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await one.head(reader)
            assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head
            writer.write(SWITCH + b"hello")
            while data := await reader.read(100):
                writer.write(data.upper())
            writer.write(b"bye")

        one = Replica(serve)
        async with front(one) as gate:
            client = await gate.client()
            answer = await client.ask(get("/", *UPGRADE) + b"early")
            assert (answer.status, answer.header("Sec-WebSocket-Accept")) == (101, "y")
            assert (answer.header("Upgrade"), answer.header("Connection")) == ("websocket", "Upgrade")
            assert await client.reader.readexactly(10) == b"helloEARLY"
            client.send(b"\x00\xffabc")
            assert await client.reader.readexactly(5) == b"\x00\xffABC"
            client.writer.write_eof()  # this direction ends, the other goes on
            assert await client.reader.read() == b"bye"
            client.close()
            await eventually("the request is recorded", lambda: gate.records)
            assert (gate.records[0].status, gate.records[0].bytes_in) == (101, 10)

    run(scenario)


def test_a_websocket_that_the_replica_ends_first_ends_for_the_client() -> None:
    async def scenario() -> None:
        async with front(replica(says(SWITCH, close=True))) as gate:
            client = await gate.client()
            assert (await client.ask(get("/", *UPGRADE))).status == 101
            assert await client.is_closed()
            client.close()
            await eventually("nothing is left", lambda: not gate.gateway._connections)

    run(scenario)


def test_an_upgrade_that_the_replica_declines_is_an_ordinary_answer() -> None:
    async def scenario() -> None:
        one = replica(says(OK, OK))
        async with front(one) as gate:
            client = await gate.client()
            assert (await client.ask(get("/", *UPGRADE))).body == b"ok"
            assert (await client.ask(get())).body == b"ok"
            client.close()

    run(scenario)


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        pytest.param((), SWITCH, id="unasked"),
        pytest.param(UPGRADE, SWITCH.replace(b"websocket", b"h2c"), id="to-another-protocol"),
    ],
)
def test_a_switch_nobody_asked_for_is_a_bad_gateway(lines: tuple[str, ...], answer: bytes) -> None:
    async def scenario() -> None:
        async with front(replica(says(answer + b"smuggled"))) as gate:
            assert (await gate.ask(get("/", *lines))).status == 502

    run(scenario)


def test_an_upgrade_to_http_2_is_not_passed_on() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one) as gate:
            lines = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
            assert (await gate.ask(get("/", *lines))).status == 200
            assert b"pgrade" not in one.seen[0]
            assert b"HTTP2" not in one.seen[0]

    run(scenario)


def test_prior_knowledge_of_http_2_is_told_what_is_missing() -> None:
    async def scenario() -> None:
        async with front(Replica()) as gate:
            client = await gate.client()
            client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04\x00" + bytes(4))
            told = await client.reader.read()
            assert told[:9] == bytes(3) + b"\x04\x00" + bytes(4)  # SETTINGS
            assert told[12] == 7  # GOAWAY
            assert told[22:26] == b"\x00\x00\x00\x0d"  # HTTP_1_1_REQUIRED
            assert b"HTTP/2 and gRPC need a proxy" in told
            grpc = await gate.ask(get("/", "Content-Type: application/grpc", method="POST"))
            assert (grpc.status, b"gRPC needs HTTP/2" in grpc.body) == (505, True)
            web = await gate.ask(get("/", "Content-Type: application/grpc-web+proto", method="POST"))
            assert web.status == 200

    run(scenario)


def test_a_replica_that_is_silent_is_given_up_after_the_routes_timeout() -> None:
    async def scenario() -> None:
        async with front(replica(says(b"")), virtual=True, timeout_s=400) as gate:
            client = await gate.client()
            client.send(get())
            await eventually("the replica has it", lambda: gate.gateway.counters()["ws/ep"].open)
            await asyncio.sleep(0.05)
            await gate.advance(399)
            assert not gate.records
            await gate.advance(2)
            assert (await client.answer()).status == 504

    run(scenario)


def test_a_stream_may_outlast_the_timeout_while_it_moves_and_is_cut_when_it_does_not() -> None:
    async def scenario() -> None:
        go = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await one.head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"1\r\nx\r\n")
                await go.wait()
                go.clear()

        one = Replica(serve)
        async with front(one, virtual=True, timeout_s=300) as gate:
            client = await gate.client()
            client.send(get())
            await client.head()
            for _ in range(4):
                assert await client.reader.readexactly(6) == b"1\r\nx\r\n"
                await gate.advance(200)
                go.set()
            await client.reader.readexactly(6)
            await gate.advance(301)
            assert await client.is_closed()
            assert gate.records[0].note == "timeout"

    run(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", id="chunked"),
    ],
)
def test_an_answer_that_is_cut_short_looks_cut_short(answer: bytes) -> None:
    async def scenario() -> None:
        async with front(replica(says(answer, close=True))) as gate:
            client = await gate.client()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
                await client.ask(get())
            assert gate.records[0].note == "the replica closed the connection"

    run(scenario)


def test_connections_to_a_replica_are_kept_only_for_a_while() -> None:
    async def scenario() -> None:
        one = Replica()
        async with front(one, virtual=True, limits=Limits(pool_idle_s=4)) as gate:
            assert (await gate.ask(get())).status == 200
            await gate.advance(3)
            assert one.open == 1
            await gate.advance(2)
            assert await eventually("it is closed", lambda: one.open == 0)

    run(scenario)


def test_open_requests_end_and_idle_connections_close_when_the_gateway_leaves() -> None:
    async def scenario() -> None:
        go = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await one.head(reader)
            await go.wait()
            writer.write(OK)

        one = Replica(serve)
        async with front(one) as gate:
            idle, busy = await gate.client(), await gate.client()
            busy.send(get())
            await eventually("the replica has it", lambda: one.seen)
            closing = asyncio.create_task(gate.gateway.close(5))
            assert await idle.is_closed()
            with pytest.raises(ConnectionRefusedError):
                await Client.connect(gate.port)
            go.set()
            answer = await busy.answer()
            assert (answer.body, answer.header("Connection")) == (b"ok", "close")
            busy.close()
            await closing

    run(scenario)
