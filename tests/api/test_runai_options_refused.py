"""EmptyDir, secrets and users in bodies that no client of Run:ai's sends; what is kept of those it does."""

from collections.abc import Callable
from typing import Any

import pytest

from .home import Api
from .test_runai_odd_bodies import TRAININGS, sign_in

Play = Callable[..., None]
SECRETS = "/api/v2/workspaces/local/secrets"
DIR, VOLUME = "spec.storage.emptyDirVolume", "spec.storage.secretVolume"


async def submit(api: Api, spec: dict[str, Any], name: str = "t") -> Any:
    body = {"name": name, "projectId": "3", "clusterId": await sign_in(api)}
    return await api.anybody.post(TRAININGS, json=body | {"spec": {"image": "any:1"} | spec})


def empty_dir(**fields: Any) -> dict[str, Any]:
    return {"storage": {"emptyDirVolume": [{"path": "/a"} | fields]}}


def secret_volume(**fields: Any) -> dict[str, Any]:
    return {"storage": {"secretVolume": [{"secret": "s", "mountPath": "/k"} | fields]}}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"storage": {"emptyDirVolume": {"path": "/a"}}}, DIR),
        ({"storage": {"emptyDirVolume": ["/a"]}}, f"{DIR}[0]"),
        (empty_dir(path="/a\0b"), f"{DIR}[0].path"),
        (empty_dir(path="/"), f"{DIR}[0].path"),
        (empty_dir(path="/proc/x"), f"{DIR}[0].path"),
        (empty_dir(medium=5), f"{DIR}[0].medium"),
        (empty_dir(medium="memory"), f"{DIR}[0].medium"),
        (empty_dir(sizeLimit="9" * 400), f"{DIR}[0].sizeLimit"),
        (empty_dir(sizeLimit="-1Gi"), f"{DIR}[0].sizeLimit"),
        (secret_volume(defaultMode="0888"), f"{VOLUME}[0].defaultMode"),
        (secret_volume(defaultMode=420), f"{VOLUME}[0].defaultMode"),
        (secret_volume(secret="../other"), f"{VOLUME}[0].secret"),
        (secret_volume(mountPath="k"), f"{VOLUME}[0].mountPath"),
        ({"security": {"runAsUid": -1}}, "spec.security.runAsUid"),
        ({"security": {"runAsUid": 10**30}}, "spec.security.runAsUid"),
        ({"security": {"runAsUid": True}}, "spec.security.runAsUid"),
        ({"security": {"supplementalGroups": "²"}}, "spec.security.supplementalGroups"),
        ({"security": {"supplementalGroups": "1,,2"}}, "spec.security.supplementalGroups"),
        ({"security": {"capabilities": ["ALL"]}}, "spec.security.capabilities[0]"),
        ({"security": {"capabilities": ["CAP_KILL"]}}, "spec.security.capabilities[0]"),
        ({"security": {"seccompProfileType": "None"}}, "spec.security.seccompProfileType"),
        ({"security": {"hostIpc": "yes please"}}, "spec.security.hostIpc"),
    ],
)  # fmt: skip
def test_odd_volume_or_user_is_refused_by_field(play: Play, spec: dict[str, Any], field: str) -> None:
    async def scenario(api: Api) -> None:
        answer = await submit(api, spec)
        assert (answer.status_code, answer.json()["code"]) == (400, 400), answer.text
        assert answer.json()["message"].startswith(f"{field}: ")
        assert (await api.anybody.get("/api/v1/workloads")).json() == {"workloads": []}

    play(scenario)


def test_what_is_said_is_given_back_as_it_came(play: Play) -> None:
    async def scenario(api: Api) -> None:
        made = await api.client.post(SECRETS, json=[{"name": "token", "value": "s3cret-of-the-test"}])
        assert made.status_code < 300, made.text
        spec = {
            "storage": {
                "emptyDirVolume": [{"name": "c", "path": "/c", "medium": "Memory", "sizeLimit": "1Gi"}],
                "secretVolume": [{"secret": "token", "mountPath": "/keys", "defaultMode": "0400"}],
            },
            "security": {"runAsUid": 1000, "supplementalGroups": "7", "capabilities": ["IPC_LOCK"]},
            "createHomeDir": True, "tty": True, "stdin": True,
        }  # fmt: skip
        answer = await submit(api, spec)
        assert answer.status_code == 202, answer.text
        seen = (await api.anybody.get(f"{TRAININGS}/{answer.json()['workloadId']}")).json()
        assert seen["spec"] == {"image": "any:1"} | spec

    play(scenario)
