"""Paths, targets and permission rules of mounts; how secrets are sealed."""

import asyncio
from collections.abc import Coroutine, Generator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import pytest

from homeport.runtime.clock import SystemClock
from homeport.runtime.errors import MountRejected
from homeport.runtime.model import Mount
from homeport.server.domain.inventory import HostNode
from homeport.server.domain.volumes import (
    SYSTEM_FOLDERS,
    Guarded,
    HostFolders,
    MountRequest,
    StoragePermission,
    Volume,
    VolumeSource,
    builtin_volumes,
    check_permission,
    clean_target,
    find_volume,
    split_path,
)
from homeport.server.domain.workload import WorkloadSpec
from homeport.server.errors import Conflict, Invalid, StoreRefused
from homeport.server.services import org
from homeport.server.services.access import Caller
from homeport.server.services.secrets import (
    SecretUnavailable,
    check_secrets,
    create_secrets,
    delete_secret,
    reveal,
)
from homeport.server.services.volumes import (
    check_mounts,
    create_volume,
    delete_volume,
    make_own_folders,
    resolve_mounts,
    set_permission,
)
from homeport.server.services.workloads import Services, create_workload, set_stopped
from homeport.server.store.secret_box import SecretBox, make_key_file
from homeport.server.store.secrets import Secret
from homeport.server.store.store import Store

T = TypeVar("T")


@pytest.mark.parametrize(
    ("target", "clean"),
    [
        pytest.param("/mnt", "/mnt", id="plain"),
        pytest.param("//mnt/./a//", "/mnt/a", id="redundant-parts-are-dropped"),
        pytest.param("/usr/share/data", "/usr/share/data", id="below-a-system-folder"),
        pytest.param("/etc/..data", "/etc/..data", id="dots-inside-a-name"),
    ],
)
def test_target_is_cleaned(target: str, clean: str) -> None:
    assert clean_target(target) == clean


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "//",
        "/.",
        "",
        "mnt",
        "./mnt",
        "/mnt/../etc",
        "/..",
        "/a\0b",
        "/etc/",
        "/proc/self",
        "/sys/fs/cgroup",
        "//usr//lib",
        *sorted(SYSTEM_FOLDERS),
    ],
)
def test_target_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        clean_target(target)


@pytest.mark.parametrize("path", ["..", "/a/..", "../a", "/a/../b", "a\0"])
def test_path_is_refused_when_it_could_climb(path: str) -> None:
    with pytest.raises(ValueError, match=r"'\.\.'|NUL"):
        split_path(path)


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("lepton-shared-fs", "lepton-shared-fs"),
        ("node-nfs:lepton-shared-fs", "lepton-shared-fs"),
        ("node-local:lepton-shared-fs", None),
        ("default", "default"),
        ("", "default"),
        ("nfs:lepton-shared-fs", None),
        ("lepton-shared", None),
    ],
)
def test_volume_is_found_by_what_a_mount_says(wanted: str, name: str | None) -> None:
    found = find_volume(wanted, builtin_volumes("default", Path("/data")))
    assert (found and found.name) == name


TEAM = StoragePermission("g", "v", "/team/a", ("Ada@example.org",))
HOMES = StoragePermission("g", "v", "/home", is_by_user=True)
ALL = StoragePermission("g", "v", "/pub/", ("*",))
ROOT = StoragePermission("g", "v", "/", ("*",))


@pytest.mark.parametrize(
    ("owner", "wanted", "rules", "is_allowed"),
    [
        pytest.param("ada@example.org", "/vol/team/a", (TEAM,), True, id="the-prefix-itself"),
        pytest.param("ADA@example.org", "/vol/team/a/b", (TEAM,), True, id="below-it-in-any-case"),
        pytest.param("bob@example.org", "/vol/team/a", (TEAM,), False, id="not-a-user-of-the-rule"),
        pytest.param("ada@example.org", "/vol/team/ab", (TEAM,), False, id="whole-components-only"),
        pytest.param("ada@example.org", "/vol/team", (TEAM,), False, id="above-the-prefix"),
        pytest.param("ada@example.org", "/vol", (TEAM,), False, id="the-volume-itself"),
        pytest.param("ada@example.org", "/", (TEAM,), False, id="a-folder-that-holds-the-volume"),
        pytest.param("ada@example.org", "/", (ROOT,), True, id="the-same-where-all-is-allowed"),
        pytest.param("bob@example.org", "/elsewhere", (TEAM,), True, id="another-place"),
        pytest.param("bob@example.org", "/vol/home/bob/x", (TEAM, HOMES), True, id="own-folder"),
        pytest.param("bob@example.org", "/vol/home/ada", (TEAM, HOMES), False, id="folder-of-another"),
        pytest.param("bob@example.org", "/vol/home", (HOMES,), False, id="all-folders-at-once"),
        pytest.param("..@example.org", "/vol/home", (HOMES,), False, id="a-name-that-is-no-folder"),
        pytest.param("bob@example.org", "/vol/pub/x", (TEAM, ALL), True, id="everybody"),
    ],
)
def test_permission(owner: str, wanted: str, rules: tuple[StoragePermission, ...], is_allowed: bool) -> None:
    guarded = [Guarded(PurePosixPath("/vol"), "v", rules)]
    assert (check_permission(owner, PurePosixPath(wanted), guarded) is None) is is_allowed


def test_secret_opens_again_and_its_text_is_nowhere(tmp_path: Path) -> None:
    sealed = SecretBox(tmp_path).seal("ws", "KEY", "walnut")
    assert SecretBox(tmp_path).open("ws", "KEY", sealed) == "walnut"
    assert "walnut" not in sealed
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_passphrase_seals_without_a_key_file_and_keeps_its_salt(tmp_path: Path) -> None:
    first = SecretBox(tmp_path, "correct horse").seal("ws", "A", "one")
    again = SecretBox(tmp_path, "correct horse")
    second = again.seal("ws", "B", "two", known=[first])
    assert first.rpartition(":")[0] == second.rpartition(":")[0]
    assert (again.open("ws", "A", first), again.open("ws", "B", second)) == ("one", "two")
    assert not (tmp_path / "secret.key").exists()


def test_secrets_under_the_file_open_after_a_passphrase_is_set(tmp_path: Path) -> None:
    first = SecretBox(tmp_path).seal("ws", "A", "one")
    later = SecretBox(tmp_path, "correct horse")
    later.seal("ws", "B", "two", known=[first])
    assert later.open("ws", "A", first) == "one"


def test_wrong_passphrase_is_an_error_and_seals_nothing_beside(tmp_path: Path) -> None:
    sealed = SecretBox(tmp_path, "right").seal("ws", "A", "one")
    wrong = SecretBox(tmp_path, "wrong")
    with pytest.raises(StoreRefused, match="HOMEPORT_SECRET_KEY"):
        wrong.open("ws", "A", sealed)
    with pytest.raises(StoreRefused, match="HOMEPORT_SECRET_KEY"):
        wrong.seal("ws", "B", "two", known=[sealed])
    with pytest.raises(StoreRefused, match="not set"):
        SecretBox(tmp_path).open("ws", "A", sealed)


@pytest.mark.parametrize("content", [None, b"", b"rubbish", b"A" * 43 + b"="])
def test_other_key_file_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    sealed = SecretBox(tmp_path).seal("ws", "A", "one")
    (tmp_path / "secret.key").unlink()
    if content is not None:
        (tmp_path / "secret.key").write_bytes(content)
    for use in (
        lambda: SecretBox(tmp_path).open("ws", "A", sealed),
        lambda: SecretBox(tmp_path).seal("ws", "B", "two", known=[sealed]),
    ):
        with pytest.raises(StoreRefused, match=r"secret\.key"):
            use()


def test_sealed_text_under_another_name_does_not_open(tmp_path: Path) -> None:
    box = SecretBox(tmp_path)
    with pytest.raises(StoreRefused, match="another name"):
        box.open("ws", "B", box.seal("ws", "A", "one"))


def test_key_file_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    make_key_file(tmp_path / "secret.key", b"first")
    with pytest.raises(FileExistsError):
        make_key_file(tmp_path / "secret.key", b"second")
    assert (tmp_path / "secret.key").read_bytes() == b"first"


@pytest.fixture
def services(tmp_path: Path) -> Generator[Services]:
    store = Store(tmp_path / "data")
    node = HostNode("n1", "default", 4, 4096, ())
    folders = HostFolders(tmp_path / "data" / "volumes", (tmp_path / "host",))
    (tmp_path / "host").mkdir()
    make_own_folders(folders)
    made = Services(store, SystemClock(), (node,), lambda: None, folders, SecretBox(tmp_path / "data"))
    run(org.ensure_defaults(made))
    yield made
    store.close()


ADA = Caller("local", "ada@example.org", "")
SHARED = "node-nfs:lepton-shared-fs"


def rule(path: str, *users: str, volume: str = "lepton-shared-fs") -> StoragePermission:
    return StoragePermission("default", volume, path, users, is_by_user=not users)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


@pytest.mark.parametrize(
    ("mounts", "field", "words"),
    [
        ([MountRequest(SHARED, "/", "/")], "[0].mount_path", "own root"),
        ([MountRequest(SHARED, "/", "mnt")], "[0].mount_path", "absolute"),
        ([MountRequest(SHARED, "/", "/a"), MountRequest("", "/", "//a/")], "[1].mount_path", "mount 0"),
        ([MountRequest(SHARED, "/a/../..", "/a")], "[0].path", "'..'"),
        ([MountRequest(SHARED, "/a\0", "/a")], "[0].path", "NUL"),
        ([MountRequest("node-nfs:none", "/", "/a")], "[0].from", "node-nfs:lepton-shared-fs, default"),
        ([MountRequest("node-local", "/etc", "/a")], "[0].path", "--allow-host-path /etc"),
        ([MountRequest("node-local", "data", "/a")], "[0].path", "absolute"),
    ],
)
def test_mount_is_refused(services: Services, mounts: list[MountRequest], field: str, words: str) -> None:
    with pytest.raises(Invalid) as error:
        check_mounts(services, ADA, [], mounts)
    assert error.value.field == f"spec.mounts{field}"
    assert words in str(error.value)


def test_mounts_become_directories_of_the_host(services: Services, tmp_path: Path) -> None:
    run(create_volume(services, Volume("default", "own", VolumeSource.NODE_LOCAL)))
    run(create_volume(services, Volume("default", "host", VolumeSource.NODE_NFS, f"{tmp_path}/host/a")))
    run(create_volume(services, Volume("default", "filer", VolumeSource.NODE_NFS, "filer:/export")))
    own = tmp_path / "data" / "volumes"
    wanted = {
        MountRequest(SHARED, "/x//y/", "//mnt/a/"): Mount("/mnt/a", own / "lepton-shared-fs", "/x/y"),
        MountRequest("", "", "/b", is_read_only=True): Mount("/b", own / "default", "/", True),
        MountRequest("node-local:own", "/", "/c"): Mount("/c", own / "default.own", "/"),
        MountRequest("host", "/", "/d"): Mount("/d", tmp_path / "host" / "a", "/"),
        MountRequest("node-nfs:filer", "/z", "/e"): Mount("/e", None, "/z", nfs="filer:/export"),
        MountRequest("node-local", f"{tmp_path}/host/b", "/f"): Mount("/f", tmp_path / "host", "/b"),
        MountRequest("node-local", f"{tmp_path}/host", "/g"): Mount("/g", tmp_path / "host", "/"),
    }
    check_mounts(services, ADA, ["default"], list(wanted))
    assert resolve_mounts(services, "default", list(wanted)) == tuple(wanted.values())


def test_mount_is_rejected_at_launch_when_the_volume_is_gone(services: Services, tmp_path: Path) -> None:
    run(create_volume(services, Volume("default", "own", VolumeSource.NODE_LOCAL)))
    run(delete_volume(services, "default", "own"))
    with pytest.raises(MountRejected, match="node-local:own"):
        resolve_mounts(services, "default", [MountRequest("node-local:own", "/", "/a")])
    (tmp_path / "host" / "dir").symlink_to("/etc")  # it was a directory when the job was created
    with pytest.raises(MountRejected, match="--allow-host-path"):
        resolve_mounts(services, "default", [MountRequest("node-local", f"{tmp_path}/host/dir", "/a")])


def test_rules_of_a_volume_hold_by_whatever_name_its_bytes_are_reached(
    services: Services, tmp_path: Path
) -> None:
    host = tmp_path / "host"
    run(create_volume(services, Volume("default", "team", VolumeSource.NODE_NFS, f"{host}/team")))
    run(set_permission(services, rule("/", volume="team")))
    for mount in (
        MountRequest("team", "/", "/a"),
        MountRequest("team", "/bob", "/a"),
        MountRequest("node-local", f"{host}/team/bob", "/a"),
        MountRequest("node-local", f"{host}", "/a"),
    ):
        with pytest.raises(Invalid, match="may not mount"):
            check_mounts(services, ADA, [], [mount])
    mine = [MountRequest("team", "/ada/x", "/a"), MountRequest("node-local", f"{host}/team/ada", "/b")]
    check_mounts(services, ADA, [], mine)
    (host / "team" / "bob").mkdir(parents=True)
    (host / "team" / "ada").mkdir()
    (host / "team" / "ada" / "x").symlink_to("../bob")
    with pytest.raises(MountRejected, match="symbolic link"):
        resolve_mounts(services, "default", mine)


def test_volume_that_a_workload_mounts_is_not_deleted(services: Services) -> None:
    run(create_volume(services, Volume("default", "own", VolumeSource.NODE_LOCAL)))
    spec = WorkloadSpec("i", (), "cpu.small", 1, 1, mounts=(MountRequest("node-local:own", "/", "/a"),))
    made = run(create_workload(services, workspace="local", name="busy", kind="job", owner="o", spec=spec))
    with pytest.raises(Conflict, match=f"job {made.id}"):
        run(delete_volume(services, "default", "own"))
    run(set_stopped(services, Caller("local", "o", ""), made.id, stopped=True))
    run(delete_volume(services, "default", "own"))


def test_secret_is_revealed_by_name_and_named_when_it_is_missing(services: Services) -> None:
    run(create_secrets(services, [(Secret("local", "A", "o"), "one"), (Secret("local", "B", "o"), "")]))
    who = Caller("local", "o", "")
    check_secrets(services, who, ["A", "B"])
    assert reveal(services, "local", ["A", "B"]) == {"A": "one", "B": ""}
    with pytest.raises(Invalid, match="'C'"):
        check_secrets(services, who, ["A", "C"])
    with pytest.raises(Invalid, match="'A'"):
        check_secrets(services, Caller("other", "o", ""), ["A"])
    run(delete_secret(services, who, "A"))
    with pytest.raises(SecretUnavailable, match="'A' was removed"):
        reveal(services, "local", ["A"])
    (services.folders.own.parent / "secret.key").write_bytes(b"A" * 43 + b"=")
    locked = replace(services, secret_box=SecretBox(services.folders.own.parent))
    with pytest.raises(SecretUnavailable, match=r"secret\.key"):
        reveal(locked, "local", ["B"])
