"""Node groups, machines, volumes and storage permissions, with the real `lep` CLI of leptonai 0.47.1."""

import json
import platform
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.world import World, world

GROUP = "/dedicated-node-groups/default"


@pytest.fixture
def home(tmp_path: Path) -> Generator[World]:
    """No job runs here, so one runtime is enough."""
    (tmp_path / "host").mkdir()
    with world(tmp_path, "process") as made:
        made.start(["--allow-host-path", str(tmp_path / "host")])
        yield made


def test_node_group_is_shown_with_its_nodes_and_machines(home: World) -> None:
    home.login()
    group = call(home, "GET", GROUP)
    assert (group["metadata"]["id"], group["spec"]["enable_object_storage"]) == ("default", False)
    assert "BYOC" in home.lep("node", "list")
    machine = call(home, "GET", f"{GROUP}/machines")[0]["status"]
    assert (machine["hostname"], machine["status"]) == (platform.node(), "Healthy")
    resource = call(home, "GET", f"{GROUP}/nodes")[0]["spec"]["resource"]
    assert resource["disk"]["total_bytes"] >= resource["disk"].pop("used_bytes") > 0
    assert machine["resource"]["disk"].pop("used_bytes") > 0  # somebody wrote between the two, perhaps
    assert resource == machine["resource"]
    assert resource["system"]["kernel_version"] == platform.release()
    listed = home.lep("node", "list-nodes", "-ng", "default")
    assert platform.node()[:8] in listed
    assert "Warning" not in listed
    assert refused(home, "GET", "/dedicated-node-groups/other")[0] == 404
    assert refused(home, "GET", "/dedicated-node-groups/other/machines")[0] == 404


def test_fresh_server_lists_its_shared_volume_and_nothing_else(home: World) -> None:
    home.login()
    volumes = call(home, "GET", GROUP)["spec"]["volumes"]
    assert [(v["name"], v["from"]) for v in volumes] == [("lepton-shared-fs", "nfs")]
    assert Path(volumes[0]["from_path"]) == home.data_dir / "volumes" / "lepton-shared-fs"
    assert Path(volumes[0]["from_path"]).is_dir()
    assert (home.data_dir / "volumes" / "default").is_dir()
    assert "lepton-shared-fs" in home.lep("node", "storage")
    out = home.lep("node", "storage", "delete", "-ng", "default", "-n", "lepton-shared-fs", "-y", ok=False)
    assert "managed by Lepton" in out
    assert refused(home, "DELETE", f"{GROUP}/volumes/lepton-shared-fs")[0] == 409
    assert refused(home, "DELETE", f"{GROUP}/volumes/default")[0] == 409


def test_volume_is_added_listed_and_deleted_with_its_contents_kept(home: World) -> None:
    home.login()
    data = home.data_dir.parent / "host" / "data"
    data.mkdir()
    (data / "kept.txt").write_text("kept")
    add = ("node", "storage", "add", "-ng", "default", "-n", "scratch", "-p", str(data))
    assert "Added" in home.lep(*add, "-t", "node-local")
    assert json.loads(home.lep("node", "storage", "get", "-ng", "default", "-n", "scratch"))["storage"] == {
        "from": "local", "name": "scratch", "size_in_gb": 0, "creation_mode": "mkdir", "from_path": str(data),
    }  # fmt: skip
    assert "already exists" in home.lep(*add, "-t", "node-nfs", ok=False)
    taken = {"from": "nfs", "name": "scratch", "size_in_gb": 0}
    assert refused(home, "POST", f"{GROUP}/volumes", taken)[0] == 409
    home.lep("node", "storage", "delete", "-ng", "default", "-n", "scratch", "-y")
    assert "scratch" not in home.lep("node", "storage")
    assert (data / "kept.txt").read_text() == "kept"
    assert refused(home, "DELETE", f"{GROUP}/volumes/scratch")[0] == 404


def test_volumes_outlive_a_restart(home: World) -> None:
    call(home, "POST", f"{GROUP}/volumes", {"from": "nfs", "name": "kept", "size_in_gb": 5, "x": {"y": 1}})
    home.kill()
    home.start()
    kept = call(home, "GET", GROUP)["spec"]["volumes"][1]
    assert kept == {"from": "nfs", "name": "kept", "size_in_gb": 5, "x": {"y": 1}}


def test_volume_of_a_directory_that_is_not_allowed_is_refused(home: World) -> None:
    host = home.data_dir.parent / "host"
    (host / "link").symlink_to("/etc")
    for kind, path, words in (
        ("nfs", "/etc", "--allow-host-path /etc"),
        ("local", f"{host}/../data", "'..'"),
        ("local", f"{host}/link", "--allow-host-path"),  # it leads outside
        ("local", f"{host}x", "--allow-host-path"),  # its name only begins alike
        ("local", "relative", "not absolute"),
        ("local", "server:/export", "not absolute"),
        ("nfs", "server", "server:/export"),
    ):
        volume = {"from": kind, "name": "new", "size_in_gb": 0, "from_path": path}
        status, body = refused(home, "POST", f"{GROUP}/volumes", volume)
        assert (status, body["code"], words in body["message"]) == (400, "invalid", True), body
    assert len(call(home, "GET", GROUP)["spec"]["volumes"]) == 1


def test_real_nfs_export_is_a_volume(home: World) -> None:
    home.login()
    volume = {"from": "nfs", "name": "filer", "size_in_gb": 1, "from_path": "filer.example:/export/a"}
    added = call(home, "POST", f"{GROUP}/volumes", volume)
    assert added["spec"]["volumes"][1] == volume
    assert "filer.example:/export/a" in home.lep("node", "storage")


def test_storage_permissions_are_added_listed_and_deleted(home: World) -> None:
    home.login()
    at = ("-ng", "default", "-n", "lepton-shared-fs")
    permission = ("node", "storage", "permission")
    assert "Default access" in home.lep(*permission, *at)
    assert "first path rule" in " ".join(
        home.lep(*permission, "add", *at, "-p", "/team/a", "-u", "ada@example.org").split()
    )
    home.lep(*permission, "add", *at, "-p", "/home/", "--by-user")
    everybody = {"path_prefix": "/", "allowed_users": ["*"], "nodegroup_id": "default"}
    call(home, "POST", "/storage-permission/lepton-shared-fs", everybody)
    shown = home.lep(*permission, *at)
    assert all(w in shown for w in ("/team/a", "ada@example.org", "/home/<email_username>", "All workspace"))
    for path in ("/", "/home/", "/team/a"):
        home.lep(*permission, "delete", *at, "-p", path, "-y")
    assert call(home, "GET", "/storage-permission/lepton-shared-fs?nodegroup_id=default") == []


def test_storage_permission_that_makes_no_sense_is_refused(home: World) -> None:
    at = "/storage-permission/lepton-shared-fs"
    rule: dict[str, Any] = {"path_prefix": "/a", "allowed_users": ["*"], "nodegroup_id": "default"}
    assert refused(home, "POST", at, {**rule, "path_prefix": "/a/../b"})[0] == 400
    assert refused(home, "POST", at, {**rule, "path_prefix": "a"})[0] == 400
    assert refused(home, "POST", at, {**rule, "allowed_users": []})[0] == 400
    assert refused(home, "POST", at, {**rule, "subfolder_policy": "by_user"})[0] == 400
    assert refused(home, "POST", at, {**rule, "subfolder_policy": "other"})[0] == 422
    assert refused(home, "POST", "/storage-permission/none", rule)[0] == 404
    assert refused(home, "POST", at, {**rule, "nodegroup_id": "none"})[0] == 404
    assert refused(home, "DELETE", f"{at}/a?nodegroup_id=default")[0] == 404


def test_permissions_go_with_their_volume(home: World) -> None:
    volume = {"from": "nfs", "name": "short", "size_in_gb": 0}
    rule: dict[str, Any] = {"path_prefix": "/a", "allowed_users": ["x@y.z"], "nodegroup_id": "default"}
    call(home, "POST", f"{GROUP}/volumes", volume)
    call(home, "POST", "/storage-permission/short", rule)
    call(home, "DELETE", f"{GROUP}/volumes/short")
    call(home, "POST", f"{GROUP}/volumes", volume)
    assert call(home, "GET", "/storage-permission/short?nodegroup_id=default") == []


def test_object_storage_is_a_typed_501(home: World) -> None:
    home.login()
    assert refused(home, "GET", f"{GROUP}/datasources")[0] == 501
    add = ("node", "storage", "add", "-ng", "default", "-t", "object-storage", "-n", "b", "--bucket", "b")
    out = home.lep(*add, "--provider", "aws", "--region", "r", "--wif", ok=False)
    assert "Added" not in out


def call(home: World, method: str, path: str, body: object = None) -> Any:
    request = urllib.request.Request(
        home.values["LEPTON_WORKSPACE_URL"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {home.values['LEPTON_WORKSPACE_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def refused(home: World, method: str, path: str, body: object = None) -> tuple[int, dict[str, str]]:
    with pytest.raises(urllib.error.HTTPError) as error:
        call(home, method, path, body)
    return error.value.code, json.loads(error.value.read())
