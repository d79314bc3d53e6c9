"""The WebSocket of `homeport exec-in`: who is let in, what is refused at its door, what goes through it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock
from urllib.parse import urlencode

import pytest

from homeport.runtime.drivers.simulated import Rule
from homeport.runtime.errors import DriverError, ExecRefused, RuntimeUnavailable
from homeport.runtime.exec_session import ExecEnd, Output
from homeport.server.exec_channels import SUBPROTOCOL, read_status
from homeport.server.services.exec_sessions import MAX_SESSIONS

from .home import JOBS, Api

STAYS = Rule(run_for_s=None)
TRUE = [("command", "true")]


@dataclass
class Command:
    """Stands for a command that a runtime runs, which the simulated one does not."""

    writes: asyncio.Queue[tuple[Output, bytes] | ExecEnd | DriverError] = field(default_factory=asyncio.Queue)
    events: list[Any] = field(default_factory=list)
    is_deaf: bool = False
    last: ExecEnd = field(default_factory=lambda: ExecEnd(0))

    async def output(self) -> AsyncGenerator[tuple[Output, bytes]]:
        while not isinstance(said := await self.writes.get(), ExecEnd):
            if isinstance(said, DriverError):
                raise said
            yield said
        self.last = said

    async def write(self, data: bytes) -> None:
        self.events.append(data)
        if self.is_deaf:
            await asyncio.Event().wait()

    async def close_stdin(self) -> None:
        self.events.append("end of input")

    async def resize(self, columns: int, rows: int) -> None:
        self.events.append((columns, rows))

    async def end(self) -> ExecEnd:
        return self.last

    async def close(self) -> None:
        self.events.append("closed")


class Socket:
    """A client's side of one WebSocket, as an ASGI server would hand it to the application."""

    def __init__(self, api: Api, path: str, headers: dict[str, str], offers: Sequence[str]) -> None:
        self.inward: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outward: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.is_gone = False
        route, _, query = path.partition("?")
        scope = {
            "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "scheme": "ws", "path": route, "raw_path": route.encode(), "root_path": "",
            "query_string": query.encode(), "subprotocols": list(offers), "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8787), "extensions": {"websocket.http.response": {}}, "state": {},
            "headers": [
                (name.lower().encode(), value.encode())
                for name, value in ({"Host": "127.0.0.1"} | headers).items()
            ],
        }  # fmt: skip
        self.send({"type": "websocket.connect"})
        self.app = asyncio.create_task(api.at.home.asgi(scope, self.inward.get, self._take))

    async def _take(self, message: Any) -> None:
        if self.is_gone:
            raise OSError("the client is gone")
        self.outward.put_nowait(message)

    def send(self, message: dict[str, Any]) -> None:
        self.inward.put_nowait(message)

    def frame(self, channel: int, data: bytes = b"") -> None:
        self.send({"type": "websocket.receive", "bytes": bytes([channel]) + data})

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.outward.get(), 20)

    async def opened(self) -> "Socket":
        assert await self.next() == {"type": "websocket.accept", "subprotocol": SUBPROTOCOL, "headers": []}
        return self

    async def refused(self) -> tuple[int, str, str]:
        """Status, code, message."""
        begun, body = await self.next(), await self.next()
        assert [m["type"] for m in (begun, body)] == [
            f"websocket.http.response.{part}" for part in ("start", "body")
        ]
        told = json.loads(body["body"])
        await self.app
        return begun["status"], told["code"], told["message"]

    async def ends(self) -> tuple[int | None, str, int]:
        """Exit code, message, code of the close."""
        status, close = await self.next(), await self.next()
        assert status["bytes"][0] == 3
        await self.app
        return *read_status(status["bytes"][1:]), close["code"]


def dial(
    api: Api,
    name: str,
    query: Sequence[tuple[str, str]] = TRUE,
    headers: dict[str, str] | None = None,
    offers: Sequence[str] = (SUBPROTOCOL,),
    base: str = "/homeport/exec/",
) -> Socket:
    given = {"Authorization": f"Bearer {api.at.token}"} if headers is None else headers
    return Socket(api, f"{base}{name}?{urlencode(query)}", given, offers)


async def running(api: Api, name: str = "job", **spec: Any) -> str:
    made = (await api.submit(name, **spec))["metadata"]["id"]
    await api.becomes(made, "running")
    return made


def runs(api: Api, *commands: Command | DriverError) -> Any:
    """The driver gives these, one after the other."""
    return mock.patch.object(type(api.at.home.driver), "exec", mock.AsyncMock(side_effect=commands))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic {token}"}, 401),
        ({"Cookie": "token={token}; Authorization=Bearer {token}"}, 401),
        ({"Origin": "http://localhost:3000"}, 401),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example", "Cookie": "token={token}"}, 403),
        ({"Origin": "http://evil.example", "Authorization": "Bearer wrong"}, 403),
        ({"Origin": "http://evil.example", "Sec-WebSocket-Protocol": "v5.channel.k8s.io, {token}"}, 403),
    ],
    ids=str,
)
def test_socket_without_the_token_in_its_header_is_refused(
    play: Any, headers: dict[str, str], status: int
) -> None:
    async def scenario(api: Api) -> None:
        await running(api)
        given = {name: value.format(token=api.at.token) for name, value in headers.items()}
        with runs(api) as driver:
            for path in ("job", f"job?token={api.at.token}", "nobody"):
                name, _, query = path.partition("?")
                more = [("token", query.removeprefix("token="))] if query else []
                offers = (SUBPROTOCOL, api.at.token)
                told = await dial(api, name, [*TRUE, *more], given, offers).refused()
                assert told[0] == status
                assert told[2].count("homeport env" if status == 401 else "--allow-host") == 1
            assert not driver.called

    play(scenario, STAYS)


def test_socket_of_any_path_is_guarded_and_cleaned(play: Any) -> None:
    async def scenario(api: Api) -> None:
        for base in ("/homeport/exec/", "//homeport//exec/", "/nowhere/"):
            told = await dial(api, "job", headers={"Origin": "http://evil.example"}, base=base).refused()
            assert told[0] == 403
        assert (await dial(api, "job/", base="//homeport//exec/").refused())[:2] == (404, "not_found")
        assert (await dial(api, "job", base="/nowhere/").refused())[:2] == (404, "not_found")

    play(scenario, STAYS)


@pytest.mark.parametrize(
    ("name", "query", "offers", "status", "says"),
    [
        ("nobody", TRUE, [SUBPROTOCOL], 404, "nobody"),
        ("job", [], [SUBPROTOCOL], 400, "command: is missing"),
        ("job", [("command", "")], [SUBPROTOCOL], 400, "command: is missing"),
        ("job", [("command", "a\0b")], [SUBPROTOCOL], 400, "command: no argument can hold a NUL"),
        ("job", [*TRUE, ("tty", "maybe")], [SUBPROTOCOL], 400, "tty: is true or false, not 'maybe'"),
        ("job", TRUE, [], 400, "Sec-WebSocket-Protocol: must offer v5.channel.k8s.io"),
        ("job", TRUE, ["v4.channel.k8s.io"], 400, "Sec-WebSocket-Protocol"),
        ("job", [*TRUE, ("replica", "r9")], [SUBPROTOCOL], 404, "'r9'; there is job-"),
        ("pair", TRUE, [SUBPROTOCOL], 400, "replica: pair-"),
        ("job", TRUE, [SUBPROTOCOL], 409, "the simulated runtime runs no processes"),
    ],
    ids=str,
)
def test_refusal_is_an_answer_that_names_what_is_wrong(
    play: Any, name: str, query: list[tuple[str, str]], offers: list[str], status: int, says: str
) -> None:
    async def scenario(api: Api) -> None:
        await running(api)
        await running(api, "pair", completions=2, parallelism=2)
        told = await dial(api, name, query, offers=offers).refused()
        assert told[0] == status
        assert says in told[2]

    play(scenario, STAYS)


def test_workload_that_does_not_run_is_a_409_that_says_how_it_is(play: Any) -> None:
    async def scenario(api: Api) -> None:
        job = await running(api)
        await api.client.delete(f"{JOBS}/{job}")
        await api.becomes(job, "archived")
        assert await dial(api, job).refused() == (
            409, "conflict", f"no replica of {job} runs; it is archived"
        )  # fmt: skip

    play(scenario, STAYS)


def test_runtime_that_refuses_or_is_silent_is_told_apart(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await running(api)
        with runs(api, ExecRefused("it is paused"), RuntimeUnavailable("Docker", "no answer")):
            assert (await dial(api, "job").refused())[:2] == (409, "conflict")
            assert (await dial(api, "job").refused())[:2] == (503, "runtime_unavailable")

    play(scenario, STAYS)


def test_request_that_is_no_socket_is_told_what_to_use(play: Any) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.get("/homeport/exec/job")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
        assert "homeport exec-in" in answer.json()["message"]

    play(scenario, STAYS)


def test_frames_go_both_ways_on_their_channels(play: Any) -> None:
    async def scenario(api: Api) -> None:
        command = Command()
        await running(api)
        with runs(api, command):
            socket = await dial(api, "job", [("command", "a"), ("command", "b c"), ("tty", "true")]).opened()
            socket.frame(0, b"typed")
            socket.frame(4, b'{"Width": 91, "Height": 17}')
            socket.frame(255, b"\0")
            await api.at.until("all", lambda: len(command.events) == 3)
            assert command.events == [b"typed", (91, 17), "end of input"]
            command.writes.put_nowait((Output.STDOUT, b"out"))
            command.writes.put_nowait((Output.STDERR, b"err"))
            command.writes.put_nowait(ExecEnd(3))
            assert [(await socket.next())["bytes"] for _ in range(2)] == [b"\x01out", b"\x02err"]
            assert await socket.ends() == (3, "", 1000)
            assert command.events[-1] == "closed"

    play(scenario, STAYS)


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (ExecEnd(0), (0, "", 1000)),
        (ExecEnd(127, "no such program"), (127, "no such program", 1000)),
        (RuntimeUnavailable("Docker", "gone"), (None, "Docker does not answer: gone", 1000)),
    ],
    ids=str,
)
def test_end_is_told_as_it_was(play: Any, last: Any, told: tuple[int | None, str, int]) -> None:
    async def scenario(api: Api) -> None:
        command = Command()
        await running(api)
        with runs(api, command):
            socket = await dial(api, "job").opened()
            command.writes.put_nowait(last)
            assert await socket.ends() == told

    play(scenario, STAYS)


@pytest.mark.parametrize(
    "message",
    [
        {"bytes": b""},
        {"text": "typed"},
        {"bytes": b"\x09data"},
        {"bytes": b"\x01output"},
        {"bytes": b"\x04not json"},
        {"bytes": b'\x04{"Width": 80}'},
        {"bytes": b'\x04{"Width": -1, "Height": 2}'},
        {"bytes": b'\x04{"Width": 65536, "Height": 2}'},
        {"bytes": b'\x04{"Width": true, "Height": 2}'},
        {"bytes": b"\x04[]"},
    ],
    ids=str,
)
def test_frame_that_the_protocol_does_not_know_ends_the_session(play: Any, message: dict[str, Any]) -> None:
    async def scenario(api: Api) -> None:
        command = Command()
        await running(api)
        with runs(api, command):
            socket = await dial(api, "job").opened()
            socket.send({"type": "websocket.receive", **message})
            close = await socket.next()
            assert (close["type"], close["code"]) == ("websocket.close", 1002)
            await socket.app
            assert command.events == ["closed"]

    play(scenario, STAYS)


def test_command_is_closed_when_its_client_is_gone(play: Any) -> None:
    async def scenario(api: Api) -> None:
        idle, speaks, deaf = Command(), Command(), Command(is_deaf=True)
        await running(api)
        with runs(api, idle, speaks, deaf):
            socket = await dial(api, "job").opened()
            socket.send({"type": "websocket.disconnect", "code": 1006})
            await asyncio.wait_for(socket.app, 20)
            assert idle.events == ["closed"]

            socket = await dial(api, "job").opened()
            socket.is_gone = True
            speaks.writes.put_nowait((Output.STDOUT, b"to nobody"))
            await asyncio.wait_for(socket.app, 20)
            assert speaks.events == ["closed"]

            # Nothing is read from the client meanwhile, so its end is found by sending.
            socket = await dial(api, "job").opened()
            socket.frame(0, b"never read")
            await api.at.until("the write", lambda: deaf.events)
            api.at.clock.advance(6)
            assert (await socket.next())["bytes"] == b"\x01"
            socket.is_gone = True
            await asyncio.sleep(0.01)
            api.at.clock.advance(6)
            await asyncio.wait_for(socket.app, 20)
            assert deaf.events == [b"never read", "closed"]

    play(scenario, STAYS)


def test_sessions_end_when_the_server_stops(play: Any) -> None:
    async def scenario(api: Api) -> None:
        command = Command()
        await running(api)
        with runs(api, command):
            socket = await dial(api, "job").opened()
            api.at.home.closing.set()
            assert await socket.ends() == (None, "the server is stopping", 1012)
            assert command.events == ["closed"]

    play(scenario, STAYS)


def test_no_more_sessions_than_the_server_can_hold(play: Any) -> None:
    async def scenario(api: Api) -> None:
        commands = [Command() for _ in range(MAX_SESSIONS + 1)]
        await running(api)
        with runs(api, *commands):
            sockets = [await dial(api, "job").opened() for _ in range(MAX_SESSIONS)]
            status, code, told = await dial(api, "job").refused()
            assert (status, code) == (429, "too_many")
            assert str(MAX_SESSIONS) in told
            sockets[0].send({"type": "websocket.disconnect", "code": 1000})
            await sockets[0].app
            sockets[0] = await dial(api, "job").opened()
            for socket in sockets:
                socket.send({"type": "websocket.disconnect", "code": 1000})
            await asyncio.gather(*(socket.app for socket in sockets))
            assert all(command.events == ["closed"] for command in commands)

    play(scenario, STAYS)
