"""Figures: latencies in buckets, minutes that add up, bounded windows, what the kernel and NVML tell."""

import asyncio
import json
import random
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pydantic_core import to_json

from homeport.runtime.clock import SystemClock, VirtualClock
from homeport.runtime.metrics import Asked, GpuUsage, MachineUsage, Nvml
from homeport.runtime.model import Handle
from homeport.runtime.usage import Used, used_by_containers, used_by_processes
from homeport.server.cli.top import COLUMNS, cells, plain
from homeport.server.domain.metrics import MOST_PATHS, OTHER, Minute, Traffic, bucket_of, middle_ms
from homeport.server.metrics.window import TrafficWindow
from homeport.server.routing import AccessRecord

KEY = "local/e"
BUSY = "import time\nwhile time.process_time() < .2: pass\nprint(flush=True); input()"


def record(
    path: str = "/x", *, status: int = 200, ms: float = 10, replica: str = "r", key: str = KEY
) -> AccessRecord:
    return AccessRecord(0, "id", key, replica, "127.0.0.1", "GET", path, status, 1, 2, 0, int(ms * 1000), "")


@given(st.integers(1, 10**10))
def test_buckets_are_at_most_five_percent_off(duration_us: int) -> None:
    assert middle_ms(bucket_of(duration_us)) == pytest.approx(duration_us / 1000, rel=0.051)


def test_percentiles_are_those_of_the_durations() -> None:
    durations = [random.Random(7).lognormvariate(10, 1) for _ in range(5000)]
    traffic = Traffic()
    for us in durations:
        traffic.count(200, bucket_of(int(us)), 0, 0)
    for q in (0.5, 0.9, 0.95, 0.99):
        expected = sorted(durations)[int(q * len(durations)) - 1] / 1000
        assert traffic.quantile_ms(q) == pytest.approx(expected, rel=0.06)


def test_nothing_asked_has_no_percentile() -> None:
    assert Traffic().quantile_ms(0.5) is None


counts = st.lists(
    st.tuples(st.sampled_from(["/a", "/b"]), st.sampled_from([200, 500]), st.integers(1, 10**7))
)


@given(counts, counts)
def test_minutes_add_up_and_come_back_from_json(one: Any, other: Any) -> None:
    parts, whole = [Minute(), Minute()], Minute()
    for part, asked in zip(parts, (one, other), strict=True):
        for path, status, us in asked:
            for minute in (part, whole):
                minute.count(path, status, bucket_of(us), 3, 4)
    parts[0].add(parts[1])
    adapter = TypeAdapter(Minute)
    assert adapter.validate_json(to_json(parts[0])) == whole


def test_further_paths_are_counted_together() -> None:
    minute = Minute()
    for number in range(MOST_PATHS + 20):
        minute.count(f"/{number}", 200, 1, 0, 0)
    assert len(minute.paths) == MOST_PATHS + 1
    assert minute.paths[OTHER].requests == 20
    assert minute.traffic.requests == MOST_PATHS + 20


def test_paths_are_the_endpoints_own_and_hold_no_query() -> None:
    window = TrafficWindow(VirtualClock())
    window.add([
        record("/e/local/e/v1/chat?key=secret"), record("/e/local/e"), record("/v1/chat"),
        record("/scan.php", status=404), record("/any", status=401, replica=""), record(key=""),
    ])  # fmt: skip
    (minute,) = window.take().values()
    assert {path: traffic.requests for path, traffic in minute.paths.items()} == {
        "/v1/chat": 2, "/": 1, OTHER: 2
    }  # fmt: skip
    assert minute.traffic.statuses == {200: 3, 404: 1, 401: 1}


def test_last_minute_slides() -> None:
    clock = VirtualClock()
    clock.advance(100)
    window = TrafficWindow(clock)
    window.add([record(), record()])
    clock.advance(30)
    window.add([record()])
    traffic, seconds = window.last_minute(KEY)
    assert (traffic.requests, seconds) == (3, 30)
    clock.advance(50)
    traffic, seconds = window.last_minute(KEY)
    assert traffic.requests == 1
    assert 60 <= seconds <= 70
    clock.advance(100)
    assert window.last_minute(KEY)[0].requests == 0


def test_only_minutes_that_are_over_are_taken() -> None:
    clock = VirtualClock(60_000 * 1000)
    window = TrafficWindow(clock)
    window.add([record()])
    clock.advance(59)
    assert window.take(before_ms=clock.now_ms()) == {}
    clock.advance(1)
    window.add([record(), record()])
    taken = window.take(before_ms=clock.now_ms())
    assert [(key, minute.traffic.requests) for key, minute in taken.items()] == [((KEY, 60_000_000), 1)]
    window.give_back(taken)
    assert sorted(m.traffic.requests for m in window.take().values()) == [1, 2]


def test_memory_stays_bounded_however_much_is_asked() -> None:
    window = TrafficWindow(VirtualClock())
    for number in range(5000):
        window.add([record(f"/{number}", ms=number)])
    (minute,) = window.take().values()
    assert len(minute.paths) == MOST_PATHS + 1
    assert len(minute.traffic.latency) < 100


# --- what replicas use


def test_cgroups_of_either_version_are_read(tmp_path: Path) -> None:
    new, old = tmp_path / "v2" / "system.slice" / "docker-abc.scope", tmp_path / "v1"
    new.mkdir(parents=True)
    (new / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (new / "memory.current").write_text("1000\n")
    (new / "memory.stat").write_text("anon 1\ninactive_file 400\n")
    for part, name, text in (
        ("cpuacct", "cpuacct.usage", "2500000000\n"),
        ("memory", "memory.usage_in_bytes", "1000\n"),
        ("memory", "memory.stat", "cache 3\ntotal_inactive_file 400\n"),
    ):
        folder = old / part / "docker" / "abc"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for root in (tmp_path / "v2", old):
        assert used_by_containers([Handle("abc", "n"), Handle("gone", "m")], root) == {"n": Used(2.5, 600)}


def test_processes_of_a_session_are_added_up(tmp_path: Path) -> None:
    busy = subprocess.Popen(
        [sys.executable, "-c", BUSY],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert busy.stdout is not None
        busy.stdout.readline()
        (tmp_path / "n").mkdir()
        (tmp_path / "n" / "state.json").write_text(json.dumps({"child_pid": busy.pid}))
        (used,) = used_by_processes([Handle("n", "n"), Handle("gone", "gone")], tmp_path).values()
        assert 0.15 < used.cpu_s < 5
        assert used.memory_bytes > 2**20
    finally:
        busy.kill()
        busy.wait()


class FakeNvml(Nvml):
    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def read(self, uuids: Any) -> dict[str, GpuUsage]:
        self.gate.wait(10)
        return {uuid: GpuUsage(uuid, 50.0) for uuid in uuids if uuid != "GPU-lost"}


def test_cores_are_the_mean_between_two_looks() -> None:
    async def scenario() -> None:
        clock, cpu_s = VirtualClock(), [10.0]
        usage = MachineUsage(clock, lambda hs: {h.name: Used(cpu_s[0], 7) for h in hs}, FakeNvml())
        asked = [Asked(("r", 1), Handle("i", "n"), ("GPU-1", "GPU-lost")), Asked(("s", 1), None, ())]
        first = (await usage.read(asked))["r", 1]
        assert (first.cpu_cores, first.memory_bytes) == (None, 7)
        clock.advance(5)
        cpu_s[0] = 17.5
        found = await usage.read(asked)
        assert set(found) == {("r", 1)}
        assert found["r", 1].cpu_cores == pytest.approx(1.5)
        assert [g.uuid for g in found["r", 1].gpus] == ["GPU-1"]
        usage.close()

    asyncio.run(scenario())


def test_gpu_that_hangs_costs_only_its_figures() -> None:
    async def scenario() -> None:
        clock, nvml = VirtualClock(), FakeNvml()
        usage = MachineUsage(clock, lambda _: {}, nvml)
        asked = [Asked(("r", 1), None, ("GPU-1",))]
        nvml.gate.clear()
        hanging = asyncio.create_task(usage.read(asked))
        await asyncio.sleep(0.05)
        clock.advance(5)
        assert await hanging == {}
        assert await usage.read(asked) == {}  # nobody queues up behind it
        nvml.gate.set()
        end = SystemClock().monotonic_s() + 10
        while not await usage.read(asked):
            assert SystemClock().monotonic_s() < end
            await asyncio.sleep(0.01)
        usage.close()

    asyncio.run(scenario())


def test_figures_that_a_gpu_lacks_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Error(Exception):
        pass

    class Unsupported(Error):
        pass

    def refuse(*_: Any) -> Any:
        raise Unsupported

    def by_uuid(uuid: str) -> str:
        if uuid == "GPU-lost":
            raise Error
        return uuid

    fake = SimpleNamespace(
        NVMLError=Error, NVMLError_NotSupported=Unsupported, NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None, nvmlShutdown=lambda: None, nvmlDeviceGetHandleByUUID=by_uuid,
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=3, total=9),
        nvmlDeviceGetUtilizationRates=refuse, nvmlDeviceGetTemperature=lambda *_: 41,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    nvml = Nvml()
    assert nvml.read(["GPU-1", "GPU-lost"]) == {"GPU-1": GpuUsage("GPU-1", None, 3, 9, 41.0)}
    nvml.close()


# --- homeport top


def test_top_shows_what_is_not_known_as_a_dash() -> None:
    usage = {"id": "r", "ready": True, "cpu_cores": None, "memory_bytes": 3 * 2**30, "gpus": []}
    row = {
        "id": "j-abcd", "name": "j", "kind": "job", "workspace": "vision", "phase": "running",
        "shape": "cpu.small",
        "replicas": {"ready": 1, "wanted": 1}, "gpu_percent": None,
        "replica_usage": [usage],
    }  # fmt: skip
    told = dict(zip(COLUMNS, cells(row), strict=True))
    assert (told["NAME"], told["QPS"], told["CPU"], told["MEMORY"], told["GPU"]) == (
        "j-abcd",
        "-",
        "-",
        "3.0G",
        "-",
    )
    assert told["PROJECT"] == "vision"
    assert cells(row | {"kind": "pod"})[0] == "j"  # pods and endpoints have a name of their own
    lines = plain({"gpus": {"total": 2, "taken": 1}, "workloads": [row]}).splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "j-abcd", "GPUs:"]
