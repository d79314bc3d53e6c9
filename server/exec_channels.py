"""
Frames of `homeport exec-in`: the first byte of each WebSocket message names a channel.

Source: Kubernetes' remote command protocol, version 5 (k8s.io/apimachinery
pkg/util/remotecommand/constants.go, k8s.io/client-go tools/remotecommand: websocket.go,
v4.go), with metav1.Status as JSON on the error channel.
"""

import json
from typing import Any

from ..runtime.exec_session import ExecEnd

SUBPROTOCOL = "v5.channel.k8s.io"
STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
MAX_FRAME_BYTES = 2**20
MAX_SIDE = 2**16 - 1


class Unreadable(ValueError):
    """A frame that the protocol does not know."""


def status_frame(end: ExecEnd) -> bytes:
    """How the command ended; one that could not be run has the reason NotStarted, and why."""
    status: dict[str, Any] = {"metadata": {}, "status": "Success"}
    if end.exit_code or end.error:
        status = {
            "metadata": {},
            "status": "Failure",
            "reason": "NotStarted" if end.error else "NonZeroExitCode",
            "message": end.error or f"command terminated with non-zero exit code: {end.exit_code}",
            "details": {"causes": [{"reason": "ExitCode", "message": str(end.exit_code)}]},
        }
    return _frame(STATUS, status)


def failure_frame(message: str) -> bytes:
    """The session is over, and nobody knows how the command ended."""
    return _frame(
        STATUS, {"metadata": {}, "status": "Failure", "reason": "InternalError", "message": message}
    )


def read_status(payload: bytes) -> tuple[int | None, str]:
    """The exit code, None where it is not known; and what a person is to be told, "" where nothing is."""
    try:
        status = json.loads(payload)
        if status["status"] == "Success":
            return 0, ""
        causes = status.get("details", {}).get("causes", ())
        codes = [int(cause["message"]) for cause in causes if cause["reason"] == "ExitCode"]
        told = "" if status.get("reason") == "NonZeroExitCode" else str(status.get("message", ""))
        return (codes[0] if codes else None), told
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"no status: {payload[:200]!r}") from error


def resize_frame(columns: int, rows: int) -> bytes:
    return _frame(RESIZE, {"Width": columns, "Height": rows})


def read_size(payload: bytes) -> tuple[int, int]:
    """Columns and rows."""
    try:
        size = json.loads(payload)
        columns, rows = size["Width"], size["Height"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable("a resize is JSON, with Width and Height") from error
    if not all(type(side) is int and 0 <= side <= MAX_SIDE for side in (columns, rows)):
        raise Unreadable(f"Width and Height are whole numbers from 0 to {MAX_SIDE}")
    return columns, rows


def _frame(channel: int, value: dict[str, Any]) -> bytes:
    return bytes([channel]) + json.dumps(value).encode()
