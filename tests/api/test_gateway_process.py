"""The gateway as a program of its own: fed, left alone, taken over, killed. A real application behind it."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from homeport.runtime.clock import SystemClock, VirtualClock
from homeport.server.gateway.feed import AlreadyServed, Feed
from homeport.server.gateway.link import GatewayLink, Listeners, LocalGateway
from homeport.server.gateway.supervisor import GatewayAway, ProcessGateway
from homeport.server.gateway.wire import packed, read_message
from homeport.server.routing import AccessRecord, HostTaken, Route, RouteState, Target
from tests.api.gateways import DEADLINE_S, Client, Replica, eventually, free_port, get, run


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Told:
    """What a control plane heard."""

    def __init__(self) -> None:
        self.wakes: list[str] = []
        self.records: list[AccessRecord] = []
        self.drained: list[tuple[str, str]] = []
        self.listeners = Listeners(
            self.wakes.append, self.records.extend, lambda key, name: self.drained.append((key, name))
        )


@contextlib.asynccontextmanager
async def control_plane(
    data_dir: Path, told: Told | None = None, *, stop: bool = True, **more: Any
) -> AsyncGenerator[tuple[ProcessGateway, int]]:
    gateway = ProcessGateway(data_dir, SystemClock(), (told or Told()).listeners, **more)
    port = await gateway.start()
    try:
        yield gateway, port
    finally:
        await gateway.close(stop=stop)


async def status(port: int, request: bytes = b"") -> int:
    client = await Client.connect(port)
    try:
        return (await client.ask(request or get())).status
    finally:
        client.close()


def test_the_table_goes_live_and_counters_records_and_wakes_come_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        one, told = Replica(), Told()
        route = Route("ws", "ep", (await one.start(),))
        async with control_plane(tmp_path, told) as (gateway, port):
            assert stat.S_IMODE((tmp_path / "gateway.sock").stat().st_mode) == 0o600
            await gateway.show([route, Route("ws", "zero", state=RouteState.ZERO)])
            assert await status(port) == 200
            await eventually("counted", lambda: "ws/ep" in gateway.counters())
            assert gateway.counters()["ws/ep"].by_status == {200: 1}
            assert await eventually("recorded", lambda: told.records)
            assert (told.records[0].key, told.records[0].status) == ("ws/ep", 200)

            waiting = await Client.connect(port)
            waiting.send(get().replace(b"/ep/", b"/zero/"))
            assert await eventually("woken", lambda: told.wakes) == ["ws/zero"]
            await gateway.put(Route("ws", "zero", route.replicas))
            assert (await waiting.answer()).status == 200
            waiting.close()

            await gateway.put(Route("ws", "ep"))
            assert ("ws/ep", "r0") in await eventually("drained", lambda: told.drained)
            assert await status(port) == 503
            await gateway.remove("ws/ep")
            assert await status(port) == 404
        assert not (tmp_path / "gateway.sock").exists()
        one.close()

    run(scenario)


@pytest.mark.parametrize("kind", ["process", "local"])
def test_both_kinds_of_gateway_show_a_table_and_its_changes(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        one = Replica()
        target = await one.start()
        gateway: GatewayLink
        gateway = LocalGateway(SystemClock()) if kind == "local" else ProcessGateway(tmp_path, SystemClock())
        port = await gateway.start()

        async def of_host(name: str) -> int:
            return await status(port, f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())

        a, b = (Route("ws", name, (target,), hosts=(f"{name}.x",)) for name in "ab")
        await gateway.show([a, b])
        assert [await of_host(name) for name in ("a.x", "b.x")] == [200, 200]
        swapped = [Route("ws", "a", (), hosts=("b.x",)), Route("ws", "b", (target,), hosts=("a.x",))]
        await gateway.show(swapped)
        assert [await of_host(name) for name in ("a.x", "b.x")] == [200, 503]
        with pytest.raises(HostTaken):
            await gateway.put(Route("ws", "c", hosts=("a.x",)))
        await gateway.show([swapped[1]])
        assert [await of_host(name) for name in ("a.x", "b.x")] == [200, 404]
        await gateway.close(stop=True)
        one.close()

    run(scenario)


def test_traffic_goes_on_without_a_control_plane_and_the_next_one_takes_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        one, told = Replica(), Told()
        route = Route("ws", "ep", (await one.start(),))
        async with control_plane(tmp_path, stop=False) as (first, port):
            await first.show([route, Route("ws", "zero", state=RouteState.ZERO)])
            open_before = await Client.connect(port)
            assert (await open_before.ask(get())).status == 200
        assert (await open_before.ask(get())).status == 200
        waiting = await Client.connect(port)
        waiting.send(get().replace(b"/ep/", b"/zero/"))
        assert (await open_before.ask(get())).status == 200
        async with control_plane(tmp_path, told) as (second, same_port):
            assert (second.pid, same_port) == (first.pid, port)
            await second.show([route, Route("ws", "zero", state=RouteState.ZERO)])
            assert (await open_before.ask(get())).status == 200
            assert "ws/zero" in await eventually("woken again", lambda: told.wakes)
            await eventually("nothing of the time between is lost", lambda: len(told.records) >= 3)
            assert second.counters()["ws/ep"].requests >= 4
        open_before.close()
        waiting.close()
        one.close()

    run(scenario)


CONTROL_PLANE = """
import asyncio, sys
from pathlib import Path
from homeport.runtime.clock import SystemClock
from homeport.server.gateway.supervisor import ProcessGateway
from homeport.server.routing import Route, Target

async def main():
    gateway = ProcessGateway(Path(sys.argv[1]), SystemClock())
    port = await gateway.start()
    await gateway.show([Route("ws", "ep", (Target("r0", "127.0.0.1", int(sys.argv[2])),))])
    print(port, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def start_control_plane(data_dir: Path, target: Target) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", CONTROL_PLANE, str(data_dir), str(target.port)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def test_a_control_plane_that_is_killed_under_load_fails_no_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        one = Replica()
        target = await one.start()
        first = start_control_plane(tmp_path, target)
        assert first.stdout is not None
        port = int(await asyncio.to_thread(first.stdout.readline))
        stop = asyncio.Event()

        async def drive() -> int:
            client, count = await Client.connect(port), 0
            while not stop.is_set():
                assert (await client.ask(get())).status == 200
                count += 1
            client.close()
            return count

        clients = [asyncio.create_task(drive()) for _ in range(4)]
        await asyncio.sleep(0.1)
        first.send_signal(signal.SIGKILL)
        await asyncio.to_thread(first.wait)
        await asyncio.sleep(0.1)
        async with control_plane(tmp_path) as (second, same_port):
            await second.show([Route("ws", "ep", (target,))])
            assert same_port == port
            await asyncio.sleep(0.1)
            stop.set()
            assert min(await asyncio.gather(*clients)) > 10
        first.stdout.close()
        one.close()

    run(scenario)


def test_a_gateway_that_is_killed_is_back_on_its_port_with_its_table(tmp_path: Path) -> None:
    async def scenario() -> None:
        one = Replica()
        route = Route("ws", "ep", (await one.start(),))
        async with control_plane(tmp_path) as (gateway, port):
            await gateway.show([route])
            before = gateway.pid
            os.kill(before, signal.SIGKILL)
            await eventually("another is there", lambda: gateway.pid != before)
            await gateway.put(Route("ws", "late", route.replicas))
            assert await status(port) == 200
            assert await status(port, get().replace(b"/ep/", b"/late/")) == 200
        one.close()

    run(scenario)


def test_a_newer_control_plane_replaces_the_older_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control_plane(tmp_path) as (first, _), control_plane(tmp_path) as (second, _):
            assert first.pid == second.pid
            await eventually("the first has let go", lambda: first._writer is None)
            await first.show([Route("ws", "ep")])  # changes nothing any more, and does not hang
            await second.show([Route("ws", "ep")])

    run(scenario)


def test_a_gateway_of_another_address_or_version_is_replaced(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control_plane(tmp_path, stop=False) as (first, _):
            pass
        wanted = free_port()
        async with control_plane(tmp_path, port=wanted) as (second, port):
            assert port == wanted
            assert second.pid != first.pid
            await eventually("the first has left", lambda: not is_alive(first.pid))

    run(scenario)


def test_a_gateway_that_nobody_takes_over_leaves(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control_plane(tmp_path, stop=False, orphan_s=0.2) as (gateway, _):
            await asyncio.sleep(0.9)
            assert is_alive(gateway.pid)
        await eventually(
            "it has left", lambda: gateway._child is not None and gateway._child.poll() is not None
        )
        assert not (tmp_path / "gateway.sock").exists()

    run(scenario)


def test_sixty_seconds_are_counted_from_the_last_control_plane(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        feed = Feed(clock)
        await feed.listen(tmp_path / "s", ("127.0.0.1", 1))

        async def advance(seconds: float) -> None:
            for _ in range(int(seconds * 2)):
                await asyncio.sleep(0)
                clock.advance(0.5)
            await asyncio.sleep(0.02)

        await advance(50)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        assert (await read_message(reader) or {})["op"] == "hello"
        await advance(100)
        assert not feed.leaving.is_set()
        writer.close()
        await eventually("it is gone", lambda: feed._writer is None)
        await advance(55)
        assert not feed.leaving.is_set()
        await advance(6)
        assert feed.leaving.is_set()
        await feed.close()

    run(scenario)


def test_a_socket_is_served_by_one_gateway_and_a_dead_ones_is_reused(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        first, second = Feed(SystemClock()), Feed(SystemClock())
        await first.listen(path, ("127.0.0.1", 1))
        with pytest.raises(AlreadyServed):
            await second.listen(path, ("127.0.0.1", 1))
        await first.close()
        assert not path.exists()

    run(scenario)


def test_what_is_not_understood_is_refused_and_the_table_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        feed = Feed(SystemClock())
        await feed.listen(tmp_path / "s", ("127.0.0.1", 1))
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        await read_message(reader)
        route = Route("ws", "ep", hosts=("a.x",)).to_json()
        clashing = Route("ws", "other", hosts=("a.x",)).to_json()
        for message, error in [
            ({"op": "put", "route": route}, None),
            ({"op": "put", "route": clashing}, "already belongs"),
            ({"op": "table", "routes": [route, clashing]}, "already belongs"),
            ({"op": "put", "route": {"workspace": "ws"}}, "not understood"),
            ({"op": "put", "route": route | {"state": "odd"}}, "not understood"),
            ({"op": "dance"}, "unknown operation"),
        ]:
            writer.write(packed(message | {"seq": 1}))
            ack = await read_message(reader)
            assert ack is not None
            assert (ack["error"] is None) == (error is None)
            assert error is None or error in ack["error"]
        assert list(feed.gateway.counters()) == ["ws/ep"]
        writer.write(b"\xff\xff\xff\xffnonsense")
        assert await read_message(reader) is None
        writer.close()
        await feed.close()

    run(scenario)


def test_sigterm_lets_open_requests_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        go = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await one.head(reader)
            await go.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await reader.read()

        one = Replica(serve)
        async with control_plane(tmp_path, stop=False) as (gateway, port):
            await gateway.show([Route("ws", "ep", (await one.start(),))])
        client = await Client.connect(port)
        client.send(get())
        await eventually("the replica has it", lambda: one.seen)
        os.kill(gateway.pid, signal.SIGTERM)
        await asyncio.sleep(0.05)
        go.set()
        assert (await client.answer()).body == b"ok"
        client.close()
        assert gateway._child is not None
        assert await asyncio.to_thread(gateway._child.wait, DEADLINE_S) == 0
        one.close()

    run(scenario)


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            told = rf"did not start: .*in use: 127\.0\.0\.1:{port}; choose another --gateway-port"
            with pytest.raises(GatewayAway, match=told):
                await ProcessGateway(tmp_path, SystemClock(), port=port).start()

    run(scenario)


# --- a real application


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/hello/")
    def hello(name: str = "you") -> dict[str, str]:
        return {"hello": name}

    @app.post("/count")
    async def count(request: Request) -> dict[str, int]:
        return {"bytes": sum([len(part) async for part in request.stream()])}

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def numbers() -> AsyncGenerator[bytes]:
            for n in range(5):
                yield b"data: %d\n\n" % n
                await asyncio.sleep(0.005)

        return StreamingResponse(numbers(), media_type="text/event-stream")

    del hello, count, stream
    return app


@pytest.fixture
def app_port() -> Generator[int]:
    server = uvicorn.Server(uvicorn.Config(application(), port=free_port(), log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + DEADLINE_S
    while not server.started and time.monotonic() < end:
        time.sleep(0.005)
    yield server.config.port
    server.should_exit = True
    thread.join()


def test_a_fastapi_application_answers_through_the_gateway(app_port: int) -> None:
    async def scenario() -> None:
        gateway = LocalGateway(SystemClock())
        port = await gateway.start()
        target = Target("r0", "127.0.0.1", app_port)
        await gateway.put(Route("ws", "ep", (target,)))
        base = f"http://127.0.0.1:{port}/e/ws/ep"
        async with httpx.AsyncClient(follow_redirects=True) as client:
            assert (await client.get(f"{base}/hello/?name=me")).json() == {"hello": "me"}
            assert (await client.get(f"{base}/hello?name=me")).json() == {
                "hello": "me"
            }  # by the app's redirect
            assert (await client.get(f"{base}/openapi.json")).status_code == 200
            page = await client.get(f"{base}/docs")
            assert "sandbox" in page.headers["Content-Security-Policy"]

            async def parts() -> AsyncGenerator[bytes]:
                for _ in range(50):
                    yield bytes(10_000)

            assert (await client.post(f"{base}/count", content=parts())).json() == {"bytes": 500_000}
            assert (await client.post(f"{base}/count", content=bytes(3 << 20))).json() == {"bytes": 3 << 20}
            async with client.stream("GET", f"{base}/stream") as answer:
                assert [chunk async for chunk in answer.aiter_text()] == [f"data: {n}\n\n" for n in range(5)]
            assert (await client.get(f"{base}/nothing")).status_code == 404
        await gateway.close()

    run(scenario)
