"""Commands in a running replica, over a WebSocket. Frames as server/exec_channels.py has them."""

import asyncio
import contextlib
import logging

from fastapi import APIRouter, WebSocket
from fastapi.responses import JSONResponse
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from .....runtime.clock import Clock
from .....runtime.errors import DriverError
from .....runtime.exec_session import ExecSession
from ....errors import HomeportError, Invalid
from ....exec_channels import (
    CLOSE,
    RESIZE,
    STDIN,
    STDOUT,
    SUBPROTOCOL,
    Unreadable,
    failure_frame,
    read_size,
    status_frame,
)
from ..context import AdminContext
from .deps import bearer_of

router = APIRouter()
log = logging.getLogger(__name__)
LOOK_S = 5.0  # so often a client is looked for whose input the command does not read
DONE, LEAVING, MALFORMED = 1000, 1012, 1002  # RFC 6455, 7.4.1; 1012: the server goes away
FLAGS = {"true": True, "false": False}


@router.get("/exec/{name}")
async def explain_exec(name: str) -> None:
    raise Invalid("Upgrade", "this is a WebSocket; use `homeport exec-in`")


@router.websocket("/exec/{name}")
async def exec_in(websocket: WebSocket, name: str) -> None:
    """
    Refusals are answers of HTTP, made before the WebSocket is. The token comes as a header
    and in no other way: a web page can send cookies, addresses and subprotocols of its choice.
    """
    ctx: AdminContext = websocket.app.state.context
    try:
        who = bearer_of(websocket, ctx)
        replica, command, tty = _asked(websocket)
        async with ctx.execs.open(who, name, replica, command, tty=tty) as session:
            await websocket.accept(SUBPROTOCOL)
            with contextlib.suppress(WebSocketDisconnect):
                await _Relay(websocket, session, ctx.services.clock).run(ctx.logs.closing)
    except HomeportError as error:
        answer = JSONResponse({"code": error.code, "message": str(error)}, error.status)
        await websocket.send_denial_response(answer)


def _asked(websocket: WebSocket) -> tuple[str | None, tuple[str, ...], bool]:
    """Replica, command, terminal."""
    query = websocket.query_params
    if SUBPROTOCOL not in websocket.scope["subprotocols"]:
        raise Invalid("Sec-WebSocket-Protocol", f"must offer {SUBPROTOCOL}")
    command = tuple(query.getlist("command"))
    if not command or not command[0]:
        raise Invalid("command", "is missing: the program, and once more for each of its arguments")
    if any("\0" in word for word in command):
        raise Invalid("command", "no argument can hold a NUL")
    tty = query.get("tty", "false")
    if tty not in FLAGS:
        raise Invalid("tty", f"is true or false, not {tty!r}")
    return query.get("replica") or None, command, FLAGS[tty]


class _Relay:
    """Between one client and one command. Each side waits for the other, so nothing piles up here."""

    def __init__(self, websocket: WebSocket, session: ExecSession, clock: Clock) -> None:
        self._websocket, self._session, self._clock = websocket, session, clock

    async def run(self, closing: asyncio.Event) -> None:
        outward = asyncio.create_task(self._outward())
        inward = asyncio.create_task(self._inward())
        leaving = asyncio.create_task(closing.wait())
        tasks = (outward, inward, leaving)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if outward.done():
                last, code = outward.result(), DONE
            elif inward.done():
                inward.result()
                return
            else:
                last, code = failure_frame("the server is stopping"), LEAVING
            # The other tasks end first: only one may speak.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._websocket.send_bytes(last)
            await self._websocket.close(code)
        except Unreadable as error:
            await self._websocket.close(MALFORMED, str(error)[:120])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _outward(self) -> bytes:
        """All that the command writes; returns the last frame."""
        try:
            async with contextlib.aclosing(self._session.output()) as pieces:
                async for stream, data in pieces:
                    await self._websocket.send_bytes(bytes([stream]) + data)
            return status_frame(await self._session.end())
        except DriverError as error:
            return failure_frame(str(error))

    async def _inward(self) -> None:
        """What the client sends; returns when it is gone."""
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            await self._take(message)

    async def _take(self, message: Message) -> None:
        frame: bytes = message.get("bytes") or b""
        if not frame:
            raise Unreadable("frames are binary, and begin with their channel")
        match frame[0]:
            case channel if channel == STDIN:
                await self._write(frame[1:])
            case channel if channel == RESIZE:
                await self._session.resize(*read_size(frame[1:]))
            case channel if channel == CLOSE:
                if frame[1:] == bytes([STDIN]):
                    await self._session.close_stdin()
            case channel:
                raise Unreadable(f"no channel {channel}")

    async def _write(self, data: bytes) -> None:
        """
        Nothing is read from a client while its command does not read, its end neither. So
        it is sent something empty now and then, which fails once it is gone.
        """
        writing = asyncio.ensure_future(self._session.write(data))
        try:
            while True:
                patience = asyncio.ensure_future(self._clock.sleep(LOOK_S))
                await asyncio.wait({writing, patience}, return_when=asyncio.FIRST_COMPLETED)
                patience.cancel()
                if writing.done():
                    return writing.result()
                await self._websocket.send_bytes(bytes([STDOUT]))
        finally:
            writing.cancel()
