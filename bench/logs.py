"""The log of one container that writes as fast as it can, beside the SDK by hand."""

import http.client
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.images import bash_image

from .engine import happened, open_engine
from .figures import Figure, alternate, show
from .servers import JOBS, Server, homeport, job

ROUNDS = 3
LINES, LINE = 200_000, "0123456789" * 8
BYTES = LINES * (len(LINE) + 1)
COMMAND = f"yes {LINE} | head -n {LINES}"
LABEL = "homeport-bench"


def ours(engine: Any, server: Server, image: str) -> float:
    """Bytes a second from the container's start, until the live log has given the last of them."""
    began = time.time_ns()
    made = server.ask("POST", JOBS, job("bench", COMMAND, image=image))["metadata"]["id"]
    while not (replicas := server.ask("GET", f"{JOBS}/{made}/replicas")):
        time.sleep(0.005)
    path = f"{JOBS}/{made}/replicas/{replicas[0]['id']}/log"
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {server.token}"})
        answer, got = connection.getresponse(), 0
        while chunk := answer.read1(2**20):
            got += len(chunk)
    return _rate(engine, f"homeport.workload={made}", got, began)


def by_hand(engine: Any, image: str) -> float:
    """The same, read when it has ended: 20.10 may end a `follow` before the log is whole."""
    began = time.time_ns()
    config = engine.create_host_config(init=True, log_config={"Type": "json-file"})
    container = engine.create_container(
        image, ["/bin/sh", "-c", COMMAND], host_config=config, labels={LABEL: str(began)}
    )["Id"]
    try:
        engine.start(container)
        engine.wait(container)
        got = sum(len(chunk) for chunk in engine.logs(container, stream=True, follow=False))
        return _rate(engine, f"{LABEL}={began}", got, began)
    finally:
        engine.remove_container(container, force=True, v=True)


def _rate(engine: Any, label: str, got: int, began_ns: int) -> float:
    ended = time.time_ns()
    if got != BYTES:
        raise RuntimeError(f"{got} of {BYTES} bytes came")
    at = happened(engine, label, since_ns=began_ns)
    return BYTES / (ended - at["start"]) * 1e9 / 2**20


def measure() -> list[Figure]:
    engine = open_engine()
    if engine is None:
        return []
    image = bash_image(engine)
    with (
        tempfile.TemporaryDirectory(prefix="homeport-bench-") as folder,
        homeport(Path(folder) / "data", runtime="docker") as server,
    ):
        mine, other = alternate(ROUNDS, lambda: ours(engine, server, image), lambda: by_hand(engine, image))
    return [Figure("log of one container", mine, "MiB/s", other, "wait, then logs of the SDK")]


if __name__ == "__main__":
    show([measure], sys.argv[1:])
