"""The seed file: nodes, who shares them, and rules. What it may say is docs/simulated.md."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ...runtime.inventory import declared_devices
from ..domain.inventory import HostNode, NodeGpu
from ..domain.org import Amount, Rank
from ..domain.pools import POOL_LABEL
from .amounts import Mebibytes, Seconds, mebibytes
from .model import World
from .reading import Text, checked
from .rules import RuleBody, Strict

MOST_NODES = 10_000
NAME = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class TaintBody(Strict):
    key: str = Field(min_length=1)
    value: str = ""
    effect: str = "NoSchedule"

    @field_validator("effect")
    @classmethod
    def _known(cls, effect: str) -> str:
        if effect not in EFFECTS:
            raise ValueError(f"{effect!r} is none of {', '.join(EFFECTS)}")
        return effect


class NodesBody(Strict):
    """
    One node, or `count` alike.

    Args:
        name: of the one; of several they are name-0, name-1, ...
        gpus: as --gpus has it: `8xH100-80GB`, `1xH100-80GB:7x1g.10gb` (MIG), `none`.
        cpu_cores, memory: of each, memory in MiB or as `512GiB`.
        pool: its node pool, and Lepton's node group.
        segment: nodes of one are near each other; with `segment_size` so many at a time share one.
        driver, cuda: the versions that it says it has.
        overcommit: CPU and memory may be promised this many times over; 1 unless HOMEPORT_OVERCOMMIT is set.
    """

    name: str = Field(pattern=NAME)
    count: int | None = Field(default=None, ge=1, le=MOST_NODES)
    gpus: str = "none"
    cpu_cores: float = Field(default=64.0, gt=0, le=1_000_000)
    memory: Mebibytes = 512 * 1024
    labels: dict[str, str] = Field(default_factory=dict[str, str])
    taints: list[TaintBody] = Field(default_factory=list[TaintBody])
    pool: str = Field(default="default", pattern=NAME)
    segment: str = ""
    segment_size: int | None = Field(default=None, ge=1)
    driver: str = "570.172.08"
    cuda: str = "12.8"
    overcommit: float | None = Field(default=None, ge=1)

    @field_validator("gpus")
    @classmethod
    def _declares(cls, gpus: str) -> str:
        if gpus != "none":
            declared_devices(gpus)
        return gpus

    @model_validator(mode="after")
    def _one_way(self) -> "NodesBody":
        if self.segment and self.segment_size is not None:
            raise ValueError("segment and segment_size cannot both be; choose one")
        return self

    def to_nodes(self, overcommit: float) -> list[HostNode]:
        names = [self.name] if self.count is None else [f"{self.name}-{i}" for i in range(self.count)]
        return [self._node(name, index, overcommit) for index, name in enumerate(names)]

    def _node(self, name: str, index: int, overcommit: float) -> HostNode:
        devices = () if self.gpus == "none" else declared_devices(self.gpus, name)
        segment = self.segment
        if self.segment_size is not None:
            segment = f"{self.name}-segment-{index // self.segment_size}"
        return HostNode(
            id=name, node_group=self.pool, cpu_cores=self.cpu_cores, memory_mib=self.memory,
            gpus=tuple(
                NodeGpu(d.uuid, d.product, d.memory_mib, True, d.mig_profile, d.parent_uuid) for d in devices
            ),
            overcommit=self.overcommit or overcommit, driver_version=self.driver if devices else "",
            cuda_version=self.cuda if devices else "", labels=tuple(self.labels.items()),
            taints=tuple((t.key, t.value, t.effect) for t in self.taints), segment=segment,
            is_simulated=True,
        )  # fmt: skip


class AmountBody(Strict):
    """A number alone is `deserved`; what is not said has no bound, of GPUs nothing is deserved."""

    deserved: float | None = Field(default=None, ge=0)
    limit: float | None = Field(default=None, ge=0)
    weight: float | None = Field(default=None, ge=0)

    def to_amount(self) -> Amount:
        return Amount(self.deserved, self.limit, self.weight)


def _amount(value: Any) -> Any:
    return {"deserved": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


def _memory(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: mebibytes(v) if k in ("deserved", "limit") else v for k, v in value.items()}
    return _amount(mebibytes(value))


Share = Annotated[AmountBody, BeforeValidator(_amount)]


class QuotaBody(Strict):
    """Of one node pool: GPUs in devices, CPU in cores, memory in MiB or as `512GiB`."""

    gpu: Share = AmountBody(deserved=0)
    cpu: Share = AmountBody()
    memory: Annotated[AmountBody, BeforeValidator(_memory)] = AmountBody()
    rank: Rank = Rank.MEDIUM_LOW


class PoolBody(Strict):
    """`label`: `key=value`; nodes that have it are in the pool, and so are those declared in it."""

    name: str = Field(pattern=NAME)
    label: str = ""
    gpu_strategy: str = Field(default="binpack", pattern="^(binpack|spread)$")
    cpu_strategy: str = Field(default="binpack", pattern="^(binpack|spread)$")
    min_runtime: Seconds = 0.0

    @property
    def label_pair(self) -> tuple[str, str]:
        key, _, value = (self.label or f"{POOL_LABEL}={self.name}").partition("=")
        return key, value


class UnitBody(Strict):
    """`quotas`: by the name of a node pool. Without any it deserves nothing, and has no limit."""

    name: str = Field(min_length=1)
    quotas: dict[str, QuotaBody] = Field(default_factory=dict[str, QuotaBody])


class ProjectBody(UnitBody):
    department: str = "default"


class WorldBody(Strict):
    """`seed`: of everything random. `host`: this machine's own node is there, too."""

    seed: int = 0
    host: bool = False
    nodes: list[NodesBody] = Field(default_factory=list[NodesBody])
    pools: list[PoolBody] = Field(default_factory=list[PoolBody])
    departments: list[UnitBody] = Field(default_factory=list[UnitBody])
    projects: list[ProjectBody] = Field(default_factory=list[ProjectBody])
    rules: list[RuleBody] = Field(default_factory=list[RuleBody])


def world_of(text: Text, *, overcommit: float) -> World:
    body = checked(WorldBody, text)
    nodes = [node for one in body.nodes for node in one.to_nodes(overcommit)]
    if len(nodes) > MOST_NODES:
        raise text.refusal(("nodes",), f"{len(nodes)} nodes are more than {MOST_NODES}")
    _check_names(text, body)
    _check_pools(text, body)
    rules = tuple(rule.to_rule(f"rule-{number}") for number, rule in enumerate(body.rules, 1))
    return World(
        body.seed, body.host or not nodes, tuple(nodes), rules,
        tuple(body.pools), tuple(body.departments), tuple(body.projects),
    )  # fmt: skip


def _check_names(text: Text, body: WorldBody) -> None:
    """Each is there once."""
    seen: set[str] = set()
    for index, one in enumerate(body.nodes):
        for node in [one.name] if one.count is None else [f"{one.name}-{i}" for i in range(one.count)]:
            if node in seen:
                raise text.refusal(("nodes", index, "name"), f"there is another node {node!r}; rename one")
            seen.add(node)
    for kind in ("pools", "departments", "projects", "rules"):
        names = [one.name for one in getattr(body, kind)]
        for index, name in enumerate(names):
            if name and name in names[:index]:
                raise text.refusal((kind, index, "name"), f"{name!r} is there twice; rename one")


def _check_pools(text: Text, body: WorldBody) -> None:
    pools = {"default"} | {p.name for p in body.pools}
    there = ", ".join(sorted(pools))
    for index, node in enumerate(body.nodes):
        if node.pool not in pools:
            raise text.refusal(("nodes", index, "pool"), f"no pool named {node.pool!r}; there is {there}")
    for index, pool in enumerate(body.pools):
        if pool.name != "default" and not all(pool.label_pair):
            raise text.refusal(("pools", index, "label"), f"{pool.label!r} is not of the form key=value")
    for kind in ("departments", "projects"):
        for index, unit in enumerate(getattr(body, kind)):
            for name in unit.quotas:
                if name not in pools:
                    place = (kind, index, "quotas", name)
                    raise text.refusal(place, f"no pool named {name!r}; there is {there}")
