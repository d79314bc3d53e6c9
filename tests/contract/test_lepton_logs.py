"""Log history, through `lep log get` with its parallel fetcher and through the SDK."""

import re

import pytest

from tests.sdk import Sdk
from tests.world import World, eventually

LINES = 25_000  # more than two pages of the CLI's fetcher


def run(home: World, sdk: Sdk, name: str, command: str, **spec: object) -> str:
    job = sdk.create(home, name, command, **spec)
    eventually(f"the end of {name}", lambda: sdk.state(home, job) == "Completed")
    return job


def test_history_has_every_line_once_and_in_order(home: World, sdk: Sdk, tmp_path: object) -> None:
    home.login()
    job = run(home, sdk, "lines", f"for ((i=0; i<{LINES}; i++)); do echo line $i; done")
    path = f"{tmp_path}/out.txt"
    home.lep("log", "get", "--job", job, "--without-timestamp", "--path", path)
    with open(path) as file:
        numbers = [int(n) for n in re.findall(r"line (\d+)", file.read())]
    assert numbers == list(range(LINES))


def test_history_is_cut_by_time_text_limit_and_direction(home: World, sdk: Sdk) -> None:
    job = run(home, sdk, "cut", "for i in 1 2 3 4 5; do echo entry $i; done; echo other")

    def values(**ask: object) -> list[tuple[int, str]]:
        code = "result = client.log.get_log(name_or_job=job, **ask)"
        found = sdk.run(home, code, job=job, ask={"start": 1, "end": 2**62, **ask})
        return [(int(at), line) for stream in found["data"]["result"] for at, line in stream["values"]]

    forward = values(direction="forward")
    assert [line for _, line in forward] == [f"entry {i}" for i in range(1, 6)] + ["other"]
    assert values(direction="backward") == forward[::-1]
    assert values(direction="forward", limit=2) == forward[:2]
    assert values(direction="backward", limit=2) == forward[:-3:-1]
    assert [line for _, line in values(q="entry", direction="forward")] == [f"entry {i}" for i in range(1, 6)]
    third, fifth = forward[2][0], forward[4][0]
    assert values(start=third, end=fifth, direction="forward") == forward[2:4]  # half-open
    assert values(direction="forward") == forward


@pytest.mark.root_on_process
def test_history_tells_the_replicas_apart(home: World, sdk: Sdk) -> None:
    job = run(home, sdk, "pair", "echo from $LEPTON_JOB_WORKER_INDEX", completions=2, parallelism=2)
    replica = f"{job}-1-{job[-4:]}"
    code = "result = client.log.get_log(name_or_job=job, replica=replica, start=1, end=2**62)"
    found = sdk.run(home, code, job=job, replica=replica)["data"]["result"]
    assert [s["stream"]["replica"] for s in found] == [replica]
    assert [line for _, line in found[0]["values"]] == ["from 1"]


def test_time_series_counts_lines(home: World, sdk: Sdk) -> None:
    job = run(home, sdk, "count", "echo a; echo b; sleep 2; echo c")
    code = "result = client.log.get_log_time_series(name_or_job=job, start=1, end=2**62, interval_ms=1000)"
    found = sdk.run(home, code, job=job)["data"]["result"]
    counts = [int(count) for _, count in found[0]["values"]]
    assert (sum(counts), len(counts) >= 2) == (3, True)


def test_running_job_has_its_history_so_far(home: World, sdk: Sdk) -> None:
    job = sdk.create(home, "open", "echo early; trap 'exit 0' TERM; while true; do sleep 0.1; done")
    code = "result = client.log.get_log(name_or_job=job, start=1, end=2**62)"

    def lines() -> list[str]:
        found = sdk.run(home, code, job=job)["data"]["result"]
        return [line for stream in found for _, line in stream["values"]]

    eventually("its line", lambda: lines() == ["early"])


def test_long_line_and_broken_characters_survive(home: World, sdk: Sdk) -> None:
    # Longer than the 16 KiB at which engines cut; \\xff is no UTF-8.
    command = "head -c 40000 /dev/zero | tr '\\0' x; echo; printf 'a\\377b\\n'; printf 'no newline'"
    job = run(home, sdk, "long", command)
    code = "result = client.log.get_log(name_or_job=job, start=1, end=2**62, direction='forward')"
    found = sdk.run(home, code, job=job)["data"]["result"]
    assert [line for _, line in found[0]["values"]] == ["x" * 40000, "a\ufffdb", "no newline"]
    assert sdk.log(home, job) == "x" * 40000 + "\na\ufffdb\nno newline"
