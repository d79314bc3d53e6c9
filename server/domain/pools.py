"""Which node pool a node is in, and what all of a pool's nodes come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum

from .inventory import HostNode, device_part
from .org import Amount, NodePool, Org, PoolQuota

# A node's label: the name of the pool that it is in, whatever pool it was declared in.
POOL_LABEL = "homeport/pool"


@dataclass(frozen=True, slots=True)
class NodeNote:
    """
    What people have said of a node. It goes over what the node says of itself.

    Args:
        labels: name and value. taints: key, value, effect.
        tainted_at_ms: since when each taint is there, by key and effect; of old ones it is not known.
    """

    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[tuple[str, str, str], ...] = ()
    tainted_at_ms: tuple[tuple[str, str, int], ...] = ()

    def since_ms(self, key: str, effect: str) -> int:
        """When that taint was given; 0 where it is not known."""
        return next((at for *known, at in self.tainted_at_ms if known == [key, effect]), 0)


def default_pool(org: Org) -> NodePool:
    return next(p for p in org.pools if p.is_default)


def pool_of(node: HostNode, pools: Sequence[NodePool]) -> NodePool:
    """
    The oldest whose label the node has; else the one that POOL_LABEL names, or that it was declared in; else
    the default.
    """
    labels = dict(node.labels)
    for pool in pools:
        if pool.label_key and labels.get(pool.label_key) == pool.label_value:
            return pool
    declared = (p for p in pools if p.name == labels.get(POOL_LABEL, node.node_group))
    return next(declared, None) or next(p for p in pools if p.is_default)


def with_notes(nodes: Sequence[HostNode], notes: Mapping[str, NodeNote]) -> tuple[HostNode, ...]:
    return tuple(_with_note(n, notes[n.id]) if n.id in notes else n for n in nodes)


def _with_note(node: HostNode, note: NodeNote) -> HostNode:
    taints = {(key, effect): (key, value, effect) for key, value, effect in (*node.taints, *note.taints)}
    return replace(
        node,
        labels=tuple((dict(node.labels) | dict(note.labels)).items()),
        taints=tuple(taints.values()),
        tainted_at_ms=tuple((key, effect, note.since_ms(key, effect)) for key, _, effect in note.taints),
    )


def in_pools(nodes: Sequence[HostNode], pools: Sequence[NodePool]) -> tuple[HostNode, ...]:
    """The nodes, with the pool that each is in as its `node_group`."""
    return tuple(
        n if (name := pool_of(n, pools).name) == n.node_group else replace(n, node_group=name) for n in nodes
    )


def whole_machine(nodes: Sequence[HostNode], pools: Sequence[NodePool]) -> tuple[PoolQuota, ...]:
    """
    Quotas that cover everything, so that who has them never waits for a quota.

    Args:
        nodes: with their pools as `node_group`.
    """
    return tuple(
        PoolQuota(
            p.id, gpu=Amount(fsum(device_part(g) for n in nodes if n.node_group == p.name for g in n.gpus))
        )
        for p in pools
    )
