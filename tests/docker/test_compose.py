"""The server as a container beside those that it runs: built from wheels, brought up and taken down."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.images import bash_image, python_image
from tests.sdk import Sdk
from tests.world import World, eventually, require_docker

ROOT = Path(__file__).parents[2]
CONTEXT = (
    "Dockerfile", ".dockerignore", "docker-compose.yml", "pyproject.toml", "README.md", "LICENSE",
    "src", "server", "scheduler", "runtime",
)  # fmt: skip
BASE = "homeport-test/base:1"
pytestmark = [pytest.mark.docker, pytest.mark.timeout(540)]


def run(*argv: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, f"{argv}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def python_with_pip(folder: Path) -> str:
    """An environment may have been made without pip; one of its own has the one that Python brings along."""
    found = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    if found.returncode == 0:
        return sys.executable
    run(sys.executable, "-m", "venv", str(folder), cwd=folder.parent)
    return str(folder / "bin" / "python")


def base_image(folder: Path, python: str) -> str:
    """Python from this machine, with its pip: what BASE is otherwise taken from a registry for."""
    source = run(python, "-c", "import os, pip; print(os.path.dirname(pip.__file__))", cwd=folder).strip()
    context = folder / "base"
    shutil.copytree(source, context / "pip" / "pip", ignore=shutil.ignore_patterns("__pycache__"))
    text = f"FROM {python_image(require_docker())}\nCOPY pip /opt/pip\nENV PYTHONPATH=/opt/pip\n"
    (context / "Dockerfile").write_text(text)
    run("docker", "build", "-q", "-t", BASE, ".", cwd=context)
    return BASE


@dataclass
class Composed:
    """`home` is the server as the clients see it; `folder` is where docker-compose is called."""

    home: World
    folder: Path
    env: dict[str, str]

    def compose(self, *args: str) -> str:
        return run("docker-compose", *args, cwd=self.folder, **self.env)


@contextmanager
def composed_home() -> Generator[Composed]:
    engine = require_docker()
    if shutil.which("docker-compose") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have docker-compose")
        pytest.skip("no docker-compose here (Debian: apt-get install docker-compose)")
    name = f"homeport-test-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="hp-") as place:
        folder = Path(place) / "project"
        folder.mkdir()
        for part in CONTEXT:
            source = ROOT / part
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, folder / part, symlinks=True, ignore=ignored)
            else:
                shutil.copy(source, folder / part)
        python = python_with_pip(Path(place) / "venv")
        run(python, "-m", "pip", "wheel", "-q", "--wheel-dir", "wheels", ".", cwd=folder)
        home = World(Path(place) / "data", "docker", bash_image(engine), engine)
        env = {
            "COMPOSE_PROJECT_NAME": name, "BASE": base_image(Path(place), python), "IMAGE": f"{name}:1",
            "INDEX": "http://127.0.0.1:9/nothing",  # the wheels are all that it gets
            "HOMEPORT_PORT": "0", "HOMEPORT_DATA_DIR": str(home.data_dir),
        }  # fmt: skip
        made = Composed(home, folder, env)
        try:
            made.compose("up", "-d", "--build")
            yield made
        finally:
            subprocess.run(
                ["docker-compose", "down", "-v", "--rmi", "all", "-t", "10"], cwd=folder,
                env={**os.environ, **env}, capture_output=True, timeout=120, check=False,
            )  # fmt: skip
            home.clean_up()
            stage = ["docker", "image", "prune", "-f", "--filter", "label=homeport.stage=build"]
            subprocess.run(stage, capture_output=True, timeout=60, check=False)


def home_of(composed: Composed) -> World:
    """Once it is well."""
    credentials = composed.home.data_dir / "credentials.json"
    eventually("credentials", credentials.exists)
    composed.home.values = json.loads(credentials.read_text())

    def is_well() -> bool:
        try:
            return composed.home.health() == (200, [])
        except urllib.error.URLError:
            return False

    eventually("health", is_well)
    return composed.home


def container_of(composed: Composed) -> dict[str, Any]:
    return composed.home.engine.inspect_container(composed.compose("ps", "-q", "homeport").strip())


def job_runs_beside_it(home: World, sdk: Sdk) -> None:
    job = sdk.create(home, "composed", "echo from beside; sleep 2")
    (name,) = eventually("its container", home.containers)
    assert name.startswith(f"hp-{home.instance()}-composed-")
    eventually("Completed", lambda: sdk.state(home, job) == "Completed")
    assert sdk.log(home, job) == "from beside\n"


def what_a_job_writes_is_in_the_hosts_data_directory(home: World, sdk: Sdk) -> None:
    job = sdk.create(home, "writer", "echo kept > /mnt/note", mounts=[
        {"path": "/notes", "mount_path": "/mnt", "from": "node-nfs:lepton-shared-fs"}
    ])  # fmt: skip
    eventually("Completed", lambda: sdk.state(home, job) == "Completed")
    found = [p for p in home.data_dir.rglob("note") if p.is_file()]
    assert [p.read_text() for p in found] == ["kept\n"]


def doctor_sees_that_the_paths_are_the_same(composed: Composed, home: World) -> None:
    told = composed.compose("exec", "-T", "homeport", "python3", "-m", "homeport", "doctor")
    assert f"ok    {home.data_dir} is the same directory inside and outside of this container" in told
    assert "Docker answers" in told


def doctor_notices_a_path_that_differs(composed: Composed, home: World) -> None:
    told = run(
        "docker", "run", "--rm", "--network", "host", "-v", "/var/run/docker.sock:/var/run/docker.sock",
        "-v", f"{home.data_dir}:/elsewhere", "-e", "HOMEPORT_DATA_DIR=/elsewhere", "-e", "HOMEPORT_PORT=0",
        composed.env["IMAGE"], "doctor", cwd=composed.folder,
    )  # fmt: skip
    assert f"weak  /elsewhere is {home.data_dir} outside of this container" in told
    assert "`-v /elsewhere:/elsewhere`" in told


def endpoint_is_reached_through_its_gateway(home: World, sdk: Sdk) -> None:
    spec = {
        "container": {
            "image": home.image,
            "command": ["/bin/bash", "-c", "echo hello > /tmp/index.html; busybox httpd -f -p 8000 -h /tmp"],
            "ports": [{"container_port": 8000}],
        },
        "resource_requirement": {"resource_shape": "cpu.small", "min_replicas": 1},
        "api_tokens": [],
    }
    code = "client.deployment.create(LeptonDeployment(metadata=Metadata(id=name, name=name), "
    sdk.run(home, f"{code}spec=LeptonDeploymentUserSpec(**spec)))", name="web", spec=spec)
    get = "result = client.deployment.get('web')"
    eventually("Ready", lambda: sdk.run(home, get)["status"]["phase"] == "Ready")
    url = sdk.run(home, get)["status"]["endpoint"]["external_endpoint"]
    with urllib.request.urlopen(f"{url}/", timeout=30) as answer:
        assert answer.read() == b"hello\n"
    sdk.run(home, "client.deployment.delete('web')")
    eventually("gone", lambda: home.containers() == [])


def it_leaves_cleanly_and_comes_back(composed: Composed, home: World, sdk: Sdk) -> None:
    eventually("healthy", lambda: container_of(composed)["State"]["Health"]["Status"] == "healthy")
    job = sdk.create(home, "outlives", "sleep 2; echo done")
    eventually("Running", lambda: sdk.state(home, job) == "Running")
    composed.compose("stop", "-t", "15")
    state = home.engine.inspect_container(composed.compose("ps", "-a", "-q", "homeport").strip())["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
    composed.compose("start")

    def is_back() -> bool:
        home.values = json.loads((home.data_dir / "credentials.json").read_text())
        try:
            return home.health()[0] == 200
        except urllib.error.URLError:
            return False

    eventually("health", is_back)
    eventually("Completed", lambda: sdk.state(home, job) == "Completed")
    assert "done" in sdk.log(home, job)


def test_composed_server_runs_what_its_clients_ask_for(sdk: Sdk) -> None:
    """One story: to build it takes most of the time."""
    with composed_home() as composed:
        home = home_of(composed)
        job_runs_beside_it(home, sdk)
        what_a_job_writes_is_in_the_hosts_data_directory(home, sdk)
        doctor_sees_that_the_paths_are_the_same(composed, home)
        doctor_notices_a_path_that_differs(composed, home)
        endpoint_is_reached_through_its_gateway(home, sdk)
        it_leaves_cleanly_and_comes_back(composed, home, sdk)
