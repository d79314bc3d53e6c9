"""What is answered is what the models of runapy 1.224.0 take: members of its enums, texts of its lengths."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.runai import Runai
from tests.runai_work import Work
from tests.world import World, eventually, world

SEED = """
nodes:
  - {name: x, gpus: 1xH100-80GB, cpu_cores: 64, memory: 64GiB, pool: fast}
  - {name: y, gpus: 1xA100-80GB, cpu_cores: 64, memory: 64GiB}
pools:
  - {name: fast, label: speed=fast, min_runtime: 5m}
projects:
  - {name: a, quotas: {default: {gpu: {deserved: 0, limit: 1}}, fast: {gpu: 0}}}
rules:
  - {name: fails, match: {kind: job, name: "fails*"}, exit_code: 3}
  - {name: stays, match: {kind: job}, run: forever}
"""
READ = """
result = []
for model, answer in answers:
    try:
        getattr(models, model).from_dict(answer)
    except ValueError as error:  # pydantic's own is one
        result.append(f"{model}: {error}")
"""


@pytest.fixture
def work(tmp_path: Path, runai: Runai) -> Generator[Work]:
    seed = tmp_path / "world.yaml"
    seed.write_text(SEED)
    with world(tmp_path, "simulated") as made:
        made.start(["--seed", str(seed)])
        yield Work(made, runai)


def gpu(count: int) -> dict[str, Any]:
    return {"compute": {"gpuDevicesRequest": count, "cpuCoreRequest": 0.1, "cpuMemoryRequest": "64M"}}


def refused(work: Work, answers: list[tuple[str, Any]]) -> list[str]:
    assert all(answer is not None for _, answer in answers)
    return work.runai.run(work.home, READ, answers=answers)


def test_org_units_and_nodes_are_what_the_clients_models_take(work: Work) -> None:
    project = work.data("organizations.projects.get_projects()")["projects"][0]
    department = work.data("organizations.departments.get_departments()")["departments"][0]
    answers = [("DisplayedCluster", c) for c in work.data("organizations.clusters.get_clusters()")]
    pools = work.data("organizations.node_pools.get_nodepools()")["nodepools"]
    # The default pool has no label, which the model cannot say: it wants one of at least a character.
    answers += [("Nodepool", p) for p in pools if not p["isDefault"]]
    answers += [("Node", n) for n in work.data("organizations.nodes.get_tenant_nodes()")["nodes"]]
    answers += [("ProjectStatus", project["status"]), ("DepartmentAllOfStatus", department["status"])]
    assert refused(work, answers) == []


def test_workloads_are_what_the_clients_models_take_whatever_they_wait_for(work: Work) -> None:
    a = work.project("a")
    made = {
        "fails": work.train("fails", project=a, **gpu(0), backoffLimit=0),
        "runs": work.train("runs", project=a, **gpu(1)),
        "large": work.train("large", project=a, **gpu(8)),
        "fixed": work.train("fixed", project=a, **gpu(1), preemptibility="non-preemptible"),
        "capped": work.train("capped", project=a, **gpu(2), nodePools=["default"]),
    }
    made["notebook"] = work.submit("Workspace", "notebook", spec=gpu(0))["workloadId"]
    work.becomes(made["fails"], "Failed")
    work.becomes(made["runs"], "Running")
    work.becomes(made["notebook"], "Running")
    for name in ("large", "fixed", "capped"):
        eventually(f"{name} is told why", lambda id_=made[name]: work.get(id_)["phaseMessage"])
    work.typed("Workspace", "suspend", made["notebook"])
    answers = [("WorkloadDetailed", work.get(id_)) for id_ in made.values()]
    answers += [("Workload", w) for w in work.found()]
    for id_ in made.values():
        answers += [("Pod1", p) for p in work.pods(id_)] + [("Event1", e) for e in work.events(id_)]
        history = work.data("workloads.events.get_workload_history(id)", id=id_)["records"]
        answers += [("HistoryRecord1", r) for r in history]
    assert refused(work, answers) == []
    told = {name: work.get(id_).get("pendingSchedulingMessages", []) for name, id_ in made.items()}
    named = {name: [(m["nodePool"], m["phaseReason"]) for m in some] for name, some in told.items() if some}
    limit, quota = ("default", "OverLimit"), ("fast", "NonPreemptibleOverQuota")
    assert named == {"large": [limit], "fixed": [limit, quota], "capped": [limit]}


def test_workload_that_names_no_pool_asks_for_all_of_them(work: Work) -> None:
    """It may run in any, so a list of those of one pool must not leave it out while it waits."""
    home: World = work.home
    waits = work.train("waits", **gpu(8))
    one = work.train("one", **gpu(0), nodePools=["fast"])
    eventually("it is told why", lambda: work.get(waits)["phaseMessage"])
    assert work.get(waits)["requestedNodePools"] == ["default", "fast"]
    assert [p["requestedNodePools"] for p in work.pods(waits)] == [["default", "fast"]]
    assert work.get(one)["requestedNodePools"] == ["fast"]
    assert work.names("nodepool==fast", sort_by="name") == ["one", "waits"], home.runtime


def test_what_is_being_deleted_is_told_as_gone(work: Work) -> None:
    waits = work.train("waits", **gpu(8))
    eventually("it is told why", lambda: work.get(waits)["phaseMessage"])
    assert work.get(waits)["actionsSupport"] == {"delete": True, "suspend": True}
    work.typed("Training", "delete", waits)
    (gone,) = eventually("deleted", lambda: work.found(deleted=True))
    assert gone["actionsSupport"] == {"delete": False, "suspend": False}
    assert (gone["phase"], gone["k8sPhase"]) == ("Deleting", "Pending")
