"""A job that is there, changed through the clients."""

import pytest

from tests.sdk import Sdk, SdkError
from tests.world import World, eventually

WAIT = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
UPDATE = "result = client.job.update(job, spec=patch)"


def test_every_client_changes_a_job_that_runs(process_home: World, any_sdk: Sdk) -> None:
    home = process_home
    job = any_sdk.create(home, "lives", WAIT, labels={"team": "a", "stage": "x"})
    eventually("Running", lambda: any_sdk.state(home, job) == "Running")
    replica = any_sdk.run(home, "result = client.job.get_replicas(job)", job=job)
    spec = {"ttl_seconds_after_finished": 5, "max_failure_retry": 2, "max_job_failure_retry": 1}
    patch = {"metadata": {"labels": {"stage": None, "run": "7"}}, "spec": spec}
    any_sdk.run(home, UPDATE, job=job, patch=patch)
    told = any_sdk.run(home, "result = client.job.get(job)", job=job)
    assert told["metadata"]["labels"] == {"team": "a", "run": "7"}
    assert {name: told["spec"][name] for name in spec} == spec
    assert any_sdk.state(home, job) == "Running"
    assert any_sdk.run(home, "result = client.job.get_replicas(job)", job=job) == replica


def test_job_sent_back_whole_changes_only_what_differs(process_home: World, sdk: Sdk) -> None:
    home = process_home
    job = sdk.create(home, "whole", WAIT, envs=[{"name": "A", "value": "b"}])
    eventually("Running", lambda: sdk.state(home, job) == "Running")
    code = "whole = client.job.get(job).model_dump(by_alias=True, mode='json')\n"
    code += "whole['spec']['ttl_seconds_after_finished'] = 77\n"
    sdk.run(home, f"{code}client.job.update(job, spec=whole)", job=job)
    ask = "result = client.job.get(job)"
    assert sdk.run(home, ask, job=job)["spec"]["ttl_seconds_after_finished"] == 77
    assert sdk.state(home, job) == "Running"


@pytest.mark.parametrize(
    ("patch", "word"),
    [
        ({"spec": {"container": {"image": "other:1"}}}, "spec.container: cannot change once a job is made"),
        ({"spec": {"resource_shape": "cpu.large"}}, "spec.resource_shape: cannot change"),
        ({"metadata": {"name": "else"}}, "metadata.name: cannot change"),
        ({"spec": {}}, "no valid field to update"),
    ],
)
def test_what_is_fixed_is_an_error_of_the_client_and_not_of_the_server(
    shared_home: World, any_sdk: Sdk, patch: object, word: str
) -> None:
    job = any_sdk.create(shared_home, "fixed", "true")
    with pytest.raises(SdkError, match=rf"ClientError.*400.*{word}"):
        any_sdk.run(shared_home, UPDATE, job=job, patch=patch)
