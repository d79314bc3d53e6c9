"""Ways to the ports of Run:ai's workloads: URLs, host ports, readiness; driven by the real runapy 1.224.0."""

import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RUNTIMES
from tests.contract.test_lepton_endpoints import free_port
from tests.images import python_image, python_path
from tests.runai import KINDS, RUNAPY, Runai, RunaiError
from tests.runai_work import WAIT, Work
from tests.world import World, eventually, require_docker, world

CLIENTS = Path(__file__).parents[1] / "clients"
OPENAI = Path(__file__).parents[2] / ".venv-openai-3.54.0" / "bin" / "python"
SEED = """
rules:
  - {name: served, match: {kind: job}, run: forever, http: [{path: "/**", body: "hello from it\\n"}]}
"""
# What a notebook does: it listens, and is told below which path its pages are.
SERVE = (
    'd=$PWD/www; mkdir -p "$d$2"; echo hello from it > "$d$2/index.html"; exec busybox httpd -f -p $1 -h $d'
)
RUNNING = ("docker", "process")


@pytest.fixture(params=[*RUNTIMES, "simulated"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[World]:
    with world(tmp_path, request.param) as made:
        args: list[str] = []
        if request.param == "simulated":
            (seed := tmp_path / "world.yaml").write_text(SEED)
            args = ["--seed", str(seed)]
        made.start(args)
        yield made


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """For what is refused, or looked at without a request."""
    with world(tmp_path_factory.mktemp("still"), "simulated") as made:
        made.start()
        yield made


def notebook(port: int, path: str = "/${RUNAI_PROJECT}/${RUNAI_JOB_NAME}") -> dict[str, str]:
    return {"command": "bash -c", "args": f"'{SERVE}' serve {port} {path}"}


def url(port: int, **more: Any) -> dict[str, Any]:
    return {"container": port, "toolType": "jupyter-notebook", "toolName": "Jupyter"} | more


def ask(address: str, token: str = "", host: str = "") -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(address, headers=headers | ({"Host": host} if host else {}))
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def access_token(work: Work) -> str:
    """What the client itself bears."""
    return work.runai.run(work.home, "result = api_client._token")


@pytest.mark.parametrize("kind", KINDS)
def test_workspace_answers_at_its_url_while_it_runs(home: World, runai: Runai, kind: str) -> None:
    work, port = Work(home, runai, kind), free_port()
    sent = {"exposedUrls": [url(port, name="main")], "probes": ready(port, "/local/nb/")}
    made = work.submit("Workspace", "nb", spec=notebook(port) | sent)["workloadId"]
    work.becomes(made, "Running")
    record = work.get(made)
    (address,) = record["urls"]
    assert address.startswith("http://127.0.0.1:")
    assert address.endswith("/local/nb/")
    assert record["externalConnections"] == [
        {
            "name": "Jupyter", "toolType": "jupyter-notebook", "connectionType": "ExternalUrl",
            "url": address, "authorizationType": "public", "containerPort": port,
        }
    ]  # fmt: skip
    assert ask(address) == (200, "hello from it\n")
    view = work.typed("Workspace", "get", made)["spec"]
    assert view["exposedUrls"][0].items() >= url(port, name="main").items()
    work.typed("Workspace", "suspend", made)
    work.becomes(made, "Stopped")
    assert ask(address)[0] in (404, 503)
    work.typed("Workspace", "resume", made)
    work.becomes(made, "Running")
    assert ask(address) == (200, "hello from it\n")
    work.typed("Workspace", "delete", made)
    eventually("its end", lambda: work.names() == [])
    assert ask(address)[0] == 404


def ready(port: int, path: str = "/") -> dict[str, Any]:
    return {
        "readiness": {
            "periodSeconds": 1,
            "failureThreshold": 1,
            "handler": {"httpGet": {"port": port, "path": path}},
        }
    }


def test_url_opens_to_those_who_are_named(home: World, runai: Runai) -> None:
    work, ports = Work(home, runai), (free_port(), free_port(), free_port())
    both = " & ".join(f"busybox httpd -f -p {p} -h $PWD/www" for p in ports[1:])
    path = "/${RUNAI_PROJECT}/${RUNAI_JOB_NAME}"
    script = f"mkdir -p www$0 www$0/{ports[1]} www$0/{ports[2]}; " + "".join(
        f"echo hello from it > www$0{below}/index.html; " for below in ("", f"/{ports[1]}", f"/{ports[2]}")
    )
    urls = [
        url(ports[0], authorizationType="authenticatedUsers"),
        url(ports[1], authorizationType="authorizedUsers", authorizedUsers=["homeport"]),
        url(ports[2], authorizedUsers=["somebody@example.com"]),
    ]
    made = work.submit("Training", "three", spec={
        "command": "bash -c",
        "args": f"'{script} {both} & exec busybox httpd -f -p {ports[0]} -h www' {path}",
        "exposedUrls": urls,
    })["workloadId"]  # fmt: skip
    work.becomes(made, "Running")
    record = work.get(made)
    anybody, homeport, nobody = record["urls"]
    told = [(c["authorizationType"], c.get("authorizedUsers")) for c in record["externalConnections"]]
    assert told == [
        ("authenticatedUsers", None),
        ("authorizedUsersOrGroups", ["homeport"]),
        ("authorizedUsersOrGroups", ["somebody@example.com"]),
    ]
    mine, workspace = access_token(work), home.values["LEPTON_WORKSPACE_TOKEN"]
    eventually("it serves", lambda: ask(anybody, mine)[0] == 200)
    assert [ask(anybody, token)[0] for token in ("", "guessed", workspace)] == [401, 401, 200]
    eventually("the second serves", lambda: ask(homeport, mine) == (200, "hello from it\n"))
    assert ask(homeport, workspace)[0] == 401  # of admin@homeport.local
    assert [ask(nobody, token)[0] for token in (mine, workspace)] == [401, 401]
    assert any("somebody@example.com" in e["message"] for e in work.events(made) if e["type"] == "Warning")


def test_ports_of_the_host_lead_to_the_workload(home: World, runai: Runai) -> None:
    work, port = Work(home, runai), free_port()
    asked = {"container": port, "serviceType": "NodePort", "toolType": "tensorboard", "toolName": "board"}
    made = work.submit("Training", "board", spec=notebook(port, "/") | {"ports": [asked]})["workloadId"]
    work.becomes(made, "Running")
    (connection,) = work.get(made)["externalConnections"]
    assert (
        connection.items() >= {"connectionType": "NodePort", "name": "board", "containerPort": port}.items()
    )
    assert connection["url"].startswith("127.0.0.1:")
    if home.runtime in RUNNING:
        eventually("it serves", lambda: ask_host(connection["url"]) == "hello from it\n")
    work.typed("Training", "suspend", made)
    work.becomes(made, "Stopped")
    assert work.get(made)["externalConnections"] == [connection]  # what its user has written down stays true
    work.typed("Training", "delete", made)
    eventually("its end", lambda: work.names() == [])
    assert work.found(deleted=True)[0]["externalConnections"] == []


def ask_host(address: str) -> str:
    try:
        return ask(f"http://{address}/")[1]
    except (urllib.error.URLError, ConnectionError):
        return ""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_phase_follows_the_readiness_probe(tmp_path: Path, runai: Runai, runtime: str) -> None:
    given = tmp_path / "given"
    given.mkdir()
    with world(tmp_path, runtime) as home:
        home.start(["--allow-host-path", str(given)])
        work, port = Work(home, runai), free_port()
        mount = {"hostPath": [{"path": str(given), "mountPath": "/out", "readOnly": False}]}
        spec = {
            "command": f"busybox httpd -f -p {port} -h {'/out' if runtime == 'docker' else given}",
            "storage": mount if runtime == "docker" else {},
            "exposedUrls": [url(port)], "probes": ready(port, "/local/gated/"),
        }  # fmt: skip
        made = work.submit("Workspace", "gated", spec=spec)["workloadId"]
        eventually("it runs", lambda: [p["k8sPhase"] for p in work.pods(made)] == ["Running"])
        (address,) = work.get(made)["urls"]
        eventually("it was probed", lambda: probes_told(work, made) == [])
        assert work.phase(made) == "Initializing"
        assert ask(address)[0] == 503
        page = given / "local" / "gated" / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text("ready\n")
        work.becomes(made, "Running")
        assert ask(address) == (200, "ready\n")
        page.unlink()
        work.becomes(made, "Degraded")
        assert ask(address)[0] == 503
        page.write_text("again\n")
        work.becomes(made, "Running")
        assert ask(address) == (200, "again\n")
        records = work.data("workloads.events.get_workload_history(id)", id=made)["records"]
        phases = [r["spec"]["phaseUpdate"]["phase"] for r in records if r["meta"]["type"] == "PhaseUpdate"]
        assert phases == ["Pending", "Initializing", "Running", "Degraded", "Running"]


def probes_told(work: Work, workload: str) -> list[str]:
    return [e["reason"] for e in work.events(workload) if e["reason"] in ("Ready", "Unhealthy")]


def test_given_url_leads_by_path_or_by_host(home: World, runai: Runai) -> None:
    work, port = Work(home, runai), free_port()
    urls = [url(port, url="/tools/board"), url(port, url="http://board.example.com")]
    made = work.submit("Training", "given", spec=notebook(port, "/tools/board") | {"exposedUrls": urls})[
        "workloadId"
    ]
    work.becomes(made, "Running")
    by_path, by_host = work.get(made)["urls"]
    base = by_path.removesuffix("/tools/board/")
    assert by_host == f"http://board.example.com:{base.rpartition(':')[2]}/"
    eventually("it serves", lambda: ask(by_path) == (200, "hello from it\n"))
    assert ask(f"{base}/tools/board/", host="board.example.com") == (200, "hello from it\n")
    assert ask(f"{base}/local/given/")[0] == 404


@pytest.mark.parametrize("within", ["spec", "masterSpec"])
def test_gateway_leads_to_the_master_of_a_distributed_workload(
    home: World, runai: Runai, within: str
) -> None:
    work, port = Work(home, runai), free_port()
    urls = {"exposedUrls": [url(port)]}
    made = work.submit(
        "Distributed", "team", masterSpec=notebook(port) | (urls if within == "masterSpec" else {}),
        spec={"command": WAIT, "numWorkers": 1} | (urls if within == "spec" else {}),
    )["workloadId"]  # fmt: skip
    work.becomes(made, "Running")
    (address,) = work.get(made)["urls"]
    assert [c["url"] for c in work.get(made)["externalConnections"]] == [address]
    eventually("it serves", lambda: ask(address) == (200, "hello from it\n"))


@pytest.mark.docker
def test_websocket_client_talks_through_an_exposed_url(docker_home: World, runai: Runai) -> None:
    work = Work(docker_home, runai)
    made = work.submit("Workspace", "echo", spec={
        "image": python_image(require_docker()),
        "command": f"{python_path()} -c",
        "args": shlex.join([(CLIENTS / "echo_socket.py").read_text(), "8888"]),
        "exposedUrls": [url(8888, authorizationType="authenticatedUsers")],
    })["workloadId"]  # fmt: skip
    work.becomes(made, "Running")
    (address,) = work.get(made)["urls"]
    code = """
import sys, time
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
bearer = {"Authorization": "Bearer " + sys.argv[2]}
for _ in range(200):
    try:
        with connect(sys.argv[1] + "talk", additional_headers=bearer, proxy=None) as socket:
            socket.send("hello")
            assert socket.recv(timeout=20) == "hello"
        break
    except InvalidStatus as error:
        assert error.response.status_code in (502, 503), error  # it does not listen yet
        time.sleep(0.1)
try:
    connect(sys.argv[1] + "talk", proxy=None)
except InvalidStatus as error:
    print(error.response.status_code)
"""
    argv = [str(OPENAI), "-c", code, address.replace("http://", "ws://"), access_token(work)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=90)
    assert (done.stdout, done.returncode) == ("401\n", 0), done.stderr


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"exposedUrls": [{"toolType": "x"}]}, 400, "spec.exposedUrls[0].container: is missing"),
        ({"exposedUrls": [url(80, url="/e/local/x")]}, 400, "url: '/e/local/x' begins with /e"),
        ({"exposedUrls": [url(80, url="/local/other")]}, 400, "exposedUrls[0].url: below /local are"),
        ({"exposedUrls": [url(80, url="https://a.example.com")]}, 400, "another scheme than the gateway"),
        ({"exposedUrls": [url(80, url="http://a.example.com:1")]}, 400, "another port than the gateway"),
        ({"exposedUrls": [url(80, url="http://127.0.0.1")]}, 400, "has no path"),
        ({"exposedUrls": [url(80, url="http://local-x.localhost")]}, 400, "are for endpoints of local"),
        ({"exposedUrls": [url(80, url="/a/b"), url(81, url="/a/b/")]}, 400, "exposedUrls[0].url has"),
        ({"exposedUrls": [url(80, authorizationType="authorizedUsers")]}, 400, "authorizedUsers: is missing"),
        ({"exposedUrls": [url(80, authorizedGroups=["a"])]}, 501, "spec.exposedUrls[0].authorizedGroups"),
        ({"exposedUrls": [url(80, url="/taken/path/below")]}, 409, "/taken/path belongs to workload holder"),
        ({"exposedUrls": [url(80, url="held.example.com")]}, 409, "held.example.com belongs to"),
        ({"ports": [{"container": 80, "serviceType": "NodePort", "external": 40001}]}, 409, "port 40001 of"),
        ({"ports": [{"container": 80, "serviceType": "ClusterIP", "external": 40002}]}, 400, ".external"),
        ({"probes": {"readiness": {"handler": {}}}}, 400, "spec.probes.readiness.handler.httpGet"),
    ],
)  # fmt: skip
def test_way_that_cannot_be_is_refused_by_its_field(
    still: World, runai: Runai, fields: dict[str, Any], status: int, says: str
) -> None:
    work = Work(still, runai)
    if "holder" not in work.names():
        held = {
            "exposedUrls": [url(80, url="/taken/path"), url(81, url="held.example.com")],
            "ports": [{"container": 82, "serviceType": "LoadBalancer", "external": 40001}],
        }
        made = work.submit("Workspace", "holder", spec=held)["workloadId"]
        work.becomes(made, "Running")
    with pytest.raises(RunaiError) as caught:
        work.submit("Training", "late", spec=fields)
    assert caught.value.status == status
    assert says in caught.value.data["message"]


def test_path_is_free_again_once_its_workload_is_deleted(still: World, runai: Runai) -> None:
    work = Work(still, runai)
    for name in ("first", "second"):
        made = work.submit("Workspace", name, spec={"exposedUrls": [url(80, url="/free/again")]})[
            "workloadId"
        ]
        work.typed("Workspace", "delete", made)


def test_url_is_open_to_token_bearers_only_where_others_reach_the_gateway(
    tmp_path: Path, runai: Runai
) -> None:
    with world(tmp_path, "simulated") as home:
        (seed := tmp_path / "world.yaml").write_text(SEED)
        home.start(["--seed", str(seed), "--host", "0.0.0.0", "--allow-host", "localhost"])
        home.values["RUNAI_BASE_URL"] = home.values["RUNAI_BASE_URL"].replace("0.0.0.0", "127.0.0.1")
        work, port = Work(home, runai), free_port()
        made = work.submit("Workspace", "far", spec={"exposedUrls": [url(port)]})["workloadId"]
        work.becomes(made, "Running")
        record = work.get(made)
        assert record["externalConnections"][0]["authorizationType"] == "authenticatedUsers"
        (address,) = record["urls"]
        assert ask(address)[0] == 401
        assert ask(address, access_token(work)) == (200, "hello from it\n")


def test_example_reads_the_page_of_its_workspace(home: World) -> None:
    root, port = Path(__file__).parents[2], free_port()
    argv = [sys.executable, "-m", "homeport", "exec", "--data-dir", str(home.data_dir), "--"]
    argv += [
        str(root / f".venv-runapy-{RUNAPY}" / "bin" / "python"),
        str(root / "examples/runai_workspace.py"),
    ]
    argv += ["--image", home.image, "--port", str(port), "--command", "bash"]
    done = subprocess.run(argv, env=home.client_env(), capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    address, page = done.stdout.splitlines()
    assert "/local/page-" in address
    assert page.startswith("hello from ")
