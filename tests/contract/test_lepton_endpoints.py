"""Endpoints from the real clients: created, ready, changed, stopped, removed; on containers and processes."""

import socket
import urllib.request
from typing import Any

import pytest

from tests.sdk import Sdk, SdkError
from tests.world import World, eventually

PAGE = "page=/tmp/$LEPTON_DEPLOYMENT_NAME; mkdir -p $page; cd $page; echo hello from $WHO > index.html"


def free_port() -> int:
    """The process runtime shares the host's ports."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


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
    eventually("Ready", lambda: "1 out of 1 replicas ready" in home.lep("endpoint", "status", "-n", "web"))
    assert "Ready" in home.lep("endpoint", "list")
    assert "Started" in home.lep("endpoint", "events", "-n", "web")
    home.lep("endpoint", "stop", "-n", "web")
    eventually("stopped", lambda: home.containers() == [])
    home.lep("endpoint", "remove", "-n", "web")
    assert "web" not in home.lep("endpoint", "list")


def test_endpoint_that_never_listens_is_not_ready_and_says_so(home: World, sdk: Sdk) -> None:
    create(home, sdk, "deaf", free_port(), "echo alive; sleep 600")
    readiness = "result = client.deployment.get_readiness(name)"

    def message() -> str:
        return str(sdk.run(home, readiness, name="deaf"))

    eventually("the reason", lambda: "does not accept connections" in message())
    assert state(home, sdk, "deaf") == "Starting"
    replica = sdk.run(home, "result = client.deployment.get_replicas(name)", name="deaf")[0]["id"]
    log = "result = next(iter(client.deployment.get_log(name, replica)))"
    assert "alive" in sdk.run(home, log, name="deaf", replica=replica)


def test_crash_is_told_with_its_exit_code_and_tried_again(home: World, sdk: Sdk) -> None:
    create(home, sdk, "crash", free_port(), "exit 7")
    terminations = "result = client.deployment.get_termination(name)"

    def codes() -> list[int]:
        told = sdk.run(home, terminations, name="crash")
        return [end["exit_code"] for ends in told.values() for end in ends]

    eventually("two ends", lambda: codes() == [7, 7])
    assert state(home, sdk, "crash") in ("Not Ready", "Starting")


def test_changed_environment_replaces_the_replica(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "app", port, serve(port))
    eventually("Ready", lambda: state(home, sdk, "app") == "Ready")
    before = home.containers()
    code = "result = client.deployment.update(name, LeptonDeployment(spec=LeptonDeploymentUserSpec(**spec)))"
    sdk.run(home, code, name="app", spec={"envs": [{"name": "WHO", "value": "somebody else"}]})
    eventually("another container", lambda: home.containers() not in (before, []))
    eventually("Ready again", lambda: state(home, sdk, "app") == "Ready")
    if home.runtime == "process":
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.read() == b"hello from somebody else\n"
    with pytest.raises(SdkError, match="no valid field to update"):
        sdk.run(home, code, name="app", spec={"envs": [{"name": "WHO", "value": "somebody else"}]})


def test_ready_endpoint_is_adopted_with_its_verdict(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "stays", port, serve(port))
    eventually("Ready", lambda: state(home, sdk, "stays") == "Ready")
    before = home.containers()
    home.kill()
    home.start()
    assert state(home, sdk, "stays") == "Ready"
    assert home.containers() == before
