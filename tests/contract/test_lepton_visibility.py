"""What is private is its owner's and the admins' only; everybody has a token of their own."""

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.sdk import Sdk, SdkError
from tests.world import World, world


@pytest.fixture
def home(tmp_path: Path) -> Generator[World]:
    with world(tmp_path, "process") as made:
        made.start()
        yield made


def homeport(home: World, *args: str, ok: bool = True) -> str:
    group, *rest = args
    argv = [sys.executable, "-m", "homeport", group, rest[0], "--data-dir", str(home.data_dir), *rest[1:]]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) is ok, done.stdout + done.stderr
    return (done.stdout + done.stderr).strip()


def as_user(home: World, token: str) -> World:
    """The same server, asked by somebody else."""
    other = World(home.data_dir, home.runtime, home.image)
    other.values = home.values | {"LEPTON_WORKSPACE_TOKEN": token}
    return other


def create(home: World, sdk: Sdk, name: str, visibility: str) -> None:
    spec: dict[str, Any] = {
        "container": {"image": home.image, "command": ["/bin/sleep", "600"]},
        "resource_requirement": {"resource_shape": "cpu.small", "min_replicas": 1},
    }
    made = "LeptonDeployment(metadata=Metadata(name=name, visibility=visibility), "
    code = f"client.deployment.create({made}spec=LeptonDeploymentUserSpec(**spec)))"
    sdk.run(home, code, name=name, visibility=visibility, spec=spec)


def names(home: World, sdk: Sdk) -> list[str]:
    listed = sdk.run(home, "result = [d.metadata.name for d in client.deployment.list_all()]")
    return sorted(listed)


def test_private_endpoint_is_seen_by_its_owner_and_admins_only(home: World, sdk: Sdk) -> None:
    ada = as_user(home, homeport(home, "token", "add", "ada@example.org"))
    bob = as_user(home, homeport(home, "token", "add", "bob@example.org"))
    create(ada, sdk, "hers", "private")
    create(ada, sdk, "ours", "public")
    assert names(ada, sdk) == names(home, sdk) == ["hers", "ours"]
    assert names(bob, sdk) == ["ours"]
    for code in ("get", "delete", "get_replicas", "get_events", "stop", "restart"):
        with pytest.raises(SdkError, match="404"):
            sdk.run(bob, f"client.deployment.{code}('hers')")
    owner = sdk.run(home, "result = client.deployment.get('hers').metadata.owner")
    assert owner == "ada@example.org"
    sdk.run(home, "client.deployment.delete('hers')")


def test_private_job_is_in_no_other_ones_list(home: World, sdk: Sdk) -> None:
    ada = as_user(home, homeport(home, "token", "add", "ada@example.org"))
    bob = as_user(home, homeport(home, "token", "add", "bob@example.org"))
    spec = {"resource_shape": "cpu.small", "container": {"image": home.image, "command": ["/bin/true"]}}
    code = "result = client.job.create(LeptonJob(metadata=Metadata(id='hers', visibility='private'), "
    job = sdk.run(ada, f"{code}spec=LeptonJobUserSpec(**spec)))", spec=spec)["metadata"]["id"]
    listed = "result = [j.metadata.id_ for j in client.job.list_all(job_query_mode='alive_and_archive')]"
    assert sdk.run(ada, listed) == sdk.run(home, listed) == [job]
    assert sdk.run(bob, listed) == []
    for code in ("get", "get_events", "get_replicas", "delete"):
        with pytest.raises(SdkError, match="404"):
            sdk.run(bob, f"client.job.{code}(job)", job=job)


def test_tokens_are_told_once_listed_masked_and_taken_back(home: World, sdk: Sdk) -> None:
    token = homeport(home, "token", "add", "ada@example.org", "--days", "30")
    listed = homeport(home, "token", "list")
    assert f"{token[:3]}...{token[-3:]}" in listed
    assert "ada@example.org" in listed
    assert token not in listed
    assert token.encode() not in (home.data_dir / "homeport.db").read_bytes()
    ada = as_user(home, token)
    assert sdk.run(ada, "result = client.job.list_all()") == []
    homeport(home, "token", "remove", f"{token[:3]}...{token[-3:]}")
    with pytest.raises(SdkError, match="401"):
        sdk.run(ada, "result = client.job.list_all()")
    own = home.values["LEPTON_WORKSPACE_TOKEN"]
    refused = homeport(home, "token", "remove", f"{own[:3]}...{own[-3:]}", ok=False)
    assert "is the one that asks" in refused


def test_only_admins_make_tokens(home: World) -> None:
    token = homeport(home, "token", "add", "ada@example.org")
    path = home.data_dir / "credentials.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"LEPTON_WORKSPACE_TOKEN": token}))
    assert "only an admin" in homeport(home, "token", "add", "bob@example.org", ok=False)
    assert "ada@example.org" in homeport(home, "token", "list")
    assert "admin@" not in homeport(home, "token", "list")
