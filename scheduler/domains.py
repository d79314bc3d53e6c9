"""Rules on the values of a node label, each value a domain: members together in one, or spread over all."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from sys import maxsize
from typing import TYPE_CHECKING

from .model import AskClass, Node, Topology

if TYPE_CHECKING:
    from .homes import Rooms
    from .needs import Candidates
    from .nodes import NodeState
    from .place import Failure
    from .ranking import Board, Ranking
    from .scores import Shape

HOSTNAME = "kubernetes.io/hostname"  # each node is a domain of its own
Cell = tuple[str | None, ...]  # the domain of each rule; None where a node has none
Home = tuple[str | None, ...]  # the domain of each rule to begin in; None where any will do
Rank = tuple[int, ...]  # how little each rule likes one more in a cell
APART = (
    1  # of those that are kept together: not where the others are, whose number, below 0, is the rank there
)
NOWHERE = maxsize  # of those that are spread: a node without a domain; else it is the number that is there


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
        of: the cell of each of these nodes, by the node's order.
        within: by rule, the cells of each domain.
        domains: by rule, those in which there are any, in the order of their names.
        empty: the rank of each for a group without members.
        boards, rankings, rooms: made of them and kept up with what changes; see `ranking.py`, `homes.py`.
        refused: what groups without members were told, and after how many changes.
    """

    def __init__(self, topology: Sequence[Topology], candidates: "Candidates") -> None:
        self.candidates = candidates
        found: dict[Cell, list[NodeState]] = {}
        self.of: dict[int, Cell] = {}
        for node in candidates.nodes:
            cell = tuple([domain_of(rule.key, node.node) for rule in topology])
            found.setdefault(cell, []).append(node)
            self.of[node.order] = cell
        self.nodes: Mapping[Cell, Sequence[NodeState]] = found
        self.within: list[dict[str | None, list[Cell]]] = [{} for _ in topology]
        for cell in found:
            for value, cells in zip(cell, self.within, strict=True):
                cells.setdefault(value, []).append(cell)
        self.domains = [sorted(v for v in cells if v is not None) for cells in self.within]
        self.empty: Mapping[Cell, Rank] = {cell: _empty_rank(topology, cell) for cell in found}
        self.boards: dict[tuple[Shape, bool], Board] = {}
        self.rankings: dict[tuple[Shape, bool, str], Ranking] = {}
        self.rooms: dict[tuple[Shape, bool, tuple[bool, ...]], Rooms] = {}
        self.refused: dict[tuple[Shape, int, bool], tuple[int, Failure]] = {}

    def changed(self, orders: Iterable[int]) -> set[Cell]:
        """Those of nodes that changed."""
        of = self.of
        return {of[order] for order in {*orders} if order in of}


def _empty_rank(topology: Sequence[Topology], cell: Cell) -> Rank:
    return tuple([
        APART if rule.max_skew is None else NOWHERE if value is None else 0
        for rule, value in zip(topology, cell, strict=True)
    ])  # fmt: skip


class Occupancy:
    """
    How many members of an ask's group are in each domain, for each of its rules.

    Domains without a node on which it may be do not count as empty ones: nobody waits for what cannot be.
    Source: Kubernetes, `nodeTaintsPolicy: Honor`.
    """

    def __init__(
        self, ask: AskClass, cells: Cells, nodes: Iterable["NodeState"], *, with_leaving: bool
    ) -> None:
        self._rules, self._group = ask.topology, ask.spread
        self._cells, self._with_leaving = cells, with_leaving
        self._there: dict[int, tuple[int, int]] = {}  # most and sure of each node, by its order
        self._counts: list[Counter[str]] = [Counter() for _ in self._rules]
        self._sure: list[Counter[str]] = [Counter() for _ in self._rules]
        self._totals, self._members = [0 for _ in self._rules], 0
        # How many domains have how many for sure: the least is found without a look at all of them.
        self._levels = [Counter({0: len(each)}) for each in cells.domains]
        self._leasts: dict[int, tuple[int, str]] = {}
        self._told: dict[Cell, str | None] = {}
        self.look_at_all(nodes)

    def look_at_all(self, nodes: Iterable["NodeState"]) -> None:
        """`look` at those that have members, or had some."""
        group = self._group
        for node in nodes:
            if group in node.tenants or group in node.node.tenants:
                self.look(node)

    def look(self, node: "NodeState") -> Sequence[tuple[int, str]]:
        """
        Counts a node anew. Who is in no domain of a rule is nobody's neighbour there.

        There are two counts: with those that are promised a place, and without (`sure`). A domain that only
        will have one is as empty until then, and nobody else may be further ahead of it.

        Returns:
            The domains in which there are more or fewer than before, each after the number of its rule.
        """
        most = node.most_of(self._group, self._with_leaving)
        sure = node.tenancy(self._group)[self._with_leaving]
        had_most, had_sure = self._there.get(node.order, (0, 0))
        if most == had_most and sure == had_sure:
            return ()
        self._there[node.order] = most, sure
        self._members += most - had_most
        self._leasts.clear()
        self._told.clear()
        moved: list[tuple[int, str]] = []
        for number, value in enumerate(self._cell(node)):
            if value is None:
                continue
            self._counts[number][value] += most - had_most
            self._totals[number] += most - had_most
            self._sure[number][value] += sure - had_sure
            if value in self._cells.within[number]:
                now, levels = self._sure[number][value], self._levels[number]
                levels[now] += 1
                before = now - sure + had_sure
                levels[before] -= 1
                if not levels[before]:
                    del levels[before]
                moved.append((number, value))
        return moved

    def _cell(self, node: "NodeState") -> Cell:
        known = self._cells.of.get(node.order)
        return known or tuple(domain_of(rule.key, node.node) for rule in self._rules)

    @property
    def is_empty(self) -> bool:
        """Nothing of the group is anywhere yet, and nothing is promised a place."""
        return not self._members

    @property
    def chooses(self) -> tuple[bool, ...]:
        """By rule: it keeps together, and nothing of the group is anywhere yet."""
        return tuple([
            rule.max_skew is None and not total
            for rule, total in zip(self._rules, self._totals, strict=True)
        ])  # fmt: skip

    def with_members(self) -> Iterator[Cell]:
        """The cells in whose domains there may be somebody; one may come twice."""
        for cells, count in zip(self._cells.within, self._counts, strict=True):
            for value in count:
                yield from cells.get(value, ())

    def at(self, home: Home | None) -> Iterator[Cell]:
        """The cells in its domains; one may come twice."""
        for number, value in enumerate(home or ()):
            if self._rules[number].max_skew is None:
                yield from self._cells.within[number].get(value, ())

    def rank(self, cell: Cell, home: Home | None) -> Rank:
        """
        How little the rules like one more there, the first counting most.

        Args:
            home: where the first of those goes that are kept together.
        """
        found: list[int] = []
        for number, (rule, value) in enumerate(zip(self._rules, cell, strict=True)):
            if rule.max_skew is not None:
                # Where it only should be spread, a node without a domain is the last choice.
                found.append(NOWHERE if value is None else self._counts[number][value])
            elif self._totals[number]:
                count = 0 if value is None else self._counts[number][value]
                found.append(-count if count else APART)
            else:
                found.append(0 if home is not None and value == home[number] else APART)
        return tuple(found)

    def admits(self, rank: Rank) -> bool:
        """Whether it may be where the rules like it so little."""
        for number, (rule, part) in enumerate(zip(self._rules, rank, strict=True)):
            if not rule.is_required:
                continue
            if rule.max_skew is None:
                if part == APART:
                    return False
            elif part + 1 - min(self._levels[number], default=0) > rule.max_skew:
                return False
        return True

    def refusal_at(self, node: Node) -> str | None:
        """Which rule keeps it out, in words."""
        return self.refusal_in(tuple(domain_of(rule.key, node) for rule in self._rules))

    def refusal_in(self, cell: Cell) -> str | None:
        """The same of every node of a cell."""
        if cell not in self._told:
            self._told[cell] = self._refusal(cell)
        return self._told[cell]

    def _refusal(self, cell: Cell) -> str | None:
        for number, (rule, value) in enumerate(zip(self._rules, cell, strict=True)):
            if not rule.is_required:
                continue
            count = self._counts[number]
            has = 0 if value is None else count[value]
            if rule.max_skew is None:
                if self._totals[number] and not has:
                    others = " or ".join(sorted(v for v, n in count.items() if n))
                    return f"not where {rule.key} is {others}, as it is for its other members"
                continue
            least, where = self._least(number)
            if has + 1 - least > rule.max_skew:
                return (
                    f"{rule.key}={value} has {has} of its members and {rule.key}={where} has "
                    f"{least}: one more here would be a skew of {has + 1 - least}, and "
                    f"{rule.max_skew} is allowed"
                )
        return None

    def _least(self, number: int) -> tuple[int, str]:
        known = self._leasts.get(number)
        if known is None:
            count = self._sure[number]
            known = min(((count[value], value) for value in self._cells.domains[number]), default=(0, ""))
            self._leasts[number] = known
        return known
