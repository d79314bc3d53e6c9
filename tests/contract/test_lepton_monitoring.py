"""Figures and the bill of what real clients have made: on real containers and processes."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.contract.test_lepton_endpoints import ask, create, free_port, serve, state, status
from tests.sdk import Sdk
from tests.world import World, eventually, world

# api.v0, which these versions still carry, is what reads figures.
V0 = """
from leptonai.api.v0 import connection, deployment
conn = connection.Connection(client.url, client.auth_token)
"""


def homeport(home: World, *args: str) -> str:
    argv = [sys.executable, "-m", "homeport", args[0], "--data-dir", str(home.data_dir), *args[1:]]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def top_row(home: World, name: str) -> dict[str, str]:
    """Of `homeport top --once`, by column; there is one row at most of that name."""
    lines = homeport(home, "top", "--once").splitlines()
    row = next((line for line in lines if line.startswith(f"{name} ")), "")
    return dict(zip(lines[0].replace("GPU MEM", "GPUMEM").split(), row.split(), strict=False))


def scrape(home: World) -> list[Any]:
    """As Prometheus would, with the token as `authorization` of its scrape config has it."""
    base = home.values["LEPTON_WORKSPACE_URL"].partition("/api/")[0]
    bearer = {"Authorization": f"Bearer {home.values['LEPTON_WORKSPACE_TOKEN']}"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{base}/metrics", headers=bearer), timeout=10
    ) as answer:
        text = answer.read().decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(home: World, name: str, **labels: str) -> float | None:
    found = [s.value for s in scrape(home) if s.name == name and labels.items() <= s.labels.items()]
    return sum(found) if found else None


def test_traffic_is_told_by_path_to_each_client_that_asks(process_home: World, older_sdk: Sdk) -> None:
    home, port = process_home, free_port()
    create(home, older_sdk, "seen", port, serve(port))
    eventually("Ready", lambda: status(home, older_sdk, "seen")["state"] == "Ready")
    for _ in range(5):
        assert ask(home, older_sdk, "seen")[0] == 200
    code = f"""{V0}
result = {{
    "qps": deployment.get_qps(conn, name),
    "qps_by_path": deployment.get_qps(conn, name, by_path=True),
    "latency": deployment.get_latency(conn, name),
    "latency_by_path": deployment.get_latency(conn, name, by_path=True),
}}"""

    def told() -> dict[str, Any]:
        return older_sdk.run(home, code, name="seen")

    def requests() -> float:
        (series,) = told()["qps"]
        return sum(float(rate) for _, rate in series["values"])

    eventually("a rate", lambda: requests() > 0)
    answer = told()
    assert [s["metric"]["name"] for s in answer["qps_by_path"]] == ["/"]
    assert [s["metric"]["name"] for s in answer["latency"]] == ["p50", "p90", "p95", "p99"]
    assert {s["metric"]["handler"] for s in answer["latency_by_path"]} == {"/"}
    medians = [float(v) for _, v in answer["latency"][0]["values"]]
    assert medians
    assert all(0 < median < 10 for median in medians)


def test_figures_of_a_real_endpoint_are_in_top_and_in_prometheus(home: World, sdk: Sdk) -> None:
    port = free_port()
    create(home, sdk, "busy", port, serve(port))
    eventually("Ready", lambda: state(home, sdk, "busy") == "Ready")
    for _ in range(4):
        assert ask(home, sdk, "busy")[0] == 200
    eventually("its requests", lambda: top_row(home, "busy").get("QPS", "0.00") not in ("0.00", "-"))
    row = eventually("what it uses", lambda: (r := top_row(home, "busy")).get("CPU") not in (None, "-") and r)
    assert (row["KIND"], row["PHASE"], row["READY"]) == ("endpoint", "ready", "1/1")
    assert row["P50"].endswith("ms")
    assert row["MEMORY"][-1] in "MG"
    assert (row["GPU"], row["TEMP"]) == ("-", "-")
    assert value(home, "homeport_endpoint_requests_total", endpoint="busy", status="200") == 4
    assert value(home, "homeport_endpoint_request_duration_seconds_count", endpoint="busy") == 4
    assert (value(home, "homeport_endpoint_sent_bytes_total", endpoint="busy") or 0) >= 4 * len(
        "hello from busy"
    )
    assert value(home, "homeport_endpoint_replicas_ready", endpoint="busy") == 1
    assert (value(home, "homeport_replica_memory_bytes") or 0) > 10_000
    assert value(home, "homeport_replica_cpu_seconds_total") is not None
    assert value(home, "homeport_build_info", runtime=home.runtime) == 1


def test_minutes_outlive_the_server(process_home: World, sdk: Sdk) -> None:
    home, port = process_home, free_port()
    create(home, sdk, "kept", port, serve(port))
    eventually("Ready", lambda: state(home, sdk, "kept") == "Ready")
    assert ask(home, sdk, "kept")[0] == 200
    eventually("told", lambda: value(home, "homeport_endpoint_requests_total", endpoint="kept") == 1)
    assert home.stop() == 0
    home.start()
    base = home.values["LEPTON_WORKSPACE_URL"].partition("/api/")[0]
    bearer = {"Authorization": f"Bearer {home.values['LEPTON_WORKSPACE_TOKEN']}"}
    request = urllib.request.Request(f"{base}/homeport/metrics/kept", headers=bearer)
    with urllib.request.urlopen(request, timeout=30) as answer:
        minutes = json.load(answer)["minutes"]
    assert sum(m["traffic"]["requests"] for m in minutes) == 1


def test_bill_is_told_in_each_form_and_outlives_kill_and_archive(tmp_path: Path, sdk: Sdk) -> None:
    with world(tmp_path, "process") as home:
        prices = {"HOMEPORT_PRICES": "cpu.small=0.6"}
        home.start(**prices)
        job = sdk.create(home, "paid", "true")
        eventually("the end", lambda: sdk.state(home, job) == "Completed")
        sdk.run(home, "client.job.delete(job)", job=job)
        eventually("the archive", lambda: sdk.state(home, job) == "Archived")
        home.kill()
        home.start(**prices)
        whole = json.loads(homeport(home, "billing", "--format", "json"))
        (line,) = whole["lines"]
        assert (line["name"], Decimal(line["cost"])) == (job, line["minutes"] * Decimal("0.01"))
        assert line["minutes"] in (1, 2)  # of the clock: it may have run over a full one
        (row,) = csv.DictReader(io.StringIO(homeport(home, "billing", "--by", "shape", "--format", "csv")))
        assert row == {"shape": "cpu.small"} | {k: str(line[k]) for k in ("minutes", "hours", "cost")}
        table = homeport(home, "billing", "--by", "owner", "--since", "1d").splitlines()
        assert [text.split()[0] for text in table] == ["owner", "admin@homeport.local", "total"]
        assert table[-1].split()[-1] == line["cost"]
        assert json.loads(homeport(home, "billing", "--until", "1d", "--format", "json"))["lines"] == []


def test_price_of_an_unknown_shape_is_told_at_the_start(tmp_path: Path) -> None:
    with world(tmp_path, "process") as home:
        argv = [sys.executable, "-m", "homeport", "serve", "--port", "0", "--runtime", "process"]
        done = subprocess.run(
            [*argv, "--data-dir", str(home.data_dir)], capture_output=True, text=True, timeout=30,
            env={**home.client_env(), "HOMEPORT_PRICES": "gpu.h100=2.5"},
        )  # fmt: skip
        assert done.returncode == 1
        assert "HOMEPORT_PRICES: no shape named 'gpu.h100'; did you mean gpu.h100-sxm?" in done.stderr


def test_top_follows_on_a_terminal_until_it_is_interrupted(process_home: World) -> None:
    ours, theirs = os.openpty()
    argv = [
        sys.executable,
        "-m",
        "homeport",
        "top",
        "--data-dir",
        str(process_home.data_dir),
        "--every",
        "0.5",
    ]
    env = os.environ | {"TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
    shown = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=env)
    os.close(theirs)
    told = b""
    try:
        while told.count(b"PHASE") < 2:  # the first look, and a later one
            told += os.read(ours, 65536)
        shown.send_signal(signal.SIGINT)
        assert shown.wait(timeout=10) == 0
        assert shown.stderr is not None
        assert shown.stderr.read() == b""
    finally:
        shown.kill()
        os.close(ours)
    assert b"GPUs: 0 of 2 taken" in told
