"""Run:ai's submissions and what is shown of them: the pure parts."""

from dataclasses import replace
from typing import Any

import pytest

from homeport.scheduler.model import Code, OverBound, Unplaced
from homeport.server.api.runai import ids
from homeport.server.api.runai import wire_workloads as wire
from homeport.server.api.runai.translate import environment, measures, pods, priorities, workloads
from homeport.server.api.runai.translate.compute import resources_of
from homeport.server.api.runai.translate.distributed import rendezvous
from homeport.server.api.runai.translate.events import history
from homeport.server.api.runai.translate.phases import phase_of, states_of
from homeport.server.api.runai.translate.quantities import mib_of
from homeport.server.api.runai.translate.seen import Seen
from homeport.server.api.runai.translate.spec import Machine, to_spec
from homeport.server.api.runai.translate.where import where_of
from homeport.server.domain.inventory import HostNode, NodeGpu, Shape, shapes_of
from homeport.server.domain.lifecycle import phase_of as state_of
from homeport.server.domain.org import Department, Org, Project
from homeport.server.domain.workload import Attempt, AttemptState, Member, Workload, WorkloadSpec
from homeport.server.errors import Invalid, NotImplementedYet
from homeport.server.store.tables import EventRow

GPUS = tuple(NodeGpu(f"GPU-{i}", "NVIDIA H100-80GB", 81920, True) for i in range(8))
NODES = (HostNode("node", "default", 16, 65536, GPUS),)
SHAPES = shapes_of(NODES)
MACHINE = Machine(NODES, SHAPES)
ORG = Org((Department("2", "default"),), (Project("3", "local", "2", "runai-local"),))
WHERE = where_of("cluster", ORG, NODES, SHAPES)
MODELS: dict[str, type[wire.Creation]] = {
    "Training": wire.TrainingCreation,
    "Workspace": wire.WorkspaceCreation,
    "Distributed": wire.DistributedCreation,
}


def spec(type_: str = "Training", *, master: dict[str, Any] | None = None, **fields: Any) -> WorkloadSpec:
    body: dict[str, Any] = {"name": "work", "projectId": "3", "clusterId": "c"}
    body |= {"spec": {"image": "any:1"} | fields} | ({"masterSpec": master} if master else {})
    return to_spec(type_, MODELS[type_].model_validate(body), body, "work", MACHINE).spec


def seen(made: WorkloadSpec, *attempts: Attempt, waiting: Unplaced | None = None, **state: Any) -> Seen:
    workload = Workload("work-ab12", "local", "work", "job", "ada", 1_000_000, made, **state)
    return Seen(workload, state_of(workload, attempts), attempts, WHERE, 1_100_000, waiting=waiting)


def attempt(index: int = 0, number: int = 1, state: str = "running", **fields: Any) -> Attempt:
    times: dict[str, Any] = {"placed_at_ms": 1_010_000, "started_at_ms": 1_020_000}
    times |= fields
    return Attempt(
        f"work-{index}", number, "work-ab12", index, "node", 1, 100, 1, state=AttemptState(state), **times
    )


def ended(
    index: int = 0, number: int = 1, code: int = 0, reason: str = "Completed", **fields: Any
) -> Attempt:
    fields = {"finished_at_ms": 1_050_000} | fields
    return attempt(index, number, "ended", exit_code=code, reason=reason, **fields)


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        pytest.param("100M", 96, id="decimal-units-are-rounded-up-to-whole-mib"),
        pytest.param("512Mi", 512, id="binary-units"),
        pytest.param("1.5Gi", 1536, id="a-fraction"),
        pytest.param("2GB", 1908, id="a-b-at-the-end-says-nothing"),
        pytest.param("1e9", 954, id="an-exponent"),
        pytest.param("1048576", 1, id="bytes-without-a-unit"),
    ],
)
def test_quantity_of_memory_is_read(text: str, mib: int) -> None:
    assert mib_of(text, "f") == mib


@pytest.mark.parametrize("text", ["", "lots", "-1G", "1X", "1GiX", "1e99G"])
def test_quantity_that_is_none_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(Invalid, match=r"^spec\.compute\.cpuMemoryRequest: "):
        mib_of(text, "spec.compute.cpuMemoryRequest")


def test_command_and_args_are_split_as_a_shell_would() -> None:
    made = spec(command="bash -c 'echo a  b'", args='--name "x y" z')
    assert (made.command, made.args) == (("bash", "-c", "echo a  b"), ("--name", "x y", "z"))


@pytest.mark.parametrize(
    ("type_", "fields", "expected"),
    [
        pytest.param("Training", {}, ("Train", 40, True), id="training-is-low-and-preemptible"),
        pytest.param("Distributed", {"numWorkers": 1}, ("Train", 40, True), id="distributed-as-well"),
        pytest.param("Workspace", {}, ("Build", 125, False), id="workspace-is-high-and-stays"),
        pytest.param("Training", {"priorityClass": "high"}, ("Train", 125, False), id="from-100-on"),
        pytest.param("Workspace", {"priorityClass": "medium"}, ("Build", 80, True), id="below-100"),
        pytest.param(
            "Training", {"priorityClass": "very-high", "preemptibility": "preemptible"}, ("Train", 150, True),
            id="its-own-word-goes-before-its-priority",
        ),
        pytest.param("Training", {"priorityClass": "train"}, ("Train", 50, True), id="an-older-name"),
        pytest.param("Training", {"category": "Deploy"}, ("Deploy", 40, True), id="a-category-of-its-own"),
    ],
)  # fmt: skip
def test_standing_follows_from_the_type_and_what_is_said(
    type_: str, fields: dict[str, Any], expected: tuple[str, int, bool]
) -> None:
    made = spec(type_, **fields)
    assert (made.category, made.priority, made.is_preemptible) == expected
    assert made.can_preempt


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        pytest.param({}, (0, 1.0, None, "cpu.small"), id="nothing-is-no-gpu"),
        pytest.param({"gpuDevicesRequest": 2}, (2, 1.0, None, "gpu.2xh100-sxm"), id="whole-devices"),
        pytest.param(
            {"gpuDevicesRequest": 1, "gpuRequestType": "portion", "gpuPortionRequest": 0.5},
            (1, 0.5, None, "gpu.h100-sxm"), id="a-portion",
        ),
        pytest.param(
            {"gpuDevicesRequest": 4, "gpuPortionRequest": 0.25}, (4, 0.25, None, "gpu.4xh100-sxm"),
            id="a-portion-of-several",
        ),
        pytest.param({"gpuPortionRequest": 0.5}, (1, 0.5, None, "gpu.h100-sxm"), id="one-device-is-meant"),
        pytest.param(
            {"gpuRequestType": "memory", "gpuMemoryRequest": "20Gi"}, (1, 1.0, 20480, "gpu.h100-sxm"),
            id="memory-of-one-device",
        ),
        pytest.param({"gpuDevicesRequest": 16}, (16, 1.0, None, ""), id="more-than-any-shape-has"),
    ],
)  # fmt: skip
def test_gpus_are_taken_from_the_request(compute: dict[str, Any], expected: tuple[Any, ...]) -> None:
    made = spec(compute=compute)
    assert (made.gpu_count, made.gpu_portion, made.gpu_memory_mib, made.shape) == expected


def test_whole_device_goes_by_no_shape_of_an_instance() -> None:
    """By its shape it is billed: an instance is cheaper, and has less CPU."""
    slice_ = Shape("gpu.h100-sxm.1g.10gb", 1, 1024, 1, "NVIDIA H100", 10240, "1g.10gb")
    asked = wire.Compute.model_validate({"gpuDevicesRequest": 1})
    assert resources_of(asked, NODES, [slice_, *SHAPES]).shape == "gpu.h100-sxm"


def test_limits_are_the_containers_and_requests_the_schedulers() -> None:
    sent = {"cpuCoreRequest": 0.5, "cpuCoreLimit": 2, "cpuMemoryRequest": "1Gi", "largeShmRequest": True}
    asked = wire.Compute.model_validate(sent)
    found = resources_of(asked, NODES, SHAPES)
    assert (found.cpu_cores, found.cpu_limit_cores, found.memory_mib) == (0.5, 2, 1024)
    assert (found.memory_limit_mib, found.shm_mib) == (65536, 32768)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"image": None}, "spec.image", id="no-image"),
        pytest.param({"command": "echo 'open"}, "spec.command", id="an-open-quote"),
        pytest.param({"workingDir": "here"}, "spec.workingDir", id="a-relative-directory"),
        pytest.param({"priorityClass": "urgent"}, "spec.priorityClass", id="an-unknown-priority"),
        pytest.param(
            {"compute": {"gpuDevicesRequest": 2, "gpuRequestType": "memory", "gpuMemoryRequest": "1G"}},
            "spec.compute.gpuDevicesRequest", id="memory-of-two-devices",
        ),
        pytest.param(
            {"compute": {"gpuRequestType": "memory"}}, "spec.compute.gpuMemoryRequest", id="memory-not-said"
        ),
        pytest.param(
            {"compute": {"gpuDevicesRequest": 0, "gpuPortionRequest": 0.5}}, "spec.compute.gpuPortionRequest",
            id="a-portion-of-no-device",
        ),
        pytest.param(
            {"compute": {"gpuPortionRequest": 0.001}}, "spec.compute.gpuPortionRequest",
            id="next-to-nothing-of-a-device",
        ),
        pytest.param(
            {"compute": {"gpuPortionRequest": 0.5, "gpuPortionLimit": 0.25}}, "spec.compute.gpuPortionLimit",
            id="a-limit-below-the-request",
        ),
        pytest.param(
            {"compute": {"cpuCoreRequest": 2, "cpuCoreLimit": 1}}, "spec.compute.cpuCoreLimit",
            id="fewer-cores-than-asked-for",
        ),
        pytest.param(
            {"storage": {"hostPath": [{"path": "/a", "mountPath": "/x"}], "pvc": [{"path": "/x/"}]}},
            "spec.storage.pvc[0].claimName", id="two-mounts-at-one-place",
        ),
        pytest.param(
            {"storage": {"pvc": [{"claimName": "../up", "path": "/x"}]}}, "spec.storage.pvc[0].claimName",
            id="a-claim-that-is-a-path",
        ),
        pytest.param(
            {"storage": {"hostPath": [{"path": "/a", "mountPath": "/etc"}]}},
            "spec.storage.hostPath[0].mountPath", id="over-a-system-folder",
        ),
        pytest.param(
            {"environmentVariables": [{"name": "a=b", "value": "c"}]}, "spec.environmentVariables[0]",
            id="a-name-with-an-equals-sign",
        ),
        pytest.param(
            {"tolerations": [{"operator": "Equal", "value": "x"}]}, "spec.tolerations[0].key",
            id="a-toleration-without-a-key",
        ),
        pytest.param(
            {"tolerations": [{"operator": "Exists", "effect": "NoSchedule", "seconds": 5}]},
            "spec.tolerations[0].seconds", id="seconds-of-another-effect",
        ),
    ],
)  # fmt: skip
def test_field_that_cannot_be_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        spec(**fields)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        pytest.param({"imaginary": [{"container": 80}]}, "spec.imaginary", id="a-list"),
        pytest.param({"imaginary": True}, "spec.imaginary", id="a-switch"),
        pytest.param({"storage": {"s3": [{"bucket": "b"}]}}, "spec.storage.s3", id="within-an-object"),
        pytest.param(
            {"storage": {"pvc": [{"path": "/x", "ephemeral": True}]}}, "spec.storage.pvc[0].ephemeral",
            id="within-a-list",
        ),
        pytest.param(
            {"security": {"uidGidSource": "fromIdpToken"}}, "spec.security.uidGidSource: fromIdpToken",
            id="another-value",
        ),
        pytest.param(
            {
                "storage": {
                    "hostPath": [{"path": "/a", "mountPath": "/x", "mountPropagation": "HostToContainer"}]
                }
            },
            "spec.storage.hostPath[0].mountPropagation: HostToContainer", id="another-value-within-a-list",
        ),
    ],
)  # fmt: skip
def test_field_that_is_not_honoured_is_a_501_that_names_it(fields: dict[str, Any], what: str) -> None:
    with pytest.raises(NotImplementedYet) as refused:
        spec(**fields)
    assert refused.value.what == what


def test_fields_that_ask_for_nothing_are_accepted() -> None:
    made = spec(
        createHomeDir=False, tty=False, exposedUrls=[], security={"hostIpc": False},
        storage={"pvc": [{"path": "/x", "claimName": "c", "ephemeral": False}], "s3": []},
        labels=[{"name": "team", "value": "a"}], relatedUrls=[{"url": "http://x"}],
    )  # fmt: skip
    assert made.extras["runai"]["spec"]["labels"] == [{"name": "team", "value": "a"}]


def test_items_that_are_excluded_are_as_if_they_were_not_there() -> None:
    made = spec(
        environmentVariables=[{"name": "A", "value": "1"}, {"name": "B", "value": "2", "exclude": True}],
        storage={"pvc": [{"path": "/x", "exclude": True}]},
        tolerations=[{"key": "k", "operator": "Exists", "exclude": True}],
    )
    assert (made.env, made.mounts, made.tolerations) == ((("A", "1"),), (), ())


def test_node_type_narrows_each_alternative_of_the_affinity() -> None:
    def term(zone: str) -> dict[str, Any]:
        return {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}

    made = spec(nodeType="dgx", nodeAffinityRequired={"nodeSelectorTerms": [term("a"), term("b")]})
    kind = ("run.ai/type", "In", ("dgx",))
    assert made.affinity == ((("zone", "In", ("a",)), kind), (("zone", "In", ("b",)), kind))
    assert spec(nodeType="dgx").affinity == ((kind,),)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"key": "k", "value": "v", "effect": "NoSchedule"}, ("k", "v", "NoSchedule")),
        ({"key": "k", "operator": "Exists", "effect": "Any"}, ("k", None, None)),
        ({"operator": "Exists"}, ("", None, None)),
        ({"key": "k", "value": "v", "effect": "NoExecute", "seconds": 30}, ("k", "v", "NoExecute", 30)),
        ({"operator": "Exists", "effect": "NoExecute", "seconds": 1}, ("", None, "NoExecute", 1)),
    ],
)
def test_toleration_is_as_the_scheduler_has_it(sent: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert spec(tolerations=[sent]).tolerations == (expected,)


def test_variable_takes_a_secret_or_a_field_of_its_pod() -> None:
    made = spec(
        environmentVariables=[
            {"name": "A", "secret": {"name": "token", "key": "value"}},
            {"name": "B", "podFieldRef": {"path": "metadata.name"}},
        ]
    )
    assert made.secret_env == (("A", "token"),)
    found = dict(environment.environment(seen(made).workload, attempt()))
    assert found == {"RUNAI_PROJECT": "local", "RUNAI_JOB_NAME": "work", "B": "work-0-0"}


def test_pytorch_has_a_master_and_its_workers() -> None:
    made = spec("Distributed", numWorkers=2)
    assert made.member_names == ("work-master-0", "work-worker-0", "work-worker-1")
    assert (made.completions, made.parallelism, made.min_members) == (3, 3, None)
    assert made.is_led
    assert not made.starts_singly
    found = dict(environment.environment(seen(made).workload, attempt(2)))
    wanted = {"MASTER_ADDR": "work-master-0", "MASTER_PORT": "23456", "WORLD_SIZE": "3", "RANK": "2"}
    assert wanted.items() <= found.items()


def test_elastic_work_starts_with_its_minimum_and_grows_to_its_maximum() -> None:
    made = spec("Distributed", numWorkers=2, minReplicas=1, maxReplicas=4)
    assert (made.parallelism, made.min_members, len(made.member_names)) == (5, 2, 5)


def test_only_pytorch_is_elastic() -> None:
    with pytest.raises(Invalid, match="only PyTorch is elastic, not TF"):
        spec("Distributed", numWorkers=2, minReplicas=1, distributedFramework="TF")


def test_master_of_its_own_differs_in_what_it_runs_and_in_nothing_else() -> None:
    made = spec("Distributed", numWorkers=1, command="work", master={"command": "lead"})
    assert (made.member(0), made.member(1)) == (Member("any:1", ("lead",)), Member("any:1", ("work",)))
    with pytest.raises(NotImplementedYet, match=r"masterSpec\.compute that differs"):
        spec("Distributed", numWorkers=1, master={"compute": {"gpuDevicesRequest": 1}})


@pytest.mark.parametrize(
    ("framework", "expected"),
    [
        ("XGBoost", {"MASTER_PORT": "9999", "RANK": "1"}),
        ("JAX", {"COORDINATOR_ADDRESS": "a", "NUM_PROCESSES": "2", "PROCESS_ID": "1"}),
        ("TF", {"TF_CONFIG": '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", '
                             '"index": 1}, "environment": "cloud"}'}),
    ],
)  # fmt: skip
def test_each_framework_finds_its_members_in_its_own_way(framework: str, expected: dict[str, str]) -> None:
    assert expected.items() <= dict(rendezvous(framework, ("a", "b"), 1)).items()


WAITS = Unplaced(("no room",), Code.OVER_QUOTA, (OverBound("default", Code.OVER_QUOTA, "no room"),))


PHASES: list[Any] = [
        pytest.param(spec(), (), {}, "Pending", id="before-it-has-a-place"),
        pytest.param(spec(), (attempt(state="placed", started_at_ms=None),), {}, "Initializing", id="placed"),
        pytest.param(spec(), (attempt(),), {}, "Running", id="running"),
        pytest.param(
            spec("Distributed", numWorkers=1), (attempt(0), attempt(1, state="placed", started_at_ms=None)),
            {}, "Initializing", id="a-gang-that-is-still-coming",
        ),
        pytest.param(
            spec("Distributed", numWorkers=1), (attempt(0), ended(1, code=1, reason="Error")),
            {}, "Degraded", id="a-gang-that-has-lost-one",
        ),
        pytest.param(
            spec("Distributed", numWorkers=2, minReplicas=1), (attempt(0), attempt(1)),
            {}, "Running", id="elastic-work-with-its-minimum",
        ),
        pytest.param(
            spec(), (ended(code=1, reason="Error"),), {}, "Pending", id="between-two-tries"
        ),
        pytest.param(spec(), (ended(reason="Evicted", code=143),), {}, "Pending", id="evicted"),
        pytest.param(spec(), (ended(),), {}, "Completed", id="completed"),
        pytest.param(spec(backoffLimit=0), (ended(code=1, reason="Error"),), {}, "Failed", id="failed"),
        pytest.param(replace(spec(), is_stopped=True), (attempt(),), {}, "Stopping", id="stopping"),
        pytest.param(replace(spec(), is_stopped=True), (), {}, "Stopped", id="stopped"),
        pytest.param(spec(), (attempt(),), {"is_deleting": True}, "Deleting", id="deleting"),
        pytest.param(spec(), (ended(),), {"archived_at_ms": 2}, "Completed", id="deleted-after-its-end"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "attempts", "state", "expected"), PHASES)
def test_phase(
    made: WorkloadSpec, attempts: tuple[Attempt, ...], state: dict[str, Any], expected: str
) -> None:
    one = seen(made, *attempts, **state)
    assert phase_of(one.workload, one.state, one.attempts) == expected


def test_phase_is_looked_for_among_all_states_that_may_be_shown_as_it() -> None:
    for made, attempts, state, expected in (p.values for p in PHASES):
        one = seen(made, *attempts, **state)
        assert one.workload.archived_at_ms is not None or one.state in states_of(expected)


def test_record_says_why_it_waits_in_the_schedulers_words() -> None:
    told = workloads.record(seen(spec(), waiting=WAITS))
    assert (told["phaseReason"], told["phaseMessage"]) == ("NonPreemptibleOverQuota", "no room")
    assert told["pendingSchedulingMessages"][0]["reason"] == "no room"


def test_record_adds_up_what_its_pods_ask_for_and_have() -> None:
    made = spec("Distributed", numWorkers=2, compute={"gpuPortionRequest": 0.5, "cpuMemoryRequest": "100M"})
    held = [attempt(i, gpu_uuids=(f"GPU-{i}",), gpu_portion=0.5) for i in range(2)]
    told = workloads.record(seen(made, *held))
    assert told["podsRequestedResources"]["cpuMemory"] == {"request": "100M"}
    assert told["workloadRequestedResources"]["gpu"] == {"request": 1.5}
    assert told["allocatedResources"] == {"gpu": 1.0, "gpuMemory": "81920Mi", "cpu": 2, "cpuMemory": "200Mi"}
    assert (told["requestedPods"], told["runningPods"]) == ({"number": 3}, 2)


def test_time_of_running_and_waiting_is_counted_once() -> None:
    again = attempt(number=2, placed_at_ms=1_060_000, started_at_ms=1_070_000)
    one = seen(spec(), ended(code=1, reason="Error"), again)
    assert (one.running_s, one.pending_s) == (30 + 30, 20 + 20)


def test_time_for_which_it_was_suspended_is_no_waiting() -> None:
    again = attempt(number=2, placed_at_ms=1_090_000, started_at_ms=1_091_000)
    assert seen(spec(), ended(reason="Stopped", code=143), again, first_attempt=2).pending_s == 20 + 1


def test_pods_are_there_before_they_have_a_place() -> None:
    found = list(pods.pods_of(seen(spec("Distributed", numWorkers=1))))
    assert [(p.name, p.phase, p.node) for p in found] == [
        ("work-master-0", "Pending", None),
        ("work-worker-0", "Pending", None),
    ]


def test_pods_of_a_plain_training_start_as_there_is_room() -> None:
    made = spec(completions=3, parallelism=3)
    assert made.starts_singly
    assert not made.is_led
    assert seen(made, attempt(1)).phase == "Running"
    gang = spec("Distributed", numWorkers=2)
    assert seen(gang, attempt(1)).phase != "Running"


def test_no_more_pods_than_run_at_a_time_wait() -> None:
    one = seen(spec(completions=5, parallelism=2), ended(0), attempt(1))
    found = [(p.name, p.phase) for p in pods.pods_of(one)]
    assert found == [("work-0-0", "Succeeded"), ("work-0-1", "Running"), ("work-0-2", "Pending")]


def test_pods_of_suspended_work_are_over() -> None:
    one = seen(replace(spec(), is_stopped=True), ended(reason="Stopped", code=143))
    assert [p.is_over for p in pods.pods_of(one)] == [True]


def test_workload_of_lepton_is_shown_as_what_it_is() -> None:
    plain = WorkloadSpec("any:1", ("true",), "cpu.small", 1, 4096, extras={"spec": {}, "metadata": {}})
    told = workloads.record(seen(plain))
    assert (told["type"], told["category"], told["source"]) == ("Training", "Train", "Other")
    assert (told["priority"], told["priorityClassName"], told["preemptible"]) == (67, "medium-low", False)
    assert seen(replace(plain, completions=2, parallelism=2)).type == "Distributed"
    assert workloads.view(seen(plain))["spec"]["command"] == "true"


def test_message_of_an_earlier_attempt_is_gone_when_the_pod_runs_again() -> None:
    over = ended(code=1, reason="Error", message="ended with exit code 1")
    assert workloads.record(seen(spec(), over, attempt(number=2)))["phaseMessage"] == ""
    assert workloads.record(seen(spec(), over))["phaseMessage"] == "ended with exit code 1"


def test_history_tells_each_phase_once_and_ends_with_the_present_one() -> None:
    def row(seq: int, reason: str) -> EventRow:
        return EventRow(
            seq=seq, workload_id="work-ab12", type="Normal", reason=reason, message=reason, count=1,
            last_ms=seq * 1000,
        )  # fmt: skip

    rows = [row(i, r) for i, r in enumerate(("Created", "Scheduled", "Started", "Evicted", "Scheduled"))]
    told = [r["spec"]["phaseUpdate"]["phase"] for r in history(rows, seen(spec(), attempt()))
            if r["meta"]["type"] == "PhaseUpdate"]  # fmt: skip
    assert told == ["Pending", "Initializing", "Running", "Pending", "Initializing", "Running"]


@pytest.mark.parametrize(
    ("reasons", "phases"),
    [
        (
            ("Created", "Scheduled", "Started", "Evicted", "Stopped"),
            ["Pending", "Initializing", "Running", "Pending"],
        ),
        (
            ("Created", "Scheduled", "Started", "StopRequested", "Stopped"),
            ["Pending", "Initializing", "Running", "Stopping", "Stopped"],
        ),
    ],
    ids=["evicted", "suspended"],
)
def test_history_tells_of_stopped_only_when_somebody_stopped_it(
    reasons: tuple[str, ...], phases: list[str]
) -> None:
    rows = [
        EventRow(
            seq=i, workload_id="work-ab12", type="Normal", reason=r, message=r, count=1, last_ms=i * 1000
        )
        for i, r in enumerate(reasons)
    ]
    told = [r["spec"]["phaseUpdate"]["phase"] for r in history(rows, seen(spec(), attempt()))
            if r["meta"]["type"] == "PhaseUpdate"]  # fmt: skip
    assert told[: len(phases)] == phases
    assert ("Stopped" in told) == ("Stopped" in phases)


def test_id_is_a_uuid_without_underscores_that_stays() -> None:
    assert ids.of_workload("work-ab12") == ids.of_workload("work-ab12") != ids.of_workload("work-ab13")
    assert "_" not in ids.of_workload("work-ab12")


def test_priority_between_two_names_is_shown_by_the_lower() -> None:
    assert [priorities.name_of(n) for n in (0, 25, 67, 149, 150)] == [
        "very-low", "very-low", "medium-low", "high", "very-high",
    ]  # fmt: skip


def test_measures_are_taken_at_even_moments() -> None:
    assert measures.sample_times(0, 30, 4) == [0, 10, 20, 30]
    one = seen(spec(), ended(gpu_uuids=("GPU-0",), gpu_portion=0.5))
    (told,) = measures.measure(["GPU_ALLOCATION"], one, None, {}, [1_000_000, 1_020_000, 1_060_000])
    assert [v["value"] for v in told["values"]] == ["0", "0.5", "0"]
