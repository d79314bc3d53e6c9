"""kill -9 at every durable step of an eviction: nobody is evicted twice, nothing is held twice or lost."""

import contextlib
import sqlite3
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from homeport.server.crashpoints import CrashPoint
from tests.fault.conftest import MakeHome
from tests.fault.story import PORT
from tests.sdk import Sdk, SdkError
from tests.world import World, eventually

pytestmark = pytest.mark.root_on_process

COMMAND = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
STEPS = [
    CrashPoint.PENDING, CrashPoint.EVICTED, CrashPoint.STOP, CrashPoint.STOPPED, CrashPoint.OBSERVED,
    CrashPoint.PLACED, CrashPoint.LAUNCH, CrashPoint.LAUNCHED, CrashPoint.SEALED, CrashPoint.REMOVED,
]  # fmt: skip
CASES = [
    *(pytest.param("simulated", point, id=f"simulated-{point}") for point in STEPS),
    *(pytest.param("process", p, id=f"process-{p}") for p in (CrashPoint.EVICTED, CrashPoint.STOPPED)),
    pytest.param("docker", CrashPoint.EVICTED, id="docker-eviction", marks=pytest.mark.docker),
]


class Home:
    """A server that is started again when it has died."""

    def __init__(self, world: World, sdk: Sdk, point: str) -> None:
        self.world, self.sdk, self.deaths = world, sdk, 0
        self._armed = {"HOMEPORT_TESTING": "1", "HOMEPORT_CRASH_AT": f"{point}:1"}

    def create(self, name: str, **queue: Any) -> str:
        container: dict[str, Any] = {"image": self.world.image, "command": ["/bin/bash", "-c", COMMAND]}
        if self.world.runtime == "simulated":
            container["ports"] = [PORT]  # it stays until it is stopped
        return self.sdk.create(
            self.world, name, COMMAND, resource_shape="gpu.2xh100-sxm", container=container,
            queue_config=queue,
        )  # fmt: skip

    def alive(self, ask: Callable[[], Any]) -> Any:
        """Its answer; None where there was no server to give one."""
        assert self.world.server is not None
        if self.world.server.poll() is not None:
            self.deaths += 1
            self.world.start(**(self._armed if self.deaths == 1 else {}))
        try:
            return ask()
        except SdkError as error:
            try:
                self.world.server.wait(timeout=5)
            except subprocess.TimeoutExpired:
                raise error from None  # it lives, and has refused
            return None

    def arm(self) -> None:
        self.world.stop()
        self.world.start(**self._armed)

    def becomes(self, job: str, state: str) -> None:
        eventually(f"{job} is {state}", lambda: self.alive(lambda: self.sdk.state(self.world, job)) == state)

    def events(self, job: str) -> list[str]:
        code = "result = client.job.get_events(job)"
        told = eventually("events", lambda: self.alive(lambda: self.sdk.run(self.world, code, job=job)))
        return [e["reason"] for e in told for _ in range(e["count"])]

    def leases(self) -> list[tuple[str, float]]:
        """Replica and portion, of each device."""
        with contextlib.closing(sqlite3.connect(self.world.data_dir / "homeport.db")) as database:
            rows = database.execute("SELECT replica_id, portion FROM gpu_lease ORDER BY gpu_uuid")
            return [(replica.rpartition("-")[0].rpartition("-")[0], portion) for replica, portion in rows]


@pytest.mark.parametrize(("runtime", "point"), CASES)
def test_eviction_happens_once_when_the_server_dies(
    make_home: MakeHome, sdk: Sdk, runtime: str, point: CrashPoint
) -> None:
    home = Home(make_home(runtime), sdk, point)
    home.world.start()
    victim = home.create("victim", priority_class="low-1000", can_be_preempted=True)
    home.becomes(victim, "Running")
    home.arm()
    asker = home.create("asker", priority_class="high-9000", can_preempt=True)
    home.becomes(asker, "Running")
    eventually("the server has died", lambda: home.alive(lambda: True) and home.deaths)
    home.becomes(asker, "Running")
    eventually("one container", lambda: home.alive(lambda: len(home.world.containers()) == 1))
    assert home.leases() == [(asker, 1.0), (asker, 1.0)]
    assert home.events(victim).count("Evicted") == 1
    assert home.events(victim).count("Started") == 1
    assert eventually("state", lambda: home.alive(lambda: sdk.state(home.world, victim))) != "Running"
    stop = "result = client.job.update(job, spec={'spec': {'stopped': True}})"
    eventually("a stop", lambda: home.alive(lambda: sdk.run(home.world, stop, job=asker)))
    home.becomes(victim, "Running")
    eventually("one container", lambda: home.alive(lambda: len(home.world.containers()) == 1))
    assert home.leases() == [(victim, 1.0), (victim, 1.0)]
    assert home.events(asker).count("Started") == 1
    assert home.events(victim).count("Started") == 2
