"""
Scenarios as tables of text, so that a person who knows schedulers can check them without reading Python.

A scenario is what is there and what one cycle makes of it, a row for each. Words after the first columns:

    queues   id            quota= limit= weight= rank= in=<department>
    nodes    name gpus     pool= product= cpu= memory= segment= label=k:v taint=k kept=<reservation> down
    running  id queue gpus node[:device][,node...]   one node for each member, in order; gpus may be a portion
    waiting  id queue gpus x<members>

Words for work, waiting or running: `p=` its priority (40, a training's, without it), `keep` it is not
preemptible, `humble` it may not preempt, `pool=`, `product=`, `cpu=`, `min=` members (else all), `extra` one
member beyond the minimum, `on=k:v` only nodes with that label, `tolerates=k`, `segment=` members that share
a segment, `names=` its reservation, `bursts` to the nodes of others, `together=k` all in one domain of that
label, `spread=k:2` over its domains with that skew (`?` behind it: only where that can be), `of=` its
workload, if not itself. For what runs: `protected`, `leaving`, `stale`. Age is the order of the rows, the
running first, unless `age=` says otherwise.

    placed   id node[,node...]
    evicted  id reclaimed|preempted|consolidated|reserved|stale by     members of a gang are id/0, id/1 ...
    waits    id reason
"""

from collections import Counter
from dataclasses import dataclass, field, replace

from homeport.scheduler.model import (
    UNLIMITED,
    Amounts,
    AskClass,
    Code,
    EvictedBy,
    Gpu,
    LabelMatch,
    Node,
    Operator,
    Placement,
    Plan,
    Pool,
    Queue,
    Quota,
    Running,
    Snapshot,
    Strategy,
    Taint,
    Toleration,
    Topology,
)

Rows = list[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`rule`: its number in the section on scheduling. `source`: who published it, or why it follows."""

    name: str
    rule: int
    source: str
    nodes: str
    queues: str = ""
    running: str = ""
    waiting: str = ""
    placed: str = ""
    evicted: str = ""
    waits: str = ""
    spread: bool = False


@dataclass(slots=True)
class _World:
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    running: list[Running] = field(default_factory=list[Running])
    pending: dict[AskClass, tuple[str, ...]] = field(default_factory=dict[AskClass, tuple[str, ...]])
    rank: dict[str, int] = field(default_factory=dict[str, int])


def rows(text: str) -> Rows:
    return [tuple(line.split()) for line in text.splitlines() if line.strip()]


def words_of(cells: tuple[str, ...]) -> dict[str, str]:
    return {key: value for key, _, value in (cell.partition("=") for cell in cells)}


def queue_of(number: int, row: tuple[str, ...]) -> Queue:
    words = words_of(row[1:])
    quota = Quota(
        # CPU and memory are not accounted for, as in a fresh project of Run:ai.
        deserved=replace(UNLIMITED, gpus=float(words.get("quota", 0))),
        limit=replace(UNLIMITED, gpus=float(words["limit"])) if "limit" in words else UNLIMITED,
        weight=Amounts(float(words.get("weight", 1)), 1, 1),
        rank=int(words.get("rank", 0)),
    )
    return Queue(row[0], words.get("in"), {words.get("pool", "default"): quota}, number)


def node_of(row: tuple[str, ...]) -> Node:
    words = words_of(row[2:])
    cpu, memory = float(words.get("cpu", 64)), int(words.get("memory", 262144))
    gpus = tuple(
        Gpu(f"{row[0]}:{n}", words.get("product", "H100"), 81920, mig_profile=words.get("mig", ""))
        for n in range(int(row[1]))
    )
    return Node(
        row[0], words.get("pool", "default"), cpu, memory, gpus, is_ready="down" not in words, total_cpu=cpu,
        total_memory_mib=memory, segment=words.get("segment", ""),
        labels=frozenset(map(_pair, words["label"].split(","))) if "label" in words else frozenset(),
        taints=frozenset({Taint(words["taint"])}) if "taint" in words else frozenset(),
        reservation=words.get("kept"),
    )  # fmt: skip


def ask_of(queue: str, gpus: str, words: dict[str, str], members: int = 1) -> AskClass:
    """A portion of one device where `gpus` is below 1."""
    wanted = float(gpus)
    return AskClass(
        priority=int(words.get("p", 40)), cpu=float(words.get("cpu", 0)), memory_mib=0, queue=queue,
        gpu_count=int(wanted) if wanted == int(wanted) else 1,
        gpu_portion=1.0 if wanted == int(wanted) else wanted,
        gpu_product=words.get("product"), members=int(words.get("min", members)),
        pools=tuple(words["pool"].split(",")) if "pool" in words else (),
        is_preemptible="keep" not in words, can_preempt="humble" not in words, is_extra="extra" in words,
        mig_profile=words.get("mig", ""), segment_size=int(words.get("segment", 0)),
        reservation=words.get("names"), may_burst="bursts" in words,
        affinity=((_labelled(words["on"]),),) if "on" in words else (),
        tolerations=frozenset({Toleration(words["tolerates"])}) if "tolerates" in words else frozenset(),
        topology=topology_of(words), spread=words.get("of", "") if topology_of(words) else "",
    )  # fmt: skip


def topology_of(words: dict[str, str]) -> tuple[Topology, ...]:
    found: list[Topology] = []
    for word in ("together", "spread"):
        if text := words.get(word):
            key, _, skew = text.rstrip("?").partition(":")
            found.append(Topology(key, int(skew or 1) if word == "spread" else None, text[-1] != "?"))
    return tuple(found)


def snapshot_of(scenario: Scenario) -> Snapshot:
    world = _World(nodes={row[0]: node_of(row) for row in rows(scenario.nodes)})
    for number, row in enumerate(rows(scenario.running)):
        _run(world, row, number)
    for number, row in enumerate(rows(scenario.waiting), start=1000):
        words = {"of": row[0]} | words_of(row[3:])
        gang = next((int(cell[1:]) for cell in row[3:] if cell[0] == "x" and cell[1:].isdigit()), 1)
        ask = ask_of(row[1], row[2], words, gang)
        world.pending[ask] = (*world.pending.get(ask, ()), row[0])
        world.rank[row[0]] = int(words.get("age", number))
    strategy = Strategy.SPREAD if scenario.spread else Strategy.BINPACK
    return Snapshot(
        nodes=tuple(world.nodes.values()),
        pending=world.pending,
        rank=world.rank,
        running=tuple(world.running),
        queues=tuple(queue_of(number, row) for number, row in enumerate(rows(scenario.queues))),
        pools=tuple(Pool(name, strategy) for name in sorted({n.node_group for n in world.nodes.values()})),
    )


def outcome(scenario: Scenario, plan: Plan) -> tuple[Rows, Rows, Rows]:
    """What a plan says, in the rows of a scenario: placed, evicted, waits."""
    named = [row[0] for row in rows(scenario.waits)]
    return (
        sorted((id_, ",".join(p.node for p in places)) for id_, places in plan.placed.items()),
        sorted((e.id, _short(e.how), e.by) if e.by else (e.id, _short(e.how)) for e in plan.evicted),
        sorted((id_, plan.unplaced[id_].code.value) for id_ in named),
    )


def expected(scenario: Scenario) -> tuple[Rows, Rows, Rows]:
    return sorted(rows(scenario.placed)), sorted(rows(scenario.evicted)), sorted(rows(scenario.waits))


def leftover(scenario: Scenario, plan: Plan) -> set[str]:
    """Asks of which a scenario says nothing: there are none in a good one."""
    return set(plan.unplaced) - {row[0] for row in rows(scenario.waits)}


def taken(node: Node, ask: AskClass, place: Placement) -> Node:
    """The node as it is with one more member on it."""
    portions = Counter({uuid: place.gpu_portion for uuid in place.gpu_uuids})
    return replace(
        node,
        free_cpu=node.free_cpu - ask.cpu,
        free_memory_mib=node.free_memory_mib - ask.memory_mib,
        gpus=tuple(replace(g, free=round(g.free - portions[g.uuid], 6)) for g in node.gpus),
        tenants=node.tenants | {ask.spread} if ask.spread else node.tenants,
    )


def _run(world: _World, row: tuple[str, ...], number: int) -> None:
    words = {"of": row[0]} | words_of(row[4:])
    members = row[3].split(",")
    ask = ask_of(row[1], row[2], words, len(members))
    for index, where in enumerate(members):
        name, _, device = where.partition(":")
        node = world.nodes[name]
        free = [g.uuid for g in node.gpus if g.free >= ask.gpu_portion]
        uuids = (f"{name}:{device}",) if device else tuple(free[: ask.gpu_count])
        assert len(uuids) == ask.gpu_count, f"{row[0]} does not fit on {name}"
        place = Placement(name, uuids, ask.gpu_portion)
        world.nodes[name] = taken(node, ask, place)
        world.running.append(
            Running(
                row[0] if len(members) == 1 else f"{row[0]}/{index}", words["of"], ask, place,
                int(words.get("age", number)), int(words.get("index", index)), "leaving" in words,
                "protected" in words, "stale" in words,
            )
        )  # fmt: skip


def _labelled(text: str) -> LabelMatch:
    key, value = _pair(text)
    return LabelMatch(key, Operator.IN, (value,))


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition(":")
    return key, value


def _short(how: EvictedBy) -> str:
    return how.value.split()[0]


REASONS = frozenset(code.value for code in Code)
