"""Run:ai's inferences behind the gateway, on containers and simulated; the real runapy 1.224.0."""

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.test_lepton_endpoints import free_port, status
from tests.runai import KINDS, Runai, RunaiError
from tests.runai_work import WAIT, Work
from tests.sdk import Sdk
from tests.world import World, eventually, world

DOCKER = pytest.param("docker", marks=pytest.mark.docker)
SEED = """
rules:
  - name: one
    match: {kind: endpoint, command: "*hello from one*"}
    http: [{path: "*", body: "hello from one\\n"}]
  - name: two
    match: {kind: endpoint, command: "*hello from two*"}
    http: [{path: "*", body: "hello from two\\n"}]
  - {name: deaf, match: {kind: endpoint, command: "*trap*"}, pending: 1h}
"""


@pytest.fixture(params=[DOCKER, "simulated"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[World]:
    """Not on processes, whose ports are the host's: old and new replicas would have the same."""
    with world(tmp_path, request.param) as made:
        args: list[str] = []
        if request.param == "simulated":
            (seed := tmp_path / "world.yaml").write_text(SEED)
            args = ["--seed", str(seed)]
        made.start(args)
        yield made


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """For what is refused, or looked at without a request."""
    with world(tmp_path_factory.mktemp("still"), "simulated") as made:
        made.start()
        yield made


def says(word: str, port: int) -> str:
    page = f"page=$(mktemp -d); cd $page; echo hello from {word} > index.html"
    return f"bash -c '{page}; exec busybox httpd -f -p {port}'"


def serve(work: Work, name: str, word: str = "one", **spec: Any) -> str:
    """Its id."""
    port = free_port()
    body = {"command": says(word, port), "servingPort": {"container": port}} | spec
    return work.submit("Inference", name, spec=body)["workloadId"]


def ask(url: str, token: str = "") -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/", headers=headers), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def first_answer(url: str) -> tuple[int, str] | None:
    """None while the gateway, which starts beside the server, does not know of it yet."""
    with contextlib.suppress(urllib.error.URLError):
        return found if (found := ask(url))[0] != 404 else None
    return None


def access_token(home: World) -> str:
    body = {
        "grantType": "app_token",
        "appID": home.values["RUNAI_CLIENT_ID"],
        "appSecret": home.values["RUNAI_CLIENT_SECRET"],
    }
    request = urllib.request.Request(
        f"{home.values['RUNAI_BASE_URL']}/api/v1/token",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["accessToken"]


def url_of(work: Work, workload: str) -> str:
    (url,) = work.get(workload)["urls"]
    return url


def update(work: Work, workload: str, **spec: Any) -> dict[str, Any]:
    call = "workloads.inferences.update_inference_spec(id, models.InferenceUpdateRequest.from_dict(body))"
    return work.data(call, id=workload, body={"spec": spec})


def revisions(work: Work, workload: str, **more: Any) -> list[dict[str, Any]]:
    call = "workloads.revisions.get_inference_workload_revisions(id, **more)"
    return work.data(call, id=workload, more=more)["revisions"]


@pytest.mark.parametrize("kind", KINDS)
def test_inference_answers_at_its_url_and_goes(home: World, runai: Runai, kind: str) -> None:
    work = Work(home, runai, kind)
    made = serve(work, "chat", autoscaling={"minReplicas": 2}, labels=[{"name": "team", "value": "nlp"}])
    work.becomes(made, "Running")
    record = work.get(made)
    shown = ("type", "category", "priority", "priorityClassName", "preemptible", "runningPods")
    assert [record[key] for key in shown] == ["Inference", "Deploy", 150, "very-high", False, 2]
    (connection,) = record["externalConnections"]
    assert record["urls"] == [connection["url"]]
    assert (connection["connectionType"], connection["authorizationType"]) == ("ServingPort", "public")
    assert ask(record["urls"][0]) == (200, "hello from one\n")
    assert record["actionsSupport"] == {"delete": True, "suspend": False}
    view = work.typed("Inference", "get", made)
    assert (view["name"], view["desiredPhase"], view["actualPhase"]) == ("chat", "Running", "Running")
    assert view["spec"]["autoscaling"]["minReplicas"] == 2
    assert len({pod["revisionId"] for pod in work.pods(made)}) == 1
    assert {"Created", "Scheduled", "Started"} <= {e["reason"] for e in work.events(made)}
    records = work.data("workloads.events.get_workload_history(id)", id=made)["records"]
    phases = [r["spec"]["phaseUpdate"]["phase"] for r in records if r["meta"]["type"] == "PhaseUpdate"]
    assert (phases[0], phases[-1]) == ("Pending", "Running")
    work.typed("Inference", "delete", made)
    eventually("its end", lambda: work.names() == [])
    assert work.names(deleted=True) == ["chat"]
    assert ask(record["urls"][0])[0] == 404


def test_update_rolls_to_a_new_revision(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    made = serve(work, "chat")
    work.becomes(made, "Running")
    url, port = url_of(work, made), work.typed("Inference", "get", made)["spec"]["servingPort"]["container"]
    (first,) = revisions(work, made)
    told = update(work, made, command=says("two", port))
    assert told["spec"]["command"] == says("two", port)
    assert told["spec"]["image"] == home.image

    def answer() -> str:
        status, text = ask(url)
        assert status == 200, "a replica is ready all the while"
        return text

    eventually("the new one", lambda: answer() == "hello from two\n")
    work.becomes(made, "Running")
    old, new = revisions(work, made)
    assert old["id"] == first["id"]
    assert (old["name"], new["name"]) == ("chat-00001", "chat-00002")
    assert (old["command"], new["command"]) == (first["command"], says("two", port))
    eventually("the old one's end", lambda: revisions(work, made)[0]["phase"] == "Stopped")
    assert (old["allocatedResources"]["gpu"], new["phase"], new["runningPods"]) == (0, "Running", 1)
    assert [p["revisionId"] for p in work.pods(made)] == [new["id"]]
    pods = "workloads.pods.get_revision_pods(id)"
    assert [p["name"] for p in work.data(pods, id=new["id"])["pods"]] == ["chat-0-0"]
    assert work.data(pods, id=old["id"])["pods"] == []
    one = work.data("workloads.revisions.get_revision(id)", id=old["id"])
    assert (one["id"], one["command"]) == (first["id"], first["command"])
    count = work.data("workloads.revisions.count_inference_workload_revisions(id)", id=made)
    assert count == {"count": 2}
    # What changes nothing is taken, and makes no revision; numbers alone replace no pod.
    before = eventually("the new container alone", lambda: len(c := home.containers()) == 1 and c)
    update(work, made, command=says("two", port))
    assert len(revisions(work, made)) == 2
    update(work, made, autoscaling={"minReplicas": 2})
    eventually("another pod", lambda: work.get(made)["runningPods"] == 2)
    assert set(before) <= set(home.containers())
    assert len(revisions(work, made)) == 3


def test_request_wakes_what_began_at_zero(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    scaling = {"minReplicas": 0, "maxReplicas": 1, "initialReplicas": 0, "scaleToZeroRetentionSeconds": 2}
    made = serve(work, "chat", autoscaling=scaling)
    eventually("nothing runs", lambda: work.phase(made) == "Running" and not home.containers())
    url = url_of(work, made)
    assert eventually("an answer", lambda: first_answer(url)) == (200, "hello from one\n")
    assert work.get(made)["runningPods"] == 1
    eventually("nothing runs again", lambda: work.get(made)["runningPods"] == 0 and not home.containers())
    assert ask(url_of(work, made)) == (200, "hello from one\n")


def test_request_needs_a_token_where_the_port_asks_for_one(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    port = free_port()
    asked = {"container": port, "authorizationType": "authenticatedUsers"}
    made = serve(work, "chat", command=says("one", port), servingPort=asked)
    work.becomes(made, "Running")
    url = url_of(work, made)
    assert ask(url)[0] == 401
    assert ask(url, "wrong")[0] == 401
    assert ask(url, home.values["LEPTON_WORKSPACE_TOKEN"]) == (200, "hello from one\n")
    assert ask(url, access_token(home)) == (200, "hello from one\n")


def test_request_needs_the_token_of_one_who_is_named(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    made: list[str] = []
    for name in ("homeport", "nobody"):
        port = free_port()
        asked = {"container": port, "authorizationType": "authorizedUsers", "authorizedUsers": [name]}
        made.append(serve(work, name, command=says("one", port), servingPort=asked))
    for one in made:
        work.becomes(one, "Running")
    named, other = (url_of(work, one) for one in made)
    assert ask(named)[0] == 401
    assert ask(named, access_token(home)) == (200, "hello from one\n")
    assert ask(other, access_token(home))[0] == 401
    assert "UnknownUser" in {e["reason"] for e in work.events(made[1])}
    (connection,) = work.get(made[0])["externalConnections"]
    assert connection["authorizedUsers"] == ["homeport"]


def test_inference_that_is_not_ready_in_its_time_has_failed_until_it_is_changed(
    home: World, runai: Runai
) -> None:
    work = Work(home, runai)
    port = free_port()
    made = serve(
        work, "deaf", command=WAIT, servingPort={"container": port},
        servingConfiguration={"initializationTimeoutSeconds": 2},
    )  # fmt: skip
    work.becomes(made, "Failed")
    assert "no replica has become ready within 2 s" in work.get(made)["phaseMessage"]
    assert "InitializationFailed" in {e["reason"] for e in work.events(made)}
    eventually("no container", lambda: not home.containers())
    update(work, made, command=says("one", port), servingConfiguration={"initializationTimeoutSeconds": 60})
    work.becomes(made, "Running")
    assert ask(url_of(work, made)) == (200, "hello from one\n")


def test_inference_made_with_runapy_is_seen_and_removed_with_lep(home: World, runai: Runai, sdk: Sdk) -> None:
    home.login()
    work = Work(home, runai)
    made = serve(work, "theirs", autoscaling={"minReplicas": 1})
    work.becomes(made, "Running")
    assert "theirs" in home.lep("endpoint", "list")
    told = status(home, sdk, "theirs")
    assert (told["phase"], told["endpoint"]["external_endpoint"]) == ("Ready", url_of(work, made))
    assert "made through Run:ai" in home.lep("endpoint", "update", "-n", "theirs", "-r", "2", ok=False)
    home.lep("endpoint", "remove", "-n", "theirs")
    eventually("its end", lambda: work.names() == [])


def test_endpoint_made_with_lep_is_seen_and_deleted_with_runapy(home: World, runai: Runai) -> None:
    home.login()
    work = Work(home, runai)
    port = str(free_port())
    home.lep(
        "endpoint", "create", "-n", "ours", "--resource-shape", "cpu.small", "--container-image", home.image,
        "--container-port", port, "--container-command", says("one", int(port)), "--public",
    )  # fmt: skip
    (record,) = work.found("type==Inference")
    work.becomes(record["id"], "Running")
    view = work.typed("Inference", "get", record["id"])
    assert view["spec"]["servingPort"]["container"] == int(port)
    assert len(revisions(work, record["id"])) == 1
    with pytest.raises(RunaiError) as refused:
        update(work, record["id"], command="true")
    assert refused.value.status == 501
    work.typed("Inference", "delete", record["id"])
    eventually("its end in Lepton", lambda: "ours" not in home.lep("endpoint", "list"))


def test_metrics_tell_how_many_requests_there_were_and_how_long_they_took(home: World, runai: Runai) -> None:
    work = Work(home, runai)
    made = serve(work, "chat")
    work.becomes(made, "Running")
    url = url_of(work, made)
    types = ", ".join(f"models.InferenceWorkloadMetricType.{name}" for name in ("THROUGHPUT", "LATENCY"))
    given = f"id, [{types}], start=start, end=end, number_of_samples=1"
    now = datetime.now(UTC)
    span = {
        "start": (now - timedelta(minutes=1)).isoformat(),
        "end": (now + timedelta(minutes=1)).isoformat(),
    }

    def values() -> dict[str, float]:
        call = f"workloads.inferences.get_inference_workload_metrics({given})"
        told = work.data(call, id=made, **span)["measurements"]
        return {m["type"]: float(v["value"]) for m in told for v in m["values"]}

    def measured() -> dict[str, float]:
        assert ask(url)[0] == 200
        return found if (found := values()).keys() == {"THROUGHPUT", "LATENCY"} else {}

    assert all(value > 0 for value in eventually("both", measured).values())


def test_inference_is_not_suspended(still: World, runai: Runai) -> None:
    work = Work(still, runai)
    made = serve(work, "steady")
    call = "workloads.workloads_batch.batch_workloads(models.WorkloadBatch.from_dict(body))"
    told = work.data(call, body={"ids": [made], "action": "suspend"})
    assert [(f["id"], f["code"]) for f in told["failed"]] == [(made, 400)]
    assert work.typed("Inference", "get", made)["desiredPhase"] == "Running"
    for type_ in ("Inference", "Training"):
        with pytest.raises(RunaiError) as taken:
            work.submit(
                type_, "steady", spec={"servingPort": {"container": 80}} if type_ == "Inference" else {}
            )
        assert taken.value.status == 409
    work.typed("Inference", "delete", made)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any part of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


NAME = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
NOTES = st.lists(st.fixed_dictionaries({"name": NAME, "value": NAME}), max_size=2)
SCALING = st.one_of(
    some(minReplicas=st.integers(1, 4)),
    st.just({"minReplicas": 0}) | some(scaleToZeroRetentionSeconds=st.integers(1, 9)).map(lambda s: s | ZERO),
    st.fixed_dictionaries(
        {
            "minReplicas": st.integers(1, 2),
            "maxReplicas": st.integers(3, 5),
            "metric": st.sampled_from(["throughput", "concurrency", "latency"]),
            "metricThreshold": st.integers(1, 100),
        },
        optional={
            "metricThresholdPercentage": st.integers(1, 100),
            "initialReplicas": st.integers(2, 3),
            "scaleDownDelaySeconds": st.integers(0, 3600),
        },
    ),
)
ZERO = {"minReplicas": 0, "maxReplicas": 1}
SPEC = some(
    autoscaling=SCALING,
    servingConfiguration=some(
        initializationTimeoutSeconds=st.integers(1, 9999), requestTimeoutSeconds=st.integers(1, 9999)
    ),
    command=NAME, args=NAME, workingDir=NAME.map("/{}".format), environmentVariables=NOTES, labels=NOTES,
    annotations=NOTES, nodePools=st.just(["default"]), imagePullPolicy=st.sampled_from(["Always", "Never"]),
    compute=some(cpuCoreRequest=st.sampled_from([0.1, 0.5]), cpuMemoryRequest=st.just("100M")),
    preemptibility=st.sampled_from(["preemptible", "non-preemptible"]),
    priorityClass=st.sampled_from(["very-low", "high"]), category=st.sampled_from(["Train", "Deploy"]),
    probes=some(readiness=st.just({"periodSeconds": 3, "handler": {"httpGet": {"path": "/up", "port": 80}}})),
)  # fmt: skip
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TRIP = """
request = models.InferenceCreationRequest.from_dict(body)
made = done(client.workloads.inferences.create_inference1(request)).data
read = done(client.workloads.inferences.get_inference(made["workloadId"])).data
done(client.workloads.inferences.delete_inference(made["workloadId"]))
result = {"sent": request.to_dict()["spec"], "made": made["spec"], "read": read["spec"]}
"""


@FEW
@given(spec=SPEC)
def test_inference_comes_back_as_it_was_sent(still: World, runai: Runai, spec: dict[str, Any]) -> None:
    work = Work(still, runai)
    whole = {"image": still.image, "servingPort": {"container": 80}} | spec
    body = {"name": "trip", "projectId": work.project(), "clusterId": work.cluster, "spec": whole}
    told = runai.run(still, TRIP, body=body)
    assert told["made"] == told["read"] == without_nulls(told["sent"])


def without_nulls(sent: Any) -> Any:
    """`from_dict` of the client's models adds one for each field that it was not given."""
    if isinstance(sent, dict):
        return {key: without_nulls(value) for key, value in sent.items() if value is not None}
    return [without_nulls(one) for one in sent] if isinstance(sent, list) else sent
