"""Users' programs against an endpoint: leptonai's Client in both forms, curl, WebSocket, openai; HTTPS."""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from tests.contract.test_lepton_endpoints import create, free_port, state, status
from tests.images import python_image, python_path
from tests.sdk import Sdk, environment
from tests.world import World, eventually, require_docker, world

CLIENTS = Path(__file__).parents[1] / "clients"
OPENAI = Path(__file__).parents[2] / ".venv-openai-3.54.0" / "bin" / "python"
TOKEN = "open-sesame"
VERSIONS = ("0.47.1", "0.27.3")
RUNTIMES = [pytest.param("docker", marks=pytest.mark.docker), "process"]
CALLS = """
made = Client(*sys.argv[1:-1], token=sys.argv[-1])
streamed = Client(*sys.argv[1:-1], token=sys.argv[-1], stream=True)
told = made.seen()
print(json.dumps({
    "paths": sorted(made.paths()), "healthy": made.healthz(), "sum": made.add(a=2, b=3),
    "hello": made.hello(name="me"), "count": b"".join(streamed.count(to=1000)).decode().split()[-1],
    "host": told["host"], "scheme": told["x-forwarded-proto"], "authorization": told.get("authorization"),
}))
"""
CALL = "import json, sys\nfrom leptonai.client import Client\n" + CALLS


def start_app(home: World, sdk: Sdk, name: str, program: str, token: str | None = TOKEN) -> str:
    """Its URL."""
    port = free_port()
    is_docker = home.runtime == "docker"
    python = python_path() if is_docker else sys.executable
    container = {
        "image": python_image(require_docker()) if is_docker else "any:1",
        "command": [python, "-c", (CLIENTS / program).read_text(), str(port)],
        "ports": [{"container_port": port}],
    }
    tokens = [{"value": token}] if token else []
    create(home, sdk, name, port, "", container=container, api_tokens=tokens)
    eventually(f"{name} is Ready", lambda: state(home, sdk, name) == "Ready", within_s=90)
    return status(home, sdk, name)["endpoint"]["external_endpoint"]


@pytest.fixture(scope="module", params=RUNTIMES)
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    with world(tmp_path_factory.mktemp("served"), request.param) as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def app(home: World, sdk: Sdk) -> str:
    """The URL of `toy`, which needs TOKEN."""
    return start_app(home, sdk, "toy", "toy_app.py")


def run(home: World, argv: Sequence[str], *, status: int = 0) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=90, env=home.client_env())
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def under_exec(home: World, *argv: str, flags: Sequence[str] = (), status: int = 0) -> str:
    whole = [sys.executable, "-m", "homeport", "exec", "--data-dir", str(home.data_dir), *flags, "--", *argv]
    return run(home, whole, status=status)


def python_of(version: str) -> str:
    return str(environment(version) / "bin" / "python")


@pytest.mark.parametrize("version", VERSIONS)
def test_client_calls_functions_by_the_endpoints_url(home: World, app: str, version: str) -> None:
    told = json.loads(run(home, [python_of(version), "-c", CALL, app, TOKEN]))
    assert {"/add", "/hello", "/count"} <= set(told["paths"])
    assert told["healthy"] is True
    assert (told["sum"], told["hello"], told["count"]) == (5, {"hello": "me"}, "999")
    assert told["scheme"] == "http"
    # The endpoint's token opens the gateway, and stays there.
    assert told["authorization"] is None


@pytest.mark.parametrize("version", VERSIONS)
def test_client_with_workspace_and_name_is_led_here_by_exec(home: World, app: str, version: str) -> None:
    told = json.loads(under_exec(home, python_of(version), "-c", CALL, "local", "toy", TOKEN))
    assert (told["sum"], told["hello"], told["count"]) == (5, {"hello": "me"}, "999")
    assert (told["host"], told["scheme"]) == ("local-toy.xenon.lepton.run", "https")
    assert told["authorization"] is None


def test_exec_leads_the_vendors_domain_here_and_nothing_else(home: World, app: str) -> None:
    """Each library in its own way: requests, httpx and curl find proxy and trust in the environment."""
    code = """
import httpx, json, os, requests
ours = "https://local-toy.xenon.lepton.run/hello?name=x"
bearer = {"Authorization": "Bearer open-sesame"}
told = [requests.get(ours, headers=bearer).json(), httpx.get(ours, headers=bearer).json()]
told.append(requests.get(ours).status_code)
for other in ("https://example.com/", "https://xenon.lepton.run.evil.example/", "https://xenon.lepton.run/",
              "https://a.b.xenon.lepton.run/", "https://local-toy.xenon.lepton.run:8443/", "https://10.0.0.1/"):
    try:
        requests.get(other, timeout=20)
        told.append(other)
    except requests.exceptions.ProxyError as error:
        told.append("403" in str(error))
told.append(requests.get(os.environ["LEPTON_WORKSPACE_URL"] + "/workspace",
            headers={"Authorization": "Bearer " + os.environ["LEPTON_API_TOKEN"]}).status_code)
print(json.dumps(told))
"""
    told = json.loads(under_exec(home, python_of("0.47.1"), "-c", code))
    assert told == [{"hello": "x"}, {"hello": "x"}, 401, *[True] * 6, 200]
    url = "https://local-toy.xenon.lepton.run/hello?name=c"
    header = f"Authorization: Bearer {TOKEN}"
    assert json.loads(under_exec(home, "curl", "-sS", "-H", header, url)) == {"hello": "c"}
    says = "leads to hosts below xenon.lepton.run only"
    assert says in under_exec(home, "bash", "-c", "curl -sS -x $HTTPS_PROXY http://example.com/")
    assert under_exec(home, "bash", "-c", "echo ${HTTPS_PROXY:-none}", flags=["--no-proxy"]) == "none\n"


def test_proxy_of_exec_ends_with_its_command(home: World, app: str) -> None:
    port = under_exec(home, "bash", "-c", "echo $HTTPS_PROXY").strip().rpartition(":")[2]
    run(home, ["curl", "-sS", f"http://127.0.0.1:{port}/"], status=7)


def test_curl_needs_the_token(home: World, app: str) -> None:
    curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}"]
    assert run(home, [*curl, f"{app}/hello?name=x"]) == "401"
    assert run(home, [*curl, "-H", "Authorization: Bearer wrong", f"{app}/hello?name=x"]) == "401"
    assert run(home, [*curl, "-H", f"Authorization: Bearer {TOKEN}", f"{app}/hello?name=x"]) == "200"
    fields = ["-X", "POST", "-H", f"Authorization: Bearer {TOKEN}", "--json", '{"a": 1, "b": 2}']
    assert run(home, ["curl", "-sS", *fields, f"{app}/add"]) == "3"


def test_openai_client_streams_a_completion(home: World, app: str) -> None:
    code = """
import json, openai, sys
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key=sys.argv[2], max_retries=0)
asked = {"model": "toy", "messages": [{"role": "user", "content": "one two three"}]}
whole = client.chat.completions.create(**asked).choices[0].message.content
parts = [part.choices[0].delta.content for part in client.chat.completions.create(**asked, stream=True)]
try:
    openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="x", max_retries=0).chat.completions.create(**asked)
except openai.AuthenticationError as error:
    print(json.dumps([whole, parts, error.status_code]))
"""
    told = json.loads(run(home, [str(OPENAI), "-c", code, app, TOKEN]))
    assert told == ["three two one", ["three", "two", "one"], 401]


def test_websocket_client_talks_both_ways(home: World, sdk: Sdk) -> None:
    url = start_app(home, sdk, "echo", "echo_socket.py").replace("http://", "ws://")
    code = """
import sys
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
bearer = {"Authorization": "Bearer " + sys.argv[2]}
with connect(sys.argv[1] + "/talk", additional_headers=bearer, proxy=None) as socket:
    for text in ("hello", "x" * 5000):
        socket.send(text)
        assert socket.recv(timeout=20) == text
    socket.send(bytes(range(256)))
    assert socket.recv(timeout=20) == bytes(range(256))
try:
    connect(sys.argv[1] + "/talk", proxy=None)
except InvalidStatus as error:
    print(error.response.status_code)
"""
    assert run(home, [str(OPENAI), "-c", code, url, TOKEN]) == "401\n"


# --- HTTPS


def test_every_client_trusts_a_server_with_tls_by_what_env_prints(tmp_path: Path, sdk: Sdk) -> None:
    with world(tmp_path, "process") as home:
        home.start(["--tls"])
        assert home.values["LEPTON_WORKSPACE_URL"].startswith("https://127.0.0.1:")
        assert (home.data_dir / "tls" / "server.key").stat().st_mode & 0o777 == 0o600
        assert (home.data_dir / "tls" / "ca.key").stat().st_mode & 0o777 == 0o600
        port = free_port()
        program = (CLIENTS / "toy_app.py").read_text()
        spec = {
            "container": {
                "image": "any:1", "command": [sys.executable, "-c", program, str(port)],
                "ports": [{"container_port": port}],
            },
            "resource_requirement": {"resource_shape": "cpu.small", "min_replicas": 1},
            "api_tokens": [{"value": TOKEN}],
        }  # fmt: skip
        code = """
import json, os, sys, time
from leptonai.api.v2.client import APIClient
from leptonai.api.v2.types.common import Metadata
from leptonai.api.v2.types.deployment import LeptonDeployment, LeptonDeploymentUserSpec
client = APIClient(os.environ["LEPTON_WORKSPACE_ID"], os.environ["LEPTON_WORKSPACE_TOKEN"])
spec = LeptonDeploymentUserSpec(**json.loads(sys.argv[1]))
client.deployment.create(LeptonDeployment(metadata=Metadata(name="toy"), spec=spec))
while client.deployment.get("toy").status.state != "Ready":
    time.sleep(0.1)
print(client.deployment.get("toy").status.endpoint.external_endpoint)
"""
        url = under_exec(home, python_of("0.47.1"), "-W", "ignore", "-c", code, json.dumps(spec)).strip()
        assert url.startswith("https://127.0.0.1:")
        told = json.loads(under_exec(home, python_of("0.47.1"), "-c", CALL, url, TOKEN))
        assert (told["sum"], told["scheme"]) == (5, "https")
        vendor = json.loads(under_exec(home, python_of("0.27.3"), "-c", CALL, "local", "toy", TOKEN))
        assert (vendor["sum"], vendor["host"]) == (5, "local-toy.xenon.lepton.run")
        shell = f'eval "$({sys.executable} -m homeport env --data-dir {home.data_dir})"'
        lep = f"{home.lep_path} workspace login -i $LEPTON_WORKSPACE_ID -t $LEPTON_WORKSPACE_TOKEN"
        run(home, ["bash", "-c", f"{shell}; {lep} --workspace-url $LEPTON_WORKSPACE_URL"])
        listed = run(home, ["bash", "-c", f"{shell}; {home.lep_path} endpoint list"])
        assert "toy" in listed
        address = url.split("/e/")[0].rpartition(":")[2]
        host = f"https://local-toy.localhost:{address}/hello?name=x"
        bearer = f"-H 'Authorization: Bearer {TOKEN}'"
        by_name = ["bash", "-c", f"{shell}; curl -sS {bearer} '{host}'"]
        eventually("its own name is in the certificate", lambda: "hello" in _output(home, by_name))
        plain = ["curl", "-sS", "--cacert", "/etc/ssl/certs/ca-certificates.crt", f"{url}/hello?name=x"]
        assert subprocess.run(plain, capture_output=True, timeout=30).returncode == 60  # not trusted unasked
        cli = [sys.executable, "-m", "homeport", "status", "--data-dir", str(home.data_dir)]
        assert "toy" in run(home, cli)
        assert home.stop() == 0


def _output(home: World, argv: Sequence[str]) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, env=home.client_env() | os.environ
    )
    return done.stdout
