"""What a body of Run:ai's asks for has an effect, or is refused, or named: bodies that no client sends."""

from collections.abc import Callable
from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Rule

from .home import Api
from .test_runai_odd_bodies import TRAININGS, sign_in

Play = Callable[..., None]
UNITS = "/api/v1/org-unit"
POOLS = "/api/v1/node-pools"
DISTRIBUTED = "/api/v1/workloads/distributed"
HOLDS = Rule(run_for_s=None)


@pytest.mark.parametrize(
    ("spec", "field", "values"),
    [
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy", "'Always', 'Never' or 'OnFailure'"),
        ({"ports": [{"container": 80, "serviceType": "Magic"}]}, "spec.ports[0].serviceType",
         "'LoadBalancer', 'NodePort' or 'ClusterIP'"),
        ({"imagePullPolicy": "never"}, "spec.imagePullPolicy", "'Always', 'Never' or 'IfNotPresent'"),
        ({"security": {"uidGidSource": "mine"}}, "spec.security.uidGidSource",
         "'fromTheImage', 'fromIdpToken' or 'custom'"),
        ({"security": {"seccompProfileType": "Mine"}}, "spec.security.seccompProfileType", "'Unconfined'"),
        ({"security": {"capabilities": ["KILL", "FLY"]}}, "spec.security.capabilities[1]", "'SYS_ADMIN'"),
        ({"storage": {"hostPath": [{"path": "/a", "mountPath": "/b", "mountPropagation": "Both"}]}},
         "spec.storage.hostPath[0].mountPropagation", "'None' or 'HostToContainer'"),
        ({"storage": {"pvc": [{"path": "/a", "claimInfo": {"volumeMode": "Tape"}}]}},
         "spec.storage.pvc[0].claimInfo.volumeMode", "'Filesystem' or 'Block'"),
        ({"storage": {"git": [{"secretRef": {"authenticationMethod": "smile"}}]}},
         "spec.storage.git[0].secretRef.authenticationMethod", "'password' or 'ssh-key'"),
        ({"exposedUrls": [{"container": 80, "authorizationType": "friends"}]},
         "spec.exposedUrls[0].authorizationType", "'authorizedUsers' or 'authorizedGroups'"),
        ({"podAffinity": {"type": "Maybe", "key": "k"}}, "spec.podAffinity.type",
         "'Required' or 'Preferred'"),
        ({"probes": {"readiness": {"handler": {"httpGet": {"port": 80, "scheme": "FTP"}}}}},
         "spec.probes.readiness.handler.httpGet.scheme", "'HTTP' or 'HTTPS'"),
        ({"tolerations": [{"operator": "Like"}]}, "spec.tolerations[0].operator", "'Equal' or 'Exists'"),
        ({"compute": {"gpuRequestType": "cores"}}, "spec.compute.gpuRequestType", "'portion' or 'memory'"),
        ({"preemptibility": "maybe"}, "spec.preemptibility", "'preemptible' or 'non-preemptible'"),
    ],
)  # fmt: skip
def test_value_that_is_none_of_a_closed_set_is_refused_with_those_that_are(
    play: Play, spec: dict[str, Any], field: str, values: str
) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "t", "projectId": "3", "clusterId": await sign_in(api)}
        answer = await api.anybody.post(TRAININGS, json=body | {"spec": {"image": "any:1"} | spec})
        assert answer.status_code == 400, answer.text
        assert answer.json()["message"].startswith(f"{field}: ")
        assert values in answer.json()["message"]

    play(scenario)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"distributedFramework": "Spark"}, "spec.distributedFramework"),
        ({"cleanPodPolicy": "Some"}, "spec.cleanPodPolicy"),
        ({"mpiLauncherCreationPolicy": "Never"}, "spec.mpiLauncherCreationPolicy"),
    ],
)
def test_value_that_no_distributed_workload_has_is_refused(
    play: Play, spec: dict[str, Any], field: str
) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "t", "projectId": "3", "clusterId": await sign_in(api)}
        wanted = {"image": "any:1", "numWorkers": 1} | spec
        answer = await api.anybody.post(DISTRIBUTED, json=body | {"spec": wanted})
        assert answer.status_code == 400, answer.text
        assert answer.json()["message"].startswith(f"{field}: Input should be ")

    play(scenario)


def test_good_value_that_is_not_served_stays_a_501(play: Play) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "t", "projectId": "3", "clusterId": await sign_in(api)}
        for spec, said in (
            ({"restartPolicy": "Always"}, "spec.restartPolicy: Always"),
            ({"security": {"someNumber": 0}}, "spec.security.someNumber"),
            ({"storage": {"git": [{"secretRef": {"authenticationMethod": "password"}}]}}, "spec.storage.git"),
        ):
            answer = await api.anybody.post(TRAININGS, json=body | {"spec": {"image": "any:1"} | spec})
            assert answer.status_code == 501, answer.text
            assert said in answer.json()["message"]

    play(scenario)


def test_field_without_effect_is_named_wherever_the_pool_or_unit_is_shown(play: Play) -> None:
    async def scenario(api: Api) -> None:
        cluster = await sign_in(api)
        for path, body in (
            (POOLS, {"labelKey": "a", "labelValue": "b", "overProvisioningRatio": 2}),
            (f"{UNITS}/projects", {"resources": [], "enforceRunaiScheduler": False}),
            (f"{UNITS}/departments", {"resources": []}),
        ):
            sent = {"name": "odd", "clusterId": cluster, "colour": "red"} | body
            made = (await api.anybody.post(path, json=sent)).json()
            others = [n for n in ("enforceRunaiScheduler", "overProvisioningRatio") if n in body]
            assert made["ignoredByHomeport"] == ["colour", *others]
            assert made["colour"] == "red"
            shown = (await api.anybody.get(f"{path}/{made['id']}")).json()
            assert shown == made
            (listed,) = [
                unit
                for units in (await api.anybody.get(path)).json().values()
                for unit in units
                if unit["id"] == made["id"]
            ]
            assert listed == made
            plain = {"name": "plain", "clusterId": cluster} | {
                k: v for k, v in body.items() if k not in others
            }
            answer = await api.anybody.post(
                path, json=plain | {"labelValue": "c"} if path == POOLS else plain
            )
            assert "ignoredByHomeport" not in answer.json(), answer.text

    play(scenario)


def test_unit_that_is_sent_back_as_it_was_answered_asks_for_nothing_new(play: Play) -> None:
    async def scenario(api: Api) -> None:
        cluster = await sign_in(api)
        for path, body in (
            (POOLS, {"labelKey": "a", "labelValue": "b"}),
            (f"{UNITS}/projects", {"resources": [], "description": "seen"}),
            (f"{UNITS}/departments", {"resources": []}),
        ):
            made = (await api.anybody.post(path, json={"name": "again", "clusterId": cluster} | body)).json()
            answer = await api.anybody.put(f"{path}/{made['id']}", json=made)
            assert answer.status_code == 200, answer.text
            same = {k: v for k, v in answer.json().items() if k not in ("updatedAt", "status")}
            assert same == {k: v for k, v in made.items() if k not in ("updatedAt", "status")}

    play(scenario)


def test_claim_that_was_to_be_there_and_is_not_is_told(play: Play) -> None:
    async def scenario(api: Api) -> None:
        cluster = await sign_in(api)
        storage = {
            "pvc": [
                {"claimName": "data", "path": "/data", "existingPvc": True},
                {"claimName": "own", "path": "/own", "claimInfo": {"size": "10Gi"}},
            ]
        }
        body = {"name": "t", "projectId": "3", "clusterId": cluster}

        async def events(name: str) -> list[tuple[str, str]]:
            spec = {"image": "any:1", "storage": storage}
            made = (await api.anybody.post(TRAININGS, json=body | {"name": name, "spec": spec})).json()
            told = await api.anybody.get(f"/api/v1/workloads/{made['workloadId']}/events")
            return [
                (e["reason"], e["message"])
                for e in told.json()["events"]
                if e["reason"] in ("ClaimMade", "FieldIgnored")
            ]

        made, size = await events("first")
        assert made[0] == "ClaimMade"
        assert made[1].startswith("spec.storage.pvc[0].claimName: there is no claim 'data' in project local")
        assert size[0] == "FieldIgnored"
        assert size[1].startswith("spec.storage.pvc[1].claimInfo: size kept, and not enforced")
        (api.at.home.services.folders.own / "pvc" / "local" / "data").mkdir(parents=True)
        assert [reason for reason, _ in await events("second")] == ["FieldIgnored"]

    play(scenario, HOLDS)


def test_numbers_are_told_as_csv_to_who_asks_for_it(play: Play) -> None:
    async def scenario(api: Api) -> None:
        cluster = await sign_in(api)
        body = {"name": "t", "projectId": "3", "clusterId": cluster, "spec": {"image": "any:1"}}
        made = (await api.anybody.post(TRAININGS, json=body)).json()["workloadId"]
        csv = {"Accept": "text/csv"}
        metrics = f"/api/v1/workloads/{made}/metrics"
        query = {"start": "2000-01-01T00:00:00Z", "end": "2000-01-02T00:00:00Z", "numberOfSamples": "2"}
        asked = query | {"metricType": "POD_COUNT"}
        answer = await api.anybody.get(metrics, params=asked, headers=csv)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.text.splitlines() == [
            "type,timestamp,value",
            "POD_COUNT,2000-01-01T00:00:00.000Z,0", "POD_COUNT,2000-01-02T00:00:00.000Z,0",
        ]  # fmt: skip
        answer = await api.anybody.get(metrics, params=asked | {"metricType": "POD_COUNT,NIM_X"}, headers=csv)
        assert (answer.status_code, answer.json()["details"]) == (406, "not_acceptable")
        assert "NIM_X" in answer.json()["message"]
        told = "/api/v1/workloads/telemetry?telemetryType=WORKLOADS_COUNT&groupBy=ProjectId"
        answer = await api.anybody.get(told, headers=csv)
        header, line = answer.text.splitlines()
        assert header == "type,timestamp,ProjectId,ProjectId.name,value"
        assert (line.split(",")[0], line.split(",")[2:]) == ("WORKLOADS_COUNT", ["3", "local", "1"])
        answer = await api.anybody.get("/api/v1/nodes/telemetry?telemetryType=TOTAL_GPUS", headers=csv)
        assert answer.text.splitlines()[0] == "type,timestamp,value"
        answer = await api.anybody.get(f"{UNITS}/projects/telemetry?telemetryType=GPU_QUOTA", headers=csv)
        assert (answer.status_code, answer.json()["details"]) == (406, "not_acceptable")

    play(scenario)
