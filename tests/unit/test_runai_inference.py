"""An inference of Run:ai's in the core's words: how many replicas, by what; its updates and revisions."""

from dataclasses import replace
from typing import Any

import pytest

from homeport.server.api.runai.translate import revisions
from homeport.server.api.runai.translate.inference import merged
from homeport.server.api.runai.translate.scaling import replicas_of
from homeport.server.api.runai.wire_inference import AutoScaling
from homeport.server.domain.serving import Scaling
from homeport.server.domain.workload import Workload
from homeport.server.errors import Invalid
from tests.unit.rolling import spec_of


@pytest.mark.parametrize(
    ("asked", "least", "initial", "scaling"),
    [
        pytest.param({}, 1, None, None, id="one-where-nothing-is-said"),
        pytest.param({"minReplicas": 3}, 3, None, None, id="most-follows-least"),
        pytest.param(
            {"minReplicas": 0}, 1, None, Scaling(1, 60, calm_s=60), id="to-zero-without-traffic"
        ),
        pytest.param(
            {"minReplicas": 0, "initialReplicas": 0, "scaleToZeroRetentionSeconds": 300},
            1, 0, Scaling(1, 300, calm_s=60), id="begins-at-zero",
        ),
        pytest.param(
            {"maxReplicas": 4, "metric": "throughput", "metricThreshold": 10, "initialReplicas": 2},
            1, 2, Scaling(4, qpm=420.0, calm_s=60), id="7-in-a-second-are-420-in-a-minute",
        ),
        pytest.param(
            {"minReplicas": 0, "maxReplicas": 4, "metric": "concurrency", "metricThreshold": 10,
             "metricThresholdPercentage": 50, "activationReplicas": 2, "scaleDownDelaySeconds": 600},
            1, None, Scaling(4, 60, concurrency=5.0, calm_s=600, woken=2), id="all-of-concurrency",
        ),
        pytest.param(
            {"minReplicas": 2, "maxReplicas": 4, "metric": "latency", "metricThreshold": 250},
            2, None, Scaling(4, latency_ms=250.0, calm_s=60), id="latency-is-aimed-at-as-it-is",
        ),
    ],
)  # fmt: skip
def test_autoscaling_is_told_to_the_core(
    asked: dict[str, Any], least: int, initial: int | None, scaling: Scaling | None
) -> None:
    found = replicas_of(AutoScaling.model_validate(asked))
    assert (found.least, found.initial, found.scaling, found.warnings) == (least, initial, scaling, ())


SPEC: dict[str, Any] = {"image": "a:1", "compute": {"cpuCoreRequest": 1}, "args": "x", "nodePools": ["a"]}
KEPT = {"name": "e", "spec": SPEC}


def test_update_merges_objects_and_replaces_the_rest() -> None:
    update = {"spec": {"compute": {"cpuCoreLimit": 2}, "nodePools": ["b"]}}
    assert merged(KEPT, update)["spec"] == {
        "image": "a:1", "compute": {"cpuCoreRequest": 1, "cpuCoreLimit": 2}, "args": "x", "nodePools": ["b"],
    }  # fmt: skip


def test_update_is_refused_where_it_names_what_stays() -> None:
    with pytest.raises(Invalid, match=r"^spec\.storage: cannot be changed"):
        merged(KEPT, {"spec": {"storage": {"pvc": []}}})
    same = {"spec": {**SPEC, "storage": {}}}
    kept = {"name": "e", "spec": {**SPEC, "storage": {}}}
    assert merged(kept, same) == kept  # what is said as it is changes nothing


def changed(workload: Workload, number: int) -> Workload:
    extras = {**workload.spec.extras["runai"], "spec": {"image": f"a:{number}"}}
    after = replace(
        workload, spec=replace(workload.spec, extras={"runai": extras}), first_attempt=number * 10
    )
    return revisions.stamped(workload, after, number * 1000)


def test_revisions_are_numbered_and_the_oldest_are_forgotten() -> None:
    spec = replace(spec_of(), extras={"runai": {"type": "Inference", "spec": {"image": "a:1"}}})
    workload = Workload("w-abcd", "local", "w", "endpoint", "me", 5, spec)
    for number in range(2, 31):
        workload = changed(workload, number)
    told = revisions.of_own(workload)
    assert [r.number for r in told] == list(range(30 - revisions.MOST_KEPT, 31))
    assert (told[-1].at_ms, told[-1].core, told[-1].spec) == (30_000, 300, {"image": "a:30"})
    assert len({r.id_of(workload) for r in told}) == len(told)
