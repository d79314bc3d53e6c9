"""The Docker engine of this machine, for the benches that need one."""

import contextlib
import sys
from typing import Any

import docker
from docker.errors import DockerException


def open_engine() -> Any:
    """A low-level client, or None: then what needs Docker is left out, and says so."""
    try:
        client = docker.APIClient(version="1.41", timeout=60)
        client.ping()
    except DockerException as error:
        print(f"left out what needs Docker, which does not answer: {error}", file=sys.stderr)
        return None
    return client


def happened(engine: Any, label: str, *, since_ns: int) -> dict[str, int]:
    """Waits for the end of the container with this label; when it started and ended, in Unix nanoseconds."""
    at: dict[str, int] = {}
    filters = {"label": label, "event": ["start", "die"]}
    with contextlib.closing(engine.events(since=since_ns // 10**9, filters=filters, decode=True)) as events:
        for event in events:
            at[event["Action"]] = event["timeNano"]
            if "die" in at:
                break
    return at
