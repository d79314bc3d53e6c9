"""What Run:ai's client sends has an effect, or is refused by name: seen with the real runapy 1.224.0."""

import json
import subprocess
import sys
from collections.abc import Generator
from typing import Any

import pytest

from tests.runai import KINDS, Runai, RunaiError
from tests.runai_work import Work
from tests.world import World, eventually, world

SEED = """
nodes:
  - {name: a, gpus: 2xH100-80GB, cpu_cores: 16, memory: 64GiB}
  - {name: b, gpus: 2xH100-80GB, cpu_cores: 16, memory: 64GiB, labels: {speed: fast}}
pools:
  - {name: fast, label: speed=fast, min_runtime: 10m}
projects:
  - {name: vision, quotas: {default: {gpu: 2}}}
rules:
  - {name: short, match: {kind: job, name: "short*"}, run: 1s}
  - {name: long, match: {kind: job, name: "*"}, run: forever}
"""
CLUSTER = 'cluster = done(client.organizations.clusters.get_clusters()).data[0]["uuid"]\n'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    folder = tmp_path_factory.mktemp("effects")
    seed = folder / "world.yaml"
    seed.write_text(SEED)
    with world(folder, "simulated") as made:
        made.start(["--seed", str(seed)])
        yield made


def ask(home: World, runai: Runai, call: str, kind: str = "sync", **values: Any) -> Any:
    """The JSON that a call of the client's `organizations` answers, with `cluster` in scope."""
    return runai.run(home, f"{CLUSTER}result = done(client.organizations.{call})", kind, **values)["data"]


def homeport(home: World, *words: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "homeport", *words, "--data-dir", str(home.data_dir)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_limit_of_null_is_taken_away_by_a_patch_that_means_it(home: World, runai: Runai, kind: str) -> None:
    (project,) = ask(home, runai, "projects.get_projects(filter_by=['name==vision'])")["projects"]
    (quota,) = project["resources"]

    def patch(amount: str) -> dict[str, Any]:
        entry = f"models.ResourcesNullable(node_pool=models.ResourcesNodePool(id=pool), gpu={amount})"
        call = f"projects.patch_project_resources(id, [{entry}])"
        return ask(home, runai, call, kind, id=project["id"], pool=quota["nodePool"]["id"])[0]["gpu"]

    assert patch("models.NonNullResource(deserved=1, limit=2)")["limit"] == 2
    assert patch("models.NonNullResource(deserved=2)") == {
        "deserved": 2, "limit": 2, "overQuotaWeight": None,
    }  # fmt: skip
    # What `from_dict` adds by itself says nothing; what was written does.
    assert patch("models.NonNullResource.from_dict({'deserved': 1})")["limit"] == 2
    assert patch("models.NonNullResource(deserved=1, limit=None)")["limit"] is None


@pytest.mark.parametrize(
    ("call", "says"),
    [
        pytest.param(
            "projects.create_project(models.ProjectCreationRequest(name='space', cluster_id=cluster, "
            "resources=[], requested_namespace='Bad NS'))",
            "requestedNamespace: 'Bad NS' must be",
            id="namespace-that-is-none",
        ),
        pytest.param(
            "node_pools.create_nodepool(models.NodepoolCreateFields(name='odd', cluster_id=cluster, "
            "label_key='speed', label_value='not a value'))",
            "labelValue: 'not a value' must be",
            id="value-of-a-label-by-its-own-field",
        ),
        pytest.param(
            "projects.patch_project_resources('3', {'gpu': {'limit': 1}})", "body: must be a list",
            id="an-object-for-a-list",
        ),
    ],
)  # fmt: skip
def test_what_would_have_no_effect_is_a_400_that_names_it(
    home: World, runai: Runai, call: str, says: str
) -> None:
    with pytest.raises(RunaiError) as caught:
        ask(home, runai, call)
    assert caught.value.status == 400
    assert caught.value.data["message"].startswith(says)


@pytest.mark.parametrize("kind", KINDS)
def test_work_that_has_ended_cannot_be_resumed(home: World, runai: Runai, kind: str) -> None:
    work = Work(home, runai, kind)
    made = work.train(f"short-{kind}", "true")
    work.becomes(made, "Completed")
    with pytest.raises(RunaiError, match="has ended; to run it again, submit it anew") as caught:
        work.typed("Training", "resume", made)
    assert caught.value.status == 409
    body = {"ids": [made], "action": "resume"}
    told = work.data(
        "workloads.workloads_batch.batch_workloads(models.WorkloadBatch.from_dict(body))", body=body
    )
    assert ([f["id"] for f in told["failed"]], told["succeeded"]) == ([made], [])
    work.typed("Training", "delete", made)


def test_guaranteed_runtime_is_shown_filtered_and_sorted(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    early = work.train("early", nodePools=["fast"], compute={"gpuDevicesRequest": 1})
    work.becomes(early, "Running")
    plain = work.train("plain", nodePools=["default"], compute={"gpuDevicesRequest": 1})
    work.becomes(plain, "Running")
    late = work.train("late", nodePools=["fast"], compute={"gpuDevicesRequest": 1})
    work.becomes(late, "Running")
    ends = work.get(early)["guaranteedRuntimeEndsAt"]
    assert ends > work.get(early)["createdAt"]
    assert "guaranteedRuntimeEndsAt" not in work.get(plain)
    assert work.names(f"guaranteedRuntimeEndsAt<={ends}") == ["early"]
    field = "guaranteedRuntimeEndsAt"
    assert work.names(f"{field}>={ends}", sort_by=field, sort_order="desc") == ["late", "early"]
    everything = work.names(sort_by=field)
    assert [n for n in everything if n in ("early", "late", "plain")] == ["early", "late", "plain"]
    for made in (early, plain, late):
        work.typed("Training", "delete", made)
    eventually("its end", lambda: not {"early", "late", "plain"} & set(work.names()))


def test_taint_keeps_work_off_a_node_until_it_is_taken_away(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    told = homeport(home, "node", "taint", "b", "team=vision:NoSchedule")
    assert told == "b has the taints team=vision:NoSchedule\n"
    (node,) = ask(home, runai, "nodes.get_tenant_nodes(filter_by=['name==b'])")["nodes"]
    assert node["taints"] == [{"key": "team", "value": "vision", "effect": "NoSchedule"}]
    barred = work.train("barred", nodePools=["fast"])
    eventually("its reason", lambda: "taint" in work.get(barred)["phaseMessage"])
    taint = {"key": "team", "operator": "Equal", "value": "vision", "effect": "NoSchedule"}
    work.becomes(work.train("let-in", nodePools=["fast"], tolerations=[taint]), "Running")
    assert "has no taint other:NoSchedule" in homeport(
        home, "node", "untaint", "b", "other:NoSchedule", status=1
    )
    assert work.phase(barred) == "Pending"
    assert homeport(home, "node", "untaint", "b", "team:NoSchedule") == "b has no taints\n"
    work.becomes(barred, "Running")
    (listed,) = [n for n in json.loads(homeport(home, "node", "list", "--json")) if n["id"] == "b"]
    assert listed["taints"] == []


def test_time_of_a_suspension_is_no_pending_time_of_what_had_no_place(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    asked = {"compute": {"gpuDevicesRequest": 3}}  # not preemptible, and more than the quota
    made = work.submit("Workspace", "waits", project=work.project("vision"), spec=asked)["workloadId"]

    def waited_min() -> int:
        return work.get(made)["totalPendingTimeSeconds"] // 60

    homeport(home, "clock", "advance", "10m")
    work.typed("Workspace", "suspend", made)
    work.becomes(made, "Stopped")
    homeport(home, "clock", "advance", "30m")
    assert waited_min() == 10
    work.typed("Workspace", "resume", made)
    work.becomes(made, "Pending")
    homeport(home, "clock", "advance", "10m")
    assert waited_min() == 20
