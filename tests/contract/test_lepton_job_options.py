"""Workers, retries, schedules, secrets, mounts: every option of a job has its effect."""

import json
import time
from pathlib import Path

import pytest

from tests.files import files_below
from tests.sdk import Sdk, SdkError
from tests.world import World, eventually

WAIT = "trap 'exit 0' TERM; while true; do sleep 0.1; done"


def ended(home: World, sdk: Sdk, job: str) -> dict[str, object]:
    return eventually(
        f"the end of {job}",
        lambda: (s := sdk.status(home, job))["state"] in ("Completed", "Failed", "Stopped") and s,
    )


@pytest.mark.root_on_process
def test_workers_start_together_and_find_each_other_by_name(home: World, sdk: Sdk) -> None:
    # Each waits until it can reach both by name, then tells who it is.
    command = """
    name=$LEPTON_JOB_WORKER_PREFIX-$LEPTON_JOB_WORKER_INDEX.$LEPTON_SUBDOMAIN
    own=$(busybox awk -v name="$name" '$2 == name {print $1}' /etc/hosts)
    busybox httpd -f -p "${own:+$own:}9000" & listener=$!
    for i in 0 1; do
      peer=$LEPTON_JOB_WORKER_PREFIX-$i.$LEPTON_SUBDOMAIN
      until (exec 3<>/dev/tcp/$peer/9000) 2>/dev/null; do sleep 0.2; done
      echo "$LEPTON_WORKER_ID ($LEPTON_JOB_WORKER_INDEX of $LEPTON_JOB_TOTAL_WORKERS) reached worker $i"
    done
    sleep 3; kill $listener; exit 0
    """
    job = sdk.create(home, "gang", command, completions=2, parallelism=2, intra_job_communication=True)
    status = ended(home, sdk, job)
    log = "".join(sdk.log(home, job, f"{job}-{i}-{job[-4:]}") for i in (0, 1))
    assert (status["state"], status["succeeded"]) == ("Completed", 2), log
    for index in (0, 1):
        for other in (0, 1):
            assert f"{job}-{index}-{job[-4:]} ({index} of 2) reached worker {other}" in log
    eventually("its network to be gone", lambda: not home.networks(job))


@pytest.mark.root_on_process
def test_gang_waits_whole_when_only_a_part_of_it_fits(home: World, sdk: Sdk) -> None:
    first = sdk.create(home, "one", WAIT, resource_shape="gpu.h100-sxm")
    eventually("Running", lambda: sdk.state(home, first) == "Running")
    gang = sdk.create(home, "gang", WAIT, resource_shape="gpu.h100-sxm", completions=2, parallelism=2)
    events = "result = [e.reason for e in client.job.get_events(job)]"
    eventually("a reason", lambda: "Unschedulable" in sdk.run(home, events, job=gang))
    status = sdk.status(home, gang)
    assert (status["state"], status["active"]) == ("Queueing", 0)
    sdk.run(home, "client.job.delete(job)", job=first)
    eventually("both to run", lambda: sdk.status(home, gang)["ready"] == 2)


@pytest.mark.root_on_process
def test_further_completions_start_as_earlier_ones_end(home: World, sdk: Sdk) -> None:
    job = sdk.create(home, "batch", "echo index $LEPTON_JOB_WORKER_INDEX", completions=3, parallelism=1)
    status = ended(home, sdk, job)
    assert (status["state"], status["succeeded"]) == ("Completed", 3)
    assert [sdk.log(home, job, f"{job}-{i}-{job[-4:]}") for i in range(3)] == [
        f"index {i}\n" for i in range(3)
    ]


@pytest.mark.root_on_process
def test_worker_is_tried_again_after_a_failure(home: World, sdk: Sdk) -> None:
    mount = {"path": "/retry", "mount_path": "/data/retry", "from": "node-nfs:lepton-shared-fs"}
    command = "if [ -e /data/retry/seen ]; then echo better; else touch /data/retry/seen; exit 7; fi"
    job = sdk.create(home, "retry", command, max_failure_retry=1, mounts=[mount])
    status = ended(home, sdk, job)
    assert (status["state"], status["succeeded"], status["failed"]) == ("Completed", 1, 1)
    assert sdk.log(home, job) == "better\n"
    assert status["job_history"] == []


def test_whole_job_is_tried_again_and_history_tells_of_it(home: World, sdk: Sdk) -> None:
    job = sdk.create(
        home, "again", "echo failures $LEPTON_JOB_FAILURE_COUNT; exit 5", max_job_failure_retry=1
    )
    eventually("PendingRetry", lambda: sdk.state(home, job) in ("PendingRetry", "Restarting"))
    status = eventually("its end", lambda: (s := sdk.status(home, job))["state"] == "Failed" and s)
    assert [h["state"] for h in status["job_history"]] == ["Failed"]
    assert sdk.log(home, job) == "failures 1\n"
    name = status["job_history"][0]["job_name"]
    code = "result = client.log.get_log(job_history_name=name, start=1, end=2**62)"
    found = sdk.run(home, code, name=name)["data"]["result"]
    assert [line for stream in found for _, line in stream["values"]] == ["failures 0"]


def test_job_waits_for_its_start_time(home: World, sdk: Sdk) -> None:
    start = int(time.time()) + 4
    job = sdk.create(home, "later", "date +%s", time_schedule={"start_at": start})
    assert sdk.state(home, job) == "Awaiting"
    ended(home, sdk, job)
    assert int(sdk.log(home, job)) >= start


def test_ended_job_goes_to_the_archive_after_its_time_to_live(home: World, sdk: Sdk) -> None:
    job = sdk.create(home, "brief", "echo brief", ttl_seconds_after_finished=1)
    eventually("Archived", lambda: sdk.state(home, job) == "Archived")
    assert sdk.run(home, "result = client.job.list_all()") == []
    assert sdk.log(home, job) == "brief\n"


def test_secret_reaches_its_job_only_as_a_reference(home: World, sdk: Sdk) -> None:
    home.login()
    home.lep("secret", "create", "-n", "TOKEN", "-v", "s3cr3t-value")
    env = [{"name": "GIVEN", "value_from": {"secret_name_ref": "TOKEN"}}, {"name": "PLAIN", "value": "a b"}]
    job = sdk.create(home, "secret", 'echo "${#GIVEN} $PLAIN"', envs=env)
    ended(home, sdk, job)
    assert sdk.log(home, job) == "12 a b\n"
    assert "s3cr3t" not in json.dumps(sdk.run(home, "result = client.job.get(job)", job=job))
    written = files_below(home.data_dir.parent)
    assert [path for path in written if b"s3cr3t-value" in written[path]] == []
    with pytest.raises(SdkError, match=r"no secret named 'NOPE'"):
        sdk.create(home, "bad", "true", envs=[{"name": "X", "value_from": {"secret_name_ref": "NOPE"}}])


@pytest.mark.root_on_process
def test_mounted_directory_is_shared_by_jobs_and_read_only_holds(home: World, sdk: Sdk) -> None:
    mount = {"path": "/team", "mount_path": "/data/team", "from": "node-nfs:lepton-shared-fs"}
    ended(home, sdk, sdk.create(home, "writer", "echo kept > /data/team/file", mounts=[mount]))
    read_only = mount | {"mount_options": {"read_only": True}}
    reader = sdk.create(
        home,
        "reader",
        "cat /data/team/file; touch /data/team/no 2>/dev/null || echo refused",
        mounts=[read_only],
    )
    ended(home, sdk, reader)
    assert sdk.log(home, reader) == "kept\nrefused\n"  # what goes to stderr has no order among these
    assert (home.data_dir / "volumes" / "lepton-shared-fs" / "team" / "file").read_text() == "kept\n"


@pytest.mark.parametrize(
    ("mount", "said"),
    [
        ({"path": "/", "mount_path": "/", "from": "node-nfs:lepton-shared-fs"}, "mount_path"),
        ({"path": "/", "mount_path": "/etc", "from": "node-nfs:lepton-shared-fs"}, "mount_path"),
        ({"path": "/../..", "mount_path": "/data", "from": "node-nfs:lepton-shared-fs"}, "path"),
        ({"path": "/", "mount_path": "/data", "from": "node-nfs:nope"}, "nope"),
    ],
    ids=["root", "system-folder", "dots", "unknown-volume"],
)
def test_mount_is_refused_by_name(process_home: World, sdk: Sdk, mount: dict[str, str], said: str) -> None:
    # Past the SDK's own check of targets, so that the server's is seen.
    post = """
body = {"metadata": {"id": "bad"}, "spec": {"resource_shape": "cpu.small", "mounts": [mount],
        "container": {"image": "any:1", "command": ["true"]}}}
answer = client.job._post("/jobs", json=body)
result = [answer.status_code, answer.text]
"""
    status, text = sdk.run(process_home, post, mount=mount)
    assert status in (400, 422)
    assert said in text


def test_link_out_of_the_volume_is_not_followed(home: World, sdk: Sdk) -> None:
    outside = home.data_dir.parent / "outside"
    outside.mkdir()
    (home.data_dir / "volumes" / "lepton-shared-fs").mkdir(parents=True, exist_ok=True)
    (home.data_dir / "volumes" / "lepton-shared-fs" / "link").symlink_to(outside)
    mount = {"path": "/link", "mount_path": "/data/x", "from": "node-nfs:lepton-shared-fs"}
    job = sdk.create(home, "escape", "touch /data/x/escaped", mounts=[mount])
    assert ended(home, sdk, job)["state"] == "Failed"
    assert list(outside.iterdir()) == []


def test_signal_and_exit_code_are_told_apart(home: World, sdk: Sdk) -> None:
    job = sdk.create(home, "signal", "kill -KILL $$")
    ended(home, sdk, job)
    events = sdk.run(home, "result = [str(e.regarding) for e in client.job.get_events(job)]", job=job)
    assert "ended by signal 9 (exit code 137)" in " ".join(events)


@pytest.mark.docker
def test_out_of_memory_is_told_apart(docker_home: World, sdk: Sdk) -> None:
    # cpu.small has 4 GiB, and what lies in shared memory counts.
    fill = "exec dd if=/dev/zero of=/dev/shm/x bs=1048576"
    job = sdk.create(docker_home, "oom", fill, shared_memory_size=8192)
    assert ended(docker_home, sdk, job)["state"] == "Failed"
    events = sdk.run(docker_home, "result = [e.reason for e in client.job.get_events(job)]", job=job)
    assert "OOMKilled" in events


@pytest.mark.docker
def test_shared_memory_has_the_size_asked_for(docker_home: World, sdk: Sdk) -> None:
    job = sdk.create(docker_home, "shm", "df -k /dev/shm | tail -n 1", shared_memory_size=128)
    ended(docker_home, sdk, job)
    assert " 131072 " in sdk.log(docker_home, job)


def test_urgent_job_goes_before_an_older_one(home: World, sdk: Sdk) -> None:
    holder = sdk.create(home, "holder", WAIT, resource_shape="gpu.2xh100-sxm")
    eventually("Running", lambda: sdk.state(home, holder) == "Running")
    classes = {"old": "low-1000", "urgent": "high-9000"}
    jobs = {
        name: sdk.create(
            home, name, WAIT, resource_shape="gpu.2xh100-sxm", queue_config={"priority_class": queue}
        )
        for name, queue in classes.items()
    }
    sdk.run(home, "client.job.delete(job)", job=holder)
    eventually("the urgent one to run", lambda: sdk.state(home, jobs["urgent"]) == "Running")
    assert sdk.state(home, jobs["old"]) == "Queueing"
    with pytest.raises(SdkError, match="mid-4000"):
        sdk.create(home, "bad", "true", queue_config={"priority_class": "mid-7000"})


def test_list_is_filtered_and_paged_as_the_clients_ask(process_home: World, sdk: Sdk) -> None:
    home = process_home
    home.login()
    team = {"team": "vision"}
    alpha = sdk.create(home, "alpha", "true", labels=team)
    beta = sdk.create(home, "beta", "exit 1")
    gamma = sdk.create(home, "gamma", WAIT)
    ended(home, sdk, alpha)
    ended(home, sdk, beta)
    eventually("Running", lambda: sdk.state(home, gamma) == "Running")

    def ids(**filters: object) -> list[str]:
        found = sdk.run(home, "result = client.job.list_all(**filters)", filters=filters)
        return [j["metadata"]["id"] for j in found]

    assert ids() == [gamma, beta, alpha]
    assert ids(status=["run"]) == [gamma]
    assert ids(q="a") == [gamma, beta, alpha]
    assert ids(q="bet") == [beta]
    assert ids(query="team=vision") == [alpha]
    assert ids(created_by=["nobody"]) == []
    assert [ids(page=n, page_size=2) for n in (1, 2, 3)] == [[gamma, beta], [alpha], []]
    assert [ids(page=n, page_size=1) for n in (3, 2)] == [[alpha], [beta]]  # without those before them
    assert ids(node_groups=["default"]) == [gamma, beta, alpha]
    assert ids(node_groups=["other"]) == []


def test_stop_all_and_remove_all_touch_only_what_was_named(process_home: World, sdk: Sdk) -> None:
    home = process_home
    home.login()
    keep, stop = sdk.create(home, "keep", WAIT), sdk.create(home, "stop", WAIT)
    eventually("both to run", lambda: {sdk.state(home, j) for j in (keep, stop)} == {"Running"})
    owner = sdk.run(home, "result = client.job.get(job)", job=stop)["metadata"]["owner"]
    home.lep("job", "stop-all", "-u", owner, "-n", "stop", stdin="1\n")
    eventually("Stopped", lambda: sdk.state(home, stop) == "Stopped")
    assert sdk.state(home, keep) == "Running"
    home.lep("job", "remove-all", "-u", owner, "-s", "stopped", stdin="1\n")
    eventually("Archived", lambda: sdk.state(home, stop) == "Archived")
    assert sdk.state(home, keep) == "Running"


def test_clone_runs_what_the_first_ran(process_home: World, sdk: Sdk) -> None:
    home = process_home
    home.login()
    job = sdk.create(home, "first", "echo $WORD", envs=[{"name": "WORD", "value": "same"}])
    ended(home, sdk, job)
    out = home.lep("job", "clone", "-i", job)
    clone = next(w for w in out.replace(":", " ").split() if w.startswith("first-clone-"))
    ended(home, sdk, clone)
    assert sdk.log(home, clone) == "same\n"
    assert sdk.run(home, "result = client.job.get_replicas(job)", job=clone)[0]["status"]["node"]["id"]


def test_spec_file_without_a_shell_runs_its_own_command(
    process_home: World, sdk: Sdk, tmp_path: Path
) -> None:
    home = process_home
    home.login()
    spec = {"resource_shape": "cpu.small", "container": {"image": "any:1", "command": ["echo", "two words"]}}
    path = tmp_path / "job.json"
    path.write_text(json.dumps(spec))
    out = home.lep("job", "create", "-n", "filed", "-rs", "cpu.small", "--file", str(path))
    job = out.split("ID: ")[1].split()[0]
    ended(home, sdk, job)
    assert sdk.log(home, job) == "two words\n", sdk.run(home, "result = client.job.get(job)", job=job)
