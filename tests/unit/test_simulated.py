"""The simulated runtime by itself: rules, chance, HTTP answers, nodes that go down."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from homeport.runtime.clock import VirtualClock
from homeport.runtime.drivers.faulty import FaultyDriver
from homeport.runtime.drivers.simulated import Answer, Rule, RuleBook, SimulatedDriver, Span
from homeport.runtime.drivers.simulated.containers import Container
from homeport.runtime.drivers.simulated.probing import AnswerProber
from homeport.runtime.errors import ImagePullFailed, NodeLost, RuntimeUnavailable
from homeport.runtime.faults import Fault, FaultKind, Faults
from homeport.runtime.model import ContainerSpec, ContainerState, Handle, Observed, Origin, Port
from homeport.runtime.prober import NetworkProber
from homeport.runtime.probes import HttpGet, ProbeResult

CREATED, RUNNING, EXITED, LOST = (
    ContainerState.CREATED,
    ContainerState.RUNNING,
    ContainerState.EXITED,
    ContainerState.LOST,
)
BASE = ContainerSpec(
    "i", "w", "w-0", 1, 1, "any:1", ("true",), node="n0", origin=Origin("job", "w", "s", "p")
)


def spec(name: str = "w", **fields: Any) -> ContainerSpec:
    values: dict[str, Any] = {"origin": replace(BASE.origin, name=name)}
    return replace(BASE, workload_id=name, replica_id=f"{name}-0", **values | fields)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(scenario(), 60)

    asyncio.run(whole())


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def the_one(driver: SimulatedDriver) -> Observed:
    (seen,) = await driver.list_owned()
    return seen


# -- rules


@pytest.mark.parametrize(
    ("rule", "is_match"),
    [
        pytest.param(Rule(kind="job", workload="w*", shape="s", project="p"), True, id="all-of-it"),
        pytest.param(Rule(kind="endpoint"), False, id="another-kind"),
        pytest.param(Rule(workload="x*"), False, id="another-name"),
        pytest.param(Rule(shape="gpu.*"), False, id="another-shape"),
        pytest.param(Rule(project="q"), False, id="another-project"),
        pytest.param(Rule(node="n[1-9]"), False, id="another-node"),
        pytest.param(Rule(attempt=2), False, id="another-attempt"),
        pytest.param(Rule(attempt=1, node="n0"), True, id="first-attempt-on-that-node"),
        pytest.param(Rule(image="Any:*"), False, id="case-counts"),
    ],
)
def test_rule_matches_by_what_the_container_was_made_from(rule: Rule, is_match: bool) -> None:
    assert rule.matches(spec()) is is_match


def test_added_rule_goes_before_the_given_and_the_newest_first() -> None:
    book = RuleBook([Rule(id="given", exit_code=1)])
    book.add(Rule(id="old", exit_code=2))
    book.add(Rule(id="new", exit_code=3))
    assert [r.id for r in book.rules] == ["new", "old", "given"]
    assert book.find(spec()) == Rule(id="new", exit_code=3)
    assert (book.remove("new"), book.remove("given")) == (True, False)
    assert book.find(spec()) == Rule(id="old", exit_code=2)


def test_added_rules_are_there_for_the_next_server(tmp_path: Path) -> None:
    rule = Rule(
        id="r", run_for_s=Span(1, 2), log=((0.5, "hi"),), answers=(Answer(path="/x", headers=(("A", "b"),)),)
    )
    RuleBook(path=tmp_path / "rules").add(rule)
    assert RuleBook(path=tmp_path / "rules").rules == (rule,)


def test_new_rule_changes_no_container_that_is_there() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        driver = SimulatedDriver("i", clock, [Rule(run_for_s=10, exit_code=4)])
        await driver.start(spec())
        driver.rules.add(Rule(id="other", run_for_s=1, exit_code=5))
        clock.advance(10)
        assert (await the_one(driver)).exit_code == 4

    run(scenario)


# -- chance


def lives(seed: int, names: list[str]) -> dict[str, tuple[int, int]]:
    """Start and end of each, in milliseconds after its launch."""

    async def main() -> dict[str, tuple[int, int]]:
        clock = VirtualClock(0)
        rule = Rule(start_after_s=Span(0, 100), run_for_s=Span(10, 1000))
        driver = SimulatedDriver("i", clock, RuleBook([rule], seed))
        for name in names:
            await driver.start(spec(name))
        clock.advance(2000)
        return {
            o.workload_id: (o.started_at_ms or 0, o.finished_at_ms or 0) for o in await driver.list_owned()
        }

    return asyncio.run(main())


def test_random_durations_are_the_same_under_one_seed_and_others_under_another() -> None:
    names = [f"w{n}" for n in range(20)]
    first = lives(7, names)
    assert lives(7, names[::-1]) == first  # nor does the order matter
    assert lives(8, names) != first
    assert len(set(first.values())) == 20
    for started, finished in first.values():
        assert 0 <= started <= 100_000
        assert 10_000 <= finished - started <= 1_000_000


def test_random_durations_do_not_depend_on_the_random_end_of_an_id() -> None:
    rule = Rule(run_for_s=Span(0, 1000))
    one, two = (
        RuleBook([rule], 1).draw(rule, replace(spec(), workload_id=f"w-{end}", replica_id=f"w-{end}-0"))
        for end in ("ab12", "cd34")
    )
    assert one == two
    assert one != RuleBook([rule], 1).draw(rule, replace(spec(), attempt=2))


def test_second_of_the_same_name_draws_anew() -> None:
    rule = Rule(run_for_s=Span(0, 1000))
    book = RuleBook([rule], 1)
    assert book.draw(rule, spec()) != book.draw(rule, spec())


def test_drawn_durations_outlive_the_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock, journal = VirtualClock(), tmp_path / "journal"
        rules = [Rule(run_for_s=Span(10, 1000))]
        first = SimulatedDriver("i", clock, RuleBook(rules, 1), journal)
        await first.start(spec())
        await first.close()
        second = SimulatedDriver("i", clock, RuleBook(rules, 2), journal)
        clock.advance(2000)
        clock_free = SimulatedDriver("i", VirtualClock(), RuleBook(rules, 1))
        await clock_free.start(spec())
        want = clock_free._containers[spec().name].finished_at_ms  # pyright: ignore[reportPrivateUsage]
        assert (await the_one(second)).finished_at_ms == want

    run(scenario)


# -- images


def test_image_is_pulled_once_on_each_node_and_who_comes_meanwhile_waits_for_it() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        driver = SimulatedDriver("i", clock, [Rule(pull_for_s=30)])
        both = [asyncio.ensure_future(driver.prepare(spec(name))) for name in ("a", "b")]
        await turns()
        clock.advance(29)
        await turns()
        assert not any(task.done() for task in both)
        clock.advance(1)
        await asyncio.gather(*both)
        await driver.prepare(spec("c"))  # at once: it is there
        elsewhere = asyncio.ensure_future(driver.prepare(spec("d", node="n1")))
        await turns()
        assert not elsewhere.done()
        elsewhere.cancel()
        await driver.close()

    run(scenario)


def test_pull_goes_on_for_the_others_when_one_that_waits_is_given_up() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        driver = SimulatedDriver("i", clock, [Rule(pull_for_s=30)])
        first, second = (asyncio.ensure_future(driver.prepare(spec(name))) for name in ("a", "b"))
        await turns()
        first.cancel()
        clock.advance(30)
        await asyncio.wait_for(second, 10)

    run(scenario)


# -- nodes that go down


def down(node: str) -> Fault:
    return Fault(f"down-{node}", FaultKind.NODE_DOWN, node=node)


def test_containers_of_a_node_that_is_down_are_lost_and_those_of_others_are_not() -> None:
    async def scenario() -> None:
        clock, faults = VirtualClock(), Faults()
        driver = SimulatedDriver("i", clock, [Rule(run_for_s=None)], faults=faults)
        here, there = await driver.start(spec("a")), await driver.start(spec("b", node="n1"))
        faults.add(down("n0"))
        assert {o.handle: o.state for o in await driver.list_owned()} == {here: LOST, there: RUNNING}
        with pytest.raises(NodeLost, match="n0 is down"):
            await driver.start(spec("c"))
        with pytest.raises(NodeLost):
            await driver.stop(here, grace_s=1)
        with pytest.raises(NodeLost):
            await driver.remove(here)
        faults.clear()
        assert {o.state for o in await driver.list_owned()} == {RUNNING}
        await driver.stop(here, grace_s=1)

    run(scenario)


def test_container_on_a_node_that_is_down_goes_on_unseen() -> None:
    async def scenario() -> None:
        clock, faults = VirtualClock(), Faults()
        driver = SimulatedDriver("i", clock, [Rule(run_for_s=10)], faults=faults)
        await driver.start(spec())
        faults.add(down("n0"))
        clock.advance(10)
        assert (await the_one(driver)).state is LOST
        faults.clear()
        seen = await the_one(driver)
        assert (seen.state, seen.exit_code) == (EXITED, 0)

    run(scenario)


def test_change_is_told_when_a_node_goes_down_and_comes_back() -> None:
    async def scenario() -> None:
        faults = Faults()
        driver = SimulatedDriver("i", VirtualClock(), faults=faults)
        changes = driver.changes()
        await anext(changes)
        for act in (lambda: faults.add(down("n0")), faults.clear):
            told = asyncio.ensure_future(anext(changes))
            await turns()
            assert not told.done()
            act()
            await asyncio.wait_for(told, 10)

    run(scenario)


# -- faults


def test_faults_are_there_for_the_next_server(tmp_path: Path) -> None:
    fault = Fault("x", FaultKind.GPU_XID, node="n0", gpu="GPU-1", code=79, added_at_ms=5)
    Faults(tmp_path / "faults").add(fault)
    again = Faults(tmp_path / "faults")
    assert again.faults == (fault,)
    assert again.clear("x") == (fault,)
    assert Faults(tmp_path / "faults").faults == ()


def test_gpu_readings_merge_all_faults_of_a_gpu() -> None:
    faults = Faults()
    faults.add(Fault("a", FaultKind.GPU_XID, gpu="GPU-1", code=48))
    faults.add(Fault("b", FaultKind.GPU_THROTTLE, gpu="GPU-1"))
    faults.add(Fault("c", FaultKind.GPU_LOST, gpu="GPU-2"))
    faults.add(Fault("d", FaultKind.GPU_ECC, gpu="GPU-3", code=4))
    found = faults.gpu_readings()
    assert (found["GPU-1"].xids, found["GPU-1"].throttles) == ((48,), ("thermal",))
    assert found["GPU-2"].is_lost
    assert found["GPU-3"].ecc_errors == 4
    faults.clear("c")
    assert "GPU-2" not in faults.gpu_readings()


def test_image_that_a_fault_names_cannot_be_pulled() -> None:
    async def scenario() -> None:
        faults = Faults()
        driver = FaultyDriver(SimulatedDriver("i", VirtualClock()), faults, VirtualClock())
        faults.add(Fault("x", FaultKind.IMAGE_PULL, image="nvcr.io/*", message="toomanyrequests"))
        await driver.prepare(spec())
        with pytest.raises(ImagePullFailed, match="toomanyrequests"):
            await driver.prepare(replace(spec(), image="nvcr.io/nvidia/pytorch:1"))

    run(scenario)


def test_engine_that_hangs_answers_after_the_wait_and_one_that_is_down_at_once() -> None:
    async def scenario() -> None:
        faults, clock = Faults(), VirtualClock()
        driver = FaultyDriver(SimulatedDriver("i", clock), faults, clock)
        faults.add(Fault("h", FaultKind.ENGINE_HANG))
        asking = asyncio.ensure_future(driver.list_owned())
        await turns()
        assert not asking.done()
        clock.advance(5)
        with pytest.raises(RuntimeUnavailable, match="no answer within 5 s"):
            await asking
        asking = asyncio.ensure_future(driver.ping())
        await turns()
        faults.clear()
        clock.advance(5)
        await asking  # it recovered while one waited
        faults.add(Fault("d", FaultKind.ENGINE_DOWN))
        with pytest.raises(RuntimeUnavailable, match="connection refused"):
            await driver.start(spec())

    run(scenario)


# -- HTTP answers


def fetch(url: str, method: str = "GET") -> tuple[int, str, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


ANSWERS = (
    Answer("POST", "/v1/*", 201, '{"ok": true}', "application/json", (("X-Model", "toy"),)),
    Answer("GET", "/slow", body="late", delay_s=60),
    Answer(path="/busy", status=503, body="busy"),
)
PORTS = (Port(18080), Port(18081))


def test_container_answers_http_as_its_rule_says_while_it_runs() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        driver = SimulatedDriver("i", clock, [Rule(start_after_s=5, run_for_s=1000, answers=ANSWERS)])
        handle = await driver.start(spec(ports=PORTS))
        assert (await the_one(driver)).address == ""
        clock.advance(5)
        address = (await the_one(driver)).address
        for port in (18080, 18081):
            base = f"http://{address}:{port}"
            status, body, headers = await asyncio.to_thread(fetch, f"{base}/v1/chat?x=1", "POST")
            assert (status, body, headers["X-Model"]) == (201, '{"ok": true}', "toy")
            assert (await asyncio.to_thread(fetch, f"{base}/busy"))[:2] == (503, "busy")
            assert (await asyncio.to_thread(fetch, f"{base}/nothing"))[0] == 404
        slow = asyncio.ensure_future(asyncio.to_thread(fetch, f"http://{address}:18080/slow"))
        done, _ = await asyncio.wait({slow}, timeout=0.2)
        assert not done
        clock.advance(60)
        assert (await slow)[:2] == (200, "late")
        await driver.stop(handle, grace_s=1)
        with pytest.raises(urllib.error.URLError, match="refused"):
            await asyncio.to_thread(fetch, f"http://{address}:18080/busy")
        assert (await the_one(driver)).address == ""
        await driver.close()

    run(scenario)


def test_two_containers_with_the_same_port_have_an_address_each() -> None:
    async def scenario() -> None:
        driver = SimulatedDriver("i", VirtualClock(), [Rule(run_for_s=None, answers=ANSWERS)])
        for name in ("a", "b"):
            await driver.start(spec(name, ports=PORTS))
        addresses = {o.address for o in await driver.list_owned()}
        assert len(addresses) == 2
        for address in addresses:
            assert (await asyncio.to_thread(fetch, f"http://{address}:18080/busy"))[0] == 503
        await driver.close()

    run(scenario)


def test_container_answers_again_after_the_server_was_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock, rules = VirtualClock(), [Rule(run_for_s=None, answers=ANSWERS)]
        first = SimulatedDriver("i", clock, rules, tmp_path / "journal")
        await first.start(spec(ports=PORTS))
        await first.close()
        second = SimulatedDriver("i", clock, (), tmp_path / "journal")
        address = (await the_one(second)).address
        assert (await asyncio.to_thread(fetch, f"http://{address}:18080/busy"))[:2] == (503, "busy")
        await second.close()

    run(scenario)


def test_probe_asks_what_has_answers_and_takes_the_rest_as_well() -> None:
    async def scenario() -> None:
        driver = SimulatedDriver("i", VirtualClock(), [Rule(run_for_s=None, answers=ANSWERS)])
        await driver.start(spec(ports=PORTS))
        address = (await the_one(driver)).address
        prober = AnswerProber(NetworkProber())
        results = [
            (await prober.probe(HttpGet(18080, "/busy"), host, 10))[0] for host in (address, "", "10.1.2.3")
        ]
        assert results == [ProbeResult.FAILURE, ProbeResult.SUCCESS, ProbeResult.SUCCESS]
        await driver.close()

    run(scenario)


# -- scale


def test_thirty_thousand_containers_cost_what_changes() -> None:
    """A list after one change, among 30,000 on a thousand nodes."""

    async def grown(count: int) -> tuple[SimulatedDriver, VirtualClock, list[Handle]]:
        clock = VirtualClock()
        driver = SimulatedDriver("i", clock, [Rule(run_for_s=None)])
        handles = [await driver.start(spec(f"w{n}", node=f"n{n % 1000}")) for n in range(count)]
        return driver, clock, handles

    async def main() -> None:
        driver, clock, handles = await grown(30_000)
        with mock.patch.object(Container, "observe", autospec=True, side_effect=Container.observe) as looked:
            for handle in handles[:200]:
                await driver.stop(handle, grace_s=1)
                clock.advance(0.01)
                driver._settle()  # pyright: ignore[reportPrivateUsage]
            assert looked.call_count <= 3 * 200
        states = [o.state for o in await driver.list_owned()]
        assert (states.count(EXITED), len(states)) == (200, 30_000)

    asyncio.run(main())
