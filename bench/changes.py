"""
1,000 route changes a second while requests run: whether one fails, and how soon a change is live.

Half of the changes give the endpoints under load other replicas (one, the other, both), the
other half remove and add endpoints beside them, in a table of 10,000.
"""

import contextlib
import itertools
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from homeport.server.gateway.wire import packed
from homeport.server.routing import AccessRule, Route, Target

from .figures import Figure, median, percentile, show, take_turns
from .gateway import PATH, TOKEN, homeport_gateway, proxy
from .load import Load, drive, request
from .servers import ENV, ROOT, Server

ROUNDS, CELL_S, CLIENTS = 3, 4.0, 16
CHANGES_PER_S, ENDPOINTS, OTHERS = 1000, 4, 10_000
ACK_S = 20.0


def under_load(number: int, replicas: tuple[int, ...]) -> Route:
    targets = tuple(Target(f"r{port}", "127.0.0.1", port) for port in replicas)
    return Route("ws", f"ep{number or ''}", targets, AccessRule())


def beside(number: int) -> Route:
    host = f"ws-other-{number}.localhost"
    return Route("ws", f"other-{number}", (Target("r", "127.0.0.1", 9),), AccessRule(), (host,))


def at_first(replica: int) -> list[Route]:
    return [under_load(n, (replica,)) for n in range(ENDPOINTS)] + [beside(n) for n in range(OTHERS)]


def changes(first: int, second: int) -> Iterator[dict[str, Any]]:
    """What a control plane would send, one after another. What is removed comes back with the next."""
    replicas = itertools.cycle([(first,), (second,), (first, second)])
    for turn in itertools.count():
        yield {"op": "put", "route": under_load(turn % ENDPOINTS, next(replicas)).to_json()}
        other = beside(turn // 2 % OTHERS)
        yield {"op": "put", "route": other.to_json()} if turn % 2 else {"op": "remove", "key": other.key}


def load_alone(server: Server) -> tuple[Load, dict[str, float]]:
    """With nothing told by a feeder."""
    return load(server), {}


def load(server: Server) -> Load:
    paths = itertools.cycle([PATH, *(f"/e/ws/ep{n}/" for n in range(1, ENDPOINTS))])
    return drive(server.port, lambda: request("GET", next(paths), TOKEN), clients=CLIENTS, seconds=CELL_S)


def load_amid_changes(server: Server, feeder: list[str]) -> tuple[Load, dict[str, float]]:
    """The changes go on longer than the requests."""
    argv = [sys.executable, "-m", "bench.changes", *feeder, str(CELL_S + 0.5)]
    with subprocess.Popen(argv, cwd=ROOT, env=ENV, stdout=subprocess.PIPE) as feeding:
        assert feeding.stdout is not None
        try:
            feeding.stdout.readline()  # it has the whole table
            found = load(server)
            return found, json.loads(feeding.stdout.readline())
        finally:
            feeding.terminate()


def measure() -> list[Figure]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homeport-bench-")))
        first, second = (stack.enter_context(proxy(folder, 0, "replica")).port for _ in range(2))
        ours = stack.enter_context(homeport_gateway(folder, first))
        feeder = ["feed", str(folder / "gateway.sock"), str(first), str(second)]
        load_amid_changes(ours, feeder)  # warm up; the endpoints are there from now on
        amid, calm = take_turns(ROUNDS, partial(load_amid_changes, ours, feeder), partial(load_alone, ours))
    told = [t for _, t in amid]
    answered, refused = (sum(getattr(one, name) for one, _ in amid) for name in ("answered", "refused"))
    p99, alone = (median([percentile(one.latencies_ms, 0.99) for one, _ in side]) for side in (amid, calm))
    than = "without changes"
    return [
        Figure("route changes", median([t["rate"] for t in told]), "/s", least=900, is_absolute=True),
        Figure("refused changes", sum(t["errors"] for t in told), "", most=0, is_absolute=True),
        Figure(f"failed of {answered:,} requests", refused, "", sum(one.refused for one, _ in calm), than,
               most=0, is_absolute=True),
        Figure("request amid changes, p99", p99, "ms", alone, than),
        Figure("change until live, p50", median([t["p50_ms"] for t in told]), "ms"),
        Figure("change until live, p99", median([t["p99_ms"] for t in told]), "ms"),
    ]  # fmt: skip


# --- what sends the changes, a program of its own


def feed(path: str, first: int, second: int, seconds: float) -> None:
    control = socket.socket(socket.AF_UNIX)
    control.connect(path)
    sent_at: dict[int, float] = {}
    took_ms: list[float] = []
    errors: list[str] = []
    all_heard, most = threading.Event(), float("inf")

    def hear() -> None:
        with control.makefile("rb") as stream:
            while head := stream.read(4):
                message = json.loads(stream.read(int.from_bytes(head, "big")))
                if message["op"] == "ack":
                    took_ms.append((time.perf_counter() - sent_at.pop(message["seq"])) * 1000)
                    errors.extend([message["error"]] if message["error"] else [])
                    if len(took_ms) >= most:
                        all_heard.set()

    threading.Thread(target=hear, daemon=True).start()
    sent_at[0] = time.perf_counter()
    control.sendall(packed({"op": "table", "seq": 0, "routes": [r.to_json() for r in at_first(first)]}))
    end = time.perf_counter() + ACK_S
    while not took_ms and time.perf_counter() < end:
        time.sleep(0.01)
    took_ms.clear()
    print("ready", flush=True)
    began, seq = time.perf_counter(), 0
    for seq, change in enumerate(changes(first, second), 1):
        time.sleep(max(0.0, began + seq / CHANGES_PER_S - time.perf_counter()))
        if time.perf_counter() - began > seconds:
            break
        sent_at[seq] = time.perf_counter()
        control.sendall(packed(change | {"seq": seq}))
    most, spent_s = seq - 1, time.perf_counter() - began
    if len(took_ms) < most:
        all_heard.wait(ACK_S)
    lost = most - len(took_ms)
    told = {
        "rate": len(took_ms) / spent_s, "errors": len(errors) + lost,
        "p50_ms": percentile(took_ms, 0.5), "p99_ms": percentile(took_ms, 0.99),
    }  # fmt: skip
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["feed", path, first, second, seconds]:
            feed(path, int(first), int(second), float(seconds))
        case flags:
            show([measure], flags)
