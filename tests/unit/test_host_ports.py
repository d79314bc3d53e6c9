"""Host ports of dev pods: chosen once, kept, given up for a taken one, never given twice."""

import asyncio
import socket
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from homeport.server.domain.serving import Serving
from homeport.server.domain.workload import Workload, WorkloadSpec
from homeport.server.reconcile.host_ports import CHOICE, HostPorts, is_bindable, may_move
from homeport.server.store import host_ports as leases
from homeport.server.store.store import Store


def pod(name: str, *ports: tuple[int, str, int | None]) -> Workload:
    spec = WorkloadSpec(
        image="i", command=(), shape="cpu.small", cpu_cores=1, memory_mib=1, ports=ports,
        serving=Serving(is_kept_alive=True),
    )  # fmt: skip
    return Workload(f"{name}-aaaa", "local", name, "pod", "me", 1, spec)


@pytest.fixture
def store(tmp_path: Path) -> Generator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def lease(
    store: Store, workload: Workload, is_free: Callable[..., bool] = lambda *_: True, **more: Any
) -> Any:
    ports = HostPorts(store, "127.0.0.1", is_mapped=more.pop("is_mapped", True), is_free=is_free)
    return asyncio.run(ports.lease(workload, 1, **more))


def test_port_stays_the_pods_own_and_no_others(store: Store) -> None:
    first, second = pod("a", (22, "tcp", 0), (80, "tcp", None)), pod("b", (22, "tcp", 0), (53, "udp", 0))
    mine = lease(store, first)
    assert list(mine) == [(22, "tcp")]
    assert mine[22, "tcp"] in CHOICE
    assert lease(store, first) == mine
    theirs = lease(store, second)
    assert theirs.keys() == {(22, "tcp"), (53, "udp")}
    assert theirs[22, "tcp"] != mine[22, "tcp"]


def test_taken_port_is_left_for_another(store: Store) -> None:
    workload = pod("a", (22, "tcp", 0))
    before = lease(store, workload)[22, "tcp"]
    after = lease(store, workload, taken=frozenset({before}))[22, "tcp"]
    assert after != before
    assert lease(store, workload) == {(22, "tcp"): after}
    assert [e.reason for e in store.events_of(workload.id)] == ["HostPortChanged"]


def test_port_that_cannot_be_bound_is_not_chosen(store: Store) -> None:
    workload = pod("a", (22, "tcp", 0))
    chosen = lease(store, workload, lambda _host, port, _protocol: port == 65_000)
    assert chosen == {(22, "tcp"): 65_000}
    assert lease(store, pod("b", (22, "tcp", 0)), lambda *_: False) == {}


def test_named_port_is_given_or_refused_but_never_moved(store: Store) -> None:
    named = pod("a", (22, "tcp", 50_022))
    assert lease(store, named) == {(22, "tcp"): 50_022}
    assert not may_move(named, 0)
    assert lease(store, pod("b", (22, "tcp", 50_022))) == {}
    assert "belongs to another pod" in store.events_of("b-aaaa")[0].message


def test_port_that_is_asked_for_no_more_is_given_back(store: Store) -> None:
    workload = pod("a", (22, "tcp", 0), (80, "tcp", 0))
    lease(store, workload)
    fewer = replace(workload, spec=replace(workload.spec, ports=((80, "tcp", 0),)))
    assert lease(store, fewer).keys() == {(80, "tcp")}
    assert store.read(lambda s: leases.host_ports_of(s, [workload.id]))[workload.id].keys() == {(80, "tcp")}


def test_ports_that_are_the_hosts_own_are_not_mapped(store: Store) -> None:
    assert lease(store, pod("a", (8022, "tcp", 0)), is_mapped=False) == {(8022, "tcp"): 8022}


def test_moves_end_after_five(store: Store) -> None:
    assert [may_move(pod("a", (22, "tcp", 0)), n) for n in (0, 4, 5)] == [True, True, False]


def test_bound_port_is_seen_as_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert not is_bindable("127.0.0.1", taken.getsockname()[1], "tcp")
