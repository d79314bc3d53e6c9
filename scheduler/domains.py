"""Rules on the values of a node label, each value a domain: members together in one, or spread over all."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from .model import AskClass, Node, Topology

if TYPE_CHECKING:
    from .needs import Candidates
    from .nodes import NodeState

HOSTNAME = "kubernetes.io/hostname"  # each node is a domain of its own
Cell = tuple[str | None, ...]  # the domain of each rule; None where a node has none
Home = tuple[str | None, ...]  # the domain of each rule to begin in; None where any will do


def domain_of(key: str, node: Node) -> str | None:
    """The value of a label; a node that does not say otherwise is its own host."""
    own = node.name if key == HOSTNAME else None
    return next((value for name, value in node.labels if name == key), own)


def has_domains(ask: AskClass, node: Node) -> str | None:
    """Nodes without the label are left out. Source: Kubernetes, topology spread constraints, pod affinity."""
    for rule in ask.topology:
        if rule.is_required and domain_of(rule.key, node) is None:
            return f"has no label {rule.key}, by which its members are {aim(rule)}"
    return None


def aim(rule: Topology) -> str:
    return "kept together" if rule.max_skew is None else "spread"


def told(rule: Topology) -> str:
    """A rule in words."""
    soft = "" if rule.is_required else ", where that can be"
    if rule.max_skew is None:
        return f"all its replicas on nodes with one value of label {rule.key}{soft}"
    return f"its replicas spread over label {rule.key} with a skew of {rule.max_skew} at most{soft}"


def required_keys(ask: AskClass) -> tuple[str, ...]:
    """Labels without which a node is nothing for it."""
    return tuple(rule.key for rule in ask.topology if rule.is_required)


class Cells:
    """
    The nodes on which an ask may be, by what its rules tell apart.

    Args:
        nodes: by the domains of all rules together, in the order of their names.
        domains: by rule, those in which there are any.
    """

    def __init__(self, topology: Sequence[Topology], candidates: "Candidates") -> None:
        found: dict[Cell, list[NodeState]] = {}
        for node in candidates.nodes:
            cell = tuple(domain_of(rule.key, node.node) for rule in topology)
            found.setdefault(cell, []).append(node)
        self.nodes: Mapping[Cell, Candidates] = {cell: candidates.only(n) for cell, n in found.items()}
        self.domains = [sorted({v for v in values if v is not None}) for values in zip(*found, strict=True)]


class Occupancy:
    """
    How many members of an ask's group are in each domain, for each of its rules.

    Domains without a node on which it may be do not count as empty ones: nobody waits for what cannot be.
    Source: Kubernetes, `nodeTaintsPolicy: Honor`.
    """

    def __init__(
        self, ask: AskClass, cells: Cells, nodes: Iterable["NodeState"], *, with_leaving: bool
    ) -> None:
        self._rules, self._domains = ask.topology, cells.domains or [[] for _ in ask.topology]
        self._counts: list[Counter[str | None]] = [Counter() for _ in ask.topology]
        self._sure: list[Counter[str | None]] = [Counter() for _ in ask.topology]
        self._leasts: dict[int, tuple[int, str]] = {}
        for node in nodes:
            most, sure = node.most_of(ask.spread, with_leaving), node.tenancy(ask.spread)[with_leaving]
            if most:
                self._add(tuple(domain_of(rule.key, node.node) for rule in self._rules), most, sure)

    def add(self, cell: Cell) -> None:
        """One more, placed in this cycle."""
        self._add(cell, 1, 1)

    def _add(self, cell: Cell, most: int, sure: int) -> None:
        """
        Who is in no domain of a rule is nobody's neighbour there.

        Args:
            most, sure: with those that are promised a place, and without: a domain that only will have one
                is as empty until then, and nobody else may be further ahead of it.
        """
        for value, count, is_sure in zip(cell, self._counts, self._sure, strict=True):
            if value is not None:
                count[value] += most
                is_sure[value] += sure
        self._leasts.clear()

    @property
    def chooses(self) -> Sequence[bool]:
        """By rule: it keeps together, and nothing of the group is anywhere yet."""
        return [
            rule.max_skew is None and not count.total()
            for rule, count in zip(self._rules, self._counts, strict=True)
        ]

    def rank(self, cell: Cell, home: Home) -> tuple[int, ...] | None:
        """
        How little the rules like one more there, the first counting most; None: it may not be there.

        Args:
            home: where the first of those goes that are kept together.
        """
        found: list[int] = []
        for number, (rule, value) in enumerate(zip(self._rules, cell, strict=True)):
            count = self._counts[number]
            if rule.max_skew is None:
                is_there = count[value] > 0 if count else value == home[number]
                if rule.is_required and not is_there:
                    return None
                found.append(-count[value] if is_there else 1)
                continue
            if rule.is_required and count[value] + 1 - self._least(number)[0] > rule.max_skew:
                return None
            # Where it only should be spread, a node without a domain is the last choice.
            found.append(count[value] if value is not None else count.total() + 1)
        return tuple(found)

    def refusal_at(self, node: Node) -> str | None:
        """Which rule keeps it out, in words."""
        for number, rule in enumerate(self._rules):
            count, value = self._counts[number], domain_of(rule.key, node)
            if not rule.is_required:
                continue
            if rule.max_skew is None:
                others = sorted(str(v) for v, n in count.items() if n)
                if others and count[value] == 0:
                    return f"not where {rule.key} is {' or '.join(others)}, as it is for its other members"
                continue
            least, where = self._least(number)
            if count[value] + 1 - least > rule.max_skew:
                return (
                    f"{rule.key}={value} has {count[value]} of its members and {rule.key}={where} has "
                    f"{least}: one more here would be a skew of {count[value] + 1 - least}, and "
                    f"{rule.max_skew} is allowed"
                )
        return None

    def _least(self, number: int) -> tuple[int, str]:
        known = self._leasts.get(number)
        if known is None:
            count = self._sure[number]
            known = min(((count[value], value) for value in self._domains[number]), default=(0, ""))
            self._leasts[number] = known
        return known
