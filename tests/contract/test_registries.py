"""Private images: logins made on the command line, used by real clients, against a real registry."""

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.contract.test_lepton_endpoints import create, free_port, state
from tests.contract.test_lepton_storage import call
from tests.files import files_below
from tests.images import bash_image
from tests.registry import PASSWORD, USER, Registry, open_registry
from tests.sdk import Sdk
from tests.world import World, eventually, world


@pytest.fixture
def home(tmp_path: Path) -> Generator[World]:
    with world(tmp_path, "docker") as made:
        made.start(LOGLEVEL="DEBUG")
        yield made


@pytest.fixture
def registry(tmp_path: Path, home: World) -> Generator[Registry]:
    with open_registry(tmp_path / "registry", home.engine) as made:
        yield made


def homeport(home: World, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = [
        sys.executable,
        "-m",
        "homeport",
        "registry",
        args[0],
        "--data-dir",
        str(home.data_dir),
        *args[1:],
    ]
    return subprocess.run(
        argv, input=stdin, env=home.client_env(), capture_output=True, text=True, timeout=30
    )


def add(home: World, name: str, server: str, password: str = PASSWORD) -> None:
    done = homeport(
        home, "add", name, "--server", server, "--username", USER, "--password-stdin", stdin=f"{password}\n"
    )
    assert (done.returncode, done.stdout) == (0, f"{name} logs in to {server} as {USER}\n"), done.stderr


def private(home: World, sdk: Sdk, image: str, *names: str) -> str:
    container = {"image": image, "command": ["/bin/bash", "-c", "echo it runs"]}
    return sdk.create(home, "private", "", container=container, image_pull_secrets=list(names))


def told(home: World, job: str, reason: str, what: str = "jobs") -> list[str]:
    events = call(home, "GET", f"/{what}/{job}/events")
    return [event["message"] for event in events if event["reason"] == reason]


def running(home: World, job: str) -> bool:
    return call(home, "GET", f"/jobs/{job}")["status"]["state"] == "Running"


@pytest.mark.docker
def test_job_of_the_command_line_runs_with_a_login_of_the_command_line(
    home: World, registry: Registry
) -> None:
    home.image = registry.push(bash_image(home.engine), "team/tool:1")
    add(home, "mine", registry.server)
    home.login()
    job = home.create("private", "echo it runs; sleep 600", "--image-pull-secrets", "mine")
    eventually("Running", lambda: running(home, job))
    assert told(home, job, "FailedToRetrieveImagePullSecret") == []
    inspected = [str(home.engine.inspect_container(name)) for name in home.containers()]
    assert (len(inspected), [text for text in inspected if PASSWORD in text]) == (1, [])
    listed = homeport(home, "list").stdout
    assert listed.split()[6:11] == ["mine", registry.server, USER, "admin@homeport.local", "public"]
    shown = [call(home, "GET", f"/jobs/{job}{part}") for part in ("", "/events", "/replicas")]
    assert PASSWORD not in f"{listed}{shown}"
    assert homeport(home, "remove", "mine").returncode == 0
    nothing = "no registry logins; `homeport registry add` makes one\n"
    assert (homeport(home, "list").stdout, running(home, job)) == (nothing, True)
    home.kill()  # what SQLite still had in its log is then in the files, too
    written = [*files_below(home.data_dir).values(), (home.data_dir.parent / "server.log").read_bytes()]
    assert [text for text in written if PASSWORD.encode() in text] == []


@pytest.mark.docker
def test_every_client_names_the_login(home: World, any_sdk: Sdk, registry: Registry) -> None:
    image = registry.push(bash_image(home.engine), "team/tool:1")
    add(home, "mine", registry.server)
    job = private(home, any_sdk, image, "mine")
    eventually("Completed", lambda: any_sdk.state(home, job) == "Completed")
    assert any_sdk.log(home, job) == "it runs\n"
    workspace = "result = client.info().workloads.num_image_pull_secrets"
    assert any_sdk.run(home, workspace) == 1


@pytest.mark.docker
def test_wrong_password_is_told_and_the_next_try_takes_the_right_one(
    home: World, sdk: Sdk, registry: Registry
) -> None:
    image = registry.push(bash_image(home.engine), "team/tool:1")
    add(home, "mine", registry.server, "not-the-password")
    job = private(home, sdk, image, "mine")
    (refusal,) = eventually("a refusal", lambda: told(home, job, "ImagePullBackOff"))
    assert f"{registry.server} refuses the login 'mine'" in refusal
    assert refusal.endswith("next try in 10 s")
    assert "not-the-password" not in refusal
    assert sdk.state(home, job) == "Starting"
    why = subprocess.run(
        [sys.executable, "-m", "homeport", "why", "--data-dir", str(home.data_dir), job],
        capture_output=True, text=True, timeout=30,
    ).stdout  # fmt: skip
    assert "homeport registry remove mine" in why
    assert homeport(home, "remove", "mine").returncode == 0
    add(home, "mine", registry.server)
    eventually("Completed", lambda: sdk.state(home, job) == "Completed")
    assert len(told(home, job, "ImagePullBackOff")) == 1


@pytest.mark.docker
def test_second_login_is_tried_where_the_first_is_refused(home: World, sdk: Sdk, registry: Registry) -> None:
    image = registry.push(bash_image(home.engine), "team/tool:1")
    add(home, "old", registry.server, "pw-of-last-year")
    add(home, "new", registry.server)
    job = private(home, sdk, image, "old", "new")
    eventually("Completed", lambda: sdk.state(home, job) == "Completed")
    assert told(home, job, "ImagePullBackOff") == []
    homeport(home, "remove", "new")
    add(home, "new", registry.server, "pw-of-yesterday")
    registry.forget(image)
    job = private(home, sdk, image, "old", "new")
    (refusal,) = eventually("a refusal", lambda: told(home, job, "ImagePullBackOff"))
    assert "refuses the logins 'old', 'new'" in refusal
    log = (home.data_dir.parent / "server.log").read_text()
    assert not any(word in text for word in ("pw-of", PASSWORD) for text in (log, refusal))


@pytest.mark.docker
def test_image_without_a_login_is_refused_with_the_remedy_and_can_be_stopped(
    home: World, sdk: Sdk, registry: Registry
) -> None:
    image = registry.push(bash_image(home.engine), "team/tool:1")
    job = private(home, sdk, image, "unknown")
    (refusal,) = eventually("a refusal", lambda: told(home, job, "ImagePullBackOff"))
    assert f"homeport registry add NAME --server {registry.server} --username" in refusal
    assert "'unknown'" in told(home, job, "FailedToRetrieveImagePullSecret")[0]
    quick = sdk.create(home, "quick", "echo done")  # nobody else waits
    eventually("Completed", lambda: sdk.state(home, quick) == "Completed")
    sdk.run(home, "client.job.update(job, spec={'spec': {'stopped': True}})", job=job)
    eventually("Stopped", lambda: sdk.state(home, job) == "Stopped")
    assert [name for name in home.containers() if job in name] == []


@pytest.mark.docker
def test_endpoint_waits_for_the_login_and_serves(home: World, sdk: Sdk, registry: Registry) -> None:
    image, port = registry.push(bash_image(home.engine), "team/server:1"), free_port()
    command = ["/bin/bash", "-c", f"exec busybox httpd -f -p {port} -h /tmp"]
    container = {"image": image, "command": command, "ports": [{"container_port": port}]}
    create(home, sdk, "web", port, "", container=container, image_pull_secrets=["later"])
    refusals = eventually("a refusal", lambda: told(home, "web", "ImagePullBackOff", "deployments"))
    assert registry.server in refusals[0]
    assert "homeport registry add" in str(call(home, "GET", "/deployments/web/readiness"))
    add(home, "later", registry.server)
    eventually("Ready", lambda: state(home, sdk, "web") == "Ready")


@pytest.mark.parametrize(
    ("args", "stdin", "word"),
    [
        (("add", "a", "--server", "https://ghcr.io", "--username", "u", "--password-stdin"), "p", "server: "),
        (
            ("add", "a", "--server", "ghcr.io", "--username", "u", "--password-stdin"),
            "\n",
            "password: is empty",
        ),
        (("add", "a", "--server", "ghcr.io", "--username", "u"), "p", "--password-stdin"),
        (("remove", "nobody"), "", "no registry login named 'nobody'"),
        (("remove", "a b?c"), "", "no registry login named 'a b?c'"),
    ],
)
def test_bad_command_is_told_why(shared_home: World, args: tuple[str, ...], stdin: str, word: str) -> None:
    done = homeport(shared_home, *args, stdin=stdin)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_taken_name_is_refused_and_a_key_of_several_lines_is_kept_whole(shared_home: World) -> None:
    options = ("--server", "index.docker.io", "--username", "_json_key", "--password-stdin")
    assert homeport(shared_home, "add", "cloud", *options, stdin='{\n"key": 1\n}\n').returncode == 0
    again = homeport(shared_home, "add", "cloud", *options, stdin="x")
    assert (again.returncode, "already exists" in again.stderr) == (1, True)
    head, row = homeport(shared_home, "list").stdout.splitlines()
    assert head.split() == ["NAME", "SERVER", "USERNAME", "OWNER", "VISIBILITY", "CREATED"]
    assert row.split()[:3] == ["cloud", "docker.io", "_json_key"]
    homeport(shared_home, "remove", "cloud")


def test_process_runtime_needs_no_login(process_home: World, sdk: Sdk) -> None:
    """It ignores images, so that nothing is pulled; the unknown name is told of all the same."""
    job = private(process_home, sdk, "127.0.0.1:1/tool:1", "unknown")
    eventually("Completed", lambda: sdk.state(process_home, job) == "Completed")
    assert len(told(process_home, job, "FailedToRetrieveImagePullSecret")) == 1
