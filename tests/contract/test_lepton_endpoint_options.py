"""Every option of `lep endpoint create` and `update`, as the endpoint has it afterwards."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_lepton_endpoints import ask, free_port, serve, state, status
from tests.contract.test_lepton_families import raw
from tests.sdk import Sdk
from tests.world import World, eventually, world


@pytest.fixture(params=["true", "false"], ids=["new", "legacy"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[World]:
    """No option cares what its containers are; each goes over both families."""
    with world(tmp_path, "process") as made:
        made.start(HOMEPORT_LEPTON_NEW_DEPLOYMENT_API=request.param)
        made.login()
        yield made


def create(home: World, name: str, *options: str) -> int:
    port = free_port()
    home.lep(
        "endpoint", "create", "-n", name, "--resource-shape", "cpu.small", "--container-image", home.image,
        "--container-port", str(port), "--container-command", serve(port), "--env", f"WHO={name}", *options,
    )  # fmt: skip
    return port


def spec(home: World, name: str) -> dict[str, Any]:
    return raw(home, f"/deployments/{name}")["spec"]


def test_options_of_create_are_the_endpoints_own(home: World) -> None:
    create(
        home, "much", "-r", "1", "--tokens", "t1", "--ip-whitelist", "127.0.0.1,10.0.0.0/8",
        "--initial-delay-seconds", "30", "--visibility", "private", "--shared-memory-size", "64",
        "--ingress-timeout-seconds", "400", "--load-balance", "sticky-routing", "--header-based-routing",
        "true", "--queue-priority", "high-8000", "--log-collection", "false", "--node-group", "default",
        "--mount", "/:/mnt/shared:node-nfs:lepton-shared-fs",
    )  # fmt: skip
    made = spec(home, "much")
    assert raw(home, "/deployments/much")["metadata"]["visibility"] == "private"
    assert made["resource_requirement"]["min_replicas"] == 1
    assert made["resource_requirement"]["shared_memory_size"] == 64
    assert made["resource_requirement"]["affinity"]["allowed_dedicated_node_groups"] == ["default"]
    assert made["api_tokens"] == [{"value": "***"}]
    assert made["auth_config"]["ip_allowlist"] == ["127.0.0.1", "10.0.0.0/8"]
    assert made["health"]["liveness"]["initial_delay_seconds"] == 30
    assert made["ingress_timeout_seconds"] == 400
    assert made["load_balance_config"] == {"maglev": {}}
    assert made["routing_policy"] == {"enable_header_based_replica_routing": True}
    assert made["queue_config"]["priority_class"] == "high-8000"
    assert made["log"]["enable_collection"] is False
    assert made["mounts"][0]["mount_path"] == "/mnt/shared"


def update(home: World, *options: str) -> dict[str, Any]:
    home.lep("endpoint", "update", "-n", "app", *options, stdin="y\n")
    return spec(home, "app")


def test_options_of_update_reach_the_endpoint(home: World) -> None:
    create(home, "app", "-r", "1")
    first = raw(home, "/deployments/app")["metadata"]["version"]
    made = update(
        home, "--container-image", "other:1", "--shared-memory-size", "32", "--resource-shape", "cpu.medium",
        "--ip-whitelist", "127.0.0.1", "--tokens", "one", "--tokens", "two", "-aq", "1,3,2.5",
        "--log-collection", "false", "--ingress-timeout-seconds", "900", "--load-balance", "sticky-routing",
        "--header-based-routing", "true", "--replica-spread", "preferred", "--visibility", "private",
    )  # fmt: skip
    resources = made["resource_requirement"]
    assert made["container"]["image"] == "other:1"
    assert (resources["shared_memory_size"], resources["resource_shape"]) == (32, "cpu.medium")
    assert made["auth_config"]["ip_allowlist"] == ["127.0.0.1"]
    assert made["api_tokens"] == [{"value": "***"}] * 2
    assert made["auto_scaler"]["target_throughput"]["qpm"] == 2.5
    assert (resources["min_replicas"], resources["max_replicas"]) == (1, 3)
    assert made["log"]["enable_collection"] is False
    assert made["ingress_timeout_seconds"] == 900
    assert made["load_balance_config"] == {"maglev": {}}
    assert made["routing_policy"]["enable_header_based_replica_routing"] is True
    assert made["scheduling_policy"]["replica_spread"] == "Preferred"
    metadata = raw(home, "/deployments/app")["metadata"]
    assert metadata["visibility"] == "private"
    assert metadata["version"] > first
    assert metadata["semantic_version"].partition(".")[0] == "2"
    made = update(home, "--public", "--allow-unauthenticated-access", "-agu", "1,2,50%")
    assert made["auth_config"]["ip_allowlist"] == []
    assert made["api_tokens"] == []
    assert made["allow_unauthenticated_access"] is True
    assert made["auto_scaler"]["target_gpu_utilization_percentage"] == 50
    assert not made["auto_scaler"]["target_throughput"].get("qpm")
    made = update(home, "-ad", "1,3600s", "--load-balance", "least-request")
    assert made["auto_scaler"]["scale_down"]["no_traffic_timeout"] == 3600
    assert "maglev" not in made["load_balance_config"]
    made = update(home, "-r", "1")
    assert not made["auto_scaler"]["scale_down"]["no_traffic_timeout"]


def test_stopped_endpoint_is_resumed_by_its_replicas(home: World, sdk: Sdk) -> None:
    create(home, "rests", "-r", "1", "--allow-unauthenticated-access")
    eventually("Ready", lambda: state(home, sdk, "rests") == "Ready")
    home.lep("endpoint", "stop", "-n", "rests")
    eventually("stopped", lambda: home.containers() == [])
    home.lep("endpoint", "update", "-n", "rests", "--min-replicas", "1", stdin="y\n")
    eventually("an answer", lambda: ask(home, sdk, "rests") == (200, b"hello from rests\n"))


def test_rerun_takes_the_place_of_the_endpoint_of_that_name(home: World, sdk: Sdk) -> None:
    create(home, "again", "-r", "1")
    first = raw(home, "/deployments/again")["metadata"]["created_at"]
    create(home, "again", "-r", "1", "--rerun")
    assert raw(home, "/deployments/again")["metadata"]["created_at"] > first
    assert [d["metadata"]["name"] for d in raw(home, "/deployments")].count("again") >= 1
    eventually("one", lambda: len(home.containers()) == 1 and len(raw(home, "/deployments")) == 1)


def test_spec_that_one_endpoint_gave_makes_another(home: World, sdk: Sdk, tmp_path: Path) -> None:
    create(home, "origin", "-r", "1")
    file = tmp_path / "spec.json"
    home.lep("endpoint", "get", "-n", "origin", "--path", str(file))
    assert json.loads(file.read_text())["container"]["image"] == home.image
    home.lep("endpoint", "create", "-n", "copy", "--file", str(file))
    ours, theirs = spec(home, "copy"), spec(home, "origin")
    assert ours["container"] == theirs["container"]
    assert ours["envs"] == theirs["envs"]


def test_replica_finds_the_id_by_which_requests_name_it(home: World, sdk: Sdk) -> None:
    port = free_port()
    home.lep(
        "endpoint", "create", "-n", "who", "--resource-shape", "cpu.small", "--container-image", home.image,
        "--container-port", str(port), "-r", "1", "--container-command",
        f"page=/tmp/$LEPTON_REPLICA_ID; mkdir -p $page; cd $page; echo $LEPTON_REPLICA_ID > index.html; "
        f"exec busybox httpd -f -p {port}",
    )  # fmt: skip
    eventually("Ready", lambda: state(home, sdk, "who") == "Ready")
    replicas = raw(home, "/deployments/who/replicas")
    assert ask(home, sdk, "who")[1].decode().strip() == replicas[0]["id"]


def test_hidden_endpoint_is_not_reached_from_outside(home: World, sdk: Sdk) -> None:
    port = create(home, "inner", "-r", "1", "--allow-unauthenticated-access")
    assert port
    eventually("Ready", lambda: state(home, sdk, "inner") == "Ready")
    url = status(home, sdk, "inner")["endpoint"]["external_endpoint"]
    raw(home, "/deployments/inner", {"spec": {"ingress_enabled": False}}, "PATCH")
    eventually("no address", lambda: status(home, sdk, "inner")["endpoint"]["external_endpoint"] == "")
    eventually("no route", lambda: _code(f"{url}/") == 404)


def _code(url: str) -> int:
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
