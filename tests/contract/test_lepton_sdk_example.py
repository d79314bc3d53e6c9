"""examples/lepton_job.py, with the SDK generations api.v1 and api.v2, as its first line says to run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.test_lepton_reservations import reserve
from tests.sdk import Sdk, environment
from tests.world import World

EXAMPLE = Path(__file__).parents[2] / "examples" / "lepton_job.py"
GENERATIONS = {"0.27.3": "v1", "0.47.1": "v2"}


def run(home: World, version: str, *args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "homeport", "exec", "--data-dir", str(home.data_dir), "--"]
    argv += [str(environment(version) / "bin" / "python"), str(EXAMPLE), "--image", home.image, *args]
    return subprocess.run(argv, env=home.client_env(), capture_output=True, text=True, timeout=90)


@pytest.mark.root_on_process
@pytest.mark.parametrize("version", GENERATIONS)
def test_job_runs_on_the_reserved_node_with_its_mount(home: World, sdk: Sdk, version: str) -> None:
    reserve(home, "add", "team-a", "--hours", "1")
    done = run(
        home, version, "--name", "flow", "--workers", "2", "--reservation", "team-a",
        "--mount", "/team:/data/team:node-nfs:lepton-shared-fs", "--image-pull-secret", "my-registry",
        "--command", "echo $GREETING from $LEPTON_JOB_WORKER_INDEX | tee /data/team/$LEPTON_JOB_WORKER_INDEX",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    job = re.findall(r"^job: (flow-\w{4})$", done.stdout, re.M)[0]
    node = os.uname().nodename
    assert done.stdout.splitlines()[1:] == [
        f"replica: {job}-0-{job[-4:]} on {node}", "hello from 0",
        f"replica: {job}-1-{job[-4:]} on {node}", "hello from 1",
        "state: Completed",
    ]  # fmt: skip
    kept = home.data_dir / "volumes" / "lepton-shared-fs" / "team"
    assert [(kept / str(i)).read_text() for i in (0, 1)] == ["hello from 0\n", "hello from 1\n"]
    events = sdk.run(home, "result = [str(e.regarding) for e in client.job.get_events(job)]", job=job)
    assert "'my-registry'" in " ".join(events)


@pytest.mark.parametrize(("version", "generation"), GENERATIONS.items())
def test_each_version_takes_the_generation_that_it_is_meant_to_show(version: str, generation: str) -> None:
    code = "import runpy, sys; print(runpy.run_path(sys.argv[1])['LeptonJobUserSpec'].__module__)"
    argv = [str(environment(version) / "bin" / "python"), "-c", code, str(EXAMPLE)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == f"leptonai.api.{generation}.types.job"


def test_example_ends_with_the_jobs_failure(process_home: World) -> None:
    done = run(process_home, "0.47.1", "--command", "echo oh no; exit 3")
    assert (done.returncode, done.stdout.splitlines()[-2:]) == (1, ["oh no", "state: Failed"])


def test_unknown_group_is_named_with_those_there_are(process_home: World) -> None:
    done = run(process_home, "0.47.1", "--node-group", "nope")
    assert (done.returncode, "no node group 'nope'; there are default" in done.stderr) == (1, True)
