"""Endpoints under a clock that the test moves: probes, crashes, changes, their wire form."""

from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Rule

from .home import Api

PATH = "/api/v2/workspaces/local/deployments"
SERVES = Rule(run_for_s=None)


def body(name: str = "e", *, replicas: int = 1, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "container": {"image": "any:1", "command": ["serve"], "ports": [{"container_port": 8000}]},
            "resource_requirement": {"resource_shape": "cpu.small", "min_replicas": replicas},
        }
        | spec,
    }


async def create(api: Api, name: str = "e", **more: Any) -> str:
    answer = await api.client.post(PATH, json=body(name, **more))
    assert answer.status_code == 201, answer.text
    return name


def found(api: Api, name: str) -> Any:
    page = api.at.home.services.store.reads.page("local", "endpoint", size=100, archived=None, name=name)
    return page[0]


async def becomes(api: Api, name: str, phase: str) -> None:
    await api.at.until(f"{name} is {phase}", lambda: found(api, name).phase.value == phase)


async def status(api: Api, name: str = "e") -> dict[str, Any]:
    answer = await api.client.get(f"{PATH}/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()["status"]


async def replicas(api: Api, name: str = "e") -> list[str]:
    return [r["id"] for r in (await api.client.get(f"{PATH}/{name}/replicas")).json()]


async def ready(api: Api, name: str = "e") -> None:
    """Probed first 5 s after the start; ready already where time went by for others."""
    await api.at.until("running", lambda: any(a.started_at_ms for a in live(api, name)))
    api.at.clock.advance(5)
    await becomes(api, name, "ready")


def live(api: Api, name: str) -> list[Any]:
    return [a for a in api.at.home.services.store.attempts_of(found(api, name).id) if a.is_live]


def test_endpoint_is_ready_once_its_probe_has_passed(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await create(api)
        await becomes(api, "e", "starting")
        assert (await status(api))["state"] == "Starting"
        await ready(api)
        told = await status(api)
        assert (told["state"], told["phase"], told["ready_replicas"]) == ("Ready", "Ready", 1)
        readiness = (await api.client.get(f"{PATH}/e/readiness")).json()
        assert [[i["reason"] for i in issues] for issues in readiness.values()] == [["Ready"]]
        assert (await api.client.get(f"{PATH}/e/termination")).json() == {}

    play(scenario, SERVES)


def test_crashing_replica_is_started_again_with_growing_pauses(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await create(api)
        for pause_s in (10, 20, 40):
            await api.at.until("running", lambda: any(a.started_at_ms for a in live(api, "e")))
            api.at.clock.advance(1)
            await api.at.until("its end", lambda: not live(api, "e"))
            assert (await status(api))["state"] == "Not Ready"
            api.at.clock.advance(pause_s - 0.5)
            assert not live(api, "e")
            api.at.clock.advance(0.5)
        await api.at.until("a fourth try", lambda: bool(live(api, "e")))
        ends = (await api.client.get(f"{PATH}/e/termination")).json()
        assert [[e["exit_code"] for e in of] for of in ends.values()] == [[1, 1, 1]]

    play(scenario, Rule(run_for_s=1, exit_code=1))


def test_stopped_endpoint_says_so_and_starts_again(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await create(api)
        await ready(api)
        stop = {"spec": {"resource_requirement": {"min_replicas": 0}}}
        assert (await api.client.patch(f"{PATH}/e", json=stop)).status_code == 200
        await becomes(api, "e", "stopped")
        told = await status(api)
        assert (told["state"], told["phase"]) == ("Not Ready", "Stopped")
        start = {"spec": {"resource_requirement": {"min_replicas": 2}}}
        assert (await api.client.patch(f"{PATH}/e", json=start)).status_code == 200
        await api.at.until("two", lambda: len([a for a in live(api, "e") if a.started_at_ms]) == 2)
        api.at.clock.advance(5)
        await becomes(api, "e", "ready")
        assert len(await replicas(api)) == 2

    play(scenario, SERVES)


@pytest.mark.parametrize(
    ("patch", "version", "is_replaced"),
    [
        ({"envs": [{"name": "A", "value": "b"}]}, "2.0", True),
        ({"container": {"image": "other:1"}}, "2.0", True),
        ({"resource_requirement": {"min_replicas": 2}}, "1.1", False),
        ({"api_tokens": [{"value": "t"}]}, "1.1", False),
        ({"health": {"liveness": {"initial_delay_seconds": 5}}}, "2.0", True),
    ],
    ids=lambda p: next(iter(p)) if isinstance(p, dict) else "",
)
def test_change_replaces_replicas_only_where_it_must(
    play: Any, patch: dict[str, Any], version: str, is_replaced: bool
) -> None:
    async def scenario(api: Api) -> None:
        await create(api)
        await ready(api)
        before = [a.key for a in live(api, "e")]
        dry = await api.client.patch(f"{PATH}/e", json={"spec": patch}, params={"dryrun": "true"})
        assert dry.json()["metadata"]["semantic_version"] == version
        assert (await api.client.get(f"{PATH}/e")).json()["metadata"]["semantic_version"] == "1.0"
        done = await api.client.patch(f"{PATH}/e", json={"spec": patch})
        assert done.json()["metadata"]["semantic_version"] == version
        if is_replaced:
            await api.at.until("both", lambda: sum(bool(a.started_at_ms) for a in live(api, "e")) == 2)
            api.at.clock.advance(5)
            await api.at.until("a new one", lambda: before[0] not in [a.key for a in live(api, "e")])
        else:
            api.at.clock.advance(60)
            await api.at.until("settled", lambda: before[0] in [a.key for a in live(api, "e")])
        again = await api.client.patch(f"{PATH}/e", json={"spec": patch})
        assert again.status_code == 400
        assert "no valid field to update" in again.text

    play(scenario, SERVES)


def test_name_is_free_again_while_the_old_one_goes(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await create(api)
        await ready(api)
        twice = await api.client.post(PATH, json=body())
        assert (twice.status_code, twice.json()["code"]) == (409, "conflict")
        assert (await api.client.delete(f"{PATH}/e")).status_code == 200
        await create(api)
        await ready(api)
        page = api.at.home.services.store.reads.page
        await api.at.until("one is left", lambda: len(page("local", "endpoint", size=9, archived=False)) == 1)
        assert (await status(api))["phase"] == "Ready"

    play(scenario, SERVES)


def test_token_is_never_shown_and_survives_other_changes(play: Any, tmp_path: Any) -> None:
    async def scenario(api: Api) -> None:
        made = await api.client.post(PATH, json=body(api_tokens=[{"value": "very-secret"}]))
        assert made.json()["spec"]["api_tokens"] == [{"value": "***"}]
        before = found(api, "e").workload.spec.serving.access
        await api.client.patch(f"{PATH}/e", json={"spec": {"resource_requirement": {"min_replicas": 2}}})
        after = found(api, "e").workload.spec.serving.access
        assert after == before
        assert len(after.tokens) == 1
        masked = await api.client.patch(f"{PATH}/e", json={"spec": {"api_tokens": [{"value": "***"}]}})
        assert masked.status_code == 400
        kept = b"".join(p.read_bytes() for p in (tmp_path / "data").glob("homeport.db*"))
        assert b"very-secret" not in kept

    play(scenario, SERVES)


def test_endpoint_without_room_says_why(play: Any) -> None:
    async def scenario(api: Api) -> None:
        big = {"resource_requirement": {"resource_shape": "gpu.8xh100-sxm", "min_replicas": 2}}
        await create(api, **big)
        await api.at.until("one", lambda: len(live(api, "e")) == 1)
        await api.at.until("its refusal", lambda: bool(api.at.home.loop.refusal(found(api, "e").id)))
        assert (await status(api))["state"] == "Starting"
        other = await create(api, "f", **big)
        await api.at.until("its refusal", lambda: bool(api.at.home.loop.refusal(found(api, other).id)))
        readiness = (await api.client.get(f"{PATH}/f/readiness")).json()
        (issue,) = next(iter(readiness.values()))
        assert issue["reason"] == "NoCapacity"
        assert "GPU" in issue["message"]

    play(scenario, SERVES)


@pytest.mark.parametrize(
    ("spec", "status", "says"),
    [
        ({"container": {"command": ["x"]}}, 400, "spec.container.image"),
        ({"resource_requirement": {}}, 400, "resource_shape"),
        ({"auto_scaler": {"target_gpu_utilization_percentage": 101}}, 422, "target_gpu_utilization"),
        (
            {"auto_scaler": {"target_gpu_utilization_percentage": 50, "target_throughput": {"qpm": 6}}},
            400,
            "spec.auto_scaler",
        ),
        ({"load_balance_config": {"maglev": {}, "least_request": {}}}, 400, "load_balance_config"),
        ({"auth_config": {"ip_allowlist": ["nowhere"]}}, 400, "ip_allowlist[0]"),
        ({"api_tokens": [{"value": "t"}], "allow_unauthenticated_access": True}, 400, "allow_unauth"),
        ({"ingress_timeout_seconds": 1}, 422, "ingress_timeout_seconds"),
        *(
            ({"api_tokens": [{"value": "good"}, {"value": token}]}, 400, "spec.tokens[1].value: no request")
            for token in ("tökén", "two words", "tab\there", "日本", "del\x7f")
        ),
    ],
)
def test_spec_that_cannot_be_is_refused_by_field(
    play: Any, spec: dict[str, Any], status: int, says: str
) -> None:
    async def scenario(api: Api) -> None:
        answer = await api.client.post(PATH, json=body(**spec))
        assert answer.status_code == status, answer.text
        assert says in answer.json()["message"]

    play(scenario, SERVES)


@pytest.mark.parametrize("text", ["{", "[]", '"x"', '{"spec": null}', '{"spec": "x"}', '{"metadata": []}'])
def test_patch_that_is_no_patch_is_refused_and_changes_nothing(play: Any, text: str) -> None:
    async def scenario(api: Api) -> None:
        await create(api)
        headers = {"Content-Type": "application/json"}
        answer = await api.client.patch(f"{PATH}/e", content=text, headers=headers)
        assert (answer.status_code, answer.json()["code"]) in [(400, "invalid"), (422, "invalid")]
        assert (await api.client.get(f"{PATH}/e")).json()["metadata"]["semantic_version"] == "1.0"

    play(scenario, SERVES)


def test_endpoint_of_which_no_rule_speaks_is_ready_all_the_same(play: Any) -> None:
    async def scenario(api: Api) -> None:
        await create(api)
        await api.at.until("it runs", lambda: len(live(api, "e")) == 1)
        await api.at.until("it is probed", lambda: live(api, "e")[0].started_at_ms is not None)
        api.at.clock.advance(5)
        await api.at.until("ready", lambda: live(api, "e")[0].readiness is not None)
        assert (await status(api))["phase"] == "Ready"

    play(scenario)


@pytest.mark.parametrize(
    ("names", "told"), [((), "http://0.0.0.0:"), (("gpubox.lan", "gpu.lan"), "http://gpubox.lan:")]
)
def test_endpoint_is_told_by_a_name_when_every_address_is_listened_on(
    play: Any, names: tuple[str, ...], told: str
) -> None:
    async def scenario(api: Api) -> None:
        assert (await status(api, await create(api)))["endpoint"]["external_endpoint"].startswith(told)

    play(scenario, SERVES, host="0.0.0.0", allow_host=names)
