"""
The first byte of an endpoint at zero: from the request that wakes it, beside the start of the same
container by hand; and from paused (HOMEPORT_WARM_ZERO=true), beside an unpause by hand.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

from tests.images import bash_image

from .engine import open_engine
from .figures import Figure, median, show, take_turns
from .servers import WORKSPACE, Server, free_port, homeport

ROUNDS = 7
IDLE_S = 1
PATIENCE_S = 60.0
LABEL = "homeport-bench"


def endpoint(name: str, image: str, command: str, port: int, **spec: Any) -> dict[str, Any]:
    """The body of its creation, as the clients send it; anybody may call it."""
    return {
        "metadata": {"id": name, "name": name},
        "spec": {
            "container": {
                "image": image,
                "command": ["/bin/sh", "-c", command],
                "ports": [{"container_port": port}],
            },
            "resource_requirement": {"resource_shape": "cpu.small", "min_replicas": 1},
            "api_tokens": [],
            **spec,
        },
    }


def first_byte(host: str, port: int, path: str) -> float:
    """
    Seconds from now to the first byte of an answer, tried again each millisecond while nobody listens.

    Raises:
        RuntimeError: the answer is no 200.
    """
    asked = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    began = time.perf_counter()
    while True:
        try:
            with socket.create_connection((host, port), timeout=PATIENCE_S) as connection:
                connection.sendall(asked)
                answer = connection.recv(4096)
        except OSError:
            if time.perf_counter() - began > PATIENCE_S:
                raise
            time.sleep(0.001)
            continue
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{path} answered {answer[:200]!r}")
        return time.perf_counter() - began


def eventually(what: str, look: Callable[[], Any], *, every_s: float = 0.02) -> Any:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(every_s)
    raise RuntimeError(f"not within {PATIENCE_S:.0f} s: {what}")


def serve(port: int) -> str:
    return f"mkdir -p /tmp/www; cd /tmp/www; echo hello > index.html; exec busybox httpd -f -p {port}"


class Sleeper:
    """
    An endpoint that goes to zero after a second without a request.

    Args:
        processes: of the process runtime, its folder of those that there are.
    """

    def __init__(self, server: Server, engine: Any, image: str, data_dir: Path, *, is_warm: bool) -> None:
        self._server, self._engine, self._is_warm = server, engine, is_warm
        self._name = f"sleeper{server.process.pid}"  # the engine has containers of others
        self._processes, self.port = data_dir / "processes", 8080 if engine else free_port()
        idle = {"auto_scaler": {"scale_down": {"no_traffic_timeout": IDLE_S}}}
        body = endpoint(self._name, image, serve(self.port), self.port, **idle)
        server.ask("POST", f"{WORKSPACE}/deployments", body)
        self._url = eventually("an address", self._address)
        eventually("ready", lambda: self._status()["phase"] == "Ready")

    def _status(self) -> dict[str, Any]:
        return self._server.ask("GET", f"{WORKSPACE}/deployments/{self._name}")["status"]

    def _address(self) -> str:
        return (self._status().get("endpoint") or {}).get("external_endpoint", "")

    def _containers(self) -> list[dict[str, Any]]:
        return self._engine.containers(all=True, filters={"name": f"-{self._name}-"})

    def container(self) -> dict[str, Any]:
        """Docker's inspect of it, while there is one."""
        return self._engine.inspect_container(self._containers()[0]["Id"])

    def command(self) -> int:
        """The process group of what runs, on the process runtime."""
        found = subprocess.run(["pgrep", "-f", f"^busybox httpd -f -p {self.port}$"], capture_output=True)
        return int(found.stdout.split()[0]) if found.stdout else 0

    def _is_at_zero(self) -> bool:
        if self._status()["phase"] == "Ready":
            return False
        if not self._is_warm:
            return not (self._containers() if self._engine else list(self._processes.glob("hp-*")))
        if self._engine:
            return self.container()["State"]["Paused"]
        state = Path(f"/proc/{self.command()}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T"

    def wake(self) -> float:
        """Milliseconds to the first byte, once it has gone to zero and all has become quiet."""
        eventually("zero", self._is_at_zero)
        time.sleep(0.3)
        host, _, rest = self._url.removeprefix("http://").partition(":")
        port, _, path = rest.partition("/")
        return first_byte(host, int(port), f"/{path}/") * 1000


def container_by_hand(engine: Any, like: dict[str, Any]) -> float:
    """Milliseconds from its creation to its first byte."""
    config = {k: v for k, v in like["Config"].items() if k != "Hostname"}
    config |= {"Labels": {LABEL: "1"}, "HostConfig": like["HostConfig"]}
    began = time.perf_counter()
    container = engine.create_container_from_config(config)["Id"]
    try:
        engine.start(container)
        first_byte(_address(engine, container), 8080, "/")
        return (time.perf_counter() - began) * 1000
    finally:
        engine.remove_container(container, force=True, v=True)


def unpause_by_hand(engine: Any, like: dict[str, Any]) -> float:
    config = {k: v for k, v in like["Config"].items() if k != "Hostname"}
    config |= {"Labels": {LABEL: "1"}, "HostConfig": like["HostConfig"]}
    container = engine.create_container_from_config(config)["Id"]
    try:
        engine.start(container)
        address = _address(engine, container)
        first_byte(address, 8080, "/")
        engine.pause(container)
        began = time.perf_counter()
        engine.unpause(container)
        first_byte(address, 8080, "/")
        return (time.perf_counter() - began) * 1000
    finally:
        engine.remove_container(container, force=True, v=True)


def _address(engine: Any, container: str) -> str:
    networks = engine.inspect_container(container)["NetworkSettings"]["Networks"]
    return next(iter(networks.values()))["IPAddress"]


@contextlib.contextmanager
def _process(port: int) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sh", "-c", serve(port)], start_new_session=True) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def process_by_hand(port: int) -> float:
    began = time.perf_counter()
    with _process(port):
        first_byte("127.0.0.1", port, "/")
        return (time.perf_counter() - began) * 1000


def process_goes_on_by_hand(port: int) -> float:
    with _process(port) as process:
        first_byte("127.0.0.1", port, "/")
        os.killpg(process.pid, signal.SIGSTOP)
        began = time.perf_counter()
        os.killpg(process.pid, signal.SIGCONT)
        first_byte("127.0.0.1", port, "/")
        return (time.perf_counter() - began) * 1000


def on(runtime: str, engine: Any, image: str, folder: Path, *, is_warm: bool) -> list[Figure]:
    data_dir = folder / f"{runtime}-{'warm' if is_warm else 'cold'}"
    with homeport(data_dir, runtime=runtime, HOMEPORT_WARM_ZERO=str(is_warm).lower()) as server:
        sleeper = Sleeper(server, engine, image, data_dir, is_warm=is_warm)
        if engine:
            by_hand = partial(unpause_by_hand if is_warm else container_by_hand, engine, sleeper.container())
        else:
            by_hand = partial(process_goes_on_by_hand if is_warm else process_by_hand, free_port())
        sleeper.wake()  # warm up
        by_hand()
        mine, others = take_turns(ROUNDS, sleeper.wake, by_hand)
    own, theirs = median(mine), median(others)
    if is_warm:
        what = f"first byte from paused, {runtime}"
        return [Figure(what, own, "ms", theirs, "by hand", most=50, is_absolute=True)]
    what = f"first byte from zero, {runtime}"
    return [
        Figure(what, own, "ms", theirs, "its start by hand"),
        Figure(f"{what}: beyond the start", median([a - b for a, b in zip(mine, others, strict=True)]),
               "ms", most=100, is_absolute=True),
    ]  # fmt: skip


def measure() -> list[Figure]:
    engine = open_engine()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="homeport-bench-") as folder:
        for is_warm in (False, True):
            if engine is not None:
                image = bash_image(engine)
                figures += on("docker", engine, image, Path(folder), is_warm=is_warm)
            if shutil.which("busybox"):
                figures += on("process", None, "any:1", Path(folder), is_warm=is_warm)
            else:
                print("left out the process runtime: busybox is not installed", file=sys.stderr)
    return figures


if __name__ == "__main__":
    show([measure], sys.argv[1:])
