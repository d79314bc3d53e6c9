"""Endpoints from the real clients while their replicas change: updates, and zero and back."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RUNTIMES
from tests.contract.test_lepton_endpoints import ask, create, free_port, serve, state, status
from tests.sdk import Sdk
from tests.world import World, eventually, world

UPDATE = "result = client.deployment.update(name, LeptonDeployment(spec=LeptonDeploymentUserSpec(**spec)))"
IDLE = {"auto_scaler": {"scale_down": {"no_traffic_timeout": 2}}}


@pytest.fixture(params=RUNTIMES)
def unstarted(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[World]:
    """For a server with settings of its own."""
    with world(tmp_path, request.param) as made:
        yield made


def events(home: World, sdk: Sdk, name: str) -> dict[str, str]:
    """The last message of each reason."""
    told = sdk.run(home, "result = client.deployment.get_events(name)", name=name)
    return {e["reason"]: e["regarding"]["message"] for e in told}


@contextmanager
def asked_all_the_time(url: str) -> Generator[list[tuple[int, bytes]]]:
    """Answers to one request after another."""
    answers: list[tuple[int, bytes]] = []
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            try:
                with urllib.request.urlopen(url, timeout=30) as answer:
                    answers.append((answer.status, answer.read()))
            except urllib.error.HTTPError as error:
                answers.append((error.code, error.read()))
            except OSError as error:
                answers.append((0, str(error).encode()))

    asking = threading.Thread(target=run)
    asking.start()
    try:
        yield answers
    finally:
        is_over.set()
        asking.join()


def url_of(home: World, sdk: Sdk, name: str) -> str:
    return status(home, sdk, name)["endpoint"]["external_endpoint"] + "/"


@pytest.mark.docker
def test_requests_are_answered_all_through_an_update(docker_home: World, sdk: Sdk) -> None:
    home, port = docker_home, 8080
    create(home, sdk, "web", port, serve(port), resource_requirement=shape(2))
    eventually("Ready", lambda: state(home, sdk, "web") == "Ready")
    with asked_all_the_time(url_of(home, sdk, "web")) as answers:
        eventually("answers", lambda: len(answers) > 10)
        sdk.run(home, UPDATE, name="web", spec={"envs": [{"name": "WHO", "value": "new"}]})
        assert state(home, sdk, "web") == "Updating"
        eventually("Ready again", lambda: state(home, sdk, "web") == "Ready", within_s=90)
    assert {answer for answer in answers} <= {(200, b"hello from web\n"), (200, b"hello from new\n")}
    assert answers[-1] == (200, b"hello from new\n")
    eventually("the old have gone", lambda: len(home.containers()) == 2)
    assert "RolloutComplete" in events(home, sdk, "web")
    assert "Recreating" not in events(home, sdk, "web")


def shape(replicas: int, **more: Any) -> dict[str, Any]:
    return {"resource_shape": "cpu.small", "min_replicas": replicas, **more}


@pytest.mark.docker
def test_request_that_is_open_ends_before_its_replica_does(docker_home: World, sdk: Sdk) -> None:
    home, port = docker_home, 8080
    lines = ("#!/bin/sh", r"printf 'Content-Type: text/plain\r\n\r\n'", "sleep 4", "echo whole")
    script = f"cat > /tmp/cgi-bin/slow <<'END'\n{chr(10).join(lines)}\nEND\n"
    slow = (
        f"mkdir -p /tmp/cgi-bin\n{script}chmod +x /tmp/cgi-bin/slow\nexec busybox httpd -f -p {port} -h /tmp"
    )
    create(home, sdk, "slow", port, slow)
    eventually("Ready", lambda: state(home, sdk, "slow") == "Ready")
    with asked_all_the_time(url_of(home, sdk, "slow") + "cgi-bin/slow") as answers:
        time.sleep(0.5)  # the request is on its way
        sdk.run(home, "client.deployment.stop(name)", name="slow")
        eventually("an answer", lambda: answers)
    assert answers[0] == (200, b"whole\n")
    assert {status for status, _ in answers[1:]} <= {503}
    eventually("Stopped", lambda: state(home, sdk, "slow") == "Stopped")


def test_update_that_fails_leaves_what_there_was(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "keeps", port, serve(port))
    eventually("Ready", lambda: state(home, sdk, "keeps") == "Ready")
    container = {
        "image": home.image, "command": ["/bin/bash", "-c", "exit 7"], "ports": [{"container_port": port}]
    }  # fmt: skip
    sdk.run(home, UPDATE, name="keeps", spec={"container": container})
    eventually("it is given up", lambda: "RolloutFailed" in events(home, sdk, "keeps"), within_s=90)
    assert "ended 3 times" in events(home, sdk, "keeps")["RolloutFailed"]
    eventually("Ready", lambda: state(home, sdk, "keeps") == "Ready")
    assert ask(home, sdk, "keeps") == (200, b"hello from keeps\n")
    container["command"] = ["/bin/bash", "-c", serve(port)]
    spec = {"container": container, "envs": [{"name": "WHO", "value": "mended"}]}
    sdk.run(home, UPDATE, name="keeps", spec=spec)
    eventually("the next", lambda: ask(home, sdk, "keeps") == (200, b"hello from mended\n"))


def test_endpoint_goes_to_zero_and_a_request_wakes_it(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "naps", port, serve(port), **IDLE)
    eventually("Ready", lambda: state(home, sdk, "naps") == "Ready")
    eventually("zero", lambda: home.containers() == [])
    eventually("its phase", lambda: state(home, sdk, "naps") == "Not Ready")
    assert "2 s is the limit" in events(home, sdk, "naps")["ScaledToZero"]
    home.kill()
    home.start()
    assert home.containers() == []
    assert ask(home, sdk, "naps") == (200, b"hello from naps\n")
    assert "0 -> 1 replica" in events(home, sdk, "naps")["Waking"]


def test_endpoint_that_its_user_stopped_is_never_woken(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "off", port, serve(port), **IDLE)
    eventually("Ready", lambda: state(home, sdk, "off") == "Ready")
    sdk.run(home, "client.deployment.stop(name)", name="off")
    eventually("Stopped", lambda: state(home, sdk, "off") == "Stopped")
    assert ask(home, sdk, "off")[0] == 503  # at once: it is not held, and nothing would wake it
    eventually("no container", lambda: home.containers() == [])
    assert "Waking" not in events(home, sdk, "off")


def test_endpoint_at_zero_stays_there_where_no_request_wakes(unstarted: World, sdk: Sdk) -> None:
    home, port = unstarted, free_port()
    home.start(HOMEPORT_WAKE_ON_REQUEST="false")
    create(home, sdk, "real", port, serve(port), **IDLE)
    eventually("Ready", lambda: state(home, sdk, "real") == "Ready")
    eventually("zero", lambda: home.containers() == [])
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url_of(home, sdk, "real"), timeout=30)
    assert (refused.value.code, refused.value.headers["Retry-After"]) == (503, "2")
    sdk.run(home, "result = client.deployment.restart(name)", name="real")
    eventually("Ready", lambda: state(home, sdk, "real") == "Ready")


def test_paused_endpoint_answers_where_it_was(unstarted: World, sdk: Sdk) -> None:
    home, port = unstarted, free_port()
    home.start(HOMEPORT_WARM_ZERO="true")
    create(home, sdk, "warm", port, serve(port), **IDLE)
    eventually("Ready", lambda: state(home, sdk, "warm") == "Ready")
    before, url = home.containers(), url_of(home, sdk, "warm")
    eventually(
        "paused", lambda: state(home, sdk, "warm") == "Not Ready" and "Pausing" in events(home, sdk, "warm")
    )
    assert home.containers() == before
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == b"hello from warm\n"
    assert home.containers() == before
    assert "Resumed" in events(home, sdk, "warm")
    sdk.run(home, "client.deployment.stop(name)", name="warm")
    eventually("no container", lambda: home.containers() == [])


def test_update_goes_on_where_a_killed_server_left_it(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "cut", port, serve(port))
    eventually("Ready", lambda: state(home, sdk, "cut") == "Ready")
    before = home.containers()
    sdk.run(home, UPDATE, name="cut", spec={"envs": [{"name": "WHO", "value": "new"}]})
    for _ in range(3):
        home.kill()
        home.start()
    eventually("Ready", lambda: state(home, sdk, "cut") == "Ready")
    assert ask(home, sdk, "cut") == (200, b"hello from new\n")
    eventually("one", lambda: len(home.containers()) == 1)
    assert home.containers() != before


@pytest.mark.docker
def test_replicas_follow_the_requests(docker_home: World, sdk: Sdk) -> None:
    home, port = docker_home, 8080
    scaler = {"target_throughput": {"qpm": 20, "paths": ["/counted/"], "methods": ["GET"]}}
    create(
        home,
        sdk,
        "grows",
        port,
        serve(port),
        auto_scaler=scaler,
        resource_requirement=shape(1, max_replicas=3),
    )
    eventually("Ready", lambda: state(home, sdk, "grows") == "Ready")
    url = url_of(home, sdk, "grows")
    for path, number in (("other/", 100), ("counted/", 50)):
        for _ in range(number):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(url + path, timeout=30)
    eventually("three", lambda: status(home, sdk, "grows")["ready_replicas"] == 3)
    told = events(home, sdk, "grows")["ScaledUp"]
    assert told == "1 -> 3 replicas: 50 requests in the last minute, 20 per replica wanted"
