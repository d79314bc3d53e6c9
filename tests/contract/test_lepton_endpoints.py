"""Endpoints from the real clients: created, ready, changed, stopped, removed; on containers and processes."""

import contextlib
import itertools
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.files import files_below
from tests.sdk import Sdk, SdkError
from tests.world import World, eventually

# Of its own for each replica: processes share the host's /tmp, also with the tests beside this one.
PAGE = "page=$(mktemp -d); cd $page; echo hello from $WHO > index.html"


PORTS = itertools.count()


def free_port() -> int:
    """The process runtime shares the host's ports; each worker of the tests has a range of its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    while True:
        port = 10_000 + 1000 * worker + next(PORTS) % 1000
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def create(home: World, sdk: Sdk, name: str, port: int, command: str, **spec: Any) -> None:
    whole = {
        "container": {
            "image": home.image,
            "command": ["/bin/bash", "-c", command],
            "ports": [{"container_port": port}],
        },
        "resource_requirement": {"resource_shape": "cpu.small", "min_replicas": 1},
        "envs": [{"name": "WHO", "value": name}],
        "api_tokens": [],
        **spec,
    }
    code = "result = client.deployment.create(LeptonDeployment(metadata=Metadata(id=name, name=name), "
    sdk.run(home, f"{code}spec=LeptonDeploymentUserSpec(**spec)))", name=name, spec=whole)


def status(home: World, sdk: Sdk, name: str) -> dict[str, Any]:
    return sdk.run(home, "result = client.deployment.get(name)", name=name)["status"]


def state(home: World, sdk: Sdk, name: str) -> str:
    return status(home, sdk, name)["phase"]


def serve(port: int) -> str:
    return f"{PAGE}; exec busybox httpd -f -p {port}"


def test_endpoint_from_the_command_line_is_ready_and_goes(home: World) -> None:
    home.login()
    port = str(free_port())
    home.lep(
        "endpoint", "create", "-n", "web", "--resource-shape", "cpu.small", "--container-image", home.image,
        "--container-port", port, "--container-command", f"exec busybox httpd -f -p {port} -h /tmp",
    )  # fmt: skip
    eventually("Ready", lambda: re.search(r"State: .*Ready", home.lep("endpoint", "status", "-n", "web")))
    assert "Ready" in home.lep("endpoint", "list")
    assert "Started" in home.lep("endpoint", "events", "-n", "web")
    home.lep("endpoint", "stop", "-n", "web")
    eventually("stopped", lambda: home.containers() == [])
    home.lep("endpoint", "remove", "-n", "web")
    assert "web" not in home.lep("endpoint", "list")


def test_endpoint_that_never_listens_is_not_ready_and_says_so(legacy_home: World, sdk: Sdk) -> None:
    create(legacy_home, sdk, "deaf", free_port(), "echo alive; sleep 600")
    readiness = "result = client.deployment.get_readiness(name)"

    def message() -> str:
        return str(sdk.run(legacy_home, readiness, name="deaf"))

    eventually("the reason", lambda: "does not accept connections" in message())
    assert state(legacy_home, sdk, "deaf") == "Starting"
    replica = sdk.run(legacy_home, "result = client.deployment.get_replicas(name)", name="deaf")[0]["id"]
    log = "result = next(iter(client.deployment.get_log(name, replica)))"
    assert "alive" in sdk.run(legacy_home, log, name="deaf", replica=replica)


def test_crash_is_told_with_its_exit_code_and_tried_again(legacy_home: World, sdk: Sdk) -> None:
    create(legacy_home, sdk, "crash", free_port(), "exit 7")
    terminations = "result = client.deployment.get_termination(name)"

    def codes() -> list[int]:
        told = sdk.run(legacy_home, terminations, name="crash")
        return [end["exit_code"] for ends in told.values() for end in ends]

    eventually("two ends", lambda: codes() == [7, 7])
    assert state(legacy_home, sdk, "crash") in ("Not Ready", "Starting")


def ask(home: World, sdk: Sdk, name: str, token: str = "") -> tuple[int, bytes]:
    """Status and body of a request through the gateway."""
    url = status(home, sdk, name)["endpoint"]["external_endpoint"]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/", headers=headers), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_requests_reach_the_replica_with_a_token_only(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "shop", port, serve(port), api_tokens=[{"value": "let-me-in"}])
    eventually("Ready", lambda: state(home, sdk, "shop") == "Ready")
    assert ask(home, sdk, "shop")[0] == 401
    assert ask(home, sdk, "shop", "wrong")[0] == 401
    assert ask(home, sdk, "shop", "let-me-in") == (200, b"hello from shop\n")
    sdk.run(home, "client.deployment.stop(name)", name="shop")
    eventually("Stopped", lambda: state(home, sdk, "shop") == "Stopped")
    assert ask(home, sdk, "shop", "let-me-in")[0] == 503
    assert [p for p, kept in files_below(home.data_dir).items() if b"let-me-in" in kept] == []


def test_requests_go_on_while_the_server_is_killed_and_back(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "steady", port, serve(port))
    eventually("Ready", lambda: state(home, sdk, "steady") == "Ready")
    url = status(home, sdk, "steady")["endpoint"]["external_endpoint"] + "/"
    home.kill()
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == b"hello from steady\n"
    home.start()
    assert status(home, sdk, "steady")["endpoint"]["external_endpoint"] + "/" == url
    for _ in range(20):
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.read() == b"hello from steady\n"


def test_replica_takes_requests_after_its_approval(legacy_home: World, sdk: Sdk) -> None:
    port = free_port()
    health = {"readiness": {"require_approval": True}}
    create(legacy_home, sdk, "held", port, serve(port), health=health)
    readiness = "result = client.deployment.get_readiness(name)"
    waits = "RequireReadinessApproval"
    eventually("it waits", lambda: waits in str(sdk.run(legacy_home, readiness, name="held")))
    assert ask(legacy_home, sdk, "held")[0] == 503
    argv = [sys.executable, "-m", "homeport", "approve", "--data-dir", str(legacy_home.data_dir), "held"]
    subprocess.run(argv, check=True, timeout=30)
    eventually("Ready", lambda: state(legacy_home, sdk, "held") == "Ready")
    assert ask(legacy_home, sdk, "held") == (200, b"hello from held\n")


def test_changed_environment_replaces_the_replica(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "app", port, serve(port))
    eventually("Ready", lambda: state(home, sdk, "app") == "Ready")
    before = home.containers()
    code = "result = client.deployment.update(name, LeptonDeployment(spec=LeptonDeploymentUserSpec(**spec)))"
    sdk.run(home, code, name="app", spec={"envs": [{"name": "WHO", "value": "somebody else"}]})
    eventually("another container", lambda: home.containers() not in (before, []))
    eventually("Ready again", lambda: state(home, sdk, "app") == "Ready")
    assert ask(home, sdk, "app") == (200, b"hello from somebody else\n")
    with pytest.raises(SdkError, match="no valid field to update"):
        sdk.run(home, code, name="app", spec={"envs": [{"name": "WHO", "value": "somebody else"}]})


def test_restart_replaces_the_replica(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "anew", port, serve(port))
    eventually("Ready", lambda: state(home, sdk, "anew") == "Ready")
    before = home.containers()
    sdk.run(home, "result = client.deployment.restart(name)", name="anew")
    eventually("another container", lambda: home.containers() not in (before, []))
    eventually("Ready again", lambda: state(home, sdk, "anew") == "Ready")
    assert ask(home, sdk, "anew") == (200, b"hello from anew\n")


def test_ready_endpoint_is_adopted_with_its_verdict(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "stays", port, serve(port))
    eventually("Ready", lambda: state(home, sdk, "stays") == "Ready")
    before = home.containers()
    home.kill()
    home.start()
    assert state(home, sdk, "stays") == "Ready"
    assert home.containers() == before


def test_log_of_an_endpoint_is_followed_live(home: World, sdk: Sdk) -> None:
    create(home, sdk, "talks", free_port(), "echo alive; sleep 600")
    replicas = "result = client.deployment.get_replicas(name)"
    eventually("a replica", lambda: sdk.run(home, replicas, name="talks"))
    replica = sdk.run(home, replicas, name="talks")[0]["id"]
    log = "result = next(iter(client.deployment.get_log(name, replica)))"
    assert "alive" in sdk.run(home, log, name="talks", replica=replica)


def test_log_of_an_endpoint_is_kept_for_lep_log_get(home: World, sdk: Sdk, tmp_path: Path) -> None:
    home.login()
    port = free_port()
    create(home, sdk, "said", port, f"echo first; echo second; {serve(port)}")
    eventually("Ready", lambda: state(home, sdk, "said") == "Ready")
    path = tmp_path / "log.txt"

    def lines() -> list[str]:
        home.lep("log", "get", "--endpoint", "said", "--without-timestamp", "--path", str(path))
        return path.read_text().splitlines()

    eventually("its lines", lambda: lines()[:2] == ["first", "second"])


def test_log_that_is_not_collected_can_only_be_followed(home: World, sdk: Sdk) -> None:
    create(home, sdk, "quiet", free_port(), "echo alive; sleep 600", log={"enable_collection": False})
    replicas = "result = client.deployment.get_replicas(name)"
    eventually("a replica", lambda: sdk.run(home, replicas, name="quiet"))
    replica = sdk.run(home, replicas, name="quiet")[0]["id"]
    log = "result = next(iter(client.deployment.get_log(name, replica)))"
    assert "alive" in sdk.run(home, log, name="quiet", replica=replica)
    history = "result = client.log.get_log(name_or_deployment=name, start=1, end=2**62)"
    assert sdk.run(home, history, name="quiet")["data"]["result"] == []
    sdk.run(home, "client.deployment.stop(name)", name="quiet")
    eventually("stopped", lambda: home.containers() == [])
    eventually("forgotten", lambda: b"alive" not in b"".join(files_below(home.data_dir / "logs").values()))
