"""Run:ai's workloads on real containers, driven by the real runapy 1.224.0."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RUNTIMES
from tests.runai import KINDS, Runai, RunaiError
from tests.runai_work import WAIT, Work
from tests.world import World, eventually, world


@pytest.fixture(params=RUNTIMES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[tuple[World, Path]]:
    """A server that may give a directory of the host to its workloads."""
    given = tmp_path / "given"
    given.mkdir()
    with world(tmp_path, request.param) as made:
        made.start(["--allow-host-path", str(given)])
        yield made, given


def holds(told: Any, sent: Any) -> bool:
    """What was sent is there; the client's own model adds its defaults to it."""
    if isinstance(sent, dict):
        return all(holds(told[key], value) for key, value in sent.items())
    if isinstance(sent, list):
        return all(holds(t, s) for t, s in zip(told, sent, strict=True))
    return told == sent


def mount(given: Path) -> dict[str, Any]:
    return {"hostPath": [{"path": str(given), "mountPath": "/out", "readOnly": False}]}


@pytest.mark.root_on_process
@pytest.mark.parametrize("kind", KINDS)
def test_training_runs_to_its_end_with_all_that_it_was_given(
    folder: tuple[World, Path], runai: Runai, kind: str
) -> None:
    home, given = folder
    work = Work(home, runai, kind)
    script = 'echo "$RUNAI_PROJECT $RUNAI_JOB_NAME $GREETING [$1] [$2]" | tee /out/said /claim/kept'
    claim = {"pvc": [{"claimName": "data", "existingPvc": True, "path": "/claim"}]}
    sent = {
        "command": "bash -c",
        "args": f"'{script}' name 'two words' last",
        "environmentVariables": [{"name": "GREETING", "value": "hello there"}],
        "storage": mount(given) | claim,
        "compute": {"gpuDevicesRequest": 1, "cpuCoreRequest": 0.2, "cpuMemoryRequest": "100M"},
        "labels": [{"name": "team", "value": "vision"}],
    }
    made = work.submit("Training", "learn", spec=sent)
    assert (made["name"], made["desiredPhase"]) == ("learn", "Running")
    assert made["actualPhase"] in ("Pending", "Initializing", "Running")
    work.becomes(made["workloadId"], "Completed")
    assert (given / "said").read_text() == "local learn hello there [two words] [last]\n"
    view = work.typed("Training", "get", made["workloadId"])
    assert holds(view["spec"], sent)
    record = work.get(made["workloadId"])
    assert (record["type"], record["category"], record["priority"]) == ("Training", "Train", 40)
    assert record["podsRequestedResources"]["gpu"] == {"request": 1.0}
    assert record["allocatedResources"]["gpu"] == 0
    assert record["completedAt"] >= record["createdAt"]
    # A claim is the project's: the next workload finds what this one has left there.
    reader = work.train("reader", "cp /claim/kept /out/again", storage=mount(given) | claim)
    work.becomes(reader, "Completed")
    assert (given / "again").read_text() == (given / "said").read_text()


def test_workspace_is_suspended_and_resumed(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    made = work.submit("Workspace", "notebook", spec={"command": WAIT})["workloadId"]
    work.becomes(made, "Running")
    record = work.get(made)
    assert (record["category"], record["priorityClassName"], record["preemptible"]) == (
        "Build",
        "high",
        False,
    )
    assert [p["k8sPhase"] for p in work.pods(made)] == ["Running"]
    work.typed("Workspace", "suspend", made)
    assert work.typed("Workspace", "get", made)["desiredPhase"] == "Stopped"
    work.becomes(made, "Stopped")
    eventually("no container", lambda: not home.containers())
    assert work.pods(made) == []
    assert len(work.pods(made, deleted=True)) == 1
    work.typed("Workspace", "resume", made)
    assert work.typed("Workspace", "get", made)["desiredPhase"] == "Running"
    work.becomes(made, "Running")
    assert len(home.containers()) == 1
    records = work.data("workloads.events.get_workload_history(id)", id=made)["records"]
    phases = [r["spec"]["phaseUpdate"]["phase"] for r in records if r["meta"]["type"] == "PhaseUpdate"]
    told = iter(phases)
    assert all(p in told for p in ("Pending", "Running", "Stopping", "Stopped", "Resuming", "Running")), (
        phases
    )


def test_resume_is_taken_while_it_still_stops(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    slow = "bash -c \"trap 'sleep 1; exit 0' TERM; while true; do sleep 0.1; done\""
    made = work.train("slow", slow)
    work.becomes(made, "Running")
    before = home.containers()
    work.typed("Training", "suspend", made)
    work.typed("Training", "resume", made)
    eventually("another container alone", lambda: len(now := home.containers()) == 1 and now != before)
    work.becomes(made, "Running")


@pytest.mark.root_on_process
def test_distributed_members_find_each_other_by_name(folder: tuple[World, Path], runai: Runai) -> None:
    home, given = folder
    work = Work(home, runai)
    lead = (
        "busybox httpd -f -p $MASTER_PORT & until [ -e /out/met ]; do sleep 0.2; done; kill $!; wait; exit 0"
    )
    follow = (
        "until (exec 3<>/dev/tcp/$MASTER_ADDR/$MASTER_PORT) 2>/dev/null; do sleep 0.2; done;"
        " echo rank $RANK of $WORLD_SIZE reached $MASTER_ADDR > /out/met"
    )
    made = work.submit(
        "Distributed", "gang",
        spec={
            "command": "bash -c", "args": f"'{follow}'", "numWorkers": 1, "storage": mount(given),
            "distributedFramework": "PyTorch",
        },
        masterSpec={"command": "bash -c", "args": f"'{lead}'", "storage": mount(given)},
    )["workloadId"]  # fmt: skip
    names = [p["name"] for p in work.pods(made)]
    assert names == ["gang-master-0", "gang-worker-0"]
    work.becomes(made, "Completed")
    assert (given / "met").read_text() == "rank 1 of 2 reached gang-master-0\n"
    record = work.get(made)
    assert (record["type"], record["distributedFramework"]) == ("Distributed", "PyTorch")
    assert record["requestedPods"] == {"number": 2}


def test_portions_share_a_device_until_it_is_full(home: World, runai: Runai) -> None:
    work = Work(home, runai)

    def portion(name: str, size: float) -> str:
        compute = {"gpuDevicesRequest": 1, "gpuRequestType": "portion", "gpuPortionRequest": size}
        return work.train(name, compute=compute)

    made = [portion("one", 0.5), portion("two", 0.5), portion("three", 0.6)]
    for one in made:
        work.becomes(one, "Running")
    assert [work.get(one)["allocatedResources"]["gpu"] for one in made] == [0.5, 0.5, 0.6]
    memory = {"gpuRequestType": "memory", "gpuMemoryRequest": "24Gi"}
    fits = work.train("memory", compute=memory)
    work.becomes(fits, "Running")
    assert work.get(fits)["podsRequestedResources"]["gpuMemory"] == {"request": "24Gi"}
    waits = portion("four", 0.5)
    eventually("its reason", lambda: "GPU" in work.get(waits).get("phaseMessage", ""))
    assert work.phase(waits) == "Pending"


def test_work_that_must_stay_waits_for_quota_and_other_work_does_not(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    pool = work.data("organizations.node_pools.get_nodepools()")["nodepools"][0]["id"]
    quota = {"nodePool": {"id": pool}, "gpu": {"deserved": 0}}
    body = {"name": "poor", "clusterId": work.cluster, "resources": [quota]}
    code = "organizations.projects.create_project(models.ProjectCreationRequest.from_dict(body))"
    poor = work.data(code, body=body)["id"]
    gpu: dict[str, Any] = {"compute": {"gpuDevicesRequest": 1}}
    stays = work.submit("Workspace", "stays", project=poor, spec={"command": WAIT} | gpu)["workloadId"]
    goes = work.train("goes", project=poor, **gpu)
    work.becomes(goes, "Running")
    reason = "NonPreemptibleOverQuota"
    eventually("why it waits", lambda: work.get(stays).get("phaseReason") == reason)
    assert [p["k8sPhase"] for p in work.pods(stays)] == ["Pending"]
    told = work.get(stays)["phaseMessage"]
    assert told in [e["message"] for e in work.events(stays)]


def test_evicted_work_waits_and_runs_again(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    gpus: dict[str, Any] = {"compute": {"gpuDevicesRequest": 2}}
    low = work.train("low", **gpus)
    work.becomes(low, "Running")
    high = work.train("high", priorityClass="high", preemptibility="preemptible", **gpus)
    work.becomes(high, "Running")
    work.becomes(low, "Pending")
    (told,) = [e["message"] for e in work.events(low) if e["reason"] == "Evicted"]
    assert "preempted" in told.lower()
    work.typed("Training", "delete", high)
    work.becomes(low, "Running")


def test_deleted_work_leaves_the_list_and_can_still_be_asked_for(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    made = work.train("gone")
    work.becomes(made, "Running")
    work.typed("Training", "delete", made)
    assert work.typed("Training", "get", made)["desiredPhase"] == "Deleted"
    eventually("its end", lambda: work.names() == [])
    eventually("no container", lambda: not home.containers())
    assert work.names("name==gone", deleted=True) == ["gone"]
    assert work.get(made)["deletedAt"]
    again = work.train("gone", "true")  # its name is free
    work.becomes(again, "Completed")


def test_failing_work_is_tried_again_and_then_has_failed(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    made = work.train("bad", "bash -c 'exit 3'", backoffLimit=1)
    work.becomes(made, "Failed")
    record = work.get(made)
    assert "exit code 3" in record["phaseMessage"]
    assert [p["k8sPhase"] for p in work.pods(made)] == ["Failed"]
    assert sum(e["reason"] == "Error" for e in work.events(made)) == 2


@pytest.mark.docker
def test_args_alone_keep_the_images_entrypoint(docker_home: World, runai: Runai, tmp_path: Path) -> None:
    work = Work(docker_home, runai)
    tag = "homeport-test/entry:1"
    engine = docker_home.engine
    container = engine.create_container(docker_home.image, ["true"])
    try:
        changes = 'ENTRYPOINT ["bash", "-c", "[ \\"$0\\" = from-args ] && [ $PWD = /tmp ]"]\nCMD ["wrong"]'
        repository, _, version = tag.partition(":")
        engine.commit(container["Id"], repository, version, changes=changes)
    finally:
        engine.remove_container(container["Id"])
    try:
        body = {"image": tag, "args": "from-args", "workingDir": "/tmp", "imagePullPolicy": "Never"}
        made = work.submit("Training", "entry", spec=body | {"backoffLimit": 0})["workloadId"]
        work.becomes(made, "Completed")
    finally:
        engine.remove_image(tag, force=True)


@pytest.mark.docker
def test_large_shared_memory_is_more_than_the_engines_own(docker_home: World, runai: Runai) -> None:
    work = Work(docker_home, runai)
    check = "[ $(df -k /dev/shm | tail -n 1 | awk '{print $2}') -gt 65536 ]"
    compute = {"largeShmRequest": True, "cpuMemoryLimit": "512Mi"}
    made = work.train("shm", f'bash -c "{check}"', compute=compute, backoffLimit=0)
    work.becomes(made, "Completed")


@pytest.mark.docker
def test_image_that_must_not_be_pulled_is_told(docker_home: World, runai: Runai) -> None:
    work = Work(docker_home, runai)
    made = work.submit(
        "Training", "absent", spec={"image": "homeport-test/absent:1", "imagePullPolicy": "Never"}
    )
    told = "pull policy is Never"
    eventually("why", lambda: any(told in e["message"] for e in work.events(made["workloadId"])))


@pytest.mark.parametrize("type_", ["Training", "Workspace", "Distributed"])
def test_each_type_is_suspended_resumed_and_deleted(shared_home: World, runai: Runai, type_: str) -> None:
    work = Work(shared_home, runai)
    more = {"numWorkers": 1, "distributedFramework": "JAX"} if type_ == "Distributed" else {}
    name = f"turn-{type_.lower()}"
    made = work.submit(type_, name, spec={"command": WAIT} | more)["workloadId"]
    for action, wish, phase in (
        ("resume", "Running", "Running"),
        ("suspend", "Stopped", "Stopped"),
        ("resume", "Running", "Running"),
    ):
        assert work.typed(type_, action, made)["code"] == 202
        assert work.typed(type_, "get", made)["desiredPhase"] == wish
        work.becomes(made, phase)
    assert work.typed(type_, "delete", made)["code"] == 202
    eventually("its end", lambda: name not in work.names())


@pytest.fixture(scope="module")
def crowd(shared_home: World, runai: Runai) -> Work:
    """A few workloads that have ended, or wait for a pool that has no nodes."""
    work = Work(shared_home, runai)
    for name in ("a-1", "a-2", "b-1"):
        work.becomes(work.train(name, "true"), "Completed")
    work.becomes(work.submit("Workspace", "c-1", spec={"command": "true"})["workloadId"], "Completed")
    return work


@pytest.mark.parametrize(
    ("filters", "more", "expected"),
    [
        pytest.param((), {}, ["a-1", "a-2", "b-1", "c-1"], id="in-the-order-of-their-creation"),
        pytest.param((), {"sort_by": "name", "sort_order": "desc"}, ["c-1", "b-1", "a-2", "a-1"], id="desc"),
        pytest.param(("name=^a-",), {}, ["a-1", "a-2"], id="begins"),
        pytest.param(("name=@-1", "type==Training"), {}, ["a-1", "b-1"], id="filters-are-anded"),
        pytest.param(("category!=Train",), {}, ["c-1"], id="not"),
        pytest.param(("priority>=100",), {}, ["c-1"], id="numbers"),
        pytest.param(("phase==Completed", "createdAt<=2001-01-01"), {}, [], id="times"),
        pytest.param((), {"search": "B-"}, ["b-1"], id="searched-whatever-the-case"),
        pytest.param((), {"offset": 1, "limit": 2}, ["a-2", "b-1"], id="a-page"),
    ],
)  # fmt: skip
def test_list(crowd: Work, filters: tuple[str, ...], more: dict[str, Any], expected: list[str]) -> None:
    assert crowd.names(*filters, **more) == expected
    if not {"offset", "sort_by"} & more.keys():
        count = "workloads.workloads.count_workloads(filter_by=by, **more)"
        assert crowd.data(count, by=list(filters), more=more) == {"count": len(expected)}


def test_page_tells_where_the_next_begins(crowd: Work) -> None:
    first = crowd.data("workloads.workloads.get_workloads(limit=3)")
    last = crowd.data("workloads.workloads.get_workloads(limit=3, offset=at)", at=first["next"])
    assert ("next" in last, [w["name"] for w in last["workloads"]]) == (False, ["c-1"])


def test_pods_of_all_workloads_are_listed_and_counted(crowd: Work) -> None:
    found = crowd.data("workloads.pods.list_pods(verbosity='full', completed='true')")["pods"]
    told = [found[0][key] for key in ("name", "workloadName", "projectName", "k8sPhase")]
    assert told == ["a-1-0-0", "a-1", "local", "Succeeded"]
    assert crowd.data("workloads.pods.count_pods()") == {"count": 4}
    by = [f"workloadId=={found[1]['workloadId']}"]
    assert crowd.data("workloads.pods.count_pods(filter_by=by)", by=by) == {"count": 1}
    assert crowd.data("workloads.pods.list_pods(completed='false')")["pods"] == []


def test_telemetry_counts_by_group(crowd: Work) -> None:
    code = "workloads.workloads.get_workloads_telemetry(models.WorkloadTelemetryType[what], group_by=by)"
    told = crowd.data(code, what="WORKLOADS_COUNT", by=["Type"])
    found = {v["groups"][0]["value"]: v["value"] for v in told["values"]}
    assert found == {"Training": "3", "Workspace": "1"}


def test_metrics_tell_what_was_held_and_that_the_rest_is_not_measured(crowd: Work) -> None:
    made = crowd.found("name==a-1")[0]
    code = "result = done(client.workloads.workloads.get_workload_metrics(id, types, start, end, 3))"
    values = {"id": made["id"], "start": made["createdAt"], "end": made["completedAt"]}
    told = crowd.runai.run(crowd.home, code, types=["POD_COUNT", "NIM_NUM_REQUEST_MAX"], **values)
    assert told["status"] == 207
    assert [m["type"] for m in told["data"]["measurements"]] == ["POD_COUNT"]
    assert len(told["data"]["measurements"][0]["values"]) == 3
    with pytest.raises(RunaiError) as refused:
        crowd.runai.run(crowd.home, code, types=["NIM_NUM_REQUEST_MAX"], **values)
    assert refused.value.status == 501


def test_metrics_of_a_pod_are_its_own(crowd: Work) -> None:
    made = crowd.found("name==a-1")[0]
    (pod,) = crowd.pods(made["id"])
    values = {"id": made["id"], "pod": pod["id"], "start": made["createdAt"], "end": made["completedAt"]}
    call = "workloads.pods.get_workload_pod_metrics(id, pod, ['CPU_USAGE_CORES'], start, end)"
    assert [m["type"] for m in crowd.data(call, **values)["measurements"]] == ["CPU_USAGE_CORES"]
    with pytest.raises(RunaiError) as refused:
        crowd.data(call, **values | {"pod": made["id"]})
    assert refused.value.status == 404


def test_words_for_workloads_are_listed(crowd: Work) -> None:
    names = {p["name"]: p["value"] for p in
             crowd.data("workloads.workload_properties.get_workload_priorities()")["priorities"]}  # fmt: skip
    assert {"very-low": 25, "low": 40, "high": 125, "very-high": 150}.items() <= names.items()
    types = crowd.data("workloads.workload_properties.list_workload_types()")["types"]
    found = {t["name"]: (t["categoryName"], t["priorityName"]) for t in types}
    assert found["Workspace"] == ("Build", "high")
    one = crowd.data("workloads.workload_properties.get_workload_type(id)", id=types[0]["id"])
    assert one == types[0]
    categories = crowd.data("workloads.workload_properties.list_categories()")["categories"]
    assert [c["name"] for c in categories] == ["Build", "Train", "Deploy"]
    known = crowd.data("workloads.workload_properties.get_category_by_id(id)", id=categories[0]["id"])
    assert known == categories[0]


@pytest.mark.parametrize("kind", KINDS)
def test_batch_tells_of_each_what_became_of_it(shared_home: World, runai: Runai, kind: str) -> None:
    work = Work(shared_home, runai, kind)
    made = work.train(f"batch-{kind}")
    missing = "00000000-0000-4000-8000-000000000000"

    def batch(action: str) -> dict[str, Any]:
        body = {"ids": [made, missing], "action": action}
        return work.data(
            "workloads.workloads_batch.batch_workloads(models.WorkloadBatch.from_dict(body))", body=body
        )

    for action in ("suspend", "resume", "delete"):
        told = batch(action)
        assert told["succeeded"] == [made]
        assert [(f["id"], f["code"]) for f in told["failed"]] == [(missing, 404)]
    eventually("its end", lambda: f"batch-{kind}" not in work.names())


def test_name_with_a_suffix_keeps_what_was_asked_for(shared_home: World, runai: Runai) -> None:
    work = Work(shared_home, runai)
    made = [
        work.submit("Training", "twin", spec={"command": "true"}, useGivenNameAsPrefix=True) for _ in range(2)
    ]
    assert made[0]["name"] != made[1]["name"]
    assert all(m["name"].startswith("twin-") and m["requestedName"] == "twin" for m in made)
    for one in made:
        work.typed("Training", "delete", one["workloadId"])


def refusal(ask: Callable[[Work], Any], status: int, said: str, *, id: str) -> Any:
    return pytest.param(ask, status, said, id=id)


REFUSED = [
    refusal(lambda w: w.train("Bad_Name"), 400, "name", id="a-bad-name"),
    refusal(lambda w: w.train("x", project="999"), 400, "projectId", id="no-such-project"),
    refusal(lambda w: w.train("x", nodePools=["nope"]), 400, "spec.nodePools[0]", id="no-such-pool"),
    refusal(lambda w: w.train("x", priorityClass="now"), 400, "spec.priorityClass", id="priority"),
    refusal(
        lambda w: w.train("x", storage={"hostPath": [{"path": "/etc", "mountPath": "/x"}]}), 400,
        "spec.storage.hostPath[0].path", id="a-directory-that-is-not-given",
    ),
    refusal(
        lambda w: w.train("x", storage={"s3": [{"bucket": "b", "path": "/b"}]}), 501, "spec.storage.s3",
        id="not-served",
    ),
    refusal(lambda w: w.typed("Training", "get", "nope"), 404, "nope", id="no-such-workload"),
    refusal(lambda w: w.found("color==red"), 400, "color", id="an-unknown-field"),
    refusal(lambda w: w.found("name"), 400, "filterBy", id="a-filter-that-is-none"),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "status", "said"), REFUSED)
def test_refusal_is_typed_and_names_the_field(
    shared_home: World, runai: Runai, ask: Callable[[Work], Any], status: int, said: str
) -> None:
    with pytest.raises(RunaiError) as refused:
        ask(Work(shared_home, runai))
    assert refused.value.status == status
    assert refused.value.data["code"] == status
    assert said in refused.value.data["message"]


def test_name_that_is_taken_is_a_conflict_within_its_project(shared_home: World, runai: Runai) -> None:
    work = Work(shared_home, runai)
    made = work.train("taken")
    with pytest.raises(RunaiError) as refused:
        work.submit("Workspace", "taken", spec={"command": "true"})
    assert refused.value.status == 409
    with pytest.raises(RunaiError) as refused:
        work.typed("Workspace", "get", made)
    assert refused.value.status == 404
    work.typed("Training", "delete", made)
