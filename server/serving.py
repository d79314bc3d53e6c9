"""Listening and leaving: the socket, uvicorn, the signals."""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.types import ASGIApp

from ..runtime.clock import Clock
from .errors import Invalid
from .exec_channels import MAX_FRAME_BYTES
from .settings import Settings
from .tls import ServedTls, TlsFiles, at

if TYPE_CHECKING:
    from .certificates import ServerTls

GRACE_S = 3
RENEW_S = 3600.0


def open_tls(settings: Settings, clock: Clock) -> "ServerTls | None":
    """
    What both listeners serve HTTPS with; None: they serve HTTP.

    Raises:
        Invalid: the user's certificate cannot be used.
    """
    if not settings.tls and settings.tls_cert is None:
        return None
    from .certificates import given_tls, own_tls

    now = at(clock.now_ms())
    if settings.tls_cert is not None and settings.tls_key is not None:
        files = TlsFiles(settings.tls_cert, settings.tls_key)
        return given_tls(settings.data_dir, files, (settings.host, *settings.allow_host), now)
    return own_tls(settings.data_dir, settings.host, settings.allow_host, now)


def listen(settings: Settings) -> socket.socket:
    """A socket of our own, with its protocol named: asyncio sets TCP_NODELAY only then."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        is_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        raise Invalid(
            "--host" if is_host else "--port",
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}",
        ) from error
    listener.listen(1024)
    return listener


def make_websocket(**given: Any) -> asyncio.Protocol:
    """Imported with the first WebSocket, so that no start waits for it."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    return WebSocketsSansIOProtocol(**given)


class NoAddresses(logging.Filter):
    """
    uvicorn notes each WebSocket with its address, which holds what a user runs, and calls it an
    error of ours when one is refused.
    """

    UNWANTED = ('%s - "WebSocket', "ASGI callable returned without completing handshake")

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(self.UNWANTED)


async def run_until_signal(
    app: ASGIApp,
    listener: socket.socket,
    closing: asyncio.Event,
    when_ready: Callable[[], None],
    tls: ServedTls | None = None,
) -> None:
    more: dict[str, Any] = {"ssl_certfile": tls.files.cert, "ssl_keyfile": tls.files.key} if tls else {}
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http="httptools",
        lifespan="off",
        log_level=max(logging.INFO, logging.getLogger().level),  # below it what users type would be logged
        ws=make_websocket,  # pyright: ignore[reportArgumentType]  called, and no more
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_timeout=None,  # a client that is slow to read answers late; TCP knows who is gone
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE_S,
        **more,
    )
    config.load()
    if tls is not None:
        config.ssl = tls.context  # in place of the one that it made, which could not be renewed

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            when_ready()

        def handle_exit(self, sig: int, frame: object) -> None:
            closing.set()  # open log streams end now, not at the graceful timeout
            self.should_exit = True

        def install_signal_handlers(self) -> None:  # older uvicorn
            return

        @contextlib.contextmanager
        def capture_signals(self):  # type: ignore[no-untyped-def]
            yield  # uvicorn would raise the signal again at the end, which is no clean exit

    logging.getLogger("uvicorn.error").addFilter(NoAddresses())
    server = Server(config)
    running = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(sig, server.handle_exit, sig, None)
    await server.serve(sockets=[listener])
