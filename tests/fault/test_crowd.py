"""Readers that never leave and registries that never answer take nothing from anybody else."""

import socket
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fault.conftest import MakeHome
from tests.relay import Relay
from tests.sdk import Sdk
from tests.world import World, eventually

FOLLOWERS, PULLS = 50, 4
TALK = "echo first; trap 'echo last; exit 0' TERM; while true; do sleep 0.1; done"


@pytest.mark.docker
def test_job_runs_when_fifty_follow_a_log_and_four_pulls_hang(
    make_home: MakeHome, sdk: Sdk, tmp_path: Path
) -> None:
    home = make_home("docker")
    with ExitStack() as stack:
        relay = stack.enter_context(Relay(tmp_path / "engine.sock"))
        relay.open()
        home.start(DOCKER_HOST=relay.url)
        registry = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        talker = sdk.create(home, "talker", TALK)
        reach(home, sdk, talker, "Running")
        followers = [stack.enter_context(follow(home, sdk, talker)) for _ in range(FOLLOWERS)]
        for follower in followers:
            read_until(follower, b"first\n")
        address = f"127.0.0.1:{registry.getsockname()[1]}"
        command = ["/bin/bash", "-c", "true"]
        pulling = [
            sdk.create(home, "pulling", "true", container={"image": f"{address}/x{n}:1", "command": command})
            for n in range(PULLS)
        ]
        eventually("all pulls", lambda: relay.waiting(b"/images/create") == PULLS)
        reach(home, sdk, sdk.create(home, "quick", "echo done"), "Completed")
        for job in pulling:
            assert sdk.state(home, job) == "Starting"
            stop(home, sdk, job)
        for job in pulling:
            reach(home, sdk, job, "Stopped")
        eventually("no pull", lambda: relay.waiting(b"/images/create") == 0)
        assert relay.answered(b"/images/create") == 0  # so it was not the engine that gave up
        stop(home, sdk, talker)
        for follower in followers:
            read_until(follower, b"last\n")


def reach(home: World, sdk: Sdk, job: str, state: str) -> None:
    eventually(f"{job} {state}", lambda: sdk.state(home, job) == state)


def stop(home: World, sdk: Sdk, job: str) -> None:
    sdk.run(home, "client.job.update(job, spec={'spec': {'stopped': True}})", job=job)


def follow(home: World, sdk: Sdk, job: str) -> socket.socket:
    """A connection that has asked for the log and reads none of it yet."""
    replica = sdk.run(home, "result = client.job.get_replicas(job)[0].id_", job=job)
    url = urlsplit(f"{home.values['LEPTON_WORKSPACE_URL']}/jobs/{job}/replicas/{replica}/log")
    made = socket.create_connection((url.hostname, url.port), timeout=30)
    token = home.values["LEPTON_WORKSPACE_TOKEN"]
    lines = (f"GET {url.path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}", "", "")
    made.sendall("\r\n".join(lines).encode())
    return made


def read_until(follower: socket.socket, wanted: bytes) -> None:
    seen = b""
    while wanted not in seen:
        chunk = follower.recv(65536)
        assert chunk, f"the log ended without {wanted!r}: {seen!r}"
        seen += chunk
