"""Servers as processes of their own, and what they cost."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WORKSPACE = "/api/v2/workspaces/local"
JOBS = f"{WORKSPACE}/jobs"
TICKS = os.sysconf("SC_CLK_TCK")
DEADLINE_S = 30
# Byte code is written and used, as it is by an installed program; no setting of the caller's leaks in.
ENV = {
    k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE" and not k.startswith("HOMEPORT_")
}


@dataclass(frozen=True, slots=True)
class Server:
    process: subprocess.Popen[bytes]
    port: int
    token: str = ""

    def cpu_s(self) -> float:
        """Of all its threads since it began, from /proc (in steps of 10 ms)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def pss_mib(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024

    def ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text)


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """All of them different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextlib.contextmanager
def started(
    argv: Sequence[str], port: int, path: str, log: Path, env: Mapping[str, str] | None = None
) -> Generator[Server]:
    """It has answered `path` when this yields, and has ended when this is left."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, *argv], cwd=ROOT, env=ENV | dict(env or {}), stdout=out, stderr=out,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        end = time.monotonic() + DEADLINE_S
        while not _answers(port, path):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{' '.join(argv)} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.002)
        yield Server(process, port)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int, path: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            )
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


@contextlib.contextmanager
def homeport(data_dir: Path, *, runtime: str = "simulated", **env: str) -> Generator[Server]:
    """Its containers go with it. `env`: HOMEPORT_* settings."""
    port = free_port()
    argv = ["-m", "homeport", "serve", "--port", str(port), "--data-dir", str(data_dir)]
    argv += ["--gateway-port", "0", "--runtime", runtime, "--gpus", "none", "--ephemeral"]
    log = data_dir.with_name(f"{data_dir.name}.log")
    with started(argv, port, "/homeport/health", log, env) as server:
        values = json.loads((data_dir / "credentials.json").read_text())
        yield Server(server.process, port, values["LEPTON_WORKSPACE_TOKEN"])


@contextlib.contextmanager
def plain(database: Path, token: str) -> Generator[Server]:
    """The plain application (plain.py) on a database of its own."""
    port = free_port()
    argv = ["-m", "bench.plain", str(port), str(database)]
    with started(argv, port, "/hello", database.with_name(f"{database.name}.log")) as server:
        yield Server(server.process, port, token)


def job(name: str, command: str = "true", *, image: str = "any:1", **spec: Any) -> dict[str, Any]:
    """The body of a submit, as the clients send it."""
    return {
        "metadata": {"id": name, "name": name},
        "spec": {
            "resource_shape": "cpu.small",
            "container": {"image": image, "command": ["/bin/sh", "-c", command]},
            "completions": 1,
            "parallelism": 1,
            "envs": [{"name": "EPOCHS", "value": "3"}],
            **spec,
        },
    }
