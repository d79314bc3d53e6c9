"""What is known of an endpoint's traffic: the last minute, and how long there was none."""

import asyncio
from dataclasses import dataclass, field

import pytest

from homeport.runtime.clock import VirtualClock
from homeport.server.routing import AccessRecord, Route, Target, TrafficCounters
from homeport.server.traffic import Traffic

KEY = "local/e"


@dataclass
class Gateway:
    is_live: bool = True
    is_taken_over: bool = False
    told: dict[str, TrafficCounters] = field(default_factory=dict)

    def counters(self) -> dict[str, TrafficCounters]:
        return self.told


@dataclass
class World:
    clock: VirtualClock = field(default_factory=VirtualClock)
    gateway: Gateway = field(default_factory=Gateway)
    pokes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.traffic = self.started()

    def started(self) -> Traffic:
        """A server that has just come up."""
        traffic = Traffic(self.clock, lambda: self.pokes.append("poke"))
        traffic.source = self.gateway
        return traffic

    def ask(self, method: str = "GET", path: str = "/", *, replica: str = "r", key: str = KEY) -> None:
        """A request that begins and ends now."""
        now = self.clock.now_ms()
        told = self.gateway.told.setdefault(key, TrafficCounters())
        told.requests, told.last_request_ms = told.requests + 1, now
        self.traffic.records(
            [AccessRecord(now, "id", key, replica, "c", method, f"/e/{key}{path}", 200, 0, 0, 0, 0, "")]
        )

    def idle_s(self, ready_ms: int = 0) -> float | None:
        return self.traffic.idle_s(KEY, ready_ms)


@pytest.mark.parametrize(
    ("methods", "paths", "number"),
    [
        ((), (), 4), (("POST",), (), 2), (("GET", "POST"), ("/v1/chat",), 2), ((), ("/v1/*",), 3),
        (("GET",), ("/",), 1), (("PUT",), (), 0), ((), ("/v1",), 0),
    ],
)  # fmt: skip
def test_requests_of_the_last_minute_count_by_method_and_path(methods, paths, number) -> None:  # type: ignore[no-untyped-def]
    world = World()
    world.ask("POST", "/old")
    world.clock.advance(30)
    for method, path in (("POST", "/v1/chat"), ("GET", "/v1/chat"), ("POST", "/v1/other"), ("GET", "/")):
        world.ask(method, path)
    world.ask("GET", "/refused", replica="")
    world.ask("GET", "/v1/chat", key="local/another")
    world.clock.advance(30)
    assert world.traffic.requests(KEY, methods, paths) == number
    world.clock.advance(30)
    assert world.traffic.requests(KEY, methods, paths) == 0
    world.gateway.is_live = False
    assert world.traffic.requests(KEY, methods, paths) is None


def test_many_paths_are_still_all_counted() -> None:
    world = World()
    for number in range(3000):
        world.ask(path=f"/{number}")
    assert world.traffic.requests(KEY) == 3000
    assert world.traffic.requests(KEY, paths=("/1",)) == 1


def test_idle_time_runs_from_the_last_request_and_not_while_one_is_open() -> None:
    world = World()
    world.clock.advance(10)
    assert world.idle_s(world.clock.now_ms()) == 0
    world.clock.advance(10)
    assert world.idle_s(world.clock.now_ms() - 10_000) == 10
    world.ask()
    world.clock.advance(7)
    assert world.idle_s() == 7
    for name in ("open", "held"):
        world.gateway.told[KEY].requests += 1
        setattr(world.gateway.told[KEY], name, 1)
        world.clock.advance(500)
        assert world.idle_s() == 0
        setattr(world.gateway.told[KEY], name, 0)
        world.clock.advance(3)
        assert world.idle_s() == 3


def test_wake_ends_the_idle_time_before_the_counters_tell_of_it() -> None:
    world = World()
    world.ask()
    world.clock.advance(100)
    assert world.idle_s() == 100
    world.traffic.wake(KEY)
    world.clock.advance(1)
    assert world.idle_s() == 1
    world.gateway.told[KEY].held = 1
    assert world.idle_s() == 0


def test_idle_time_begins_anew_when_a_replica_becomes_ready() -> None:
    world = World()
    world.idle_s()
    world.clock.advance(100)
    assert world.idle_s(world.clock.now_ms() - 4000) == 4
    world.clock.advance(1)
    assert world.idle_s(world.clock.now_ms() - 5000) == 5


def test_idle_time_is_not_known_while_the_gateway_is_away() -> None:
    world = World()
    world.gateway.is_live = False
    assert world.idle_s() is None


@pytest.mark.parametrize(("is_taken_over", "idle_s"), [(True, 3000), (False, 20)])
def test_idle_time_after_a_restart_is_that_of_the_gateway_or_of_the_server(
    is_taken_over: bool, idle_s: float
) -> None:
    world = World()
    world.ask()
    world.clock.advance(2980)
    world.gateway.is_taken_over = is_taken_over
    world.traffic = world.started()
    world.clock.advance(20)
    assert world.idle_s() == idle_s


@pytest.mark.parametrize("jump_s", [86_400, -3600])
def test_clock_that_jumps_changes_no_idle_time(jump_s: int) -> None:
    world = World()
    world.ask()
    world.clock.advance(10)
    ready_ms = world.clock.now_ms() - 10_000
    assert world.idle_s(ready_ms) == 10
    world.clock._start_ms += jump_s * 1000  # type: ignore[attr-defined]  # the wall, not the interval
    world.clock.advance(1)
    assert world.idle_s(ready_ms) == 11


def test_wake_pokes_and_stays_until_it_is_dealt_with() -> None:
    world = World()
    world.traffic.wake(KEY)
    assert (world.pokes, world.traffic.wakes) == (["poke"], {KEY})
    world.traffic.shown([])
    assert world.traffic.wakes == set()


ROUTE = Route("local", "e", (Target("r", "127.0.0.1", 80),))


async def waited_s(world: World, seconds: float = 30) -> float:
    """How long a drain was waited for, by a clock that is moved on while it is."""
    began = world.clock.monotonic_s()
    task = asyncio.ensure_future(world.traffic.wait_drained(KEY, "r", seconds))
    for _ in range(100):
        for _ in range(5):
            await asyncio.sleep(0)
        if task.done():
            break
        world.clock.advance(0.5)
    await task
    return world.clock.monotonic_s() - began


def test_drain_is_over_when_the_gateway_says_so_or_time_is() -> None:
    async def main() -> None:
        world = World()
        assert await waited_s(world) == 0  # it never took requests
        world.traffic.shown([ROUTE])
        assert await waited_s(world) == 30
        world.traffic.shown([ROUTE])
        world.traffic.drained(KEY, "r")
        assert await waited_s(world) == 0
        world.traffic.shown([ROUTE])
        waiting = asyncio.ensure_future(waited_s(world))
        await asyncio.sleep(0)
        world.traffic.drained(KEY, "r")
        assert await waiting <= 0.5
        world.traffic.shown([ROUTE])
        world.gateway.is_live = False
        assert await waited_s(world) == 0

    asyncio.run(main())


@pytest.mark.parametrize(("open_now", "seconds"), [(0, 1), (1, 30)])
def test_drain_that_another_server_began_is_told_by_the_counters(open_now: int, seconds: float) -> None:
    async def main() -> None:
        world = World()
        world.gateway.told[KEY] = TrafficCounters(requests=9, open=open_now)
        world.traffic.adopt(KEY, "r")
        assert await waited_s(world) == seconds

    asyncio.run(main())


def test_latency_is_the_mean_of_the_last_minute() -> None:
    world = World()
    assert world.traffic.latency_ms(KEY) == 0
    for duration_us in (1000, 3000):
        told = AccessRecord(0, "id", KEY, "r", "c", "GET", "/e/local/e/", 200, 0, 0, 0, duration_us, "")
        world.traffic.records([told, told._replace(replica="")])  # a refusal was no work for a replica
        world.clock.advance(25)
    assert world.traffic.latency_ms(KEY) == 2
    world.clock.advance(15)
    assert world.traffic.latency_ms(KEY) == 3
    world.gateway.is_live = False
    assert world.traffic.latency_ms(KEY) is None


def test_open_and_waiting_requests_are_told_while_the_gateway_is_there() -> None:
    world = World()
    assert world.traffic.open_now(KEY) == 0
    world.gateway.told[KEY] = TrafficCounters(open=5, held=3)
    assert world.traffic.open_now(KEY) == 5
    world.gateway.is_live = False
    assert world.traffic.open_now(KEY) is None
