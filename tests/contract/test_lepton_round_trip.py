"""What a client sets comes back as it was, what it leaves out stays out: random objects of its models."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.contract.test_lepton_reservations import reserve
from tests.sdk import Sdk, SdkError
from tests.world import World

# Answered with a typed 501, so they are in no object here; the test below holds that they are.
UNSERVED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"storage_attachments": [{"data_source_name": "d", "attachments": []}]}, "spec.storage_attachments"),
)
# What the server says of a job, whatever the client sent.
SERVERS_OWN = {"id", "name", "created_at", "version", "created_by", "owner", "visibility"}
FAR_AHEAD = 2**33  # seconds: the year 2242

# Whatever is None never leaves the client: `safe_json` of all three drops it.
ROUND_TRIP = """
job = LeptonJob(metadata=Metadata(**metadata), spec=LeptonJobUserSpec(**spec))
sent = LeptonJob(**client.job.safe_json(job))
set_by_client = lambda model: model.model_dump(mode="json", by_alias=True, exclude_unset=True)
made = client.job.create(job)
found = [made, client.job.get(made.metadata.id_), *client.job.list_all(q=made.metadata.id_, page_size=9)]
client.job.delete(made)
result = {
    "sent": set_by_client(sent),
    "specs": [set_by_client(job.spec) for job in found],
    "metadata": [set_by_client(job.metadata) for job in found],
}
"""


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Each field is there or is not."""
    return st.fixed_dictionaries({}, optional=fields)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
words = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True)
env_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
folders = st.from_regex(r"/data(/[A-Za-z0-9_-]{1,10}){1,3}", fullmatch=True)
counts = st.integers(0, 2**31)
flags = st.booleans()
envs = st.one_of(
    st.fixed_dictionaries({"name": env_names}, optional={"value": texts}),
    st.fixed_dictionaries({"name": env_names, "value_from": st.just({"secret_name_ref": "KEY"})}),
)
mounts = st.fixed_dictionaries(
    {"mount_path": folders, "from": st.sampled_from(["node-nfs:lepton-shared-fs", "default"])},
    optional={
        "path": st.sampled_from(["/", "/a", "/a b/c", "relative/d", "/é"]),
        "mount_options": maybe(read_only=flags, local_cache_size_mib=counts),
    },
)
ports = st.fixed_dictionaries(
    {"container_port": st.integers(1, 65535)},
    optional={
        "name": words,
        "protocol": st.sampled_from(["TCP", "UDP", "SCTP"]),
        "expose_strategies": st.lists(st.sampled_from(["HostPortMapping", "IngressProxy"]), max_size=2),
        "host_port": st.integers(0, 65535),
        "enable_load_balancer": flags,
    },
)
workers = st.integers(1, 64)
# What every version has, then what only some have.
common = {
    "shared_memory_size": counts,
    "completions": workers,
    "parallelism": workers,
    "max_failure_retry": counts,
    "max_job_failure_retry": counts,
    "envs": st.lists(envs, max_size=3),
    "mounts": st.lists(mounts, max_size=3, unique_by=lambda m: m["mount_path"]),
    "image_pull_secrets": st.lists(texts, max_size=2),
    "ttl_seconds_after_finished": st.integers(0, 2**20) | st.none(),
    "intra_job_communication": flags,
    "metrics": maybe(disable_pulling_from_replica=flags),
    "log": maybe(save_termination_logs=flags, enable_collection=flags),
    "queue_config": maybe(
        priority_class=st.sampled_from(["low-1000", "mid-4000", "high-9000"]),
        can_be_preempted=flags,
        can_preempt=flags,
    ),
    "reservation_config": maybe(
        reservation_id=st.sampled_from(["team-a", ""]), allow_burst_to_other_reservations=flags
    ),
    "affinity": maybe(
        allowed_providers=st.lists(texts, max_size=2),
        allowed_dedicated_node_groups=st.lists(st.just("default"), max_size=1),
    ),
}
newer = {"user_security_context": maybe(privileged=flags, no_specific_user=flags)}
only_in = {"0.26.4": {"privileged": flags}, "0.27.3": newer, "0.47.1": newer}
# No job may run here: each is stopped, or waits for its start.
held = st.sampled_from([{"stopped": True}, {"stopped": False, "time_schedule": {"start_at": FAR_AHEAD}},
                        {"time_schedule": {"start_at": FAR_AHEAD}}])  # fmt: skip


@st.composite
def job_specs(draw: st.DrawFn, version: str) -> dict[str, Any]:
    spec = draw(maybe(**common, **only_in[version]))
    container = draw(maybe(command=st.lists(texts, max_size=3), ports=st.lists(ports, max_size=3)))
    if version != "0.26.4" and draw(flags):
        whole = spec.get("completions", 1)
        fitting = [n for n in range(1, whole + 1) if whole % n == 0]
        spec["segment_config"] = {"count_per_segment": draw(st.sampled_from(fitting))}
    image = draw(st.sampled_from(["any:1", "nvcr.io/nvidia/pytorch:25.08-py3"]))
    shape = draw(st.sampled_from(["cpu.small", "gpu.2xh100-sxm"]))
    return spec | draw(held) | {"container": {"image": image, **container}, "resource_shape": shape}


labels = st.dictionaries(
    words, st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=10), max_size=3
)


def test_job_comes_back_as_it_was_set(process_home: World, any_sdk: Sdk) -> None:
    home, sdk = process_home, any_sdk
    reserve(home, "add", "team-a", "--hours", "1")
    sdk.run(home, "client.secret.create([SecretItem(name='KEY', value='v')])")

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(spec=job_specs(sdk.version), labels=st.none() | labels)
    @example(
        spec={"resource_shape": "cpu.small", "container": {"image": "any:1"}, "stopped": True}, labels=None
    )
    def check(spec: dict[str, Any], labels: dict[str, str] | None) -> None:
        metadata = {"id": "trip"} | ({} if labels is None else {"labels": labels})
        done = sdk.run(home, ROUND_TRIP, spec=spec, metadata=metadata)
        assert done["specs"] == [done["sent"]["spec"]] * 3
        users_own = {k: v for k, v in done["sent"]["metadata"].items() if k not in SERVERS_OWN}
        for got in done["metadata"]:
            assert {k: v for k, v in got.items() if k not in SERVERS_OWN} == users_own

    check()
    assert home.containers() == []


@pytest.mark.parametrize(("spec", "field"), UNSERVED, ids=[field for _, field in UNSERVED])
def test_what_no_object_here_holds_is_a_typed_501(
    shared_home: World, sdk: Sdk, spec: dict[str, Any], field: str
) -> None:
    with pytest.raises(SdkError, match=rf"^ServerError: .* 501 .*not_implemented.*{re.escape(field)}"):
        sdk.create(shared_home, "bad", "true", **spec)


volumes = st.fixed_dictionaries(
    {"from": st.sampled_from(["nfs", "local"]), "size_in_gb": st.integers(0, 2**31)},
    optional={
        "creation_mode": st.sampled_from(["mount", "mkdir", "none"]),
        "default_mount_path": folders,
        "mount_options": maybe(
            mount_workload_type=texts,
            host_mount_cache_group_net_if=texts,
            host_mount_target_cache_disk_num=counts,
            host_mount_cache_size_in_mib=counts,
        ),
    },
)


def test_volume_comes_back_as_it_was_set(shared_home: World, sdk: Sdk) -> None:
    code = """
from leptonai.api.v2.types.dedicated_node_group import Volume
sent = client.nodegroup.safe_json(Volume(**volume))
client.nodegroup.add_volume("default", Volume(**sent))
found = [v for v in client.nodegroup.get("default").spec.volumes if v.name == volume["name"]]
client.nodegroup.delete_volume("default", volume["name"])
result = sent, [v.model_dump(mode="json", by_alias=True, exclude_unset=True) for v in found]
"""

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(volume=volumes)
    def check(volume: dict[str, Any]) -> None:
        sent, found = sdk.run(shared_home, code, volume=volume | {"name": "trip"})
        assert found == [sent]

    check()


secrets = st.lists(
    st.fixed_dictionaries(
        {"name": env_names, "value": texts.filter(bool)},
        optional={"tags": st.lists(texts, max_size=3), "visibility": st.sampled_from(["public", "private"])},
    ),
    min_size=1, max_size=3, unique_by=lambda s: s["name"],
)  # fmt: skip


def test_secret_comes_back_as_it_was_set_without_its_value(shared_home: World, any_sdk: Sdk) -> None:
    code = """
client.secret.create([SecretItem(**s) for s in secrets])
result = client.job.safe_json(client.secret.list_all())
for s in secrets:
    client.secret.delete(s["name"])
"""

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(secrets=secrets)
    def check(secrets: list[dict[str, Any]]) -> None:
        found = any_sdk.run(shared_home, code, secrets=secrets)
        defaults = {"tags": [], "visibility": "private", "owner": "admin@homeport.local"}
        wanted = [defaults | {k: v for k, v in s.items() if k != "value"} for s in secrets]
        assert sorted(found, key=lambda s: s["name"]) == sorted(wanted, key=lambda s: s["name"])

    check()
