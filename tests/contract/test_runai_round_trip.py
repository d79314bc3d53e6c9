"""What is sent of projects, departments and node pools with the client's own models comes back as it was."""

from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runai import Runai
from tests.world import World, world

NUMBER = st.integers(0, 10**6) | st.floats(0, 1000, allow_nan=False).map(lambda x: round(x, 2))
TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=20)
CODE = """
cluster = done(client.organizations.clusters.get_clusters()).data[0]["uuid"]
api = getattr(client.organizations, group)
request = getattr(models, model).from_dict({**sent, "name": name, "clusterId": cluster})
made = done(getattr(api, f"create_{one}")(request)).data
read = done(getattr(api, f"get_{one}")(made["id"])).data
done(getattr(api, f"delete_{one}")(made["id"]))
result = {"sent": request.to_dict(), "made": made, "read": read}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    with world(tmp_path_factory.mktemp("trip"), "simulated") as made:
        made.start()
        yield made


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any part of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


AMOUNT = some(deserved=NUMBER, limit=NUMBER, overQuotaWeight=st.integers(0, 9))
MEMORY = st.builds(
    lambda amount, units: {**amount, "units": units}, AMOUNT, st.sampled_from(["Mib", "MB", "GB"])
)
SECONDS = st.integers(1, 10**6)
UNIT = some(
    description=TEXT,
    schedulingRules=some(
        interactiveJobTimeLimitSeconds=SECONDS, interactiveJobMaxIdleDurationSeconds=SECONDS,
        interactiveJobPreemptIdleDurationSeconds=SECONDS, trainingJobTimeLimitSeconds=SECONDS,
        trainingJobMaxIdleDurationSeconds=SECONDS,
    ),
    defaultNodePools=st.just(["default"]),
    nodeTypes=some(
        training=st.lists(TEXT.filter(bool), max_size=2), workspace=st.lists(TEXT.filter(bool), max_size=2),
        names=st.dictionaries(TEXT, TEXT, max_size=2),
    ),
    resources=st.lists(
        some(gpu=AMOUNT, cpu=AMOUNT, memory=MEMORY, priority=st.sampled_from(["Low", "Medium", "Very high"])),
        max_size=1,
    ),
)  # fmt: skip
STRATEGY = some(gpu=st.sampled_from(["binpack", "spread"]), cpu=st.sampled_from(["binpack", "spread"]))
POOL = some(
    overProvisioningRatio=st.integers(1, 5),
    placementStrategy=STRATEGY,
    gpuNetworkAccelerationDetection=st.sampled_from(["Auto", "Use", "DontUse"]),
    gpuNetworkAccelerationLabelKey=TEXT.filter(bool),
    schedulingConfiguration=some(minGuaranteedRuntime=st.sampled_from(["0", "30s", "1d12h", "1.5h", "2w"])),
)


def lost(sent: Any, read: Any, path: str = "") -> list[str]:
    """Paths of what was sent and does not come back; a null or an empty text says nothing."""
    if isinstance(sent, dict):
        there = read if isinstance(read, dict) else {}
        return [p for key, value in sent.items() for p in lost(value, there.get(key), f"{path}.{key}")]
    if isinstance(sent, list):
        if not isinstance(read, list) or len(sent) != len(read):
            return [path] if sent or read else []
        return [
            p for i, (a, b) in enumerate(zip(sent, read, strict=True)) for p in lost(a, b, f"{path}[{i}]")
        ]
    return (
        [] if sent is None or sent == read or (sent == "" and not read) else [f"{path}: {sent!r} is {read!r}"]
    )


def check(home: World, runai: Runai, **values: Any) -> dict[str, Any]:
    told = runai.run(home, CODE, **values)
    assert lost(told["sent"], told["read"]) == []
    assert told["made"] == told["read"]
    return told["read"]


UNIT_FIELDS = {"description", "schedulingRules", "defaultNodePools", "nodeTypes", "resources"}
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(sent=UNIT)
def test_project_comes_back_as_it_was_sent(home: World, runai: Runai, sent: dict[str, Any]) -> None:
    read = check(
        home, runai, group="projects", one="project", model="ProjectCreationRequest", name="trip",
        sent={"resources": [], **sent},
    )  # fmt: skip
    for field in UNIT_FIELDS - sent.keys():
        assert not read[field], f"{field} was not sent"


@FEW
@given(sent=UNIT)
def test_department_comes_back_as_it_was_sent(home: World, runai: Runai, sent: dict[str, Any]) -> None:
    read = check(
        home, runai, group="departments", one="department", model="DepartmentCreationRequest",
        name="trip", sent={"resources": [], **sent},
    )  # fmt: skip
    for field in UNIT_FIELDS - sent.keys():
        assert not read[field], f"{field} was not sent"


@FEW
@given(sent=POOL)
def test_node_pool_comes_back_as_it_was_sent(home: World, runai: Runai, sent: dict[str, Any]) -> None:
    label = {"labelKey": "trip", "labelValue": "yes"}
    check(
        home, runai, group="node_pools", one="nodepool", model="NodepoolCreateFields", name="trip",
        sent=label | sent,
    )  # fmt: skip
