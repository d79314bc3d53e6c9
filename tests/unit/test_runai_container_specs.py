"""What a submission of Run:ai's asks for its containers alone: the pure part."""

import json
from typing import Any

import pytest

from homeport.runtime.container_options import ContainerOptions, EmptyDir, Refusal, SecretVolume, Security
from homeport.server.api.runai import wire_workloads as wire
from homeport.server.api.runai.translate.container_options import FIELDS, WantedOptions, invalid, options_of
from homeport.server.domain.workload import Workload, WorkloadSpec
from homeport.server.errors import Invalid, NotImplementedYet
from homeport.server.store.documents import to_doc, workload_from


def wanted(mounted: tuple[tuple[str, str], ...] = (), **fields: Any) -> WantedOptions:
    return options_of(wire.PodSpec.model_validate(fields), mounted)


def options(**fields: Any) -> ContainerOptions:
    found = wanted(**fields).options
    assert found is not None
    return found


def empty_dir(**fields: Any) -> dict[str, Any]:
    return {"storage": {"emptyDirVolume": [fields]}}


def secret_volume(**fields: Any) -> dict[str, Any]:
    return {"storage": {"secretVolume": [fields]}}


def test_nothing_is_asked_for_where_only_defaults_are_said() -> None:
    sent: dict[str, Any] = {
        "tty": False, "createHomeDir": False, "storage": {"emptyDirVolume": [], "secretVolume": []},
        "security": {
            "uidGidSource": "fromTheImage", "seccompProfileType": "RuntimeDefault", "hostIpc": False,
            "hostNetwork": False, "readOnlyRootFilesystem": False, "capabilities": [],
            "supplementalGroups": "",
        },
    }  # fmt: skip
    assert wanted(**sent) == WantedOptions(None)


@pytest.mark.parametrize(
    ("fields", "expected", "told"),
    [
        pytest.param({"path": "/a/"}, EmptyDir("/a"), 0, id="on-disk"),
        pytest.param({"path": "/a", "medium": "Memory"}, EmptyDir("/a", True), 0, id="in-memory"),
        pytest.param(
            {"path": "/a", "medium": "Memory", "sizeLimit": "1G"}, EmptyDir("/a", True, 954), 0,
            id="a-limit-in-memory-holds",
        ),
        pytest.param({"path": "/a", "sizeLimit": "1Gi"}, EmptyDir("/a", False, 1024), 1, id="not-on-disk"),
    ],
)  # fmt: skip
def test_empty_dir_is_on_disk_or_in_memory(fields: dict[str, Any], expected: EmptyDir, told: int) -> None:
    found = wanted(**empty_dir(**fields))
    assert found.options == ContainerOptions(empty_dirs=(expected,))
    assert [("sizeLimit" in text and "not enforced" in text) for text in found.told] == [True] * told


def test_secret_volume_is_a_folder_with_the_file_of_a_secret() -> None:
    found = wanted(**secret_volume(secret="token", mountPath="/keys", defaultMode="0400"))
    assert found.options == ContainerOptions(secrets=(SecretVolume("/keys", "token", 0o400),))
    assert found.secrets == (("spec.storage.secretVolume[0].secret", "token"),)
    assert options(**secret_volume(secret="token", mountPath="/keys")).secrets[0].mode == 0o644


def test_volumes_that_are_excluded_are_as_if_they_were_not_there() -> None:
    assert wanted(**empty_dir(path="/a", exclude=True)).options is None
    assert wanted(**secret_volume(secret="s", mountPath="/a", exclude=True)).options is None


def test_home_is_made_where_the_variables_say_and_else_in_its_own_place() -> None:
    assert options(createHomeDir=True) == ContainerOptions(
        empty_dirs=(EmptyDir("/home/user"),), home="/home/user"
    )
    variables = [{"name": "HOME", "value": "/work/me"}]
    made = options(createHomeDir=True, environmentVariables=variables)
    assert made == ContainerOptions(empty_dirs=(EmptyDir("/work/me"),), home="/work/me")
    claimed = wanted(
        (("spec.storage.pvc[0].path", "/work/me"),), createHomeDir=True, environmentVariables=variables
    )
    assert claimed.options == ContainerOptions(home="/work/me")  # the claim is the home


def test_security_is_taken_as_it_is_said() -> None:
    sent: dict[str, Any] = {
        "uidGidSource": "custom", "runAsUid": 1000, "runAsGid": 30, "supplementalGroups": "2, 3,5,3",
        "runAsNonRoot": True, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
    }  # fmt: skip
    assert options(security=sent, tty=True) == ContainerOptions(
        Security(1000, 30, (2, 3, 5), True, True, (), False), has_tty=True
    )
    assert options(security={"runAsUid": 0}).security.uid == 0
    assert options(security={"capabilities": ["IPC_LOCK", "IPC_LOCK"]}).security.capabilities == ("IPC_LOCK",)


def test_capability_of_another_user_than_root_is_told_to_have_no_effect() -> None:
    (told,) = wanted(security={"runAsUid": 7, "capabilities": ["KILL"]}).told
    assert told.startswith("spec.security.capabilities has no effect")


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        (empty_dir(), "spec.storage.emptyDirVolume[0].path", "missing"),
        (empty_dir(path="/a", medium="HugePages"), "spec.storage.emptyDirVolume[0].medium", "Memory"),
        (empty_dir(path="/a", sizeLimit="lots"), "spec.storage.emptyDirVolume[0].sizeLimit", "quantity"),
        (empty_dir(path="/a", sizeLimit="0"), "spec.storage.emptyDirVolume[0].sizeLimit", "leave it out"),
        (empty_dir(path="/etc"), "spec.storage.emptyDirVolume[0].path", "system folder"),
        (empty_dir(path="a"), "spec.storage.emptyDirVolume[0].path", "not absolute"),
        (empty_dir(path="/a/../etc"), "spec.storage.emptyDirVolume[0].path", "'..'"),
        (secret_volume(mountPath="/k"), "spec.storage.secretVolume[0].secret", "missing"),
        (secret_volume(secret="s"), "spec.storage.secretVolume[0].mountPath", "missing"),
        (
            secret_volume(secret="s", mountPath="/k", defaultMode="4755"),
            "spec.storage.secretVolume[0].defaultMode", "0400",
        ),
        (
            {"createHomeDir": True, "environmentVariables": [{"name": "HOME", "value": "/proc"}]},
            "spec.createHomeDir", "kernel",
        ),
        ({"security": {"hostIpc": True}}, "spec.security.hostIpc", "every program of the host"),
        ({"security": {"hostNetwork": True}}, "spec.security.hostNetwork", "loopback"),
        ({"security": {"seccompProfileType": "Unconfined"}}, "spec.security.seccompProfileType", "kernel"),
        ({"security": {"seccompProfileType": "Localhost"}}, "spec.security.seccompProfileType", "profile"),
        ({"security": {"capabilities": ["KILL", "SYS_ADMIN"]}}, "spec.security.capabilities[1]", "beyond"),
        ({"security": {"uidGidSource": "custom"}}, "spec.security.runAsUid", "missing"),
        ({"security": {"runAsGid": 3}}, "spec.security.runAsUid", "runAsGid needs it"),
        ({"security": {"uidGidSource": "fromTheImage", "runAsUid": 0}}, "spec.security.runAsUid", "custom"),
        ({"security": {"runAsUid": 0, "runAsNonRoot": True}}, "spec.security.runAsUid", "root"),
        ({"security": {"supplementalGroups": "2,wheel"}}, "spec.security.supplementalGroups", "'wheel'"),
        ({"security": {"supplementalGroups": "4294967295"}}, "spec.security.supplementalGroups", "no group"),
    ],
)  # fmt: skip
def test_what_cannot_be_or_may_not_is_named(fields: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        wanted(**fields)
    assert refused.value.field == field
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "name", ["SYS_ADMIN", "SYS_MODULE", "NET_ADMIN", "DAC_READ_SEARCH", "SYS_RAWIO", "SYS_BOOT", "SYS_TIME"]
)
def test_capability_that_reaches_the_host_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match=rf"^spec\.security\.capabilities\[0\]: {name} "):
        wanted(security={"capabilities": [name]})


def test_numbers_of_users_from_a_token_are_not_served() -> None:
    with pytest.raises(NotImplementedYet, match="uidGidSource: fromIdpToken"):
        wanted(security={"uidGidSource": "fromIdpToken"})


@pytest.mark.parametrize(
    "fields",
    [
        {"storage": {"emptyDirVolume": [{"path": "/a"}, {"path": "/a/"}]}},
        {
            "storage": {
                "emptyDirVolume": [{"path": "/a"}],
                "secretVolume": [{"secret": "s", "mountPath": "/a"}],
            }
        },
        {"storage": {"emptyDirVolume": [{"path": "/mounted"}]}},
    ],
)
def test_two_things_are_not_mounted_at_one_place(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=r"is also where .* is mounted"):
        wanted((("spec.storage.hostPath[0].path", "/mounted"),), **fields)


def test_every_part_that_a_runtime_may_refuse_has_its_field() -> None:
    parts = {"empty_dirs", "secrets", "home", "has_tty"} | set(Security.__dataclass_fields__)
    assert set(FIELDS) == parts
    assert str(invalid(Refusal("has_tty", "no terminals"))) == "spec.tty: no terminals"


def test_it_is_kept_with_the_workload_and_older_ones_ask_for_nothing() -> None:
    own = ContainerOptions(
        Security(uid=1, capabilities=("KILL",)),
        (EmptyDir("/a", True, 3),),
        (SecretVolume("/k", "s"),),
        "/a",
        True,
    )
    made = Workload(
        "w-1", "local", "w", "job", "ada", 1, WorkloadSpec("i", (), "cpu.small", 1, 1, container_options=own)
    )
    doc = to_doc(made)
    assert workload_from(doc).spec.options == own
    assert made.spec.secret_names == ("s",)
    older = json.loads(doc)
    del older["spec"]["container_options"]
    assert workload_from(json.dumps(older)).spec.options == ContainerOptions()
