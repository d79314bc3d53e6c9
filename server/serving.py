"""Listening and leaving: the socket, uvicorn, the signals."""

import asyncio
import contextlib
import signal
import socket

import uvicorn
from starlette.types import ASGIApp

from .errors import Invalid
from .settings import Settings

GRACE_S = 3


def listen(settings: Settings) -> socket.socket:
    """A socket of our own, with its protocol named: asyncio sets TCP_NODELAY only then."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        raise Invalid(
            "--port", f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        ) from error
    listener.listen(1024)
    return listener


async def run_until_signal(app: ASGIApp, listener: socket.socket, closing: asyncio.Event, ready: str) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http="httptools",
        lifespan="off",
        timeout_graceful_shutdown=GRACE_S,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(ready, flush=True)

        def handle_exit(self, sig: int, frame: object) -> None:
            closing.set()  # open log streams end now, not at the graceful timeout
            self.should_exit = True

        def install_signal_handlers(self) -> None:  # older uvicorn
            return

        @contextlib.contextmanager
        def capture_signals(self):  # type: ignore[no-untyped-def]
            yield  # uvicorn would raise the signal again at the end, which is no clean exit

    server = Server(config)
    running = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(sig, server.handle_exit, sig, None)
    await server.serve(sockets=[listener])
