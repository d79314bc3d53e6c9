"""Dev pods from the real clients of both families: kept alive, on host ports, stopped and resumed."""

import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_lepton_endpoints import free_port
from tests.contract.test_lepton_families import raw
from tests.images import ssh_image
from tests.sdk import Sdk, SdkError
from tests.world import World, eventually

LISTENS = (
    "mkdir -p /tmp/$NAME; cd /tmp/$NAME; echo inside $NAME > index.html; exec busybox httpd -f -p {port}"
)


def create(
    home: World, sdk: Sdk, name: str, command: str | None, *ports: dict[str, Any], **spec: Any
) -> None:
    container: dict[str, Any] = {"image": home.image, "ports": list(ports) or None}
    if command is not None:
        container["command"] = ["/bin/bash", "-c", command]
    whole = {
        "is_pod": True, "container": container, "resource_requirement": {"resource_shape": "cpu.small"},
        "envs": [{"name": "NAME", "value": name}], **spec,
    }  # fmt: skip
    code = "result = client.pod.create(LeptonDeployment(metadata=Metadata(name=name), "
    sdk.run(home, f"{code}spec=LeptonDeploymentUserSpec(**spec)))", name=name, spec=whole)


def get(home: World, sdk: Sdk, name: str) -> dict[str, Any]:
    return sdk.run(home, "result = client.pod.get(name)", name=name)


def is_ready(home: World, sdk: Sdk, name: str) -> bool:
    return get(home, sdk, name)["status"]["state"] == "Ready"


def host_port(home: World, sdk: Sdk, name: str) -> int:
    (port,) = [p for p in get(home, sdk, name)["status"]["container_port_status"] if p.get("host_port")]
    return port["host_port"]


def fetch(url: str, token: str = "") -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def test_pod_without_a_command_stays(home: World, any_sdk: Sdk) -> None:
    """Clients up to 0.27.3 take the command away before they send it."""
    create(home, any_sdk, "plain", None)
    eventually("Ready", lambda: is_ready(home, any_sdk, "plain"))
    kept = home.containers()
    assert len(kept) == 1
    pod = get(home, any_sdk, "plain")
    assert pod["spec"]["is_pod"] is True
    assert [d["metadata"]["name"] for d in any_sdk.run(home, "result = client.pod.list_all()")] == ["plain"]
    events = raw(home, "/deployments/plain/events")
    assert [e["reason"] for e in events] == ["Created", "Scheduled", "Started"]
    any_sdk.run(home, "client.pod.delete(name)", name="plain")
    eventually("gone", lambda: home.containers() == [])


def test_host_port_leads_to_the_pod_and_outlives_stop_and_restart(home: World, sdk: Sdk) -> None:
    port = free_port()
    exposed = {"container_port": port, "protocol": "TCP", "expose_strategies": ["HostPortMapping"]}
    create(home, sdk, "open", LISTENS.format(port=port), exposed)
    eventually("Ready", lambda: is_ready(home, sdk, "open"))
    status = get(home, sdk, "open")["status"]
    assert status["public_ip"] == "127.0.0.1"
    host = host_port(home, sdk, "open")
    assert host == port if home.runtime == "process" else host in range(40_000, 65_536)
    eventually("an answer", lambda: _listens(host))
    assert fetch(f"http://127.0.0.1:{host}/") == (200, b"inside open\n")
    sdk.run(home, "client.pod.stop(name)", name="open")
    eventually("stopped", lambda: home.containers() == [])
    eventually("Stopped", lambda: get(home, sdk, "open")["status"]["phase"] == "Stopped")
    home.kill()
    home.start()
    raw(home, "/devpods/open", {"spec": {"stopped": False}}, "PATCH")
    eventually("Ready", lambda: is_ready(home, sdk, "open"))
    assert host_port(home, sdk, "open") == host
    eventually("an answer", lambda: _listens(host))


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.docker
def test_pod_gets_another_host_port_when_its_own_was_taken(docker_home: World, sdk: Sdk) -> None:
    exposed = {"container_port": 8080, "protocol": "TCP", "expose_strategies": ["HostPortMapping"]}
    create(docker_home, sdk, "moves", LISTENS.format(port=8080), exposed)
    eventually("Ready", lambda: is_ready(docker_home, sdk, "moves"))
    before = host_port(docker_home, sdk, "moves")
    sdk.run(docker_home, "client.pod.stop(name)", name="moves")
    eventually("stopped", lambda: docker_home.containers() == [])
    with socket.socket() as racer:
        racer.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        racer.bind(("127.0.0.1", before))
        racer.listen()
        raw(docker_home, "/devpods/moves", {"spec": {"stopped": False}}, "PATCH")
        eventually("Ready", lambda: is_ready(docker_home, sdk, "moves"))
        after = host_port(docker_home, sdk, "moves")
        assert after != before
        eventually("an answer", lambda: _listens(after))
        assert fetch(f"http://127.0.0.1:{after}/") == (200, b"inside moves\n")
    reasons = [e["reason"] for e in raw(docker_home, "/deployments/moves/events")]
    assert "HostPortTaken" in reasons
    assert "HostPortChanged" in reasons


def test_proxy_port_is_reached_through_the_gateway_with_the_workspaces_token(home: World, sdk: Sdk) -> None:
    port = free_port()
    proxied = {"container_port": port, "protocol": "TCP", "expose_strategies": ["IngressProxy"]}
    create(home, sdk, "web", LISTENS.format(port=port), proxied)
    eventually("Ready", lambda: is_ready(home, sdk, "web"))
    url = get(home, sdk, "web")["status"]["endpoint"]["external_endpoint"] + "/"
    token = home.values["LEPTON_WORKSPACE_TOKEN"]
    eventually("an answer", lambda: fetch(url, token) == (200, b"inside web\n"))
    assert fetch(url)[0] == 401
    assert [p for p in get(home, sdk, "web")["status"]["container_port_status"] or [] if p["host_port"]] == []


@pytest.mark.docker
def test_restarted_pod_is_another_container_with_the_same_port(docker_home: World, sdk: Sdk) -> None:
    exposed = {"container_port": 8080, "protocol": "TCP", "expose_strategies": ["HostPortMapping"]}
    create(docker_home, sdk, "anew", LISTENS.format(port=8080), exposed)
    eventually("Ready", lambda: is_ready(docker_home, sdk, "anew"))
    before, port = docker_home.containers(), host_port(docker_home, sdk, "anew")
    sdk.run(docker_home, "client.pod.restart(name)", name="anew")
    eventually("another container", lambda: docker_home.containers() not in (before, []))
    eventually("Ready again", lambda: is_ready(docker_home, sdk, "anew"))
    eventually("an answer", lambda: _listens(port))
    assert host_port(docker_home, sdk, "anew") == port
    assert len(docker_home.containers()) == 1


def test_pod_is_made_listed_and_removed_from_the_command_line(home: World, sdk: Sdk) -> None:
    home.login()
    home.lep(
        "pod", "create", "-n", "cli", "--resource-shape", "cpu.small", "--container-image", home.image,
        "--container-command", "echo hello; sleep 600", "--container-port", f"{free_port()}:tcp:hostmap",
    )  # fmt: skip
    eventually("Ready", lambda: is_ready(home, sdk, "cli"))
    assert "cli" in home.lep("pod", "list")
    assert "cli" not in home.lep("endpoint", "list")
    assert '"is_pod": true' in home.lep("pod", "get", "-n", "cli").replace("\n", " ")
    assert "stopped successfully" in home.lep("pod", "stop", "-n", "cli")
    eventually("stopped", lambda: home.containers() == [])
    home.lep("pod", "remove", "-n", "cli")
    eventually("gone", lambda: raw(home, "/devpods") == [])


@pytest.mark.docker
def test_ports_for_ssh_and_jupyterlab_are_shown(docker_home: World, sdk: Sdk) -> None:
    home = docker_home
    home.login()
    home.lep(
        "pod", "create", "-n", "lab", "--resource-shape", "cpu.small", "--container-image", home.image,
        "--container-command", "sleep 600", "--container-port", "2222:tcp:hostmap", "--container-port",
        "18889:tcp:hostmap",
    )  # fmt: skip
    eventually("Ready", lambda: is_ready(home, sdk, "lab"))
    told = raw(home, "/deployments/lab")["status"]["container_port_status"]
    ports = {port["container_port"]: port["host_port"] for port in told}
    listed = " ".join(home.lep("pod", "list", "--detail").split())
    assert str(ports[2222]) in listed
    assert f"18889 -> {ports[18889]}" in listed


def test_pods_and_endpoints_share_their_names_but_not_the_new_lists(process_home: World, sdk: Sdk) -> None:
    home = process_home
    create(home, sdk, "one", "sleep 600")
    assert raw(home, "/endpoints") == []
    assert [d["metadata"]["name"] for d in raw(home, "/deployments")] == ["one"]
    assert [d["metadata"]["name"] for d in raw(home, "/devpods")] == ["one"]
    body = {
        "metadata": {"name": "one"},
        "spec": {"components": [{"image": "i", "resource_shape": "cpu.small"}]},
    }
    with pytest.raises(urllib.error.HTTPError, match="409"):
        raw(home, "/endpoints", body)
    with pytest.raises(SdkError, match="404"):
        sdk.run(home, "client.deployment.get(name)", name="one")


def test_older_client_stops_and_resumes_a_pod_and_reads_its_log(home: World, older_sdk: Sdk) -> None:
    body = {
        "metadata": {"name": "old"},
        "spec": {
            "container": {"image": home.image, "command": ["/bin/bash", "-c", "echo alive; sleep 600"]},
            "resource_shape": "cpu.small",
        },
    }  # fmt: skip
    raw(home, "/devpods", body)
    eventually("Ready", lambda: is_ready(home, older_sdk, "old"))
    log = older_sdk.run(home, "result = next(iter(client.pod.get_log(name)))", name="old")
    assert "alive" in log
    patch = {"spec": {"resource_requirement": {"min_replicas": 0}}}
    raw(home, "/deployments/old", patch, "PATCH")
    eventually("stopped", lambda: home.containers() == [])
    assert raw(home, "/devpods/old")["spec"]["stopped"] is True
    raw(home, "/devpods/old", {"spec": {"stopped": False}}, "PATCH")
    eventually("Ready again", lambda: is_ready(home, older_sdk, "old"))
    assert raw(home, "/deployments/old")["spec"]["resource_requirement"]["min_replicas"] == 1


@pytest.mark.docker
def test_lep_pod_ssh_opens_a_shell_in_the_pod(docker_home: World, sdk: Sdk, tmp_path: Path) -> None:
    home = docker_home
    image, key = ssh_image(home.engine), tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    start = (
        'mkdir -p /root/.ssh /etc/dropbear; echo "$KEY" > /root/.ssh/authorized_keys; '
        "chmod 700 /root /root/.ssh; exec sshd -R -F -E -s -p 2222"
    )
    home.login()
    home.lep(
        "pod", "create", "-n", "shell", "--resource-shape", "cpu.small", "--container-image", image,
        "--container-port", "2222:tcp:hostmap", "--env", f"KEY={public}",
        "--container-command", start,
    )  # fmt: skip
    eventually("Ready", lambda: is_ready(home, sdk, "shell"))
    eventually("sshd", lambda: _listens(host_port(home, sdk, "shell")))
    # The client runs `ssh`; all that this one adds is who asks, and that nobody is asked about the host key.
    ssh = shutil.which("ssh")
    options = f"-F /dev/null -i {key} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "ssh").write_text(f'#!/bin/sh\nexec {ssh} {options} "$@"\n')
    (bin_folder / "ssh").chmod(0o755)
    said = subprocess.run(
        [home.lep_path, "pod", "ssh", "-n", "shell"], input="cat /root/.ssh/authorized_keys\nexit\n",
        env={**home.client_env(), "PATH": f"{bin_folder}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout == f"{public}\n"
