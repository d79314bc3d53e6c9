"""
The scheduler alone: placements per second of a pass and its time, beside a list without any index.

In seconds of the processor, since nothing here waits for anything.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from math import inf

from homeport.scheduler.model import (
    Amounts,
    AskClass,
    Gpu,
    Node,
    Placement,
    Plan,
    Pool,
    Queue,
    Quota,
    Running,
    Snapshot,
)
from homeport.scheduler.plan import plan

from .figures import Figure, median, percentile, show

GPUS = 8
PENDING, NODES = (1_000, 10_000, 100_000), (1, 100, 1_000)
# What asks want: devices, and the portion of each.
SHAPES = ((1, 1.0), (1, 0.5), (2, 1.0), (1, 0.25), (1, 1.0), (4, 1.0), (1, 0.5))
PRIORITIES = (40, 40, 40, 125)
PASSES, PASS_S = 100, 2.0  # as many passes as that, or for so long, but five at least
LIST_STEPS = 50


def nodes_of(count: int, free: float = 1.0) -> tuple[Node, ...]:
    return tuple(
        Node(
            f"n{i:04}", "default", 256.0, 2_000_000,
            tuple(Gpu(f"n{i:04}-g{g}", "H100", 81920, free) for g in range(GPUS)),
            total_cpu=256.0, total_memory_mib=2_000_000,
        )
        for i in range(count)
    )  # fmt: skip


def queues_of(count: int, gpus: int) -> Iterator[Queue]:
    """Ten projects to a department; together they deserve all there is."""
    each = gpus / count
    for number in range(0, count, 10):
        size = min(10, count - number) * each
        yield Queue(f"d{number}", None, {"default": Quota(Amounts(size, inf, inf))}, number)
    for number in range(count):
        yield Queue(
            f"q{number}", f"d{number // 10 * 10}", {"default": Quota(Amounts(each, inf, inf))}, number
        )


def ask(number: int, queues: int) -> AskClass:
    count, portion = SHAPES[number % len(SHAPES)]
    return AskClass(
        priority=PRIORITIES[number // 7 % 4], cpu=1.0, memory_mib=1024, gpu_count=count, gpu_portion=portion,
        queue=f"q{number // 28 % queues}", is_preemptible=True, can_preempt=True,
    )  # fmt: skip


def world(pending: int, nodes: int, queues: int) -> Snapshot:
    """Nothing runs, and so many asks wait."""
    classes: dict[AskClass, list[str]] = {}
    for number in range(pending):
        classes.setdefault(ask(number, queues), []).append(f"j{number}")
    rank = {f"j{number}": number for number in range(pending)}
    return Snapshot(
        nodes_of(nodes), {c: tuple(ids) for c, ids in classes.items()}, rank,
        queues=tuple(queues_of(queues, nodes * GPUS)), pools=(Pool("default"),),
    )  # fmt: skip


def filled(pending: int, nodes: int, queues: int) -> Snapshot:
    """The same where each device is one job's, and each queue has what it deserves."""
    empty = world(pending, nodes, queues)
    running = tuple(
        Running(
            f"r{number}", f"w{number}",
            replace(ask(0, queues), queue=f"q{number % queues}", priority=PRIORITIES[-1]),
            Placement(node.name, (gpu.uuid,)), rank=-number,
        )
        for number, (node, gpu) in enumerate((n, g) for n in empty.nodes for g in n.gpus)
    )  # fmt: skip
    return replace(empty, nodes=nodes_of(nodes, 0.0), running=running)


def uneven(pending: int, nodes: int, queues: int) -> Snapshot:
    """The same where half of the queues have everything, and the others are owed their part of it."""
    full = filled(pending, nodes, queues)
    running = tuple(
        replace(r, ask=replace(r.ask, queue=f"q{number % queues // 2}"))
        for number, r in enumerate(full.running)
    )
    return replace(full, running=running)


class List:
    """For each job it looks at all jobs, for the next one, and at all nodes and devices, for the best."""

    def __init__(self, snapshot: Snapshot) -> None:
        jobs = ((ask, id_) for ask, ids in snapshot.pending.items() for id_ in ids)
        self.jobs = [(-ask.priority, snapshot.rank[id_], id_, ask) for ask, id_ in jobs]
        self.nodes = list(snapshot.nodes)

    def step(self) -> None:
        job = min(self.jobs, key=lambda j: j[:2])
        self.jobs.remove(job)
        wanted = job[3]
        found: list[tuple[float, str, int, list[Gpu]]] = []
        for number, node in enumerate(self.nodes):
            free = [g for g in node.gpus if g.is_healthy and g.free >= wanted.gpu_portion]
            if len(free) >= wanted.gpu_count and node.free_cpu >= wanted.cpu:
                found.append((sum(g.free for g in free), node.name, number, free))
        if found:
            _, _, number, free = min(found, key=lambda f: f[:2])
            taken = {g.uuid for g in sorted(free, key=lambda g: (g.free, g.uuid))[: wanted.gpu_count]}
            node = self.nodes[number]
            gpus = tuple(
                replace(g, free=g.free - wanted.gpu_portion) if g.uuid in taken else g for g in node.gpus
            )
            self.nodes[number] = replace(node, gpus=gpus, free_cpu=node.free_cpu - wanted.cpu)


def pass_of_list(snapshot: Snapshot) -> float:
    """Seconds for all jobs: as many as there are times what one costs when half of them are done."""
    naive = List(snapshot)
    jobs = len(naive.jobs)
    del naive.jobs[::2]
    steps = min(LIST_STEPS, len(naive.jobs))
    began = time.process_time()
    for _ in range(steps):
        naive.step()
    return jobs * (time.process_time() - began) / steps


def passes(snapshot: Snapshot) -> tuple[list[float], Plan]:
    """The seconds of each pass, and what it answers."""
    times: list[float] = []
    answer = Plan({}, {})
    began = time.process_time()
    while len(times) < PASSES and (len(times) < 5 or time.process_time() - began < PASS_S):
        start = time.process_time()
        answer = plan(snapshot)
        times.append(time.process_time() - start)
    return times, answer


def sizes() -> Iterator[Figure]:
    for nodes in NODES:
        for pending in PENDING:
            what = f"{pending:,} pending on {nodes:,} node(s)"
            empty = world(pending, nodes, 10)
            times, answer = passes(empty)
            placed = len(answer.placed)
            ours, theirs = placed / median(times), placed / pass_of_list(empty)
            is_goal = (pending, nodes) == (10_000, 100)
            yield Figure(f"placements, {what}", ours, "1/s", theirs, "a list without an index",
                         least=100 if is_goal else None)  # fmt: skip
            if is_goal:
                yield Figure(f"placements, {what}", ours, "1/s", least=20_000, is_absolute=True)
            yield Figure(f"p99 of a pass that places {placed:,}, {what}",
                         percentile(times, 0.99) * 1000, "ms")  # fmt: skip


def cycles() -> Iterator[Figure]:
    """The whole cycle with fair shares of 100 queues."""
    size = 10_000, 100, 100
    for what, snapshot in (("full", filled(*size)), ("empty", world(*size)), ("uneven", uneven(*size))):
        times, answer = passes(snapshot)
        yield Figure(
            f"cycle, 100 queues, 10,000 pending, 100 nodes {what}: {len(answer.placed):,} placed, "
            f"{len(answer.evicted):,} evicted", median(times) * 1000,
            "ms", most=50 if what == "full" else None, is_absolute=True,
        )  # fmt: skip


def measure() -> list[Figure]:
    return [*sizes(), *cycles()]


if __name__ == "__main__":
    show([measure], sys.argv[1:])
