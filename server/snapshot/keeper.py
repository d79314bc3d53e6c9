"""The snapshot, kept up to date by what has changed; `build` makes the same from nothing."""

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType

from ...scheduler.model import AskClass, Node, Running, Snapshot
from ..domain.evictions import DoubleClaim, double_claims
from ..domain.workload import Attempt
from ..store.active import Entry
from .asks import Ask, AskClasses, ask_class
from .facts import Facts, node_now
from .queues import Queues, pools_of, queues_of
from .work import Bars, Work, no_bars, work_of


def build(facts: Facts, works: Iterable[Work]) -> Snapshot:
    """Args: works: in any order."""
    ordered = sorted(works, key=lambda w: w.seq)
    ranks = {ask.id: w.rank(ask.indexes[0]) for w in ordered for ask, _ in w.asks}
    pending: dict[AskClass, list[str]] = {}
    for work in ordered:
        for ask, wanted in work.asks:
            pending.setdefault(wanted, []).append(ask.id)
    to_come: Counter[AskClass] = Counter()
    for wanted, count in (w.to_come for w in ordered if w.to_come):
        to_come[wanted] += count
    here: dict[str, list[Attempt]] = {}
    for attempt in (a for w in ordered for a in w.live):
        here.setdefault(attempt.node, []).append(attempt)
    return Snapshot(
        nodes=tuple(node_now(n, here.get(n.id, ()), facts) for n in facts.nodes),
        pending={c: tuple(sorted(ids, key=ranks.__getitem__)) for c, ids in pending.items()},
        rank=ranks,
        running=tuple(r for w in ordered for r in w.running),
        queues=queues_of(facts.org, facts.capacity()),
        pools=pools_of(facts.org),
        starving=frozenset(i for w in ordered for i in w.starving),
        to_come=to_come,
    )


@dataclass(frozen=True, slots=True)
class Room:
    """What there is to place on, and who is there."""

    facts: Facts
    works: Sequence[Work]

    def without(self, attempt: Attempt, ask: Ask) -> Snapshot:
        """As it were if that attempt had ended and nothing but the ask waited."""
        left = [_rid(w, attempt) for w in self.works]
        seq = next((w.seq for w in self.works if w.workload.id == ask.workload.id), 0)
        wanted = ask_class(ask.workload, len(ask.indexes), project=self.facts.project(ask.workload.workspace))
        waits = Work(ask.workload, seq, 0, (), [(ask, wanted)], (), "", frozenset(), None)
        return build(self.facts, [*left, waits])


def _rid(work: Work, attempt: Attempt) -> Work:
    """The work with nothing that waits, and without that attempt."""
    kept = [a for a in work.attempts if a.key != attempt.key]
    gone = f"{attempt.replica_id}/{attempt.number}"
    running = [r for r in work.running if r.id != gone]
    return Work(work.workload, work.seq, 0, kept, (), running, "", frozenset(), None)


class Keeper:
    """
    Each look works out again only what has changed and what the time has come of, so a look at a
    hundred thousand that wait as before is cheap; its answer is then the same object.
    """

    def __init__(self, bars: Bars = no_bars) -> None:
        self._bars = bars
        self._facts: Facts | None = None
        self._works: dict[str, Work] = {}
        self._odd: dict[str, Work] = {}
        self._pending: dict[AskClass, dict[str, int]] = {}
        self._ids: dict[AskClass, tuple[str, ...]] = {}
        self._ranks: dict[str, int] = {}
        self._here: dict[str, dict[tuple[str, int], Attempt]] = {}
        self._nodes: dict[str, Node] = {}
        self._running: dict[str, tuple[int, tuple[Running, ...]]] = {}
        self._all_running: tuple[Running, ...] = ()
        self._times: list[tuple[int, str]] = []  # some of them no longer hold
        self._snapshot = Snapshot((), {}, {})
        self._claims: dict[str, list[DoubleClaim]] = {}
        self._starving: set[str] = set()
        self._further: set[str] = set()
        self._to_come: Counter[AskClass] = Counter()
        self._classes = AskClasses()
        self._queues = Queues()

    @property
    def claims(self) -> Sequence[DoubleClaim]:
        """Devices that more is taken of than there is."""
        return [claim for mine in self._claims.values() for claim in mine]

    @property
    def works(self) -> Mapping[str, Work]:
        """By workload id, of all that was looked at last."""
        return self._works

    @property
    def odd(self) -> Mapping[str, Work]:
        """Those of them that more than a place is to be found for: see `Work.is_odd`."""
        return self._odd

    @property
    def further_asks(self) -> Set[str]:
        """Ids of the asks that are not the first of their workload."""
        return self._further

    @property
    def facts(self) -> Facts:
        return self._facts or Facts(())

    def next_ms(self) -> int | None:
        """When time alone changes something."""
        while self._times and not self._holds(*self._times[0]):
            heapq.heappop(self._times)
        return self._times[0][0] if self._times else None

    def _holds(self, at_ms: int, workload_id: str) -> bool:
        work = self._works.get(workload_id)
        return work is not None and work.next_ms == at_ms

    def look(
        self, entries: Mapping[str, Entry], touched: Collection[str], facts: Facts, now_ms: int
    ) -> Snapshot:
        """
        Args:
            entries: all workloads of which something may wait or live, by id.
            touched: those that may be others than at the last look.
        """
        before, self._facts = self._facts, facts
        is_new = before is None or (facts.nodes, facts.org) != (before.nodes, before.org)
        if is_new:
            self._forget()
            touched = entries.keys()
        changed = {i for i in touched if self._differs(i, entries)} | self._due(now_ms)
        if not changed and facts == before:
            return self._snapshot
        dirty_nodes, dirty_classes, dirty_running = set[str](), set[AskClass](), False
        for workload_id in changed:
            dirty_running |= self._drop(workload_id, dirty_nodes, dirty_classes)
            if (entry := entries.get(workload_id)) is not None:
                work = work_of(entry.found, entry.attempts, facts, now_ms, self._bars, self._classes)
                dirty_running |= self._add(work, dirty_nodes, dirty_classes)
            else:
                self._classes.forget(workload_id)
        if facts != before:
            dirty_nodes |= {n.id for n in facts.nodes}
        self._make(facts, is_new, dirty_nodes, dirty_classes, dirty_running)
        return self._snapshot

    def _forget(self) -> None:
        for kept in (
            self._works, self._odd, self._pending, self._ids, self._ranks, self._here, self._nodes,
            self._running, self._times, self._claims, self._starving, self._further,
            self._to_come,
        ):  # fmt: skip
            kept.clear()
        self._all_running = ()

    def _differs(self, workload_id: str, entries: Mapping[str, Entry]) -> bool:
        known, entry = self._works.get(workload_id), entries.get(workload_id)
        if known is None or entry is None:
            return known is not entry
        return known.revision != entry.found.revision

    def _due(self, now_ms: int) -> set[str]:
        due = set[str]()
        while self._times and self._times[0][0] <= now_ms:
            at_ms, workload_id = heapq.heappop(self._times)
            if self._holds(at_ms, workload_id):
                due.add(workload_id)
        return due

    def _drop(self, workload_id: str, nodes: set[str], classes: set[AskClass]) -> bool:
        """Whether something of it ran."""
        work = self._works.pop(workload_id, None)
        if work is None:
            return False
        self._odd.pop(workload_id, None)
        self._starving -= work.starving
        self._further.difference_update(ask.id for ask, _ in work.asks[1:])
        if work.to_come:
            wanted, count = work.to_come
            self._to_come[wanted] -= count
            if not self._to_come[wanted]:
                del self._to_come[wanted]
        for ask, wanted in work.asks:
            self._pending[wanted].pop(ask.id, None)
            self._ranks.pop(ask.id, None)
            classes.add(wanted)
        for attempt in work.live:
            self._here[attempt.node].pop(attempt.key, None)
            nodes.add(attempt.node)
        return self._running.pop(workload_id, None) is not None

    def _add(self, work: Work, nodes: set[str], classes: set[AskClass]) -> bool:
        self._works[work.workload.id] = work
        if work.is_odd:
            self._odd[work.workload.id] = work
        self._starving |= work.starving
        self._further.update(ask.id for ask, _ in work.asks[1:])
        if work.to_come:
            self._to_come[work.to_come[0]] += work.to_come[1]
        if work.next_ms is not None:
            heapq.heappush(self._times, (work.next_ms, work.workload.id))
        for ask, wanted in work.asks:
            self._ranks[ask.id] = self._pending.setdefault(wanted, {})[ask.id] = work.rank(ask.indexes[0])
            classes.add(wanted)
        for attempt in work.live:
            self._here.setdefault(attempt.node, {})[attempt.key] = attempt
            nodes.add(attempt.node)
        if work.running:
            self._running[work.workload.id] = (work.seq, tuple(work.running))
        return bool(work.running)

    def _make(
        self, facts: Facts, is_new: bool, nodes: set[str], classes: set[AskClass], dirty_running: bool
    ) -> None:
        for wanted in classes:
            ranks = self._pending[wanted]
            self._ids[wanted] = tuple(sorted(ranks, key=ranks.__getitem__))
            if not ranks:
                del self._pending[wanted], self._ids[wanted]
        if dirty_running:
            ordered = sorted(self._running.values(), key=lambda entry: entry[0])
            self._all_running = tuple(r for _, mine in ordered for r in mine)
        for node in facts.nodes:
            if node.id in nodes:
                here = self._here.get(node.id, {}).values()
                self._nodes[node.id] = node_now(node, here, facts)
                if claims := double_claims(here):
                    self._claims[node.id] = claims
                else:
                    self._claims.pop(node.id, None)
        self._snapshot = Snapshot(
            nodes=tuple(self._nodes[n.id] for n in facts.nodes),
            pending=dict(self._ids),
            rank=MappingProxyType(self._ranks),
            running=self._all_running,
            queues=self._queues.of(facts.org, facts.capacity()) if is_new else self._snapshot.queues,
            pools=pools_of(facts.org) if is_new else self._snapshot.pools,
            starving=frozenset(self._starving),
            to_come=dict(self._to_come),
        )
