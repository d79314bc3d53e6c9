"""Projects that share a machine: real containers, simulated GPUs, driven by the real runapy 1.224.0."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RUNTIMES
from tests.runai import Runai
from tests.runai_work import WAIT, Work
from tests.world import World, eventually, world


@pytest.fixture(params=RUNTIMES)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[World]:
    """A server with eight GPUs."""
    with world(tmp_path, request.param) as made:
        made.start(["--gpus", "8xH100-80GB"])
        yield made


class Machine:
    """The projects of one server, each with its quota."""

    def __init__(self, home: World, runai: Runai) -> None:
        self.home, self.work, self.ids = home, Work(home, runai), dict[str, str]()

    def project(self, name: str, gpus: float) -> None:
        resources = [{"nodePool": {"id": "1"}, "gpu": {"deserved": gpus}}]
        request = {"name": name, "clusterId": self.work.cluster, "resources": resources}
        call = "organizations.projects.create_project(models.ProjectCreationRequest.from_dict(body))"
        self.ids[name] = self.work.data(call, body=request)["id"]

    def train(self, project: str, name: str, gpus: float = 1, **spec: Any) -> str:
        """`gpus`: below 1 it is a portion of one device."""
        asked: dict[str, Any] = {"cpuCoreRequest": 0.1, "cpuMemoryRequest": "64M"}
        if gpus < 1:
            asked |= {"gpuRequestType": "portion", "gpuPortionRequest": gpus, "gpuDevicesRequest": 1}
        else:
            asked |= {"gpuDevicesRequest": int(gpus)}
        return self.work.train(name, project=self.ids[project], compute=asked, **spec)

    def attempts(self, name: str) -> list[dict[str, Any]]:
        """Of a workload of that name: what was decided, oldest first."""
        with contextlib.closing(sqlite3.connect(self.home.data_dir / "homeport.db")) as database:
            query = (
                "SELECT a.doc FROM attempt a JOIN workload w ON w.id = a.workload_id WHERE w.name = ? "
                "ORDER BY a.number"
            )
            return [json.loads(doc) for (doc,) in database.execute(query, (name,))]

    def gpus(self, name: str) -> list[str]:
        return [g for a in self.attempts(name) if a["state"] != "ended" for g in a["gpu_uuids"]]

    def told(self, workload: str, reason: str) -> str:
        """The messages of its events of that reason."""
        return "\n".join(e["message"] for e in self.work.events(workload) if e["reason"] == reason)

    def homeport(self, *args: str) -> str:
        argv = [sys.executable, "-m", "homeport", *args, "--data-dir", str(self.home.data_dir)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=self.home.client_env())
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def test_project_gets_its_quota_back_and_the_evicted_runs_again(shared: World, runai: Runai) -> None:
    """Source: Run:ai's over-quota quick start, doubled; contract, section 10, rule 10."""
    m = Machine(shared, runai)
    m.project("a", 4)
    m.project("b", 4)
    large, small = m.train("a", "large", 4), m.train("a", "small", 2)
    own = m.train("b", "own", 2)
    for workload in (large, small, own):
        m.work.becomes(workload, "Running")
    asker = m.train("b", "asker", 2)
    m.work.becomes(asker, "Running")
    m.work.becomes(small, "Pending")
    assert [m.work.phase(w) for w in (large, own)] == ["Running", "Running"]
    assert "reclaimed for project b" in m.told(small, "Evicted")
    assert "number 1 in line" in m.homeport("why", m.attempts("small")[0]["workload_id"])
    assert "WaitsForEvicted" not in m.homeport("queue")
    m.work.typed("Training", "suspend", asker)
    m.work.becomes(small, "Running")
    assert [a["reason"] for a in m.attempts("small")] == ["Evicted", ""]
    eventually("three containers", lambda: len(shared.containers()) == 3)


def test_untolerated_work_ends_when_its_node_is_tainted_and_runs_again_once_it_is_not(
    shared: World, runai: Runai
) -> None:
    """Source: Kubernetes, `NoExecute`."""
    m = Machine(shared, runai)
    m.project("a", 4)
    (node,) = (n["id"] for n in json.loads(m.homeport("node", "list", "--json")))
    toleration = {"key": "drain", "operator": "Exists", "effect": "NoExecute"}
    stays = m.train("a", "stays", 1, tolerations=[toleration])
    brief = m.train("a", "brief", 1, tolerations=[toleration | {"seconds": 3}])
    goes = m.train("a", "goes", 1, preemptibility="non-preemptible")
    for workload in (stays, brief, goes):
        m.work.becomes(workload, "Running")
    m.homeport("node", "taint", node, "drain:NoExecute")
    m.work.becomes(goes, "Pending")
    eventually("two containers", lambda: len(shared.containers()) == 2)
    assert f"node {node} has the taint drain:NoExecute, which is not tolerated" in m.told(goes, "Evicted")
    assert f"homeport node untaint {node} drain:NoExecute" in m.homeport("why", "goes")
    eventually("its seconds are over", lambda: "tolerated for 3 s only" in m.told(brief, "Evicted"))
    assert m.work.phase(stays) == "Running"
    m.homeport("node", "untaint", node, "drain:NoExecute")
    m.work.becomes(goes, "Running")
    assert [a["reason"] for a in m.attempts("goes")] == ["Evicted", ""]
    assert [a["reason"] for a in m.attempts("stays")] == [""]


def test_higher_priority_preempts_within_its_project(shared: World, runai: Runai) -> None:
    m = Machine(shared, runai)
    m.project("a", 8)
    low = m.train("a", "low", 6, priorityClass="very-low")
    m.work.becomes(low, "Running")
    urgent = m.train("a", "urgent", 4, priorityClass="high")
    m.work.becomes(urgent, "Running")
    m.work.becomes(low, "Pending")
    assert "preempted" in m.told(low, "Evicted")


def test_what_cannot_be_preempted_waits_beyond_the_quota_with_the_reason(shared: World, runai: Runai) -> None:
    m = Machine(shared, runai)
    m.project("a", 1)
    first = m.train("a", "first", 1, preemptibility="non-preemptible")
    m.work.becomes(first, "Running")
    second = m.train("a", "second", 1, preemptibility="non-preemptible")

    def reason() -> str:
        return m.work.get(second).get("phaseMessage") or ""

    eventually("its reason", lambda: "quota" in reason())
    assert m.work.phase(second) == "Pending"
    assert m.told(second, "NonPreemptibleOverQuota") == reason()
    (waiting,) = json.loads(m.homeport("queue", "--json"))["waiting"]
    assert (waiting["code"], waiting["reasons"]) == ("NonPreemptibleOverQuota", [reason()])
    preemptible = m.train("a", "third", 1)
    m.work.becomes(preemptible, "Running")


def test_two_halves_share_a_device_and_the_third_has_another(shared: World, runai: Runai) -> None:
    m = Machine(shared, runai)
    m.project("a", 2)
    for name in ("one", "two", "three"):
        m.work.becomes(m.train("a", name, 0.5), "Running")
    assert m.gpus("one") == m.gpus("two") != m.gpus("three")


def test_gang_has_nothing_until_all_its_members_have_a_place(shared: World, runai: Runai) -> None:
    m = Machine(shared, runai)
    m.project("a", 8)
    first = m.train("a", "first", 6)
    m.work.becomes(first, "Running")
    compute = {"gpuDevicesRequest": 2, "cpuCoreRequest": 0.1, "cpuMemoryRequest": "64M"}
    each = {"command": WAIT, "compute": compute}
    gang = m.work.submit(
        "Distributed", "gang", project=m.ids["a"],
        spec={**each, "numWorkers": 1, "distributedFramework": "PyTorch"}, masterSpec=each,
    )["workloadId"]  # fmt: skip
    eventually("its reason", lambda: m.told(gang, "Unschedulable"))
    assert m.attempts("gang") == []
    small = m.train("a", "small", 2)
    m.work.becomes(small, "Running")  # what fits is not held up by what does not
    m.work.typed("Training", "suspend", first)
    m.work.becomes(gang, "Running")
    assert len(set(m.gpus("gang"))) == 4
