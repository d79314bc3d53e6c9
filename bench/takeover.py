"""
kill -9 of the control plane while its endpoints are asked, on the process runtime: whether a request
fails, and how long the next server takes until it manages 50 endpoints again.

*Managed* means: from the start of the server's process until it tells all of them as ready, and has
acted upon a change to one of them (stopped: the gateway says 503).
"""

import contextlib
import http.client
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from .figures import Figure, median, show
from .load import Load, drive, request
from .servers import ROOT, WORKSPACE, Server, free_ports, homeport
from .wake import endpoint, eventually, serve

LOADED_ROUNDS, CALM_ROUNDS, ENDPOINTS = 3, 5, 50
CLIENTS, LOAD_S, BEFORE_KILL_S = 16, 5.0, 1.0
DEPLOYMENTS = f"{WORKSPACE}/deployments"
ROOM = {"HOMEPORT_OVERCOMMIT": "64"}  # for so many on a small machine


@dataclass(slots=True)
class Restart:
    answers_s: float  # its first 200
    knows_s: float  # all endpoints are told as ready
    acts_s: float


def name_of(number: int) -> str:
    return f"bench{number:02}"


def create(server: Server) -> tuple[int, str]:
    """
    All endpoints, ready. The first answers many requests on one connection.

    Returns:
        The gateway's port, and the path of the first without its name.
    """
    for number, port in enumerate(free_ports(ENDPOINTS)):
        command = serve(port)
        if number == 0:
            command = f"cd {ROOT} && exec {sys.executable} -m bench.gateway replica {port} 0"
        server.ask("POST", DEPLOYMENTS, endpoint(name_of(number), "any:1", command, port))
    eventually("all ready", lambda: ready(server) == ENDPOINTS, every_s=0.5)
    url = server.ask("GET", f"{DEPLOYMENTS}/{name_of(0)}")["status"]["endpoint"]["external_endpoint"]
    gateway, _, path = url.removeprefix("http://").partition("/")
    return int(gateway.rpartition(":")[2]), f"/{path.removesuffix(name_of(0))}"


def ready(server: Server) -> int:
    return sum(d["status"]["phase"] == "Ready" for d in server.ask("GET", DEPLOYMENTS))


def status(port: int, path: str) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


@contextlib.contextmanager
def loaded(port: int, path: str, token: str, into: list[Load]) -> Generator[None]:
    """Requests go on from before to after what is done inside."""

    def run() -> None:
        made = request("GET", path, token)
        into.append(drive(port, lambda: made, clients=CLIENTS, seconds=LOAD_S))

    asking = threading.Thread(target=run)
    asking.start()
    time.sleep(BEFORE_KILL_S)
    try:
        yield
    finally:
        asking.join()


class Home:
    """A data directory with its endpoints. One of them is stopped after each restart."""

    def __init__(self, data_dir: Path, stack: contextlib.ExitStack) -> None:
        self._data_dir, self._stack = data_dir, stack
        self._server = self._start()
        self._port, self._path = create(self._server)
        self._left = ENDPOINTS
        self.loads: list[Load] = []

    def _start(self) -> Server:
        return self._stack.enter_context(homeport(self._data_dir, runtime="process", **ROOM))

    def restart(self) -> Restart:
        self._server.process.kill()
        self._server.process.wait()
        began = time.perf_counter()
        self._server = self._start()
        answers_s = time.perf_counter() - began
        while ready(self._server) < self._left:
            time.sleep(0.005)
        knows_s = time.perf_counter() - began
        self._left -= 1
        name = name_of(self._left)
        stop = {"spec": {"resource_requirement": {"min_replicas": 0}}}
        self._server.ask("PATCH", f"{DEPLOYMENTS}/{name}", stop)
        while status(self._port, f"{self._path}{name}/") != 503:
            time.sleep(0.005)
        return Restart(answers_s, knows_s, time.perf_counter() - began)

    def restart_under_load(self) -> None:
        with loaded(self._port, f"{self._path}{name_of(0)}/", self._server.token, self.loads):
            self.restart()


@contextlib.contextmanager
def home() -> Generator[Home]:
    with tempfile.TemporaryDirectory(prefix="homeport-bench-") as folder:
        data_dir = Path(folder) / "data"
        try:
            with contextlib.ExitStack() as stack:
                yield Home(data_dir, stack)
        except BaseException:
            with homeport(data_dir, runtime="process"):  # what a killed one has left goes with this one
                raise


def measure() -> list[Figure]:
    if not shutil.which("busybox"):
        print("left out: the endpoints need busybox", file=sys.stderr)
        return []
    with home() as made:
        for _ in range(LOADED_ROUNDS):
            made.restart_under_load()
        found = [made.restart() for _ in range(CALM_ROUNDS)]
    answered, refused = (sum(getattr(load, name) for load in made.loads) for name in ("answered", "refused"))
    slowest = max(ms for load in made.loads for ms in load.latencies_ms)
    what = f"restarted with {ENDPOINTS} endpoints"
    return [
        Figure(f"kill -9: failed of {answered:,} requests", refused, "", most=0, is_absolute=True),
        Figure("kill -9: slowest request", slowest, "ms"),
        Figure(f"{what}: answers", median([f.answers_s for f in found]), "s"),
        Figure(f"{what}: knows them", median([f.knows_s for f in found]), "s"),
        Figure(f"{what}: acts", median([f.acts_s for f in found]), "s", most=2, is_absolute=True),
    ]


if __name__ == "__main__":
    show([measure], sys.argv[1:])
