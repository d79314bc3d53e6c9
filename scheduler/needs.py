"""What is worked out of an ask class once in a cycle, so that each placement costs little."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from .domains import required_keys
from .filters import fixed_refusal, is_open_to_all, may_be_anywhere, penalty
from .layout import slice_part
from .model import AskClass, Code, OverBound, Placement, Unplaced
from .nodes import NodeState
from .scores import Scorer, Shape, portion_of, shape_of
from .shares import CPU, GPUS, MEMORY, Account, Triple

if TYPE_CHECKING:
    from .state import State

EPSILON = 1e-6  # of a quota
EVERYWHERE = ""  # the pool of all nodes, where there are no queues and an ask names none


class Outline:
    """
    What asks of the same places have in common, whoever makes them.

    Args:
        pools: those in which they may be placed, in order; only those with nodes.
        fixed: what decides on which nodes they may be at all; those with equal ones share their candidates.
        kind: a number for each pool, equal to those of other asks that find the same places.
        hosts: names of nodes that could hold a member, once somebody has looked; see `State.hosts`.
        amounts: what all members of one count for, by pool; nothing where there are no queues.
    """

    __slots__ = ("amounts", "fixed", "hosts", "indexes", "kind", "pools", "scorers", "shape")

    def __init__(self, ask: AskClass, pools: tuple[str, ...], state: "State") -> None:
        self.pools, self.shape = pools, shape_of(ask)
        self.fixed = (
            ask.nodes, ask.reservation, ask.may_burst, ask.affinity, ask.tolerations, required_keys(ask)
        )  # fmt: skip
        self.scorers: dict[str, Scorer] = {}
        self.indexes: dict[tuple[str, bool], object] = {}
        self.hosts: frozenset[str] | None = None
        self.kind: dict[str, int] = {}
        self.amounts: dict[str, Triple] = {}
        for name in pools:
            self.scorers[name] = state.scorer(self.shape, name)
            alike = (self.shape, self.fixed, name, ask.members, ask.segment_size)
            self.kind[name] = state.kinds.setdefault(alike, len(state.kinds))
            if state.tree.queues:
                self.amounts[name] = asked_amounts(
                    ask, self.shape, lambda p=name: state.device_sizes(p, ask.gpu_product)
                )


class Need:
    """One ask class: what it has in common with others, and its queues. See `Outline`."""

    __slots__ = (
        "_accounts", "_amounts", "ask", "fixed", "indexes", "kind", "outline", "pools", "scorers", "shape",
    )  # fmt: skip

    def __init__(self, ask: AskClass, outline: Outline, state: "State") -> None:
        self.outline = outline
        self.ask, self.pools, self.shape, self.fixed = ask, outline.pools, outline.shape, outline.fixed
        self.scorers, self.indexes, self.kind = outline.scorers, outline.indexes, outline.kind
        self._amounts = outline.amounts
        self._accounts = state.tree.by_pool(ask.queue, outline.pools)

    @property
    def per_pool(self) -> Mapping[str, Triple]:
        """What all its members together count for, by pool; nothing where there are no queues."""
        return self._amounts

    def accounts(self, pool: str) -> tuple[Account, ...]:
        return self._accounts.get(pool, ())

    def amounts(self, pool: str) -> Triple:
        return self._amounts.get(pool, (0.0, 0.0, 0.0))

    def quota_refusal(self, pool: str, with_leaving: bool) -> Unplaced | None:
        """See `State.quota_refusal`."""
        is_fixed = not self.ask.is_preemptible
        for account in self._accounts.get(pool, ()):
            if account.binding or is_fixed:
                over = _refusal(self.ask, account, self._amounts[pool], with_leaving)
                if over is not None:
                    return over
        return None

    def refusals(self, pool: str) -> list[tuple[Account, Unplaced | None]]:
        """What the project and the department say, each for itself, as things stand."""
        amounts = self.amounts(pool)
        return [(a, _refusal(self.ask, a, amounts, False)) for a in self.accounts(pool)]


def _refusal(ask: AskClass, account: Account, amounts: Triple, with_leaving: bool) -> Unplaced | None:
    for r, amount in enumerate(amounts):
        if amount <= 0:
            continue  # what it does not ask for cannot be too much
        leaving = 0.0 if with_leaving else account.leaving[r]
        if account.allocated[r] + leaving + amount > account.limit[r] + EPSILON:
            return _over(ask, Code.OVER_LIMIT, account, r, account.allocated[r] + leaving, amount)
        if not ask.is_preemptible:
            leaving = 0.0 if with_leaving else account.leaving_fixed[r]
            if account.fixed[r] + leaving + amount > account.deserved[r] + EPSILON:
                return _over(ask, Code.OVER_QUOTA, account, r, account.fixed[r] + leaving, amount)
    return None


def _over(ask: AskClass, code: Code, account: Account, r: int, has: float, amount: float) -> Unplaced:
    unit = {GPUS: "GPU(s)", CPU: "CPU core(s)", MEMORY: "MiB of memory"}[r]
    who = f"{'project' if account.queue.id == ask.queue else 'department'} {account.queue.id}"
    if code is Code.OVER_LIMIT:
        bound = account.limit[r]
        text, remedies = f"limit of {bound:.6g} {unit}", ["ask for less"]
    else:
        bound = account.deserved[r]
        text, remedies = f"quota of {bound:.6g} {unit} in non-preemptible work", ["let it be preempted"]
    if amount <= bound + EPSILON:
        remedies.append("end something")  # else there is no room for it even alone
    remedy = f"{', '.join(remedies)} or have the {text.partition(' ')[0]} raised"
    text = f"{who} has {has:.6g} of its {text}"
    more = f"in node pool {account.pool}, and this asks for {amount:.6g} more: {remedy}"
    reason = f"{text} {more}"
    return Unplaced((reason,), code, (OverBound(account.pool, code, reason),))


def need_of(ask: AskClass, state: "State") -> Need:
    """Of asks that differ only in whose they are and how urgent the most is worked out once."""
    alike = (
        ask.cpu, ask.memory_mib, ask.gpu_count, ask.gpu_product, ask.members, ask.pools, ask.nodes,
        ask.reservation, ask.may_burst, ask.gpu_portion, ask.gpu_memory_mib, ask.mig_profile, ask.affinity,
        ask.tolerations, ask.segment_size, ask.topology,
    )  # fmt: skip
    outline = state.outlines.get(alike)
    if outline is None:
        if ask.pools:
            pools = ask.pools
        elif state.tree.queues or len(state.pool_names) == 1:
            pools = state.pool_names
        else:
            pools = (EVERYWHERE,)
        there = tuple(p for p in dict.fromkeys(pools) if state.nodes_in(p))
        outline = state.outlines[alike] = Outline(ask, there, state)
    return Need(ask, outline, state)


def asked_amounts(ask: AskClass, shape: Shape, sizes: Callable[[], Iterable[int]]) -> Triple:
    """
    GPUs, cores and MiB of all members; see `State.amounts`.

    Args:
        sizes: the memory in MiB of the devices that it may get, only looked up where it matters.
    """
    gpus = 0.0
    if ask.gpu_count:
        if ask.mig_profile:
            part = slice_part(ask.mig_profile)
        elif ask.gpu_memory_mib is not None:
            part = max((p for s in sizes() if (p := portion_of(shape, s)) is not None), default=1.0)
        else:
            part = ask.gpu_portion
        gpus = ask.gpu_count * part
    return ask.members * gpus, ask.members * ask.cpu, ask.members * float(ask.memory_mib)


def placed_amounts(ask: AskClass, placement: Placement) -> Triple:
    """GPUs, cores and MiB of one member in its place."""
    part = slice_part(ask.mig_profile) if ask.mig_profile else placement.gpu_portion
    return len(placement.gpu_uuids) * part, ask.cpu, float(ask.memory_mib)


def capacity(nodes: Iterable[NodeState]) -> Triple:
    """GPUs, cores and MiB of those nodes that are ready, with what is taken, without unhealthy devices."""
    gpus = cpu = memory = 0.0
    for n in nodes:
        node = n.node
        if node.is_ready:
            gpus += n.layout.amount
            cpu += max(node.total_cpu, node.free_cpu)
            memory += max(node.total_memory_mib, node.free_memory_mib)
    return gpus, cpu, memory


def could_hold(ask: AskClass, node: NodeState) -> bool:
    """Whether a node has the devices for one member, whoever has them now."""
    if ask.gpu_product is not None and all(g.product != ask.gpu_product for g in node.node.gpus):
        return False
    held = len(node.slices.get(ask.mig_profile, ())) if ask.mig_profile else len(node.usable)
    return held >= ask.gpu_count


class Candidates:
    """The nodes of a pool on which an ask may be, with their penalties, and why the others are not."""

    def __init__(self, ask: AskClass, nodes: Iterable[NodeState]) -> None:
        self._ask = ask
        self.penalties: dict[int, int] = {}
        self.refused: Counter[str] = Counter()
        self.nodes: list[NodeState] = []
        goes_anywhere = may_be_anywhere(ask)
        for node in nodes:
            if goes_anywhere and is_open_to_all(node.node):
                self.penalties[node.order] = 0
                self.nodes.append(node)
                continue
            why = fixed_refusal(ask, node.node)
            if why is None:
                self.penalties[node.order] = penalty(ask, node.node)
                self.nodes.append(node)
            else:
                self.refused[why] += 1

    def only(self, some: Iterable[NodeState]) -> "Candidates":
        """Of those alone."""
        return Candidates(self._ask, some)
