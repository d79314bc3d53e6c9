"""The same work through both dialects' real clients: `lep` 0.47.1 and runapy 1.224.0."""

import json
import urllib.request

from tests.runai import Runai
from tests.runai_work import WAIT, Work
from tests.world import World, eventually

LOOP = "trap 'exit 0' TERM; while true; do sleep 0.1; done"


def gpus(work: Work) -> float:
    """That the project's quota is charged for."""
    (found,) = [
        p for p in work.data("organizations.projects.get_projects()")["projects"] if p["name"] == "local"
    ]
    return found["status"]["quotaStatus"]["allocated"]["gpu"]


def events(home: World, job: str) -> list[str]:
    """Their messages; `lep job events` breaks them into lines of a table."""
    request = urllib.request.Request(
        f"{home.values['LEPTON_WORKSPACE_URL']}/jobs/{job}/events",
        headers={"Authorization": f"Bearer {home.values['LEPTON_WORKSPACE_TOKEN']}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return [event["message"] for event in json.load(answer)]


def test_job_made_with_lep_is_seen_suspended_and_accounted_for_through_runapy(
    home: World, runai: Runai
) -> None:
    home.login()
    work = Work(home, runai)
    job = home.create("ours", LOOP, "--resource-shape", "gpu.h100-sxm")
    eventually("Running", lambda: home.state(job) == "Running")
    (record,) = work.found("type==Training")
    assert (record["name"], record["phase"], record["category"]) == ("ours", "Running", "Train")
    assert (record["priority"], record["preemptible"], record["projectName"]) == (67, False, "local")
    assert record["allocatedResources"]["gpu"] == gpus(work) == 1
    assert [p["k8sPhase"] for p in work.pods(record["id"])] == ["Running"]
    shown = {e["reason"] for e in work.events(record["id"])}
    assert {"Created", "Scheduled", "Started"} <= shown
    work.typed("Training", "suspend", record["id"])
    eventually("Stopped in Lepton", lambda: home.state(job) == "Stopped")
    assert gpus(work) == 0
    work.typed("Training", "resume", record["id"])
    eventually("Running in Lepton", lambda: home.state(job) == "Running")
    work.typed("Training", "delete", record["id"])
    eventually("its end in Lepton", lambda: job not in home.lep("job", "list"))
    assert work.names(deleted=True) == ["ours"]


def test_training_made_with_runapy_is_seen_and_stopped_with_lep(home: World, runai: Runai) -> None:
    home.login()
    work = Work(home, runai)
    made = work.train("theirs", compute={"gpuDevicesRequest": 1})
    work.becomes(made, "Running")
    listed = home.lep("job", "list")
    job = next(word for word in listed.replace("│", " ").split() if word.startswith("theirs-"))
    shown = home.get(job)
    assert (shown["metadata"]["name"], shown["status"]["state"]) == ("theirs", "Running")
    assert shown["spec"]["container"]["image"] == home.image
    assert "1 avail" in home.lep("node", "list")
    home.lep("job", "stop", "-i", job)
    work.becomes(made, "Stopped")
    assert work.typed("Training", "get", made)["desiredPhase"] == "Stopped"
    home.lep("job", "start", "-i", job)
    work.becomes(made, "Running")
    home.lep("job", "remove", "-i", job)
    eventually("its end", lambda: work.names() == [])


def test_both_wait_in_one_line_for_the_same_gpus(home: World, runai: Runai) -> None:
    home.login()
    work = Work(home, runai)
    first = home.create("first", LOOP, "--resource-shape", "gpu.2xh100-sxm")
    eventually("Running", lambda: home.state(first) == "Running")
    made = work.submit("Workspace", "second", spec={"command": WAIT, "compute": {"gpuDevicesRequest": 1}})
    second = made["workloadId"]
    eventually("its reason", lambda: work.get(second)["phaseMessage"])
    why = work.get(second)["phaseMessage"]
    (job,) = [j for j in home.lep("job", "list").replace("│", " ").split() if j.startswith("second-")]
    # Neither of them may be evicted: the workspace waits, and both dialects say why in the same words.
    assert why in events(home, job)
    home.lep("job", "remove", "-i", first)
    work.becomes(second, "Running")
