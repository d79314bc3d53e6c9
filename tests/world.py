"""A real server as a process of its own, and the real `lep` CLI against it."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException
from requests.exceptions import RequestException

from homeport.runtime.clock import SystemClock
from homeport.runtime.drivers.docker import DockerDriver
from homeport.runtime.drivers.process import ProcessDriver
from tests.images import bash_image

DEADLINE_S = 40
LEP = Path(__file__).parents[1] / ".venv-lepton-0.47.1" / "bin" / "lep"


def eventually(what: str, look: Callable[[], Any], *, within_s: float = DEADLINE_S) -> Any:
    """The first truthy answer of `look`, or a failure that names what was awaited."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if answer := look():
            return answer
        time.sleep(0.05)
    pytest.fail(f"not within {within_s} s: {what}")


def require_docker() -> Any:
    try:
        client = docker.APIClient(version="1.41", timeout=30)
        client.ping()
        return client
    except (DockerException, RequestException) as error:  # the second: a socket that is not ours to open
        if os.environ.get("CI"):
            pytest.fail(f"CI must have a Docker engine: {error}")
        pytest.skip(f"no Docker engine answers: {error}")


@dataclass
class World:
    """One data directory; the server on it can be killed and started again."""

    data_dir: Path
    runtime: str
    image: str
    engine: Any = None
    server: subprocess.Popen[str] | None = None
    values: dict[str, str] = field(default_factory=dict)
    lep_path: str = field(default_factory=lambda: os.environ.get("HOMEPORT_LEP", str(LEP)))

    def start(self, args: Sequence[str] = (), **env: str) -> None:
        argv = ["serve", "--port", "0", "--gpus", "2xH100-80GB", "--data-dir", str(self.data_dir)]
        log = self.data_dir.parent / "server.log"
        self.server = self.spawn([*argv, "--runtime", self.runtime, *args], os.environ | env, log)
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        assert line.startswith("homeport ready"), log.read_text()
        self.values = json.loads((self.data_dir / "credentials.json").read_text())

    def spawn(self, argv: Sequence[str], env: dict[str, str], log: Path) -> Any:
        """A `homeport` process, with Popen's methods."""
        with log.open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "homeport", *argv],
                stdout=subprocess.PIPE, stderr=errors, text=True, env=env,
            )  # fmt: skip

    def kill(self) -> None:
        assert self.server is not None
        self.server.kill()
        self.server.wait()

    def stop(self) -> int:
        assert self.server is not None
        self.server.send_signal(signal.SIGTERM)
        return self.server.wait(timeout=15)

    def client_env(self) -> dict[str, str]:
        """The user's environment without any other login; no look at the package index."""
        cache = self.data_dir.parent / "lep-cache"
        cache.mkdir(exist_ok=True)
        (cache / "latest_version_check").write_text(str(int(time.time())))
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LEPTON_")}
        return clean | {"LEPTON_CACHE_DIR": str(cache), "COLUMNS": "200", "NO_COLOR": "1"}

    def lep(self, *args: str, ok: bool = True, stdin: str = "") -> str:
        argv = [self.lep_path, *args]
        done = subprocess.run(
            argv, env=self.client_env(), capture_output=True, text=True, timeout=90, input=stdin
        )
        if ok:
            assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def login(self) -> str:
        v = self.values
        return self.lep(
            "workspace", "login", "-i", v["LEPTON_WORKSPACE_ID"], "-t", v["LEPTON_WORKSPACE_TOKEN"],
            "--workspace-url", v["LEPTON_WORKSPACE_URL"],
        )  # fmt: skip

    def create(self, name: str, command: str, *more: str) -> str:
        """The new job's id."""
        out = self.lep(
            "job", "create", "-n", name, "--resource-shape", "cpu.small", "--container-image", self.image,
            "--command", command, *more,
        )  # fmt: skip
        return out.split("ID: ")[1].split()[0]

    def get(self, job: str) -> dict[str, Any]:
        out = self.lep("job", "get", "-i", job)
        return json.loads(out[out.index("{") : out.rindex("}") + 1])

    def state(self, job: str) -> str:
        return self.get(job)["status"]["state"]

    def containers(self) -> list[str]:
        """Names of what exists on the machine for this data directory."""
        if self.engine is not None:
            rows = self.engine.containers(all=True, filters={"label": f"homeport.instance={self.instance()}"})
            return [row["Names"][0].lstrip("/") for row in rows]
        if self.runtime == "simulated":
            last = {record["name"]: record["op"] for record in self.journal()}
            return [name for name, op in last.items() if op in ("create", "stop")]
        return [p.name for p in (self.data_dir / "processes").glob("hp-*")]

    def journal(self) -> list[dict[str, Any]]:
        """What the simulated machine did, oldest first."""
        path = self.data_dir / "simulated.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def networks(self, job: str) -> list[str]:
        if self.engine is None:
            return []
        wanted = f"homeport-{self.instance()}-{job}"
        return [n["Name"] for n in self.engine.networks() if n["Name"] == wanted]

    def health(self) -> tuple[int, list[str]]:
        """The status of the answer, and the reasons in it."""
        base = self.values["LEPTON_WORKSPACE_URL"].partition("/api/")[0]
        try:
            with urllib.request.urlopen(f"{base}/homeport/health", timeout=30) as answer:
                return answer.status, json.load(answer)["reasons"]
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())["reasons"]

    def instance(self) -> str:
        with contextlib.closing(sqlite3.connect(self.data_dir / "homeport.db")) as database:
            return database.execute("SELECT value FROM setting WHERE name = 'instance'").fetchone()[0]

    def clean_up(self) -> None:
        if self.server is not None and self.server.poll() is None:
            self.kill()
        if (self.data_dir / "homeport.db").exists():
            asyncio.run(self._purge())

    async def _purge(self) -> None:
        if self.engine is not None:
            driver = DockerDriver(self.instance(), SystemClock())
        elif self.runtime == "simulated":
            return
        else:
            driver = ProcessDriver(self.instance(), SystemClock(), self.data_dir / "processes")
        await driver.purge()
        await driver.close()


@contextlib.contextmanager
def world(tmp_path: Path, runtime: str, make: Callable[..., World] = World) -> Generator[World]:
    engine = require_docker() if runtime == "docker" else None
    made = make(tmp_path / "data", runtime, bash_image(engine) if engine else "any:1", engine)
    made.data_dir.mkdir()
    try:
        yield made
    finally:
        made.clean_up()
