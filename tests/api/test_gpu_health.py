"""GPUs that fail: who gets no new work, what goes on, what ends, and how all is well again."""

import asyncio
from pathlib import Path
from typing import Any

from sqlmodel import Session

from homeport.runtime.drivers.simulated import Rule
from homeport.runtime.faults import Fault, FaultKind
from homeport.runtime.health import HEAL_S
from homeport.runtime.model import Handle
from homeport.server.domain.workload import Attempt, Workload, WorkloadSpec
from homeport.server.reconcile.health import CHECK_S, GpuHealth
from homeport.server.reconcile.launches import container_spec
from homeport.server.store.writes import save_workload

from .endpoints import SERVES, endpoint
from .home import Api, open_api

FOREVER = Rule(run_for_s=None)
NODES = "/api/v2/workspaces/local/dedicated-node-groups/default"
SHAPE = "gpu.h100-sxm"


def attempts(api: Api, workload_id: str) -> list[Attempt]:
    found = api.at.home.services.store.attempts_of(workload_id)
    return sorted(found, key=lambda a: (a.index, a.number))


def gpus(api: Api) -> list[str]:
    return [g.uuid for g in api.at.home.services.nodes[0].gpus]


def events(api: Api, workload_id: str) -> list[tuple[str, str, str]]:
    found = api.at.home.services.store.events_of(workload_id)
    return [(e.type, e.reason, e.message) for e in found]


def reasons(api: Api, workload_id: str) -> list[str]:
    return [reason for _, reason, _ in events(api, workload_id)]


async def running(api: Api, name: str, **spec: Any) -> str:
    job_id = (await api.submit(name, **({"resource_shape": SHAPE} | spec)))["metadata"]["id"]
    await api.becomes(job_id, "running")
    return job_id


def break_gpu(api: Api, uuid: str, kind: FaultKind, code: int = 0) -> None:
    node = api.at.home.services.nodes[0].id
    api.at.faults.add(Fault(uuid, kind, node=node, gpu=uuid, code=code))


async def is_unhealthy(api: Api, uuid: str, reason: str) -> None:
    unhealthy = api.at.home.services.unhealthy
    await api.at.until(f"{reason} of {uuid}", lambda: unhealthy().get(uuid, "").startswith(f"{reason}:"))


async def lose(api: Api, uuid: str) -> None:
    """Two looks have to agree."""
    break_gpu(api, uuid, FaultKind.GPU_LOST)
    await is_unhealthy(api, uuid, "GPUUnseen")
    await looked(api)
    await is_unhealthy(api, uuid, "GPULost")


async def heal(api: Api, uuid: str) -> None:
    api.at.faults.clear(uuid)
    await asyncio.sleep(0)
    for _ in range(3):  # a good look first, then the end of its time
        await looked(api)
        api.at.clock.advance(HEAL_S)
    await api.at.until(f"{uuid} is well", lambda: uuid not in api.at.home.services.unhealthy())


async def looked(api: Api) -> None:
    """At least one look has been taken since."""
    health = api.at.home.loop.machine.gpus
    assert health is not None
    before = health.looks
    health.look_now()
    await api.at.until("a look", lambda: health.looks > before)


def test_work_goes_on_and_is_told_when_its_gpu_has_an_xid_error(play: Any) -> None:
    async def scenario(api: Api) -> None:
        job_id = await running(api, "job")
        (attempt,) = attempts(api, job_id)
        (uuid,) = attempt.gpu_uuids
        break_gpu(api, uuid, FaultKind.GPU_XID, 48)
        await api.at.until("its event", lambda: "GPUXid" in reasons(api, job_id))
        (told,) = [e for e in events(api, job_id) if e[1] == "GPUXid"]
        assert told[0] == "Warning"
        assert uuid in told[2]
        assert "Xid 48" in told[2]
        assert "goes on" in told[2]
        for _ in range(3):
            await looked(api)
        assert reasons(api, job_id).count("GPUXid") == 1, "it is news only once"
        assert attempts(api, job_id) == [attempt]
        assert api.phase(job_id) == "running"

    play(scenario, FOREVER)


def test_nothing_new_is_placed_on_an_unhealthy_gpu_until_it_has_healed(play: Any) -> None:
    async def scenario(api: Api) -> None:
        sick, well = gpus(api)
        break_gpu(api, sick, FaultKind.GPU_ECC)
        await is_unhealthy(api, sick, "GPUEcc")
        first = await running(api, "first")
        assert attempts(api, first)[0].gpu_uuids == (well,)
        second = (await api.submit("second", resource_shape=SHAPE))["metadata"]["id"]
        await api.at.until("why it waits", lambda: api.at.home.loop.refusal(second))
        assert "unhealthy" in " ".join(api.at.home.loop.refusal(second))
        assert attempts(api, second) == []
        await heal(api, sick)
        await api.becomes(second, "running")
        assert attempts(api, second)[0].gpu_uuids == (sick,)

    play(scenario, FOREVER, gpus="2xH100-80GB")


def test_work_is_told_when_its_gpu_is_well_again(play: Any) -> None:
    async def scenario(api: Api) -> None:
        job_id = await running(api, "job")
        (uuid,) = attempts(api, job_id)[0].gpu_uuids
        break_gpu(api, uuid, FaultKind.GPU_XID, 95)
        await is_unhealthy(api, uuid, "GPUXid")
        await heal(api, uuid)
        await api.at.until("its event", lambda: "GPUHealthy" in reasons(api, job_id))
        assert events(api, job_id)[-1][0] == "Normal"
        assert attempts(api, job_id)[0].is_live

    play(scenario, FOREVER)


def test_strict_work_moves_to_another_gpu_when_its_own_has_any_fault(play: Any) -> None:
    async def scenario(api: Api) -> None:
        policy = [{"name": "HOMEPORT_GPU_POLICY", "value": "end"}]
        job_id = await running(api, "job", envs=policy, max_failure_retry=1)
        (ill,) = attempts(api, job_id)[0].gpu_uuids
        break_gpu(api, ill, FaultKind.GPU_ECC)
        await api.at.until("its end", lambda: not attempts(api, job_id)[0].is_live)
        assert attempts(api, job_id)[0].reason == "GPUEcc"
        api.at.clock.advance(10)  # the pause before a retry
        await api.at.until("a second attempt", lambda: len(attempts(api, job_id)) == 2)
        await api.becomes(job_id, "running")
        assert attempts(api, job_id)[1].gpu_uuids != (ill,)

    play(scenario, FOREVER, gpus="2xH100-80GB")


def test_strict_work_goes_on_when_one_look_only_missed_its_gpu(play: Any) -> None:
    async def scenario(api: Api) -> None:
        policy = [{"name": "HOMEPORT_GPU_POLICY", "value": "end"}]
        job_id = await running(api, "job", envs=policy)
        (uuid,) = attempts(api, job_id)[0].gpu_uuids
        health = api.at.home.loop.machine.gpus
        assert health is not None
        await health.close()  # the test looks itself
        for is_missed in (True, False, False):
            if is_missed:
                break_gpu(api, uuid, FaultKind.GPU_LOST)
            else:
                api.at.faults.clear()
            await health.look()
        assert "GPUUnseen" in reasons(api, job_id)
        assert attempts(api, job_id)[0].reason == ""

    play(scenario, FOREVER)


def test_only_a_program_is_blamed_when_its_xid_says_so(play: Any) -> None:
    async def scenario(api: Api) -> None:
        job_id = await running(api, "job")
        (uuid,) = attempts(api, job_id)[0].gpu_uuids
        break_gpu(api, uuid, FaultKind.GPU_XID, 31)
        await api.at.until("its event", lambda: "GPUProgramFault" in reasons(api, job_id))
        assert api.at.home.services.unhealthy() == {}

    play(scenario, FOREVER)


def test_job_fails_when_its_gpu_is_lost_and_it_has_no_retry(play: Any) -> None:
    async def scenario(api: Api) -> None:
        job_id = await running(api, "job")
        (uuid,) = attempts(api, job_id)[0].gpu_uuids
        await lose(api, uuid)
        await api.becomes(job_id, "failed")
        (ended,) = attempts(api, job_id)
        assert ended.reason == "GPULost"
        assert uuid in ended.message
        told = [(type_, message) for type_, reason, message in events(api, job_id) if reason == "GPULost"]
        assert [type_ for type_, _ in told] == ["Warning", "Warning"]
        assert told[0][1].endswith(f"{ended.replica_id} ends")
        assert told[1][1].startswith("ended with exit code")

    play(scenario, FOREVER)


def test_job_is_tried_again_on_another_gpu_when_its_own_is_lost(play: Any) -> None:
    async def scenario(api: Api) -> None:
        job_id = await running(api, "job", max_failure_retry=1)
        (lost,) = attempts(api, job_id)[0].gpu_uuids
        await lose(api, lost)
        await api.at.until("its end", lambda: not attempts(api, job_id)[0].is_live)
        api.at.clock.advance(10)  # the pause before a retry
        await api.at.until("a second attempt", lambda: len(attempts(api, job_id)) == 2)
        await api.becomes(job_id, "running")
        again = attempts(api, job_id)[1]
        assert again.gpu_uuids != (lost,)

    play(scenario, FOREVER, gpus="2xH100-80GB")


def test_job_has_not_succeeded_when_it_heeds_the_end_that_its_lost_gpu_brings(play: Any) -> None:
    """A simulated container that is told to stop ends with 143; one that tidies up ends with 0."""

    async def scenario(api: Api) -> None:
        job_id = await running(api, "job")
        (uuid,) = attempts(api, job_id)[0].gpu_uuids
        break_gpu(api, uuid, FaultKind.GPU_XID, 79)
        await api.becomes(job_id, "failed")
        (ended,) = attempts(api, job_id)
        assert (ended.reason, ended.exit_code) != ("GPULost", 0)

    play(scenario, FOREVER)


def test_others_on_the_node_run_on_when_one_gpu_is_lost(play: Any) -> None:
    async def scenario(api: Api) -> None:
        one, other = await running(api, "one"), await running(api, "other")
        (uuid,) = attempts(api, one)[0].gpu_uuids
        await lose(api, uuid)
        await api.becomes(one, "failed")
        assert api.phase(other) == "running"
        assert not {"GPULost", "GPUUnseen"} & set(reasons(api, other))

    play(scenario, FOREVER)


def test_endpoint_gets_a_new_replica_elsewhere_when_its_gpu_is_lost(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(shape=SHAPE)
            await e.ready()
            (first,) = e.attempts
            await lose(api, first.gpu_uuids[0])
            await e.passes(60)  # it drains, and a replica that has ended pauses before its next start
            await e.ready()
            old, new = e.attempts
            assert (old.reason, old.is_live, new.is_live) == ("GPULost", False, True)
            assert not set(old.gpu_uuids) & set(new.gpu_uuids)

    play(scenario, SERVES, gpus="2xH100-80GB")


def test_work_on_a_lost_gpu_ends_when_the_server_was_killed_before_it_could_act(tmp_path: Path) -> None:
    """The mark is in the store; the next server, on which the GPU is well again, acts on it."""

    async def scenario() -> None:
        async with open_api(tmp_path / "data", (FOREVER,)) as api:
            job_id = await running(api, "job")
            (attempt,) = attempts(api, job_id)
            await api.at.home.loop.close()  # nothing is reconciled any more
            health = api.at.home.loop.machine.gpus
            assert health is not None
            break_gpu(api, attempt.gpu_uuids[0], FaultKind.GPU_XID, 79)
            await health.look()
            (marked,) = attempts(api, job_id)
            assert (marked.reason, marked.is_live) == ("GPULost", True)
        async with open_api(tmp_path / "data", (FOREVER,)) as api:
            assert api.at.home.services.unhealthy() == {}
            await api.becomes(job_id, "failed")
            assert attempts(api, job_id)[-1].reason == "GPULost"

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_nodes_say_how_they_are_in_both_lists(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async def told() -> tuple[Any, Any, Any]:
            (node,) = (await api.client.get(f"{NODES}/nodes")).json()
            (machine,) = (await api.client.get(f"{NODES}/machines")).json()
            health = (await api.anybody.get("/homeport/health")).json()
            return node["status"]["status"], machine["status"]["status"], health

        one, other = gpus(api)
        assert await told() == (["Ready", "Healthy"], "Healthy", {"status": "ok", "reasons": []})
        break_gpu(api, one, FaultKind.GPU_XID, 48)
        await is_unhealthy(api, one, "GPUXid")
        node, machine, health = await told()
        assert (node, machine) == (["Ready", "Degraded"], "Degraded")
        assert health["status"] == "degraded"
        assert f"GPU {one} is unhealthy: GPUXid: Xid 48" in health["reasons"]
        break_gpu(api, other, FaultKind.GPU_XID, 48)
        await is_unhealthy(api, other, "GPUXid")
        assert (await told())[:2] == (["Ready", "Unhealthy"], "Unhealthy")
        info = (await api.client.get("/homeport/info")).json()
        assert [g["healthy"] for g in info["nodes"][0]["gpus"]] == [False, False]
        assert info["nodes"][0]["gpus"][0]["unhealthy_because"] == "GPUXid: Xid 48"

    play(scenario, FOREVER, gpus="2xH100-80GB")


def test_instances_are_unhealthy_when_their_gpu_is(play: Any) -> None:
    async def scenario(api: Api) -> None:
        found = api.at.home.services.nodes[0].gpus
        (parent,) = {g.parent_uuid for g in found if g.parent_uuid}
        break_gpu(api, parent, FaultKind.GPU_XID, 48)
        parts = [g.uuid for g in found if g.parent_uuid]
        await is_unhealthy(api, parts[-1], "GPUXid")
        assert set(api.at.home.services.unhealthy()) == set(parts)

    play(scenario, FOREVER, gpus="1xH100-80GB,1xH100-80GB:7x1g.10gb")


def test_jobs_run_on_instances_of_a_partitioned_gpu_until_none_is_left(play: Any) -> None:
    async def scenario(api: Api) -> None:
        shape = "gpu.h100-sxm.1g.10gb"
        jobs = [await running(api, f"job-{i}", resource_shape=shape) for i in range(2)]
        held = {u for job in jobs for u in attempts(api, job)[0].gpu_uuids}
        parts = [g for g in api.at.home.services.nodes[0].gpus if g.mig_profile == "1g.10gb"]
        assert held == {g.uuid for g in parts}
        waits = (await api.submit("waits", resource_shape=shape))["metadata"]["id"]
        await api.at.until("why it waits", lambda: api.at.home.loop.refusal(waits))
        assert "MIG instance" in " ".join(api.at.home.loop.refusal(waits))
        whole = await running(api, "whole")
        assert not set(attempts(api, whole)[0].gpu_uuids) & {g.uuid for g in parts}

    play(scenario, FOREVER, gpus="1xH100-80GB,1xH100-80GB:2x1g.10gb+1x3g.40gb")


def test_container_that_lost_its_devices_ends_and_its_gpu_stays_in_use(play: Any) -> None:
    """As after `systemctl daemon-reload`: the GPU is well, and only this container cannot use it."""

    async def scenario(api: Api) -> None:
        job_id = await running(api, "job", max_failure_retry=1)
        kept = await running(api, "kept")
        (robbed,) = attempts(api, job_id)
        name = robbed.container_name(api.at.home.loop.machine.instance)
        asked: list[str] = []

        async def keeps_gpus(handle: Handle) -> bool | None:
            asked.append(handle.name)
            return handle.name != name if len(asked) < 3 else None

        home = api.at.home
        health = GpuHealth(
            home.services.store, api.at.clock, NoReader(), home.loop.poke,
            observed=lambda: home.loop.observed, keeps_gpus=keeps_gpus,
        )  # fmt: skip
        await health.look()
        await api.at.until("its end", lambda: not attempts(api, job_id)[0].is_live)
        assert attempts(api, job_id)[0].reason == "GPULost"
        assert "daemon-reload" in " ".join(m for _, r, m in events(api, job_id) if r == "GPULost")
        assert home.services.unhealthy() == {}
        assert api.phase(kept) == "running"
        before = len(asked)
        await health.look()
        assert len(asked) == before, "containers are asked too often"
        api.at.clock.advance(CHECK_S)
        await health.look()
        assert len(asked) > before
        await api.becomes(kept, "running")

    play(scenario, FOREVER)


class NoReader:
    """For a machine of which nothing is to be told."""

    is_silent = False

    async def read(self) -> dict[str, Any]:
        return {}

    def close(self) -> None: ...


def test_work_is_told_the_order_of_devices_unless_it_sets_one_itself(play: Any) -> None:
    async def scenario(api: Api) -> None:
        own = [{"name": "CUDA_DEVICE_ORDER", "value": "FASTEST_FIRST"}]
        plain, changed = await running(api, "plain"), await running(api, "changed", envs=own)
        none = await running(api, "none", resource_shape="cpu.small")
        assert environment(api, plain)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
        assert environment(api, changed)["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
        assert "CUDA_DEVICE_ORDER" not in environment(api, none)
        assert environment(api, plain)["HOMEPORT_SIMULATED_GPU"] == "1"
        assert "HOMEPORT_GPU_PORTION" not in environment(api, plain)

    play(scenario, FOREVER)


def test_shares_of_one_gpu_are_told_their_portion(play: Any) -> None:
    async def scenario(api: Api) -> None:
        home = api.at.home
        spec = WorkloadSpec("any:1", ("true",), "", 1, 512, gpu_count=1, gpu_portion=0.5)
        shares = [Workload(f"share-{i}", "local", f"share-{i}", "job", "a@b", 0, spec) for i in range(2)]

        def save(session: Session) -> None:
            for share in shares:
                save_workload(session, share)

        await home.services.store.write(save)
        home.loop.poke()
        for share in shares:
            await api.becomes(share.id, "running")
            assert environment(api, share.id)["HOMEPORT_GPU_PORTION"] == "0.5"
        assert attempts(api, "share-0")[0].gpu_uuids == attempts(api, "share-1")[0].gpu_uuids
        break_gpu(api, attempts(api, "share-0")[0].gpu_uuids[0], FaultKind.GPU_ECC)
        for share in shares:
            await api.at.until("its event", lambda share=share: "GPUEcc" in reasons(api, share.id))

    play(scenario, FOREVER, gpus="2xH100-80GB")


def environment(api: Api, workload_id: str) -> dict[str, str]:
    home = api.at.home
    (found,) = home.services.store.reads.by_ids([workload_id])
    (attempt,) = attempts(api, workload_id)
    return dict(container_spec(home.loop.machine, found.workload, attempt, {}).env)
