"""What runapy 1.224.0 can say and Homeport cannot do is refused by name, or named; nothing is in silence."""

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
  - {name: b, gpus: 2xH100-80GB, cpu_cores: 16, memory: 64GiB, pool: fast, labels: {run.ai/type: dgx}}
pools:
  - {name: fast}
rules:
  - {name: long, match: {kind: job, name: "*"}, run: forever}
"""
CLUSTER = 'cluster = done(client.organizations.clusters.get_clusters()).data[0]["uuid"]\n'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    folder = tmp_path_factory.mktemp("strict")
    seed = folder / "world.yaml"
    seed.write_text(SEED)
    with world(folder, "simulated") as made:
        made.start(["--seed", str(seed)])
        yield made


def ask(home: World, runai: Runai, call: str, kind: str = "sync", **values: Any) -> Any:
    """The JSON that a call of the client's `organizations` answers, with `cluster` in scope."""
    return runai.run(home, f"{CLUSTER}result = done(client.organizations.{call})", kind, **values)["data"]


def homeport(home: World, *words: str) -> tuple[str, str]:
    """What it says on standard output and on standard error."""
    argv = [sys.executable, "-P", "-m", "homeport", *words, "--data-dir", str(home.data_dir)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_value_that_the_api_has_and_homeport_has_not_is_a_501_and_another_a_400(
    home: World, runai: Runai, kind: str
) -> None:
    work = Work(home, runai, kind)
    with pytest.raises(RunaiError) as caught:
        work.train("always", restartPolicy="Always")
    assert caught.value.status == 501
    assert "spec.restartPolicy: Always" in caught.value.data["message"]
    # Its models refuse any other value by themselves; a dict is sent as it is.
    spec = {"image": "any:1", "restartPolicy": "Sometimes"}
    body = {"name": "odd", "projectId": work.project(), "clusterId": work.cluster, "spec": spec}
    with pytest.raises(RunaiError) as caught:
        work.data("workloads.trainings.create_training1(body)", body=body)
    assert caught.value.status == 400
    assert caught.value.data["message"] == (
        "spec.restartPolicy: Input should be 'Always', 'Never' or 'OnFailure'"
    )


def test_master_that_is_to_be_the_same_and_is_not_is_refused(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    spec = {"numWorkers": 1, "command": "sleep 5"}
    with pytest.raises(RunaiError) as caught:
        work.submit(
            "Distributed", "twin", spec=spec, masterSpec={"command": "sleep 9"}, masterSpecSameAsWorker=True
        )
    assert caught.value.status == 400
    assert caught.value.data["message"].startswith("masterSpec.command: is not what spec.command is")
    made = work.submit(
        "Distributed", "twin", spec=spec, masterSpec={"command": "sleep 5"}, masterSpecSameAsWorker=True
    )
    assert (made["masterSpec"]["command"], made["masterSpecSameAsWorker"]) == ("sleep 5", True)
    work.typed("Distributed", "delete", made["workloadId"])


def test_field_without_effect_is_named_in_the_answer(home: World, runai: Runai) -> None:
    pool = ask(
        home, runai,
        "node_pools.create_nodepool(models.NodepoolCreateFields(name='odd', cluster_id=cluster, "
        "label_key='odd', label_value='yes', over_provisioning_ratio=3, "
        "gpu_resource_optimization=models.GPUResourceOptimization(swap_enabled=True)))",
    )  # fmt: skip
    assert pool["ignoredByHomeport"] == ["gpuResourceOptimization", "overProvisioningRatio"]
    assert pool["overProvisioningRatio"] == 3
    (listed,) = ask(home, runai, "node_pools.get_nodepools(filter_by=['name==odd'])")["nodepools"]
    assert listed == pool
    ask(home, runai, "node_pools.delete_nodepool(id)", id=pool["id"])
    request = "models.ProjectCreationRequest(name='plain', cluster_id=cluster, resources=[], {})"
    made = ask(home, runai, f"projects.create_project({request.format('enforce_runai_scheduler=False')})")
    assert made["ignoredByHomeport"] == ["enforceRunaiScheduler"]
    ask(home, runai, "projects.delete_project(id)", id=made["id"])
    made = ask(home, runai, f"projects.create_project({request.format('')})")
    assert "ignoredByHomeport" not in made
    ask(home, runai, "projects.delete_project(id)", id=made["id"])


@pytest.mark.parametrize(
    "default",
    [
        pytest.param({"defaultNodePools": ["fast"]}, id="node-pools"),
        pytest.param({"nodeTypes": {"training": ["dgx"]}}, id="node-types"),
    ],
)
def test_project_runs_where_its_department_has_it_run(
    home: World, runai: Runai, request: pytest.FixtureRequest, default: dict[str, Any]
) -> None:
    """`effective` of the project says so, and the scheduler does it."""
    name = f"of-{request.node.callspec.id}"
    asked = "models.DepartmentCreationRequest.from_dict({**sent, 'clusterId': cluster})"
    above = {"name": name, "resources": []} | default
    department = ask(home, runai, f"departments.create_department({asked})", sent=above)
    sent = {"name": name, "resources": [], "parentId": department["id"]}
    call = "projects.create_project(models.ProjectCreationRequest.from_dict({**sent, 'clusterId': cluster}))"
    project = ask(home, runai, call, sent=sent)
    field, value = next(iter(default.items()))
    assert (project[field] or None, project["effective"][field]) == (None, value)
    work = Work(home, runai)
    made = work.train("there", project=project["id"])
    work.becomes(made, "Running")
    assert [p["nodeName"] for p in work.pods(made)] == ["b"]
    work.typed("Training", "delete", made)
    eventually("it to be gone", lambda: not work.found(f"projectName=={name}"))
    ask(home, runai, "projects.delete_project(id)", id=project["id"])
    ask(home, runai, "departments.delete_department(id)", id=department["id"])


def test_node_that_was_declared_in_a_pool_leaves_it_by_a_label(home: World, runai: Runai) -> None:
    (pool,) = ask(home, runai, "node_pools.get_nodepools(filter_by=['name==fast'])")["nodepools"]
    with pytest.raises(RunaiError) as caught:
        ask(home, runai, "node_pools.delete_nodepool(id)", id=pool["id"])
    assert caught.value.status == 409
    way_out = caught.value.data["message"].rpartition(": ")[2]
    assert way_out == "homeport node label b homeport/pool=default"
    homeport(home, *way_out.split()[1:])
    left = ask(home, runai, "node_pools.get_nodepool(id)", id=pool["id"])
    assert (left["phase"], left["status"]["nodes"]) == ("Empty", [])
    homeport(home, "node", "label", "b", "homeport/pool=fast")
    back = ask(home, runai, "node_pools.get_nodepool(id)", id=pool["id"])
    assert back["status"]["nodes"] == ["b"]


def test_reservation_for_somebody_unknown_says_so(home: World, runai: Runai) -> None:
    said, warned = homeport(home, "reservation", "add", "hers", "--user", "grace", "--hours", "1")
    assert "is for grace" in said
    assert "Nobody is called 'grace' yet" in warned
    assert "homeport token create grace" in warned
    homeport(home, "reservation", "remove", "hers")
    homeport(home, "token", "create", "grace")
    assert homeport(home, "reservation", "add", "hers", "--user", "grace", "--user", "local")[1] == ""
    homeport(home, "reservation", "remove", "hers")
