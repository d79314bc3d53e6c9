"""
Commands beside a container's own through the engine: its exec calls, and the stream that it hands over.

Source: Docker Engine API 1.41, ContainerExec, ExecStart, and the stream format of ContainerAttach.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from docker.errors import APIError, NotFound

from ..clock import Clock
from ..errors import DriverError, ExecRefused, RuntimeUnavailable
from ..exec_session import CANNOT_RUN, HANG_UP_S, KILLED, NOT_FOUND, ExecEnd, ExecSession, Output, Refused
from ..model import Handle
from .docker_engine import LONG_S, Engine

T = TypeVar("T")
CHUNK_BYTES = 64 * 1024
FRAME_HEADER = struct.Struct(">BxxxL")  # stream, length
HEAD_BYTES = 64 * 1024
LOOK_S, SETTLE_S = 0.02, 5.0
END_OF_INPUT = b"\x04"
# The engine leaves the stream when these are typed one after the other; it insists on having such keys.
DETACH_KEYS = "ctrl-@,ctrl-^,ctrl-@,ctrl-_,ctrl-@,ctrl-^,ctrl-@"
MISSING = ("executable file not found", "no such file or directory")


async def open_exec(
    engine: Engine, clock: Clock, handle: Handle, command: tuple[str, ...], *, tty: bool
) -> ExecSession:
    def create() -> str:
        made = engine.quick.exec_create(
            handle.id, list(command), stdin=True, tty=tty, detach_keys=DETACH_KEYS
        )
        return made["Id"]

    try:
        exec_id = await engine.call("call", create)
        stream = await engine.call("call", _start, engine, exec_id, tty)
    except NotFound as error:
        raise ExecRefused("its container is gone") from error
    except APIError as error:
        text = str(error.explanation or error)
        if _is_start_failure(text):  # newer engines say so before they hand over the stream
            return Refused(_start_failure(text))
        raise ExecRefused(text) from error
    reader, writer = await asyncio.open_connection(sock=stream, limit=CHUNK_BYTES)
    return DockerExec(engine, clock, exec_id, reader, writer, tty=tty)


def _start(engine: Engine, exec_id: str, tty: bool) -> socket.socket:
    """The stream of the started command. The SDK would read it by threads that wait for ever."""
    connection = engine.connect(read_s=LONG_S)
    stream = connection.sock
    try:
        if type(stream) is not socket.socket:
            raise ExecRefused("commands go through engines at unix:// and tcp://, not through TLS or SSH")
        body = json.dumps({"Detach": False, "Tty": tty}).encode()
        stream.sendall(
            f"POST /v{engine.slow.api_version}/exec/{exec_id}/start HTTP/1.1\r\nHost: docker\r\n"
            f"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = bytearray()
        while not head.endswith(b"\r\n\r\n"):  # byte by byte: what follows belongs to the stream
            piece = stream.recv(1)
            if not piece or len(head) > HEAD_BYTES:
                raise RuntimeUnavailable("Docker", "it broke off the start of a command")
            head += piece
        status = int(head.split(b" ", 2)[1])
        if status in (101, 200):
            stream.settimeout(None)
            stream.setblocking(False)
            return stream
        raise _refusal(status, stream.recv(HEAD_BYTES))
    except BaseException:
        stream.close()
        raise


def _refusal(status: int, body: bytes) -> DriverError | APIError:
    try:
        text = str(json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["message"])
    except (ValueError, KeyError):
        text = f"the engine answered {status}"
    if status == 404:
        return NotFound(text, explanation=text)
    return APIError(text, explanation=text)


def _is_start_failure(text: str) -> bool:
    return "exec failed" in text or "unable to start container process" in text


def _start_failure(text: str) -> ExecEnd:
    return ExecEnd(NOT_FOUND if any(words in text for words in MISSING) else CANNOT_RUN, text)


class DockerExec:
    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        exec_id: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        tty: bool,
    ) -> None:
        self._engine, self._clock, self._id, self._tty = engine, clock, exec_id, tty
        self._reader, self._writer = reader, writer
        self._end: ExecEnd | None = None
        self._is_closed = False

    async def output(self) -> AsyncGenerator[tuple[Output, bytes]]:
        has_started = False
        try:
            async with contextlib.aclosing(self._plain() if self._tty else self._frames()) as pieces:
                async for stream, data in pieces:
                    if not has_started and await self._is_refused():
                        # The engine has handed over the stream by then, and tells in it what went wrong.
                        rest = b"".join([data, *[more async for _, more in pieces]])
                        self._end = _start_failure(rest.decode(errors="replace").strip())
                        return
                    has_started = True
                    yield stream, data
        except OSError as error:
            raise RuntimeUnavailable("Docker", str(error) or "the stream broke") from error

    async def _plain(self) -> AsyncGenerator[tuple[Output, bytes]]:
        while data := await self._reader.read(CHUNK_BYTES):
            yield Output.STDOUT, data

    async def _frames(self) -> AsyncGenerator[tuple[Output, bytes]]:
        while True:
            try:
                header = await self._reader.readexactly(FRAME_HEADER.size)
            except asyncio.IncompleteReadError as error:
                if not error.partial:
                    return
                raise ConnectionResetError("the stream ended within a frame") from error
            stream, left = FRAME_HEADER.unpack(header)
            while left:
                data = await self._reader.read(min(left, CHUNK_BYTES))
                if not data:
                    raise ConnectionResetError("the stream ended within a frame")
                left -= len(data)
                yield (Output.STDERR if stream == Output.STDERR else Output.STDOUT), data

    async def _is_refused(self) -> bool:
        """Whether the engine could not start the command; it has a process, or has had one, otherwise."""
        async for seen in self._looks():
            if seen["Pid"] or not seen["Running"]:
                return not seen["Pid"] and seen["ExitCode"] in (CANNOT_RUN, NOT_FOUND)
        return False

    async def end(self) -> ExecEnd:
        if self._end is None:
            try:
                async for seen in self._looks():
                    if not seen["Running"] and seen["ExitCode"] is not None:
                        self._end = ExecEnd(seen["ExitCode"])
                        break
                else:
                    raise DriverError("Docker does not tell how the command ended")
            except NotFound:
                self._end = ExecEnd(KILLED, "it was ended, since its container has ended")
        return self._end

    async def _looks(self) -> AsyncGenerator[Mapping[str, Any]]:
        """What the engine knows of the command, again and again for SETTLE_S."""
        until_s = self._clock.monotonic_s() + SETTLE_S
        while True:
            yield await self._ask(lambda: self._engine.quick.exec_inspect(self._id))
            if self._clock.monotonic_s() > until_s:
                return
            await self._clock.sleep(LOOK_S)

    async def _ask(self, work: Callable[[], T]) -> T:
        try:
            return await self._engine.call("call", work)
        except NotFound:
            raise
        except APIError as error:
            raise DriverError(f"the engine refused: {error.explanation or error}") from error

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._writer.write(data)
            await self._writer.drain()

    async def close_stdin(self) -> None:
        if self._tty:
            await self.write(END_OF_INPUT)
        elif not self._writer.is_closing():
            with contextlib.suppress(OSError):
                self._writer.write_eof()

    async def resize(self, columns: int, rows: int) -> None:
        if self._tty and self._end is None:
            with contextlib.suppress(DriverError, NotFound):  # it has ended
                await self._ask(lambda: self._engine.slow.exec_resize(self._id, height=rows, width=columns))

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._end is None:
                await self._hang_up()
        except (DriverError, NotFound):
            return  # nothing to end, or nobody to ask
        finally:
            self._writer.transport.abort()

    async def _hang_up(self) -> None:
        """The engine has no call for it, so the command's process group is ended as this machine can."""
        for number, patience_s in ((signal.SIGHUP, HANG_UP_S), (signal.SIGKILL, 0.0)):
            seen = await self._ask(lambda: self._engine.quick.exec_inspect(self._id))
            if not seen["Running"] or not seen["Pid"] or not is_of(seen["Pid"], seen["ContainerID"]):
                return
            try:
                os.killpg(seen["Pid"], number)
            except PermissionError:  # we may use the engine, but are not root
                await self._signal_inside(seen, number)
            except ProcessLookupError:
                return
            until_s = self._clock.monotonic_s() + patience_s
            while seen["Running"] and self._clock.monotonic_s() < until_s:
                await self._clock.sleep(LOOK_S)
                seen = await self._ask(lambda: self._engine.quick.exec_inspect(self._id))

    async def _signal_inside(self, seen: Mapping[str, Any], number: signal.Signals) -> None:
        """By a program of the image."""

        def run() -> None:
            inner = group_inside(seen["Pid"])
            kill = self._engine.quick.exec_create(
                seen["ContainerID"], ["kill", f"-{int(number)}", f"-{inner}"]
            )
            self._engine.quick.exec_start(kill["Id"], detach=True)

        with contextlib.suppress(OSError):  # it has ended meanwhile
            await self._ask(run)


def is_of(pid: int, container: str) -> bool:
    """Whether that number is a process of the container here; an engine elsewhere has other numbers."""
    try:
        return container in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def group_inside(pid: int) -> int:
    """The number in its container of a process that leads a group. Source: proc(5), NSpid."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])
