"""`homeport` as a user types it, against a server that runs."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sdk import Sdk
from tests.world import World, eventually


def homeport(home: World, command: str, *args: str, **env: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "homeport", *shlex.split(command), "--data-dir", str(home.data_dir), *args]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=os.environ | env)


def said(home: World, command: str, *args: str) -> str:
    done = homeport(home, command, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_environment_is_printed_for_shells_and_programs(process_home: World) -> None:
    values = json.loads(said(process_home, "env --format json"))
    assert values == process_home.values
    lines = said(process_home, "env").splitlines()
    assert [line.partition("=")[0] for line in lines] == [f"export {name}" for name in values]
    shell = subprocess.run(
        ["sh", "-c", "\n".join([*lines, 'echo "$LEPTON_WORKSPACE_URL"'])], capture_output=True, text=True
    )
    assert shell.stdout.strip() == values["LEPTON_WORKSPACE_URL"]


@pytest.mark.root_on_process
def test_log_of_a_job_is_printed_by_name(process_home: World, sdk: Sdk) -> None:
    job = sdk.create(process_home, "talks", "echo one; echo two")
    eventually("Completed", lambda: sdk.state(process_home, job) == "Completed")
    assert said(process_home, "logs", "talks") == "one\ntwo\n"
    assert said(process_home, "logs --follow", job) == "one\ntwo\n"
    pair = sdk.create(process_home, "pair", "echo mine", completions=2, parallelism=2)
    eventually("Completed", lambda: sdk.state(process_home, pair) == "Completed")
    whole = said(process_home, "logs", "pair").splitlines()
    assert sorted(whole) == [f"[{pair}-{i}-{pair[-4:]}] mine" for i in (0, 1)]
    assert said(process_home, "logs", "pair", "--replica", f"{pair}-1-{pair[-4:]}") == "mine\n"
    refused = homeport(process_home, "logs --follow", "pair")
    assert refused.returncode == 1
    assert f"{pair}-0" in refused.stderr


def test_status_and_why_tell_what_runs_and_what_waits(process_home: World, sdk: Sdk) -> None:
    first = sdk.create(process_home, "holds", "sleep 600", resource_shape="gpu.2xh100-sxm")
    eventually("Running", lambda: sdk.state(process_home, first) == "Running")
    second = sdk.create(process_home, "waits", "true", resource_shape="gpu.2xh100-sxm")
    eventually("the reason", lambda: "GPU" in said(process_home, "why", "waits"))
    rows = [line.split() for line in said(process_home, "status").splitlines()]
    assert rows[:2] == [["ok"], ["ID", "KIND", "PHASE", "SHAPE", "PROJECT"]]
    assert {(row[0], row[2]) for row in rows[2:]} == {(first, "running"), (second, "queued")}


@pytest.mark.parametrize("command", ["logs", "why"])
def test_unknown_name_is_told_apart_from_no_server(process_home: World, command: str) -> None:
    unknown = homeport(process_home, command, "nobody")
    assert (unknown.returncode, unknown.stderr) == (1, "Error: no workload named 'nobody'\n")
    process_home.kill()
    gone = homeport(process_home, command, "nobody")
    assert gone.returncode == 1
    assert "homeport serve" in gone.stderr


@pytest.mark.parametrize("name", ["a b", "ü", "x?y=1"])
def test_name_with_odd_letters_is_only_unknown(process_home: World, name: str) -> None:
    for command, kind in (("why", "workload"), ("reservation remove", "reservation")):
        unknown = homeport(process_home, command, name)
        assert (unknown.returncode, unknown.stderr) == (1, f"Error: no {kind} named {name!r}\n")


def test_command_that_cannot_be_run_is_told_as_a_shell_does(process_home: World, tmp_path: Path) -> None:
    missing = homeport(process_home, "exec", "--no-proxy", "--", "no-such-command")
    assert (missing.returncode, missing.stderr) == (127, "Error: no command named no-such-command\n")
    (tmp_path / "text").write_text("no program")
    refused = homeport(process_home, "exec", "--no-proxy", "--", str(tmp_path / "text"))
    assert (refused.returncode, "Permission denied" in refused.stderr) == (126, True)


def test_doctor_finds_what_is_weaker(process_home: World, tmp_path: Path) -> None:
    port = process_home.values["LEPTON_WORKSPACE_URL"].split(":")[2].split("/")[0]
    done = homeport(process_home, "doctor", HOMEPORT_PORT=port)
    assert f"ok    a server answers for {process_home.data_dir}" in done.stdout
    process_home.data_dir = tmp_path / "other"
    taken = homeport(process_home, "doctor", HOMEPORT_PORT=port)
    assert f"weak  --port: cannot listen on 127.0.0.1:{port}" in taken.stdout
    assert "ok    the clock is plausible" in taken.stdout


def test_misspelt_setting_is_refused_by_name(process_home: World) -> None:
    refused = homeport(process_home, "serve", HOMEPORT_RUNTIMES="docker")
    assert refused.returncode == 1
    assert "HOMEPORT_RUNTIMES: not a setting" in refused.stderr


def test_second_server_on_a_data_directory_is_refused_with_the_pid(process_home: World) -> None:
    assert process_home.server is not None
    refused = homeport(process_home, "serve --port 0")
    assert refused.returncode == 1
    assert f"pid {process_home.server.pid}" in refused.stderr
