"""Small things about a client."""

import asyncio
import socket

from .checks import Refusal

# TCP_INFO begins with the state: reset, or closed by the peer (include/net/tcp_states.h).
ENDED = (7, 8)


def has_left(transport: asyncio.Transport) -> bool:
    """Paused reading hides the end of a connection; the kernel knows of it."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    info = getattr(socket, "TCP_INFO", None)
    if sock is None or info is None:
        return False
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, info, 1)[0] in ENDED
    except OSError:
        return False


def too_large(limit: int) -> Refusal:
    return Refusal(413, "body_too_large", f"the request body is larger than {limit} bytes")
