"""Seed files, rules, faults and the clock of a server that listens, from the command line."""

import json
import os
import urllib.request
from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from homeport.server.cli import main
from tests.world import World, eventually, world


@pytest.fixture
def mixed(tmp_path: Path) -> Generator[World]:
    """This machine, where jobs are processes, beside two simulated nodes."""
    path = tmp_path / "world.yaml"
    path.write_text("nodes: [{name: far, count: 2, gpus: 8xH100-80GB, pool: far}]\npools: [{name: far}]\n")
    with world(tmp_path, "process") as made:
        made.start(["--seed", str(path)])
        yield made


def homeport(made: World, *args: str, ok: bool = True) -> str:
    done = CliRunner().invoke(main, args, env={"HOMEPORT_DATA_DIR": str(made.data_dir)})
    assert (done.exit_code == 0) is ok, done.output
    return done.output


def api(made: World, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        f"{made.values['LEPTON_WORKSPACE_URL']}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {made.values['LEPTON_WORKSPACE_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def submit(made: World, name: str, group: str, command: list[str]) -> str:
    spec = {
        "resource_shape": "cpu.small",
        "container": {"image": "any:1", "command": command},
        "affinity": {"allowed_dedicated_node_groups": [group]},
        "log": {"enable_collection": True},
    }
    return api(made, "jobs", {"metadata": {"id": name}, "spec": spec})["metadata"]["id"]


def state(made: World, job: str) -> str:
    return api(made, f"jobs/{job}")["status"]["state"]


def test_simulated_nodes_stand_beside_this_machine_which_executes(mixed: World, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    homeport(mixed, "rule", "add", "stays", "--match-node", "far-*", "--run", "forever")
    here = submit(mixed, "here", "default", ["/bin/sh", "-c", f"echo real > {proof}"])
    there = submit(mixed, "there", "far", ["/bin/sh", "-c", f"echo never > {proof}.never"])
    eventually("the process has ended", lambda: state(mixed, here) == "Completed")
    eventually("the other runs", lambda: state(mixed, there) == "Running")
    assert proof.read_text() == "real\n"
    assert not proof.with_name("proof.never").exists()
    mixed.kill()
    mixed.start(["--seed", str(tmp_path / "world.yaml")])
    assert state(mixed, there) == "Running"
    api_before = api(mixed, f"jobs/{there}/replicas")
    node = "far-0" if "far-0" in json.dumps(api_before) else "far-1"
    told = homeport(mixed, "fault", "add", "node-down", node)
    fault = told.split()[0]

    def moved() -> bool:
        now = json.dumps(api(mixed, f"jobs/{there}/replicas"))
        return "far-" in now and node not in now

    eventually("it runs on the other", moved)
    assert fault in homeport(mixed, "fault", "list")
    refused = homeport(mixed, "fault", "add", "node-down", os.uname().nodename, ok=False)
    assert "only simulated nodes go down" in refused
    assert f"{fault} is over" in homeport(mixed, "fault", "clear", "--all")
    assert homeport(mixed, "fault", "list") == "no faults are in force\n"


def test_clock_and_rules_are_moved_from_the_command_line(tmp_path: Path) -> None:
    with world(tmp_path, "simulated") as made:
        made.start()
        assert "(stands still)" in homeport(made, "clock", "freeze")
        before = homeport(made, "clock", "show")
        rules = tmp_path / "rules.yaml"
        rules.write_text(
            "rules:\n  - {name: hour, match: {name: long}, run: 1h, log: [{at: 30m, line: half}]}\n"
            "  - {name: later, pending: 2s, exit_code: 3}\n"
        )
        assert "hour is in force" in homeport(made, "rule", "add", "-f", str(rules))
        listed = [" ".join(line.split()) for line in homeport(made, "rule", "list").splitlines()]
        assert listed == [  # tried in the order of the file
            "NAME MATCHES WHAT HAPPENS FROM",
            "hour name=long run 3600 s, exit 0 the API",
            "later everything pending 2 s, run 1 s, exit 3 the API",
        ]
        job = submit(made, "long", "default", ["true"])
        eventually("it runs", lambda: state(made, job) == "Running")
        assert homeport(made, "clock", "show") == before
        homeport(made, "clock", "advance", "59m")
        assert state(made, job) == "Running"
        homeport(made, "clock", "advance", "2m", "--step", "30s")
        eventually("it has ended", lambda: state(made, job) == "Completed")
        assert "stands still" not in homeport(made, "clock", "resume")
        at = datetime.fromisoformat(homeport(made, "clock", "show").strip())
        made.kill()
        made.start()
        assert datetime.fromisoformat(homeport(made, "clock", "show").strip()) > at
        homeport(made, "rule", "remove", "hour")
        homeport(made, "rule", "remove", "later")
        assert homeport(made, "rule", "list").startswith("no rules")
        rules.write_text("rules:\n  - name: x\n    run: soon\n")
        refused = homeport(made, "rule", "add", "-f", str(rules), ok=False)
        assert "rules.yaml, line 3, rules[0].run: 'soon' is no duration" in refused


def test_levers_are_refused_where_work_is_real_unless_it_is_for_testing(tmp_path: Path) -> None:
    with world(tmp_path, "process") as made:
        made.start()
        for args in (("clock", "freeze"), ("fault", "add", "engine-hang"), ("rule", "list")):
            assert "not for the process runtime as it was started" in homeport(made, *args, ok=False)
        made.stop()
        made.start(["--testing"])
        homeport(made, "clock", "advance", "1h")
        told = homeport(made, "fault", "add", "engine-down")
        eventually("trouble", lambda: "connection refused" in " ".join(made.health()[1]))
        homeport(made, "fault", "clear", told.split()[0])
        eventually("well", lambda: not made.health()[1])
