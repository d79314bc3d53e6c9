"""The unix socket between control plane and gateway: JSON objects, each behind its length in four bytes."""

import asyncio
import json
from typing import Any

MOST_BYTES = 256 << 20


class WireError(Exception):
    """What came is no message; the connection is of no further use."""


def packed(message: dict[str, Any]) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()
    return len(body).to_bytes(4, "big") + body


async def read_message(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """None at the end of the connection."""
    try:
        size = int.from_bytes(await reader.readexactly(4), "big")
        if size > MOST_BYTES:
            raise WireError(f"a message of {size} bytes")
        message = json.loads(await reader.readexactly(size))
    except (asyncio.IncompleteReadError, OSError):
        return None
    except ValueError as error:
        raise WireError(str(error)) from error
    if not isinstance(message, dict):
        raise WireError("a message must be an object")
    return message
