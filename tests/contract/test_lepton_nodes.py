"""What `lep node list` counts as available can be had."""

from pathlib import Path

from click.testing import CliRunner

from homeport.server.cli import main
from tests.sdk import Sdk
from tests.world import World, eventually, world

USED = """
nodes = client.nodegroup.list_nodes("default")
result = [[n.spec.resource.gpu.allocated, n.spec.resource.gpu.total] for n in nodes]
"""


def homeport(home: World, *args: str) -> str:
    done = CliRunner().invoke(main, [*args, "--data-dir", str(home.data_dir)])
    assert done.exit_code == 0, done.output
    return done.output


def test_lost_gpu_is_not_available_until_it_is_back(tmp_path: Path) -> None:
    with world(tmp_path, "simulated") as home:
        home.start()
        home.login()
        assert "2 avail" in home.lep("node", "list")
        (node,) = (line.split()[0] for line in homeport(home, "node", "list").splitlines()[1:])
        homeport(home, "fault", "add", "gpu-lost", node, "0")
        eventually("it is lost", lambda: "1 ill" in homeport(home, "node", "list"))
        listed = home.lep("node", "list")
        assert "1 avail" in listed
        assert "0/1 used" in listed
        homeport(home, "fault", "clear", "--all")
        homeport(home, "clock", "advance", "10m", "--step", "30s")
        eventually("it is back", lambda: "2 avail" in home.lep("node", "list"))


def test_mig_instances_are_told_as_parts_of_a_gpu_to_every_client(tmp_path: Path, any_sdk: Sdk) -> None:
    with world(tmp_path, "simulated") as home:
        home.start(["--gpus", "1xH100-80GB:7x1g.10gb"])
        homeport(home, "rule", "add", "stays", "--run", "forever")
        job = any_sdk.create(home, "part", "true", resource_shape="gpu.h100-sxm.1g.10gb")
        eventually("Running", lambda: any_sdk.state(home, job) == "Running")
        assert any_sdk.run(home, USED) == [[0.1429, 1]]
