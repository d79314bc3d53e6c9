"""From submit to a running container and from its end to the API, beside the SDK by hand."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from tests.images import bash_image

from .engine import happened, open_engine
from .figures import Figure, median, show
from .servers import JOBS, Server, homeport, job

ROUNDS = 12
COMMAND = "sleep 0.3"
LABEL = "homeport-bench"


class Ours:
    """One job: submitted, run, seen as ended, its container gone."""

    def __init__(self, engine: Any, server: Server, image: str) -> None:
        self._engine, self._server, self._image = engine, server, image
        self.config: dict[str, Any] = {}  # of the container that Homeport made

    def run(self) -> tuple[float, float]:
        """Milliseconds from submit to running, and from the end to `Completed`."""
        began = time.time_ns()
        made = self._server.ask("POST", JOBS, job("bench", COMMAND, image=self._image))["metadata"]["id"]
        # Nobody looks while it starts and runs: that would cost what is measured.
        at = happened(self._engine, f"homeport.workload={made}", since_ns=began)
        _eventually(lambda: self._server.ask("GET", f"{JOBS}/{made}")["status"]["state"] == "Completed")
        seen = time.time_ns()
        if not self.config and (rows := self._containers(made)):
            self.config = self._engine.inspect_container(rows[0]["Id"])
        _eventually(lambda: not self._containers(made))
        return (at["start"] - began) / 1e6, (seen - at["die"]) / 1e6

    def _containers(self, workload: str) -> list[dict[str, Any]]:
        return self._engine.containers(all=True, filters={"label": f"homeport.workload={workload}"})


def by_hand(engine: Any, like: dict[str, Any]) -> tuple[float, float]:
    """The same container, and the end of the SDK's own `wait` for it."""
    config = {k: v for k, v in like["Config"].items() if k != "Hostname"}
    began = time.time_ns()
    config |= {"Labels": {LABEL: str(began)}, "HostConfig": like["HostConfig"]}
    container = engine.create_container_from_config(config)["Id"]
    engine.start(container)
    engine.wait(container)
    seen = time.time_ns()
    at = happened(engine, f"{LABEL}={began}", since_ns=began)
    engine.remove_container(container, force=True, v=True)
    return (at["start"] - began) / 1e6, (seen - at["die"]) / 1e6


def _eventually(look: Callable[[], Any]) -> Any:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.002)
    raise RuntimeError("it did not happen within 30 s")


@contextlib.contextmanager
def _swept(engine: Any) -> Generator[None]:
    try:
        yield
    finally:
        for row in engine.containers(all=True, filters={"label": LABEL}):
            engine.remove_container(row["Id"], force=True, v=True)


def measure() -> list[Figure]:
    engine = open_engine()
    if engine is None:
        return []
    image = bash_image(engine)
    with (
        tempfile.TemporaryDirectory(prefix="homeport-bench-") as folder,
        homeport(Path(folder) / "data", runtime="docker") as server,
        _swept(engine),
    ):
        ours = Ours(engine, server, image)
        while not ours.config:
            ours.run()  # warm up: the network is made with the first
        by_hand(engine, ours.config)
        mine: list[tuple[float, float]] = []
        other: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            mine.append(ours.run())
            other.append(by_hand(engine, ours.config))
    running, ended = (median([times[i] for times in mine]) for i in (0, 1))
    started, waited = (median([times[i] for times in other]) for i in (0, 1))
    return [
        Figure("submit to running", running, "ms", started, "create and start by the SDK", most=1.15),
        Figure(
            "end to visible in the API", ended, "ms", waited, "wait of the SDK", most=20, is_absolute=True
        ),
    ]


if __name__ == "__main__":
    show([measure], sys.argv[1:])
