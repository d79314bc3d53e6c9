"""EmptyDir, secrets, users and terminals of Run:ai's workloads, with the real runapy 1.224.0."""

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RUNTIMES
from tests.runai import Runai, RunaiError
from tests.runai_work import WAIT, Work
from tests.world import World, eventually, world

VALUE, NEXT = "s3cret-of-the-test", "another-s3cret"
SEED = """
nodes:
  - {name: a, gpus: 2xH100-80GB, cpu_cores: 16, memory: 64GiB}
rules:
  - {name: long, match: {kind: job, name: "*"}, run: forever}
"""
EVERYTHING: dict[str, Any] = {
    "storage": {
        "emptyDirVolume": [
            {"path": "/mnt/disk", "sizeLimit": "1Gi"},
            {"path": "/mnt/memory", "medium": "Memory", "sizeLimit": "2Mi"},
        ],
        "secretVolume": [{"secret": "token", "mountPath": "/mnt/keys", "defaultMode": "0400"}],
    },
}
OF_A_CONTAINER: dict[str, Any] = {
    "security": {
        "uidGidSource": "custom", "runAsUid": 1234, "runAsGid": 55, "supplementalGroups": "7,8",
        "runAsNonRoot": True, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
        "seccompProfileType": "RuntimeDefault", "hostIpc": False, "hostNetwork": False,
    },
    "createHomeDir": True, "stdin": True, "tty": True, "workingDir": "/tmp",
}  # fmt: skip


@pytest.fixture(params=RUNTIMES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[tuple[World, Path]]:
    """A server with a secret, that may give a directory of the host to its workloads."""
    with world(tmp_path, request.param) as made:
        yield made, prepared(made)


@pytest.fixture
def docker_folder(tmp_path: Path) -> Generator[tuple[World, Path]]:
    with world(tmp_path, "docker") as made:
        yield made, prepared(made)


def prepared(home: World) -> Path:
    given = home.data_dir.parent / "given"
    given.mkdir()
    given.chmod(0o777)
    home.start(["--allow-host-path", str(given)])
    home.login()
    home.lep("secret", "create", "-n", "token", "-v", VALUE)
    return given


def with_out(given: Path, spec: dict[str, Any]) -> dict[str, Any]:
    out = {"hostPath": [{"path": str(given), "mountPath": "/out", "readOnly": False}]}
    return spec | {"storage": spec.get("storage", {}) | out}


def run(work: Work, given: Path, name: str, script: str, **spec: Any) -> list[str]:
    """The lines that its script has said."""
    command = {"command": "bash -c", "args": f"'({script}) > /out/{name}'", "backoffLimit": 0}
    made = work.submit("Training", name, spec=with_out(given, spec) | command)["workloadId"]
    work.becomes(made, "Completed")
    return (given / name).read_text().splitlines()


@pytest.mark.root_on_process
def test_pod_has_scratch_and_secrets_of_its_own(folder: tuple[World, Path], runai: Runai) -> None:
    home, given = folder
    work = Work(home, runai)
    script = (
        "ls -A /mnt/disk /mnt/memory; cat /mnt/keys/value; echo; stat -c %a /mnt/keys/value;"
        " touch /mnt/disk/x /mnt/memory/x && echo written;"
        " dd if=/dev/zero of=/mnt/memory/big bs=1M count=3 2>/dev/null || echo full;"
        " ls -A $HOME; cd $HOME && touch left && pwd"
    )
    empty = ["/mnt/disk:", "", "/mnt/memory:"]
    expected = [*empty, VALUE, "400", "written", "full", "/home/user"]
    spec = EVERYTHING | {"createHomeDir": True}
    assert run(work, given, "first", script, **spec) == expected
    assert run(work, given, "second", script, **spec) == expected  # nothing of the first is left
    if home.engine is not None:
        label = {"label": f"homeport.instance={home.instance()}"}
        eventually("no volume left", lambda: not home.engine.volumes(filters=label)["Volumes"])
    (made,) = work.found("name==first")
    told = [e["message"] for e in work.events(made["id"])]
    limit = "spec.storage.emptyDirVolume[0].sizeLimit is kept, and not enforced on the disk"
    assert [limit in text for text in told].count(True) == 1
    view = work.typed("Training", "get", made["id"])
    (sent,) = EVERYTHING["storage"]["secretVolume"]
    assert view["spec"]["storage"]["secretVolume"] == [sent | {"exclude": False}]  # the client's own
    assert VALUE not in json.dumps([view, made, told, work.pods(made["id"])])


@pytest.mark.root_on_process
def test_secret_is_the_one_of_the_moment_at_which_its_pod_starts(
    folder: tuple[World, Path], runai: Runai
) -> None:
    home, given = folder
    work = Work(home, runai)
    script = 'cat /mnt/keys/value > /out/seen; trap "exit 0" TERM; while true; do sleep 0.1; done'
    volume = {"secretVolume": [{"secret": "token", "mountPath": "/mnt/keys"}]}
    spec = with_out(given, {"storage": volume}) | {"command": "bash -c", "args": f"'{script}'"}
    made = work.submit("Workspace", "holds", spec=spec)["workloadId"]
    seen = given / "seen"
    eventually("its secret", lambda: seen.exists() and seen.read_text() == VALUE)
    if home.engine is not None:
        (container,) = home.containers()
        assert VALUE not in json.dumps(home.engine.inspect_container(container))
    home.lep("secret", "remove", "-n", "token")
    home.lep("secret", "create", "-n", "token", "-v", NEXT)
    assert seen.read_text() == VALUE
    work.typed("Workspace", "suspend", made)
    work.becomes(made, "Stopped")
    work.typed("Workspace", "resume", made)
    eventually("the next secret", lambda: seen.read_text() == NEXT)
    home.lep("secret", "remove", "-n", "token")
    work.typed("Workspace", "suspend", made)
    work.becomes(made, "Stopped")
    work.typed("Workspace", "resume", made)
    gone = "secret 'token' was removed"
    eventually("that it is gone", lambda: any(gone in e["message"] for e in work.events(made)))


@pytest.mark.docker
@pytest.mark.skipif(os.geteuid() != 0, reason="scratch beside a fixed root is given to others only by root")
def test_container_is_as_its_security_says(docker_folder: tuple[World, Path], runai: Runai) -> None:
    home, given = docker_folder
    work = Work(home, runai)
    script = (
        "id -u; id -G; pwd; echo $HOME; touch $HOME/x && echo at home; touch /x 2>/dev/null || echo fixed;"
        " cat /mnt/keys/value; echo; tty; grep NoNewPrivs /proc/self/status | cut -f2"
    )
    told = run(work, given, "bound", script, **EVERYTHING | OF_A_CONTAINER)
    assert told[:6] == ["1234", "55 7 8", "/tmp", "/home/user", "at home", "fixed"]
    assert told[6:] == [VALUE, "/dev/pts/0", "1"]
    plain = "id -u; grep NoNewPrivs /proc/self/status | cut -f2; grep CapEff /proc/self/status | cut -f2"
    security = {"allowPrivilegeEscalation": True, "capabilities": ["IPC_LOCK"]}
    user, new_privileges, capabilities = run(work, given, "free", plain, security=security)
    assert (user, new_privileges) == ("0", "0")
    assert int(capabilities, 16) >> 14 & 1 == 1  # linux/capability.h


@pytest.mark.docker
def test_image_of_root_does_not_start_where_it_must_not_be(
    docker_folder: tuple[World, Path], runai: Runai
) -> None:
    home, _ = docker_folder
    work = Work(home, runai)
    made = work.train("rooted", security={"runAsNonRoot": True}, backoffLimit=0)
    work.becomes(made, "Failed")
    assert "runs as root; give it a uid" in work.get(made)["phaseMessage"]


@pytest.mark.docker
def test_log_of_a_terminal_is_read_by_the_other_dialect(
    docker_folder: tuple[World, Path], runai: Runai
) -> None:
    home, _ = docker_folder
    work = Work(home, runai)
    made = work.train("speaks", "bash -c 'for i in {1..40}; do echo line $i; done'", tty=True, stdin=True)
    work.becomes(made, "Completed")
    (job,) = [w for w in home.lep("job", "list").split() if w.startswith("speaks-")][:1]
    assert "line 40" in home.lep("job", "log", "-i", job)


def test_simulated_pod_is_taken_with_all_of_it(tmp_path: Path, runai: Runai) -> None:
    seed = tmp_path / "world.yaml"
    seed.write_text(SEED)
    with world(tmp_path, "simulated") as home:
        home.start(["--seed", str(seed)])
        home.login()
        home.lep("secret", "create", "-n", "token", "-v", VALUE)
        work = Work(home, runai)
        made = work.train("all", **EVERYTHING | OF_A_CONTAINER)
        work.becomes(made, "Running")
        spec = work.typed("Training", "get", made)["spec"]
        assert all(spec["security"][k] == v for k, v in OF_A_CONTAINER["security"].items())
        assert (spec["tty"], spec["createHomeDir"], spec["workingDir"]) == (True, True, "/tmp")
        told = [e["message"] for e in work.events(made)]
        assert sum("not enforced on the disk" in text for text in told) == 1
        assert VALUE not in json.dumps(home.journal())


REFUSED = [
    pytest.param({"security": {"hostIpc": True}}, 400, "spec.security.hostIpc: ", id="host-ipc"),
    pytest.param({"security": {"hostNetwork": True}}, 400, "spec.security.hostNetwork: ", id="host-network"),
    pytest.param(
        {"security": {"capabilities": ["SYS_ADMIN"]}}, 400, "spec.security.capabilities[0]: ", id="capability"
    ),
    pytest.param(
        {"security": {"seccompProfileType": "Unconfined"}}, 400, "spec.security.seccompProfileType: ",
        id="seccomp",
    ),
    pytest.param(
        {"storage": {"secretVolume": [{"secret": "nope", "mountPath": "/k"}]}}, 400,
        "spec.storage.secretVolume[0].secret: no secret named 'nope'", id="no-such-secret",
    ),
    pytest.param(
        {"storage": {"emptyDirVolume": [{"path": "/etc"}]}}, 400, "spec.storage.emptyDirVolume[0].path: ",
        id="over-a-system-folder",
    ),
    pytest.param(
        {"storage": {"configMapVolume": [{"configMap": "c", "mountPath": "/c"}]}}, 501,
        "spec.storage.configMapVolume", id="config-maps",
    ),
    pytest.param(
        {"environmentVariables": [{"name": "A", "configMap": {"name": "c", "key": "k"}}]}, 501,
        "spec.environmentVariables[0].configMap", id="variables-of-config-maps",
    ),
    pytest.param(
        {"storage": {"git": [{"repository": "https://git.example/x.git", "path": "/src"}]}}, 501,
        "spec.storage.git", id="git",
    ),
    pytest.param(
        {"storage": {"nfs": [{"server": "nfs.example", "path": "/x", "mountPath": "/n"}]}}, 501,
        "spec.storage.nfs", id="nfs",
    ),
    # What the process runtime has not, as it says at once.
    pytest.param({"tty": True, "stdin": True}, 400, "spec.tty: the process runtime", id="a-terminal"),
    pytest.param(
        {"security": {"uidGidSource": "custom", "runAsUid": 5}}, 400,
        "spec.security.runAsUid: the process runtime", id="a-user",
    ),
    pytest.param(
        {"security": {"readOnlyRootFilesystem": True}}, 400,
        "spec.security.readOnlyRootFilesystem: the process runtime", id="a-fixed-root",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "status", "says"), REFUSED)
def test_what_cannot_be_given_is_refused_at_once_and_named(
    shared_home: World, runai: Runai, spec: dict[str, Any], status: int, says: str
) -> None:
    work = Work(shared_home, runai)
    with pytest.raises(RunaiError) as refused:
        work.train("refused", WAIT, **spec)
    assert refused.value.status == status
    assert says in refused.value.data["message"]
    assert work.names("name==refused") == []
