"""`homeport demo`: the main job end to end, with the real `lep` CLI, each step explained in a line."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from ..runtime.clock import SystemClock

PULL_S, START_S, STEP_S, JOB_S = 60, 30, 60, 60
IMAGE = "python:3.11-slim"
LEP_OF_MAKE = ".venv-lepton-0.47.1/bin/lep"
COMMAND = "for i in 1 2 3; do echo hello from Homeport, line $i; sleep 1; done"


class DemoFailed(Exception):
    """A step did not do what it shows."""


def run_demo(*, lep: str | None, runtime: str) -> int:
    client = lep or os.environ.get("HOMEPORT_LEP") or _installed_lep()
    if client is None or not Path(client).exists():
        print("no `lep` was found: `make demo` installs it, or name one with --lep", file=sys.stderr)
        return 1
    image = os.environ.get("HOMEPORT_DEMO_IMAGE", IMAGE)
    if runtime in ("auto", "docker") and (why := _missing_image(image)):
        print(f"# {why}; going on with the process runtime, which needs no image")
        runtime = "process"
    with tempfile.TemporaryDirectory(prefix="homeport-demo-") as folder:
        try:
            _Demo(Path(folder), client, image, runtime).run()
        except DemoFailed as error:
            print(f"the demo failed: {error}", file=sys.stderr)
            return 1
    print("\n# All of it ran here; the server, the job and the data directory are removed again.")
    return 0


def _installed_lep() -> str | None:
    """The one that `make demo` installs below the current directory, else the one on PATH."""
    made = Path.cwd() / LEP_OF_MAKE
    return str(made) if made.exists() else shutil.which("lep")


def _missing_image(image: str) -> str:
    """Why containers cannot be used, or "". The pull is bounded in time: it never hangs."""
    import docker
    from docker.errors import DockerException, ImageNotFound
    from requests.exceptions import RequestException

    try:
        client = docker.from_env(version="1.41", timeout=PULL_S)
        client.ping()
    except (DockerException, RequestException):
        return "Docker does not answer here"
    try:
        client.images.get(image)
        return ""
    except ImageNotFound:
        print(f"# Pulling {image} ({PULL_S} s at most)", flush=True)
    outcome = ["it could not be pulled in time"]

    def pull() -> None:
        try:
            client.images.pull(image)
            outcome[0] = ""
        except (DockerException, RequestException) as error:
            outcome[0] = f"it cannot be pulled: {error}"

    thread = threading.Thread(target=pull, daemon=True)
    thread.start()
    thread.join(PULL_S)
    return f"Docker answers, but {image} is not here and {outcome[0]}" if outcome[0] else ""


class _Demo:
    def __init__(self, folder: Path, lep: str, image: str, runtime: str) -> None:
        self._folder, self._lep, self._image, self._runtime = folder, lep, image, runtime
        self._clock = SystemClock()
        cache = folder / "lep"
        cache.mkdir()
        # `lep` asks the package index for its newest version once a day, unless this file is fresh.
        (cache / "latest_version_check").write_text(str(self._clock.now_ms() // 1000))
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LEPTON_")}
        self._env = clean | {"LEPTON_CACHE_DIR": str(cache), "NO_COLOR": "1", "COLUMNS": "110"}

    def run(self) -> None:
        argv = [sys.executable, "-m", "homeport", "serve", "--port", "0", "--ephemeral"]
        argv += ["--data-dir", str(self._folder / "data"), "--runtime", self._runtime]
        print("# Starting a server of its own, on a free port")
        with (self._folder / "server.log").open("wb") as log:
            server = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            print(f"  {self._ready_line(server)}")
            self._story()
        finally:
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def _ready_line(self, server: "subprocess.Popen[str]") -> str:
        line: list[str] = []

        def read() -> None:
            assert server.stdout is not None
            line.append(server.stdout.readline().strip())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(START_S)
        if not line or not line[0].startswith("homeport ready"):
            raise DemoFailed(f"the server did not start: {(self._folder / 'server.log').read_text()}")
        return line[0]

    def _story(self) -> None:
        values: dict[str, str] = json.loads((self._folder / "data" / "credentials.json").read_text())
        login = ["-i", values["LEPTON_WORKSPACE_ID"], "-t", values["LEPTON_WORKSPACE_TOKEN"]]
        url = ["--workspace-url", values["LEPTON_WORKSPACE_URL"]]
        self._step("Log in, with the unmodified client", "workspace", "login", *login, *url)
        self._step("The node group, and what is free on it", "node", "list")
        self._step("The shapes that a job may ask for", "node", "resource-shape")
        out = self._step(
            "Submit a batch job", "job", "create", "-n", "hello", "--resource-shape", "cpu.small",
            "--container-image", self._image, "--command", COMMAND,
        )  # fmt: skip
        words = out.partition("ID: ")[2].split()
        if not words:
            raise DemoFailed("`lep job create` printed no job id")
        job = words[0]
        self._until("a replica", lambda: f"{job}-0-" in self._call("job", "replicas", "-i", job))
        log = self._step("Its log, live", "job", "log", "-i", job)
        self._until("its end", lambda: self._has_completed(job))
        self._step("Its end", "job", "list")
        if missing := [i for i in (1, 2, 3) if f"hello from Homeport, line {i}" not in log]:
            raise DemoFailed(f"the log lacks line {missing[0]}")

    def _has_completed(self, job: str) -> bool:
        shown = self._call("job", "get", "-i", job)
        if '"state": "Failed"' in shown:
            raise DemoFailed(f"the job failed:\n{self._call('job', 'events', '-i', job)}")
        return '"state": "Completed"' in shown

    def _step(self, what: str, *args: str) -> str:
        shown = ["***" if before == "-t" else arg for before, arg in zip(("", *args), args, strict=False)]
        print(f"\n# {what}\n$ lep {shlex.join(shown)}", flush=True)
        out = self._call(*args)
        print("\n".join(f"  {line}" for line in out.rstrip().splitlines()), flush=True)
        return out

    def _call(self, *args: str) -> str:
        argv = [self._lep, *args]
        try:
            done = subprocess.run(
                argv, env=self._env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=STEP_S
            )
        except subprocess.TimeoutExpired as error:
            raise DemoFailed(f"`lep {args[0]} {args[1]}` did not end within {STEP_S} s") from error
        if done.returncode:
            raise DemoFailed(f"`lep {args[0]} {args[1]}`: {done.stdout}{done.stderr}")
        return done.stdout

    def _until(self, what: str, look: Callable[[], bool]) -> None:
        end = self._clock.monotonic_s() + JOB_S
        while not look():
            if self._clock.monotonic_s() > end:
                raise DemoFailed(f"{what} did not come within {JOB_S} s")
            threading.Event().wait(0.2)
