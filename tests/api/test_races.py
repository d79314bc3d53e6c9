"""What happens between two steps of the reconcile loop is not lost."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from homeport.runtime.drivers.simulated import Rule, SimulatedDriver
from homeport.server.crashpoints import CrashPoint, CrashPoints
from homeport.server.data_plane import DataPlane
from homeport.server.domain.workload import WorkloadSpec
from homeport.server.reconcile.autoscale import Autoscaler, ZeroRules
from homeport.server.routing import Route
from homeport.server.services.workloads import create_workload
from homeport.server.store.writes import load_workload, save_workload
from homeport.server.traffic import Traffic

from .endpoints import PATH, SERVES, endpoint
from .home import Api
from .test_endpoints import body

PODS = "/api/v2/workspaces/local/devpods"


def test_replicas_that_turn_ready_while_a_table_is_shown_get_requests(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[dict[str, int]] = []
    may_go = asyncio.Event()
    may_go.set()
    show = DataPlane.show

    async def slow(self: DataPlane, routes: Iterable[Route]) -> None:
        table = list(routes)
        shown.append({r.endpoint: len(r.replicas) for r in table})
        await may_go.wait()
        await show(self, table)

    monkeypatch.setattr(DataPlane, "show", slow)
    names = ("first", "second", "third", "fourth", "fifth")

    async def scenario(api: Api) -> None:
        reads = api.at.home.services.store.reads

        def attempts(name: str) -> list[Any]:
            (found,) = reads.page("local", "endpoint", size=1, archived=None, name=name)
            return api.at.home.services.store.attempts_of(found.id)

        for name in names:
            assert (await api.client.post(PATH, json=body(name))).status_code == 201
            await api.at.until("it runs", lambda name=name: [a for a in attempts(name) if a.started_at_ms])
            api.at.clock.advance(0.5)
        for _ in range(3):  # the probes of all have begun, and the table has all of them
            before = api.at.home.loop.passes
            api.at.home.loop.poke()
            await api.at.until("a pass", lambda before=before: api.at.home.loop.passes > before)
        assert shown[-1] == dict.fromkeys(names, 0)
        may_go.clear()
        for name in names:  # each half a second after the one before
            api.at.clock.advance(2.5 if name == names[0] else 0.5)
            await api.at.until("it is ready", lambda name=name: attempts(name)[0].ready_at_ms)
        may_go.set()
        await api.at.until("all are shown", lambda: shown[-1] == dict.fromkeys(names, 1))

    play(scenario, SERVES)


def test_change_while_a_place_is_sought_gets_a_place_of_its_own(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Api] = []

    async def reach(_self: CrashPoints, point: CrashPoint) -> None:
        if point is CrashPoint.PENDING and found:
            api = found.pop()
            more = {"resource_requirement": {"resource_shape": "gpu.2xh100-sxm"}}
            assert (await api.client.patch(f"{PATH}/e", json={"spec": more})).status_code == 200

    monkeypatch.setattr(CrashPoints, "reach", reach)

    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            found.append(api)
            await e.create(shape="gpu.h100-sxm")
            await e.until("it runs", lambda: e.running)
            assert [(len(a.gpu_uuids), a.shape) for a in e.attempts] == [(2, "gpu.2xh100-sxm")]

    play(scenario, SERVES)


def test_wake_outlives_a_change_that_comes_between(play: Any) -> None:
    async def scenario(api: Api) -> None:
        async with endpoint(api) as (e, _):
            await e.create(auto_scaler={"scale_down": {"no_traffic_timeout": 60}})
            await e.ready()
            await e.passes(70)
            await e.until("zero", lambda: e.phase == "zero")
            store, traffic = api.at.home.services.store, Traffic(e.clock, lambda: None)

            class Late:
                """Somebody else's write comes before the first one."""

                reads, is_first = store.reads, True

                async def write(self, apply: Any) -> Any:
                    if self.is_first:
                        self.is_first = False
                        await store.write(other)
                    return await store.write(apply)

            def other(session: Any) -> None:
                workload = load_workload(session, e.found.id)
                assert workload is not None
                save_workload(session, replace(workload, generation=workload.generation + 1))

            late: Any = Late()
            scaler = Autoscaler(late, e.clock, traffic, lambda _: None, ZeroRules())
            traffic.wake("local/e")
            for _ in range(2):
                await scaler.step()
            assert e.found.workload.is_waking
            assert traffic.wakes == set()

    play(scenario, SERVES)


@pytest.mark.parametrize("again", ["restart", "stop and start"])
def test_pod_waits_for_the_end_of_what_has_its_host_ports(
    play: Any, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """Else its ports would be taken, and it would move to others."""
    may_end = asyncio.Event()
    stop = SimulatedDriver.stop

    async def slow(self: SimulatedDriver, *args: Any, **more: Any) -> None:
        await may_end.wait()
        await stop(self, *args, **more)

    monkeypatch.setattr(SimulatedDriver, "stop", slow)

    async def scenario(api: Api) -> None:
        store = api.at.home.services.store
        ports = [{"container_port": 22, "expose_strategies": ["HostPortMapping"]}]
        spec = {"container": {"image": "any:1", "ports": ports}, "resource_shape": "cpu.small"}
        made = await api.client.post(PODS, json={"metadata": {"name": "p"}, "spec": spec})
        assert made.status_code == 201, made.text
        (found,) = store.reads.page("local", "pod", size=1, archived=None, name="p")

        def live() -> list[Any]:
            return [a for a in store.attempts_of(found.id) if a.is_live]

        async def do(what: str) -> None:
            if what == "restart":
                answer = await api.client.put(f"{PODS}/p/restart")
            else:
                answer = await api.client.patch(f"{PODS}/p", json={"spec": {"stopped": what == "stop"}})
            assert answer.status_code == 200, answer.text

        await api.at.until("it runs", lambda: [a for a in live() if a.started_at_ms])
        (old,) = live()
        first, second = ("restart", "restart") if again == "restart" else ("stop", "start")
        await do(first)
        await api.at.until("it ends", lambda: live()[0].draining_at_ms)
        await do(second)
        for _ in range(4):
            before = api.at.home.loop.passes
            api.at.home.loop.poke()
            await api.at.until("a pass", lambda before=before: api.at.home.loop.passes > before)
            assert [a.key for a in live()] == [old.key]
        may_end.set()
        await api.at.until("the new one", lambda: (now := live()) and now[0].key != old.key)

    play(scenario, Rule(run_for_s=None))


def test_row_that_cannot_be_written_holds_up_nobody_else(play: Any, caplog: pytest.LogCaptureFixture) -> None:
    """No API takes such a time to live any more; there may be others like it."""

    async def scenario(api: Api) -> None:
        services = api.at.home.services
        spec = WorkloadSpec("any:1", ("true",), "cpu.small", 1, 4096)
        for name, ttl_s in (("odd", 10**30), ("well", None)):
            made = replace(spec, ttl_s=ttl_s)
            await create_workload(services, workspace="local", name=name, kind="job", owner="me", spec=made)

        def phase(name: str) -> str:
            (found,) = services.store.reads.page("local", "job", size=1, archived=None, name=name)
            return found.phase.value

        await api.at.until("both run", lambda: {phase("odd"), phase("well")} == {"running"})
        api.at.clock.advance(10)
        await api.at.until("its end", lambda: phase("well") == "completed")
        await api.at.until("it is told", lambda: "what was observed cannot be written" in caplog.text)
        assert phase("odd") == "running"
        assert api.at.home.loop.reasons == []

    play(scenario, Rule(run_for_s=5))
