"""Pods kept together in a zone or spread over zones, asked for with the real runapy 1.224.0."""

import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from homeport.server.api.runai.translate.topology import SPREAD
from tests.runai import Runai, RunaiError
from tests.runai_work import Work
from tests.world import World, eventually, world

SEED = """
nodes:
  - {name: a1, gpus: 4xH100-80GB, cpu_cores: 64, memory: 64GiB, labels: {zone: a}}
  - {name: b1, gpus: 2xH100-80GB, cpu_cores: 64, memory: 64GiB, labels: {zone: b}}
  - {name: b2, gpus: 2xH100-80GB, cpu_cores: 64, memory: 64GiB, labels: {zone: b}}
rules:
  - {name: long, match: {kind: job, name: "*"}, run: forever}
"""
GPU = {"gpuDevicesRequest": 1, "cpuCoreRequest": 0.1, "cpuMemoryRequest": "64M"}


@pytest.fixture
def zones(tmp_path: Path) -> Generator[World]:
    seed = tmp_path / "world.yaml"
    seed.write_text(SEED)
    with world(tmp_path, "simulated") as made:
        made.start(["--seed", str(seed)])
        yield made


def pods(count: int, **fields: Any) -> dict[str, Any]:
    return {"command": "true", "compute": GPU, "completions": count, "parallelism": count} | fields


def spread(skew: int, when: str = "DoNotSchedule") -> list[dict[str, str]]:
    rule = {"topologyKey": "zone", "maxSkew": skew, "whenUnsatisfiable": when}
    return [{"name": SPREAD, "value": json.dumps([rule])}]


def nodes_of(work: Work, workload: str) -> list[str]:
    return sorted(p["nodeName"] for p in work.pods(workload) if p.get("nodeName"))


def why(home: World, name: str) -> str:
    argv = [sys.executable, "-P", "-m", "homeport", "why", name, "--data-dir", str(home.data_dir)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join(done.stdout.split())


def test_pods_are_kept_together_and_who_finds_no_room_beside_them_says_so(zones: World, runai: Runai) -> None:
    work = Work(zones, runai)
    affinity = {"type": "Required", "key": "zone"}
    made = work.submit("Training", "near", spec=pods(5, podAffinity=affinity))["workloadId"]
    eventually("four have room in a zone", lambda: len(nodes_of(work, made)) == 4)
    (zone,) = {name[0] for name in nodes_of(work, made)}
    told = why(zones, "near")
    assert f"not where zone is {zone}, as it is for its other members" in told
    assert "on nodes with one value of label zone" in told
    view = work.typed("Training", "get", made)
    assert view["spec"]["podAffinity"] == affinity


def test_pods_are_spread_over_zones_and_the_skew_is_told(zones: World, runai: Runai) -> None:
    work = Work(zones, runai)
    other = {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}]
    }
    full = work.submit("Training", "full", spec=pods(3, nodeAffinityRequired=other))["workloadId"]
    eventually("one GPU of zone b is left", lambda: len(nodes_of(work, full)) == 3)
    made = work.submit("Training", "wide", spec=pods(4, annotations=spread(1)))["workloadId"]
    eventually("two in zone a, one in zone b", lambda: len(nodes_of(work, made)) == 3)
    assert [name[0] for name in nodes_of(work, made)] == ["a", "a", "b"]
    assert "zone=a has 2 of its members and zone=b has 1" in why(zones, "wide")
    loose = work.submit("Training", "loose", spec=pods(2, annotations=spread(1, "ScheduleAnyway")))
    eventually("nobody has to wait", lambda: nodes_of(work, loose["workloadId"]) == ["a1", "a1"])


def test_a_rule_that_cannot_be_is_refused_by_name(zones: World, runai: Runai) -> None:
    work = Work(zones, runai)
    with pytest.raises(RunaiError, match=r"spec\.podAffinity\.key"):
        work.submit("Training", "bad", spec=pods(1, podAffinity={"type": "Required"}))
    with pytest.raises(RunaiError, match=r"spec\.annotations\[0\]\.value"):
        work.submit("Training", "bad", spec=pods(1, annotations=spread(0)))
