"""The first main job, with the unmodified `lep` CLI of leptonai 0.47.1."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.world import World, eventually


def test_login_saves_the_workspace_with_its_name_and_expiry(home: World) -> None:
    assert "Logged in to your workspace local" in home.login()
    listed = home.lep("workspace", "list")
    assert "local" in listed
    assert home.values["LEPTON_WORKSPACE_URL"] in listed.replace("\n", "")


def test_login_fails_at_once_with_a_wrong_token(home: World) -> None:
    url = home.values["LEPTON_WORKSPACE_URL"]
    out = home.lep("workspace", "login", "-i", "local", "-t", "wrong", "--workspace-url", url, ok=False)
    assert "Logged in to your workspace" not in out


def test_nodes_and_shapes_are_shown(home: World) -> None:
    home.login()
    assert "2 avail" in home.lep("node", "list")
    shapes = home.lep("node", "resource-shape")
    assert "cpu.small" in shapes
    assert "gpu.2xh100-sxm" in shapes


def test_job_runs_to_completed_with_its_log(home: World) -> None:
    home.login()
    job = home.create("hello", "for i in 1 2 3; do echo line $i of $LEPTON_JOB_NAME; sleep 2; done")
    # The client takes seconds to start, and more of them on a loaded machine.
    assert home.state(job) in ("Queueing", "Starting", "Running", "Completed")
    eventually("a replica", lambda: f"{job}-0-" in home.lep("job", "replicas", "-i", job))
    log = home.lep("job", "log", "-i", job)
    assert [f"line {i} of {job}" in log for i in (1, 2, 3)] == [True] * 3
    eventually("Completed", lambda: home.state(job) == "Completed")
    status = home.get(job)["status"]
    assert (status["succeeded"], status["failed"], status["active"]) == (1, 0, 0)
    assert status["completion_time"] > status["creation_time"]
    events = home.lep("job", "events", "-i", job)
    assert all(reason in events for reason in ("Created", "Scheduled", "Started", "Completed"))
    assert job in home.lep("job", "list", "-s", "Completed")
    eventually("its container to be gone", lambda: not home.containers())
    assert f"line 3 of {job}" in home.lep("job", "log", "-i", job)


def test_job_fails_with_its_exit_code_in_the_events(home: World) -> None:
    home.login()
    job = home.create("bad", "exit 3")
    eventually("Failed", lambda: home.state(job) == "Failed")
    assert "exit code 3" in " ".join(home.lep("job", "events", "-i", job).split())


def test_job_is_stopped_and_started_again(home: World) -> None:
    home.login()
    job = home.create("long", "trap 'exit 0' TERM; while true; do sleep 0.1; done")
    eventually("Running", lambda: home.state(job) == "Running")
    home.lep("job", "stop", "-i", job)
    eventually("Stopped", lambda: home.state(job) == "Stopped")
    eventually("no container", lambda: not home.containers())
    home.lep("job", "start", "-i", job)
    eventually("Running again", lambda: home.state(job) == "Running")
    assert len(home.containers()) == 1


def test_removed_job_keeps_its_log_in_the_archive(home: World) -> None:
    home.login()
    job = home.create("gone", "echo last words; trap 'exit 0' TERM; while true; do sleep 0.1; done")
    eventually("Running", lambda: home.state(job) == "Running")
    home.lep("job", "remove", "-i", job)
    eventually("its end", lambda: job not in home.lep("job", "list"))
    eventually("no container", lambda: not home.containers())
    assert "last words" in _get(home, f"/jobs/{job}/replicas/{job}-0-{job[-4:]}/log")
    assert json.loads(_get(home, f"/jobs/{job}"))["status"]["state"] == "Archived"


def test_job_that_cannot_fit_says_why(home: World) -> None:
    home.login()
    out = home.lep(
        "job", "create", "-n", "big", "--resource-shape", "gpu.2xh100-sxm", "--container-image", home.image,
        "--command", "trap 'exit 0' TERM; while true; do sleep 0.1; done",
    )  # fmt: skip
    first = out.split("ID: ")[1].split()[0]
    eventually("Running", lambda: home.state(first) == "Running")
    out = home.lep(
        "job", "create", "-n", "next", "--resource-shape", "gpu.h100-sxm", "--container-image", home.image,
        "--command", "true",
    )  # fmt: skip
    waiting = out.split("ID: ")[1].split()[0]
    reason = "short of 1 free NVIDIA H100-80GB GPU(s)"
    argv = [sys.executable, "-m", "homeport", "why", "--data-dir", str(home.data_dir), waiting]
    eventually("the reason", lambda: reason in subprocess.run(argv, capture_output=True, text=True).stdout)
    assert home.state(waiting) == "Queueing"
    home.lep("job", "remove", "-i", first)
    eventually("its turn", lambda: home.state(waiting) == "Completed")


def test_unserved_request_is_a_typed_501(home: World) -> None:
    home.login()
    assert "not_implemented" in home.lep("raycluster", "list", ok=False)
    with pytest.raises(urllib.error.HTTPError) as refused:
        _get(home, "/rayclusters")
    assert refused.value.code == 501
    assert json.loads(refused.value.read())["code"] == "not_implemented"


def test_path_with_double_and_trailing_slashes_is_answered_directly(home: World) -> None:
    assert json.loads(_get(home, "//jobs/")) == []


def test_exec_runs_a_command_with_the_clients_environment(home: World) -> None:
    argv = [sys.executable, "-m", "homeport", "exec", "--data-dir", str(home.data_dir), "--"]
    argv += [sys.executable, "-c", "import os; print(os.environ['LEPTON_WORKSPACE_URL'])"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == home.values["LEPTON_WORKSPACE_URL"]


def test_request_from_a_foreign_page_is_refused_and_one_with_a_token_is_not(home: World) -> None:
    base = home.values["LEPTON_WORKSPACE_URL"].partition("/api/")[0]
    request = urllib.request.Request(f"{base}/homeport/health", headers={"Origin": "http://evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 403
    assert json.loads(_get(home, "/workspace", Origin="http://any.example"))["workspace_name"] == "local"


def test_second_server_on_a_data_directory_is_refused_with_the_pid(home: World) -> None:
    argv = [sys.executable, "-m", "homeport", "serve", "--port", "0", "--data-dir", str(home.data_dir)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert home.server is not None
    assert f"pid {home.server.pid}" in done.stderr


def test_unknown_setting_is_a_start_up_error(tmp_path: object) -> None:
    argv = [sys.executable, "-m", "homeport", "serve", "--port", "0", "--data-dir", str(tmp_path)]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, env=os.environ | {"HOMEPORT_TYPO": "1"}
    )
    assert done.returncode == 1
    assert "HOMEPORT_TYPO" in done.stderr


def _get(home: World, path: str, **headers: str) -> str:
    token = home.values["LEPTON_WORKSPACE_TOKEN"]
    request = urllib.request.Request(
        home.values["LEPTON_WORKSPACE_URL"] + path, headers={"Authorization": f"Bearer {token}", **headers}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()
