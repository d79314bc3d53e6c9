"""One workspace, both families: what one client makes, clients of the other family see, change and remove."""

import json
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_lepton_endpoints import ask, create, free_port, serve, state, status
from tests.sdk import Sdk, SdkError
from tests.world import World, eventually, world

UPDATE = "result = client.deployment.update(name, LeptonDeployment(spec=LeptonDeploymentUserSpec(**spec)))"


@pytest.fixture
def home(tmp_path: Path) -> Generator[World]:
    """No family cares what its containers are."""
    with world(tmp_path, "process") as made:
        made.start()
        yield made


def raw(home: World, path: str, body: object = None, method: str = "POST") -> Any:
    request = urllib.request.Request(
        home.values["LEPTON_WORKSPACE_URL"] + path,
        method="GET" if body is None else method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {home.values['LEPTON_WORKSPACE_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def names(home: World, sdk: Sdk) -> list[str]:
    return sdk.run(home, "result = [d.metadata.name for d in client.deployment.list_all()]")


def test_endpoint_of_an_older_client_is_the_newer_ones_too(home: World, older_sdk: Sdk, sdk: Sdk) -> None:
    port = free_port()
    create(home, older_sdk, "shared", port, serve(port))
    eventually("Ready", lambda: status(home, older_sdk, "shared")["state"] == "Ready")
    assert names(home, sdk) == names(home, older_sdk) == ["shared"]
    assert state(home, sdk, "shared") == "Ready"
    of = "result = client.deployment.get(name).spec"
    old, new = (c.run(home, of, name="shared") for c in (older_sdk, sdk))
    for key in ("image", "command"):
        assert new["container"][key] == old["container"][key]
    assert new["envs"][0]["value"] == old["envs"][0]["value"] == "shared"
    sdk.run(home, UPDATE, name="shared", spec={"envs": [{"name": "WHO", "value": "both"}]})
    eventually("changed", lambda: ask(home, older_sdk, "shared") == (200, b"hello from both\n"))
    sdk.run(home, "client.deployment.stop(name)", name="shared")
    # What an older client knows as not ready, the phase calls by its name.
    eventually("Stopped", lambda: raw(home, "/deployments/shared")["status"]["phase"] == "Stopped")
    assert raw(home, "/deployments/shared")["status"]["state"] == "Not Ready"
    assert raw(home, "/endpoints/shared")["status"]["state"] == "Stopped"
    older_sdk.run(home, "client.deployment.delete(name)", name="shared")
    eventually("gone", lambda: names(home, sdk) == [])


def test_what_only_the_new_family_knows_survives_a_change_by_the_legacy_one(home: World) -> None:
    component = {
        "name": "frontdoor", "frontend": True, "image": "any", "resource_shape": "cpu.small",
        "ports": [{"container_port": 8080, "app_protocol": "http"}], "novel": {"kept": 1},
        "health": {"readiness": {"require_approval": False}},
    }  # fmt: skip
    body = {
        "metadata": {"name": "two-tongues", "lepton_metadata": {"visibility": "private"}},
        "spec": {
            "components": [component], "access_config": {"ip_allowlist": ["10.0.0.0/8"]},
            "load_balancing": {"maglev": {}}, "api_tokens": [],
        },
    }  # fmt: skip
    made = raw(home, "/endpoints", body)
    assert made["spec"] == body["spec"] | {"components": [component | {"min_replicas": 1}]}
    assert made["metadata"]["lepton_metadata"]["visibility"] == "private"
    legacy = raw(home, "/deployments/two-tongues")["spec"]
    assert legacy["container"] == {"image": "any", "ports": component["ports"]}
    assert legacy["auth_config"] == body["spec"]["access_config"]
    assert legacy["load_balance_config"] == {"maglev": {}}
    raw(home, "/deployments/two-tongues", {"spec": {"auth_config": {"ip_allowlist": []}}}, "PATCH")
    told = raw(home, "/endpoints/two-tongues")["spec"]
    assert told == made["spec"] | {"access_config": {"ip_allowlist": []}}


def test_dry_run_of_the_new_family_changes_nothing(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "trial", port, serve(port))
    asked = raw(home, "/endpoints/trial")["spec"]["components"]
    patch = {"spec": {"components": [{**asked[0], "image": "another"}]}}
    planned = raw(home, "/endpoints/trial?dryrun=true", patch, "PATCH")
    assert planned["metadata"]["semantic_version"] == "2.0"
    assert raw(home, "/endpoints/trial")["metadata"]["semantic_version"] == "1.0"
    assert raw(home, "/endpoints/trial")["spec"]["components"] == asked
    with pytest.raises(SdkError, match="no valid field to update"):
        sdk.run(home, UPDATE, name="trial", spec={"envs": [{"name": "WHO", "value": "trial"}]})


def test_secure_defaults_give_a_token_once(tmp_path: Path, sdk: Sdk) -> None:
    with world(tmp_path, "process") as home:
        home.start(HOMEPORT_LEPTON_SECURE_ENDPOINT_DEFAULTS="true")
        home.login()
        port = str(free_port())
        said = home.lep(
            "endpoint", "create", "-n", "safe", "--resource-shape", "cpu.small", "--container-image",
            home.image, "--container-port", port, "--container-command",
            f"echo in > /tmp/$LEPTON_DEPLOYMENT_NAME; exec busybox httpd -f -p {port} -h /tmp",
        )  # fmt: skip
        token = next(word for word in said.split() if len(word) == 43)
        eventually("Ready", lambda: state(home, sdk, "safe") == "Ready")
        url = status(home, sdk, "safe")["endpoint"]["external_endpoint"] + "/safe"
        assert ask(home, sdk, "safe")[0] == 401
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.read() == b"in\n"
        assert token not in json.dumps(raw(home, "/endpoints/safe"))
        assert token not in json.dumps(raw(home, "/deployments"))


def test_older_client_leads_an_endpoint_through_its_life(home: World, older_sdk: Sdk) -> None:
    port = free_port()
    create(home, older_sdk, "whole", port, f"echo alive; {serve(port)}")
    eventually("Ready", lambda: status(home, older_sdk, "whole")["state"] == "Ready")
    assert ask(home, older_sdk, "whole") == (200, b"hello from whole\n")
    (replica,) = older_sdk.run(home, "result = client.deployment.get_replicas(name)", name="whole")
    log = "result = next(iter(client.deployment.get_log(name, replica)))"
    assert "alive" in older_sdk.run(home, log, name="whole", replica=replica["id"])
    events = older_sdk.run(home, "result = client.deployment.get_events(name)", name="whole")
    assert {"Created", "Scheduled", "Started", "Ready"} <= {event["reason"] for event in events}
    older_sdk.run(home, UPDATE, name="whole", spec={"envs": [{"name": "WHO", "value": "the new one"}]})
    eventually("changed", lambda: ask(home, older_sdk, "whole") == (200, b"hello from the new one\n"))
    before = home.containers()
    older_sdk.run(home, "client.deployment.restart(name)", name="whole")
    eventually("another process", lambda: home.containers() not in (before, []))
    stop = {"resource_requirement": {"min_replicas": 0}}
    older_sdk.run(home, UPDATE, name="whole", spec=stop)
    eventually("stopped", lambda: home.containers() == [])
    assert ask(home, older_sdk, "whole")[0] == 503
    older_sdk.run(home, "client.deployment.delete(name)", name="whole")
    eventually("gone", lambda: names(home, older_sdk) == [])
