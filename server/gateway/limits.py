"""What one client may ask of the gateway, and how long anything may take."""

from dataclasses import dataclass

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Args:
        head_s: from the first byte of a request to the end of its head.
        idle_s: between two requests of one connection.
        body_idle_s: between two reads of a request body.
        stall_s: for a client that does not read its answer.
        buffer_bytes: what is kept of a body, or of requests to come, before reading pauses.
        unfinished_heads: connections of one address whose head is not complete yet; beyond
            it the oldest of them goes, so that whoever sends whole requests is still served.
        held, held_bytes: of all requests that wait for a replica.
        pool_idle_s: shorter than the keep-alive of common servers (5 s), which then
            rarely close a connection just as a request is put on it.
        pipelined: answers that need no replica, given in a row before others have their turn.
    """

    head_bytes: int = 64 * KIB
    head_lines: int = 100
    head_s: float = 10.0
    idle_s: float = 75.0
    body_idle_s: float = 60.0
    body_bytes: int = GIB
    stall_s: float = 60.0
    buffer_bytes: int = 64 * KIB
    connections: int = 10_000
    unfinished_heads: int = 256
    held: int = 1024
    held_bytes: int = 32 * MIB
    connect_s: float = 5.0
    pool_size: int = 64
    pool_idle_s: float = 4.0
    interim_answers: int = 16
    pipelined: int = 16
    linger_s: float = 2.0
    linger_bytes: int = 4 * MIB
    sweep_s: float = 0.5
