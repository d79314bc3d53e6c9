"""Classes, preemption and node groups as the vendor's clients ask for them; projects as workspaces."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sdk import Sdk, SdkError, environment
from tests.world import World, eventually, world

WAIT = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
ALL_GPUS = "gpu.2xh100-sxm"
GROUPS = """
result = [[g.metadata.id_, g.status.quota_enabled, g.status.ready_nodes] for g in client.nodegroup.list_all()]
"""


def homeport(home: World, *args: str, ok: bool = True) -> str:
    argv = [sys.executable, "-m", "homeport", *args, "--data-dir", str(home.data_dir)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=home.client_env())
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


def create(home: World, name: str, *flags: str) -> str:
    return home.create(name, WAIT, "--node-group", "default", *flags)


def queue_of(home: World, sdk: Sdk, job: str) -> dict[str, Any]:
    code = "result = client.job.get(job).spec.queue_config.model_dump(exclude_none=True)"
    return sdk.run(home, code, job=job)


def test_every_cli_says_where_a_job_stands_in_the_queue(process_home: World, any_sdk: Sdk) -> None:
    home = process_home
    home.lep_path = str(environment(any_sdk.version) / "bin" / "lep")
    home.login()
    flags = {
        "class": ("--queue-priority", "high"),
        "victim": ("-qp", "1", "--can-be-preempted"),
        "urgent": ("--can-preempt",),
    }
    asked = {name: queue_of(home, any_sdk, create(home, name, *more)) for name, more in flags.items()}
    assert asked == {
        "class": {"priority_class": "high-7000"},
        "victim": {"priority_class": "low-1000", "can_be_preempted": True},
        "urgent": {"priority_class": "mid-4000", "can_preempt": True},
    }


def test_endpoint_and_pod_say_where_they_stand_in_the_queue(process_home: World) -> None:
    home = process_home
    home.login()
    for name, kind, more in (
        ("ep", "endpoint", ("--container-port", "8080", "--container-command", WAIT)),
        ("shell", "pod", ()),
    ):
        home.lep(
            kind, "create", "-n", name, "--resource-shape", "cpu.small", "--container-image", home.image,
            "--node-group", "default", "-qp", "mid-5", "--can-be-preempted", *more,
        )  # fmt: skip
        out = home.lep(kind, "get", "-n", name)
        shown = json.loads(out[out.index("{") : out.rindex("}") + 1])
        assert shown["spec"]["queue_config"] == {"priority_class": "mid-5000", "can_be_preempted": True}


def test_job_that_waits_is_raised_in_the_queue_by_every_sdk(process_home: World, any_sdk: Sdk) -> None:
    home, sdk = process_home, any_sdk
    holder = sdk.create(home, "holder", WAIT, resource_shape=ALL_GPUS)
    eventually("the holder to run", lambda: sdk.state(home, holder) == "Running")
    older, newer = (sdk.create(home, name, WAIT, resource_shape=ALL_GPUS) for name in ("older", "newer"))
    raise_it = """
client.job.update(job, {"spec": {"queue_config": {"priority_class": name}}})
result = client.job.get(job).spec.queue_config.priority_class
"""
    assert sdk.run(home, raise_it, job=newer, name="high-9000") == "high-9000"
    with pytest.raises(SdkError, match="'high-1000' is none of low-1000"):
        sdk.run(home, raise_it, job=newer, name="high-1000")
    sdk.run(home, "client.job.delete(job)", job=holder)
    eventually("the raised one to run", lambda: sdk.state(home, newer) == "Running")
    assert sdk.state(home, older) == "Queueing"


def test_job_makes_room_for_one_that_can_preempt_and_runs_again_afterwards(home: World, sdk: Sdk) -> None:
    home.login()
    victim = home.create(
        "victim", WAIT, "--resource-shape", ALL_GPUS, "--node-group", "default", "-qp", "low",
        "--can-be-preempted",
    )  # fmt: skip
    eventually("the victim to run", lambda: sdk.state(home, victim) == "Running")
    modest = create(home, "modest", "--resource-shape", ALL_GPUS, "-qp", "mid")
    urgent = create(home, "urgent", "--resource-shape", ALL_GPUS, "-qp", "high", "--can-preempt")
    eventually("the urgent one to run", lambda: sdk.state(home, urgent) == "Running")
    assert sdk.state(home, victim) == "Queueing"
    assert sdk.state(home, modest) == "Queueing"  # it may evict nobody
    told = " ".join(home.lep("job", "events", "-i", victim).split())
    assert "Evicted" in told
    assert urgent in told
    sdk.run(home, "client.job.delete(job)", job=modest)
    sdk.run(home, "client.job.delete(job)", job=urgent)
    eventually("the victim to run again", lambda: sdk.state(home, victim) == "Running")
    assert sdk.status(home, victim)["failed"] == 0


def test_node_pool_is_a_node_group_that_keeps_jobs_to_its_nodes(process_home: World, sdk: Sdk) -> None:
    home = process_home
    assert "has 0 node(s)" in homeport(home, "pool", "create", "quick", "--label", "speed=fast")
    assert sdk.run(home, GROUPS) == [["default", True, 1], ["quick", True, 0]]
    affinity = {"allowed_dedicated_node_groups": ["quick"]}
    job = sdk.create(home, "quick", WAIT, affinity=affinity)
    (node,) = json.loads(homeport(home, "node", "list", "--json"))
    assert sdk.state(home, job) == "Queueing"
    assert "is in node pool quick" in homeport(home, "node", "label", node["id"], "speed=fast")
    eventually("it to run", lambda: sdk.state(home, job) == "Running")
    assert sdk.run(home, GROUPS) == [["default", True, 0], ["quick", True, 1]]
    told = homeport(home, "pool", "remove", "quick", ok=False)
    assert f"has the nodes {node['id']}; take speed=fast from them first" in told
    with pytest.raises(SdkError, match="no node group named 'none'"):
        sdk.create(home, "bad", WAIT, affinity={"allowed_dedicated_node_groups": ["none"]})


def test_labels_and_projects_are_there_after_a_restart(process_home: World) -> None:
    home = process_home
    homeport(home, "project", "create", "team", "--gpus", "1")
    (node,) = json.loads(homeport(home, "node", "list", "--json"))
    assert node["schedulable_cpu_cores"] == 16 * node["cpu_cores"]  # HOMEPORT_OVERCOMMIT
    assert f"{16 * node['cpu_cores']:g} promised of {node['cpu_cores']:g}" in homeport(home, "node", "list")
    homeport(home, "node", "label", node["id"], "speed=fast")
    before = [homeport(home, what, "list", "--json") for what in ("project", "node", "pool", "department")]
    home.kill()
    home.start()
    after = [homeport(home, what, "list", "--json") for what in ("project", "node", "pool", "department")]
    assert after == before
    homeport(home, "node", "unlabel", node["id"], "speed")
    assert json.loads(homeport(home, "node", "list", "--json"))[0]["labels"] == {}


def test_project_is_a_workspace_that_the_client_logs_into(process_home: World, sdk: Sdk) -> None:
    home = process_home
    mine = sdk.create(home, "mine", WAIT)
    told = homeport(home, "project", "create", "team", "--gpus", "1", "--gpu-limit", "1")
    assert "homeport token create OWNER --workspace team" in told
    assert "of its own" not in told
    token = homeport(home, "token", "create", "ada@example.org", "--workspace", "team").strip()
    own = dict(home.values)
    url = own["LEPTON_WORKSPACE_URL"].removesuffix("local") + "team"
    home.values = own | {
        "LEPTON_WORKSPACE_ID": "team", "LEPTON_WORKSPACE_TOKEN": token, "LEPTON_WORKSPACE_URL": url,
    }  # fmt: skip
    assert "Logged in to your workspace team" in home.login()
    job = home.create("ours", WAIT)
    assert home.get(job)["metadata"]["owner"] == "ada@example.org"
    assert mine not in home.lep("job", "list")
    (listed,) = [p for p in json.loads(homeport(home, "project", "list", "--json")) if p["name"] == "team"]
    assert listed["quotas"][0]["gpu"] == {"deserved": 1.0, "limit": 1.0, "weight": None}
    assert "ada@example.org" in homeport(home, "token", "list", "--workspace", "team")
    assert "ada@example.org" not in homeport(home, "token", "list")
    assert f"has 1 workload(s) ({job})" in homeport(home, "project", "remove", "team", ok=False)
    sdk.run(home, "client.job.delete(job)", job=job)
    eventually("its end", lambda: "workload" not in _removal(home, "team"))
    with pytest.raises(SdkError, match=r"unauthorized|[Ii]nvalid.*token|expired"):
        sdk.run(home, "result = client.job.list_all()")
    home.values = own


def _removal(home: World, name: str) -> str:
    argv = [sys.executable, "-m", "homeport", "project", "remove", name, "--data-dir", str(home.data_dir)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60).stderr


def test_tables_of_projects_and_departments_tell_their_quotas(process_home: World) -> None:
    home = process_home
    homeport(home, "department", "create", "Research A", "--gpus", "2", "--gpu-limit", "2")
    homeport(home, "project", "create", "team", "--department", "Research A")
    told = homeport(home, "project", "set-quota", "team", "--gpus", "0.5", "--rank", "high")
    assert told.strip() == "team: default: 0.5, rank high"
    shown = " ".join(homeport(home, "project", "list").split())
    assert "Research A default: 0.5, rank high 0" in shown
    assert "default: 2 (the whole machine)" in shown.replace(" 0 (the", " (the")
    assert "Research A" in homeport(home, "department", "list")
    told = homeport(home, "department", "remove", "Research A", ok=False)
    assert "has the projects team; delete them first" in told
    assert "nothing to change" in homeport(home, "project", "set-quota", "team", ok=False)
    assert "'many' is not a valid" in homeport(
        home, "project", "set-quota", "team", "--gpus", "many", ok=False
    )
    assert "no project named 'none'; there is local, team" in homeport(
        home, "project", "remove", "none", ok=False
    )


SEGMENTS = """
nodes: [{name: n, count: 4, gpus: 2xH100-80GB, segment_size: 2}]
rules: [{name: stay, match: {kind: job}, run: forever}]
"""


def test_workers_of_a_segment_stay_in_one_nvlink_domain(tmp_path: Path, sdk: Sdk) -> None:
    """`--segment-count`: two domains of two nodes, of which the first has no room for both workers."""
    path = tmp_path / "world.yaml"
    path.write_text(SEGMENTS)
    with world(tmp_path, "simulated") as home:
        home.start(["--seed", str(path)])
        home.login()

        def submit(name: str, shape: str, *more: str) -> list[str]:
            """The nodes of its workers."""
            out = home.lep(
                "job", "create", "-n", name, "--resource-shape", shape, "--container-image", "any:1",
                "--command", WAIT, *more,
            )  # fmt: skip
            job = out.split("ID: ")[1].split()[0]
            eventually("it runs", lambda: home.state(job) == "Running")
            code = "result = [r.status.node.id_ for r in client.job.get_replicas(job)]"
            return sdk.run(home, code, job=job)

        (busy,) = submit("busy", "gpu.h100-sxm")
        near = {"n-0": "n-1", "n-1": "n-0", "n-2": "n-3", "n-3": "n-2"}
        there = submit("gang", ALL_GPUS, "--num-workers", "2", "--segment-count", "1")
        assert sorted(there) == sorted({*near} - {busy, near[busy]})
