"""Clusters, nodes, node pools, departments and projects through runapy."""

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from typing import Any

import pytest

from tests.runai import KINDS, Runai, RunaiError
from tests.sdk import Sdk
from tests.world import World, eventually, world

CLUSTER = 'cluster = done(client.organizations.clusters.get_clusters()).data[0]["uuid"]\n'
GPU = {"deserved": 1, "limit": 2, "overQuotaWeight": 3}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """2 simulated H100."""
    with world(tmp_path_factory.mktemp("org"), "simulated") as made:
        made.start()
        yield made


def api(home: World, runai: Runai, call: str, kind: str = "sync", **values: Any) -> Any:
    """`call` of the client, with `cluster` in scope: {"status", "data"}."""
    return runai.run(home, f"{CLUSTER}result = done(client.organizations.{call})", kind, **values)


def create_project(home: World, runai: Runai, name: str, kind: str = "sync", **fields: Any) -> dict[str, Any]:
    sent = {"name": name, "resources": [], **fields}
    call = "projects.create_project(models.ProjectCreationRequest.from_dict({**sent, 'clusterId': cluster}))"
    made = api(home, runai, call, kind, sent=sent)
    assert made["status"] == 201
    return made["data"]


def create_department(home: World, runai: Runai, name: str, **fields: Any) -> dict[str, Any]:
    sent = {"name": name, "resources": [], **fields}
    request = "models.DepartmentCreationRequest.from_dict({**sent, 'clusterId': cluster})"
    made = api(home, runai, f"departments.create_department({request})", sent=sent)
    assert made["status"] == 201
    return made["data"]


def resources(pool: str = "1", **fields: Any) -> list[dict[str, Any]]:
    return [{"nodePool": {"id": pool}, **fields}]


# --- nodes


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_are_listed_counted_and_filtered(home: World, runai: Runai, kind: str) -> None:
    (node,) = api(home, runai, "nodes.get_tenant_nodes()", kind)["data"]["nodes"]
    assert (node["status"], node["nodePool"], node["gpuInfo"]["gpuCount"]) == ("Ready", "default", 2)
    (same,) = api(home, runai, "nodes.get_nodes(cluster)", kind)["data"]["nodes"]
    assert same == node
    filters = ["gpuType=@h100", "status==Ready", f"name=={node['name']}"]
    counted = api(home, runai, "nodes.count_tenant_nodes(filter_by=filters)", kind, filters=filters)
    assert counted["data"] == {"count": 1}
    assert api(home, runai, "nodes.count_nodes(cluster, search='nobody')", kind)["data"] == {"count": 0}


def test_node_telemetry_tells_what_there_is_by_pool_and_node(home: World, runai: Runai) -> None:
    told = api(home, runai, "nodes.get_node_telemetry(telemetry_type='TOTAL_GPUS')")["data"]
    assert (told["type"], [v["value"] for v in told["values"]]) == ("TOTAL_GPUS", ["2"])
    call = "nodes.get_node_telemetry(telemetry_type='FREE_GPUS', group_by=['Nodepool', 'Node'])"
    by_node = api(home, runai, call)["data"]
    assert [g["key"] for g in by_node["values"][0]["groups"]] == ["Nodepool", "Node"]
    assert by_node["values"][0]["groups"][0]["value"] == "default"


# --- node pools


@pytest.mark.parametrize("kind", KINDS)
def test_node_pool_is_created_changed_and_deleted(home: World, runai: Runai, kind: str) -> None:
    sent = {
        "name": f"pool-{kind}", "labelKey": "team", "labelValue": kind, "overProvisioningRatio": 2,
        "placementStrategy": {"gpu": "spread", "cpu": "binpack"},
        "schedulingConfiguration": {"minGuaranteedRuntime": "1d2h"},
    }  # fmt: skip
    call = "node_pools.create_nodepool(models.NodepoolCreateFields.from_dict({**sent, 'clusterId': cluster}))"
    created = api(home, runai, call, kind, sent=sent)
    made = created["data"]
    assert created["status"] == 201
    assert (made["phase"], made["isDefault"], made["overProvisioningRatio"]) == ("Empty", False, 2)
    assert made["placementStrategy"] == {"gpu": "spread", "cpu": "binpack"}
    assert made["schedulingConfiguration"]["minGuaranteedRuntime"] == "1d2h"
    # PATCH leaves what it does not name; PUT puts it back to its default.
    change = "models.NodepoolUpdateFields.from_dict({'labelValue': 'other'})"
    patched = api(home, runai, f"node_pools.patch_nodepool(id, {change})", kind, id=made["id"])["data"]
    assert (patched["labelValue"], patched["placementStrategy"]["gpu"]) == ("other", "spread")
    put = api(home, runai, f"node_pools.update_nodepool(id, {change})", kind, id=made["id"])["data"]
    assert (put["labelKey"], put["placementStrategy"]["gpu"]) == ("team", "binpack")
    assert put["schedulingConfiguration"]["minGuaranteedRuntime"] == "0s"
    listed = api(home, runai, "node_pools.get_nodepools(filter_by=['phase==Empty'])", kind)["data"]
    assert [p["name"] for p in listed["nodepools"]] == [made["name"]]
    assert api(home, runai, "node_pools.count_nodepools()", kind)["data"] == {"count": 2}
    assert api(home, runai, "node_pools.delete_nodepool(id)", kind, id=made["id"])["status"] == 204
    with pytest.raises(RunaiError) as caught:
        api(home, runai, "node_pools.get_nodepool(id)", kind, id=made["id"])
    assert caught.value.status == 404


def test_node_joins_the_pool_whose_label_it_is_given(home: World, runai: Runai) -> None:
    """`homeport node label`, since Run:ai's API has no operation for labels of nodes."""
    sent = {"name": "labelled", "labelKey": "team", "labelValue": "blue"}
    call = "node_pools.create_nodepool(models.NodepoolCreateFields.from_dict({**sent, 'clusterId': cluster}))"
    pool = api(home, runai, call, sent=sent)["data"]
    (node,) = api(home, runai, "nodes.get_tenant_nodes()")["data"]["nodes"]

    def label(verb: str, change: str) -> None:
        argv = [sys.executable, "-m", "homeport", "node", verb, "--data-dir", str(home.data_dir)]
        subprocess.run([*argv, node["name"], change], check=True, capture_output=True, timeout=60)

    label("label", "team=blue")
    found = api(home, runai, "node_pools.get_nodepool(id)", id=pool["id"])["data"]
    assert (found["phase"], found["status"]["nodes"]) == ("Ready", [node["name"]])
    with pytest.raises(RunaiError, match="has the nodes") as caught:
        api(home, runai, "node_pools.delete_nodepool(id)", id=pool["id"])
    assert caught.value.status == 409
    label("unlabel", "team")
    assert api(home, runai, "node_pools.delete_nodepool(id)", id=pool["id"])["status"] == 204


# --- departments and projects


@pytest.mark.parametrize("kind", KINDS)
def test_project_is_created_read_changed_and_deleted(home: World, runai: Runai, kind: str) -> None:
    name = f"vision-{kind}"
    made = create_project(
        home, runai, name, kind, description="sees",
        resources=resources(
            gpu=GPU, cpu={"deserved": 4000, "limit": None}, memory={"deserved": 10, "units": "GB"},
            priority="High",
        ),
        schedulingRules={"trainingJobTimeLimitSeconds": 3600},
        nodeTypes={"training": ["fast"], "workspace": []},
        defaultNodePools=["default"],
    )  # fmt: skip
    assert int(made["id"]) < 2**31
    assert (made["parent"]["name"], made["status"]["namespace"]) == ("default", f"runai-{name}")
    (quota,) = made["resources"]
    assert quota["nodePool"] == {"id": "1", "name": "default"}
    assert (quota["gpu"], quota["priority"]) == (GPU, "High")
    assert quota["cpu"] == {"deserved": 4000, "limit": None, "overQuotaWeight": None}
    assert (quota["memory"]["deserved"], quota["memory"]["units"]) == (10, "GB")
    assert made["totalResources"] == {"gpuQuota": 1, "cpuQuota": 4000, "memoryQuota": 10000}
    assert api(home, runai, "projects.get_project(id)", kind, id=made["id"])["data"] == made
    # PUT is the whole: what it does not name is gone.
    change = {"description": "looks", "resources": resources(gpu={"deserved": 2})}
    call = "projects.update_project(id, models.ProjectUpdateRequest.from_dict(change))"
    put = api(home, runai, call, kind, id=made["id"], change=change)
    assert (put["status"], put["data"]["description"], put["data"]["schedulingRules"]) == (200, "looks", {})
    assert put["data"]["resources"][0]["gpu"]["deserved"] == 2
    assert put["data"]["resources"][0]["priority"] == "Medium low"
    assert api(home, runai, "projects.delete_project(id)", kind, id=made["id"])["status"] == 204
    assert (
        api(home, runai, f"projects.count_projects(filter_by=['name=={name}'])", kind)["data"]["count"] == 0
    )


def test_resources_are_replaced_by_put_and_merged_by_patch(home: World, runai: Runai) -> None:
    sent = {"name": "second", "labelKey": "pool", "labelValue": "second"}
    call = "node_pools.create_nodepool(models.NodepoolCreateFields.from_dict({**sent, 'clusterId': cluster}))"
    pool = api(home, runai, call, sent=sent)["data"]["id"]
    made = create_project(home, runai, "quotas", resources=resources(gpu=GPU, priority="Low"))

    def put(sent: list[dict[str, Any]], verb: str) -> list[dict[str, Any]]:
        call = f"projects.{verb}_project_resources(id, [models.ResourcesNullable.from_dict(r) for r in sent])"
        return api(home, runai, call, id=made["id"], sent=sent)["data"]

    merged = put(resources(pool, gpu={"deserved": 0.5}), "patch")
    assert [(q["nodePool"]["name"], q["gpu"]["deserved"]) for q in merged] == [
        ("default", 1),
        ("second", 0.5),
    ]
    kept = put(resources(priority="High"), "patch")[0]
    assert (kept["gpu"], kept["priority"]) == (GPU, "High")
    unlimited = put(resources(gpu={"deserved": 1, "limit": -1}), "patch")[0]
    assert unlimited["gpu"] == {"deserved": 1, "limit": None, "overQuotaWeight": 3}
    replaced = put(resources(pool, gpu={"deserved": 1}), "update")
    assert [(q["nodePool"]["id"], q["gpu"]["deserved"]) for q in replaced] == [(pool, 1)]
    assert api(home, runai, "projects.delete_project(id)", id=made["id"])["status"] == 204
    assert api(home, runai, "node_pools.delete_nodepool(id)", id=pool)["status"] == 204


def test_patches_of_different_pools_at_the_same_time_all_stay(home: World, runai: Runai) -> None:
    """ThreadedApiClient sends them at once."""
    code = """
cluster = done(client.organizations.clusters.get_clusters()).data[0]["uuid"]
org = client.organizations
pools = [org.node_pools.create_nodepool(models.NodepoolCreateFields(
    name=f"at-once-{i}", label_key="at-once", label_value=str(i), cluster_id=cluster)) for i in range(4)]
ids = [done(p).data["id"] for p in pools]
first = {"nodePool": {"id": "1"}, "gpu": {"deserved": 1}}
made = done(org.projects.create_project(models.ProjectCreationRequest.from_dict(
    {"name": "at-once", "clusterId": cluster, "resources": [first]}))).data
sent = [org.projects.patch_project_resources(made["id"], [models.ResourcesNullable.from_dict(
    {"nodePool": {"id": i}, "gpu": {"deserved": 2}})]) for i in ids]
for one in sent:
    done(one)
read = done(org.projects.get_project(made["id"])).data
done(org.projects.delete_project(made["id"]))
for i in ids:
    done(org.node_pools.delete_nodepool(i))
result = sorted(r["gpu"]["deserved"] for r in read["resources"])
"""
    assert runai.run(home, code, "threaded") == [1, 2, 2, 2, 2]


def test_department_has_its_projects_their_sums_and_rules_they_inherit(home: World, runai: Runai) -> None:
    rules = {"trainingJobTimeLimitSeconds": 60, "interactiveJobTimeLimitSeconds": 90}
    above = create_department(
        home, runai, "research", schedulingRules=rules, resources=resources(gpu={"deserved": 2})
    )
    own = {"trainingJobTimeLimitSeconds": 30}
    for name in ("one", "two"):
        create_project(
            home, runai, name, parentId=above["id"], schedulingRules=own, resources=resources(gpu=GPU)
        )
    read = api(home, runai, "departments.get_department(id)", id=above["id"])["data"]
    assert [child["name"] for child in read["children"]] == ["one", "two"]
    assert read["projectsAggregatedResources"][0]["gpu"] == {"deserved": 2}
    call = "projects.get_projects(filter_by=['parentName==research'], sort_by='name', sort_order='desc')"
    below = api(home, runai, call)["data"]["projects"]
    assert [p["name"] for p in below] == ["two", "one"]
    assert below[0]["effective"]["schedulingRules"] == rules | own
    told = api(home, runai, "departments.get_departments_telemetry(telemetry_type='GPU_QUOTA')")["data"]
    assert float(told["values"][0]["value"]) >= 2
    with pytest.raises(RunaiError, match="one, two") as caught:
        api(home, runai, "departments.delete_department(id)", id=above["id"])
    assert caught.value.status == 409
    for project in below:
        api(home, runai, "projects.delete_project(id)", id=project["id"])
    change = {"resources": resources(gpu={"deserved": 1})}
    call = "departments.update_department(id, models.DepartmentUpdateRequest.from_dict(change))"
    put = api(home, runai, call, id=above["id"], change=change)["data"]
    assert (put["schedulingRules"], put["resources"][0]["gpu"]["deserved"]) == ({}, 1)
    for verb, deserved in (("patch", 1), ("update", 0)):
        quotas = "[models.ResourcesNullable.from_dict(r) for r in sent]"
        call = f"departments.{verb}_department_resources(id, {quotas})"
        answered = api(home, runai, call, id=above["id"], sent=resources(priority="Very high"))["data"]
        assert (answered[0]["priority"], answered[0]["gpu"]["deserved"]) == ("Very high", deserved)
    assert api(home, runai, "departments.count_departments()")["data"]["count"] >= 2
    assert api(home, runai, "departments.delete_department(id)", id=above["id"])["status"] == 204


@pytest.mark.parametrize("kind", KINDS)
def test_list_is_paged_by_offset_and_limit(home: World, runai: Runai, kind: str) -> None:
    made = [create_project(home, runai, f"page-{kind}-{i}") for i in range(3)]
    code = """
found, at = [], 0
while at is not None:
    page = done(client.organizations.projects.get_projects(offset=at, limit=2, search=word)).data
    found.append([p["name"] for p in page["projects"]])
    at = page.get("next")
result = found
"""
    names = [p["name"] for p in made]
    assert runai.run(home, code, kind, word=f"PAGE-{kind}") == [names[:2], names[2:]]
    for project in made:
        api(home, runai, "projects.delete_project(id)", kind, id=project["id"])


def test_priorities_of_org_units_have_one_default(home: World, runai: Runai) -> None:
    told = runai.data(home, "authentication_and_authorization.org_unit.get_priorities()")["priorities"]
    assert [p["name"] for p in told][:3] == ["Very low", "Low", "Medium low"]
    assert [p["name"] for p in told if p["isDefault"]] == ["Medium low"]
    assert [p["value"] for p in told] == sorted(p["value"] for p in told)


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"name": "local"}, 409, "local"),
        ({"name": "Bad_Name"}, 400, "name"),
        ({"name": "ok", "parentId": "77"}, 400, "parentId"),
        ({"name": "ok", "clusterId": "00000000-0000-0000-0000-000000000000"}, 400, "clusterId"),
        ({"name": "ok", "defaultNodePools": ["none"]}, 400, "defaultNodePools"),
        ({"name": "ok", "resources": resources("99")}, 400, "resources[0].nodePool.id"),
        ({"name": "ok", "resources": resources(gpu={"deserved": -3})}, 400, "resources[0].gpu.deserved"),
        ({"name": "ok", "resources": resources(priority="Huge")}, 400, "resources[0].priority"),
        ({"name": "ok", "resources": resources() + resources()}, 400, "resources[1].nodePool.id"),
    ],
)  # fmt: skip
def test_project_that_cannot_be_is_refused_by_its_field(
    home: World, runai: Runai, fields: dict[str, Any], status: int, says: str
) -> None:
    sent = {"resources": [], **fields}
    code = f"""
{CLUSTER}
result = done(client.organizations.projects.create_project({{"clusterId": cluster, **sent}}))
"""
    with pytest.raises(RunaiError) as caught:
        runai.run(home, code, sent=sent)
    assert (caught.value.status, caught.value.data["code"]) == (status, status)
    assert says in caught.value.data["message"]


# --- the same objects through Lepton


def test_job_made_through_lepton_is_accounted_to_its_project(
    process_home: World, runai: Runai, sdk: Sdk
) -> None:
    home = process_home
    job = sdk.create(home, "busy", "sleep 60", resource_shape="gpu.h100-sxm")

    def status() -> dict[str, Any]:
        (project,) = runai.data(home, "organizations.projects.get_projects()")["projects"]
        return project["status"]

    eventually("it is allocated", lambda: status()["quotaStatus"]["allocated"]["gpu"] == 1)
    told = status()
    assert told["quotaStatus"]["allocatedNonPreemptible"]["gpu"] == 1
    assert told["nodePoolQuotaStatuses"][0]["nodePoolName"] == "default"
    assert told["nodePoolQuotaStatuses"][0]["allocated"] == told["quotaStatus"]["allocated"]
    (department,) = runai.data(home, "organizations.departments.get_departments()")["departments"]
    assert department["status"]["quotaStatus"]["allocated"]["gpu"] == 1
    filtered = "organizations.projects.count_projects(filter_by=['gpuAllocated>=1', 'totalGpuQuota==2'])"
    assert runai.data(home, filtered) == {"count": 1}
    sdk.create(home, "waits", "true", resource_shape="gpu.2xh100-sxm")
    eventually("what waits is requested", lambda: status()["quotaStatus"]["requested"]["gpu"] == 3)
    free = runai.data(home, "organizations.nodes.get_node_telemetry(telemetry_type='FREE_GPUS')")
    assert free["values"][0]["value"] == "1"
    sdk.run(home, "client.job.delete(job)", job=job)
    eventually("it is given back", lambda: status()["quotaStatus"]["requested"]["gpu"] < 3)


def test_project_is_a_lepton_workspace_of_its_own(home: World, runai: Runai) -> None:
    """Which its own token opens, and no other's."""
    made = create_project(home, runai, "team-a")
    argv = [sys.executable, "-m", "homeport", "token", "create", "--data-dir", str(home.data_dir)]
    told = subprocess.run(
        [*argv, "ada@example.org", "--workspace", "team-a"], capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stderr
    token = told.stdout.split()[-1]

    def status(workspace: str) -> int:
        url = f"{home.values['RUNAI_BASE_URL']}/api/v2/workspaces/{workspace}/jobs"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    assert (status("team-a"), status("local")) == (200, 404)
    assert api(home, runai, "projects.delete_project(id)", id=made["id"])["status"] == 204
    assert status("team-a") == 401  # its tokens went with it
