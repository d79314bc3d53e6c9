"""Nodes, asks and queues in few words, for tests of the scheduler."""

from math import inf

from homeport.scheduler.model import Amounts, AskClass, Gpu, Node, Plan, Queue, Quota, Snapshot


def node(
    name: str, gpus: int = 0, cpu: float = 8, memory: int = 8192, pool: str = "default", **kw: object
) -> Node:
    free = tuple(Gpu(f"{name}-g{i}", "H100") for i in range(gpus))
    return Node(name, pool, cpu, memory, free, **kw)  # type: ignore[arg-type]


def ask(gpus: int = 0, **kw: object) -> AskClass:
    return AskClass(**({"priority": 67, "cpu": 1.0, "memory_mib": 512, "gpu_count": gpus} | kw))  # type: ignore[arg-type]


def snapshot(nodes: list[Node], jobs: list[tuple[str, AskClass]], **kw: object) -> Snapshot:
    pending: dict[AskClass, tuple[str, ...]] = {}
    for name, wanted in jobs:
        pending[wanted] = (*pending.get(wanted, ()), name)
    rank = {name: i for i, (name, _) in enumerate(jobs)}
    return Snapshot(tuple(nodes), pending, rank, **kw)  # type: ignore[arg-type]


def queue(name: str, quota: float, parent: str | None = None, **kw: float) -> Queue:
    limit = Amounts(kw.get("limit", inf), inf, inf)
    given = Quota(Amounts(quota, inf, inf), limit, Amounts(1, 1, 1), int(kw.get("rank", 0)))
    return Queue(name, parent, {"default": given}, int(kw.get("age", 0)))


def job(owner: str, gpus: int = 1, **kw: object) -> AskClass:
    return ask(gpus, **({"queue": owner, "is_preemptible": True, "cpu": 0.0, "memory_mib": 0} | kw))


def where(answer: Plan) -> dict[str, str]:
    return {id_: " ".join(p.node for p in places) for id_, places in sorted(answer.placed.items())}
