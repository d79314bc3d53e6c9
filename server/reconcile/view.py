"""The part of the world that one pass looks at."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...runtime.model import Observed
from ..domain.workload import Attempt, Workload
from ..store.active import Entry
from ..store.reads import Reads
from .replicas import Key


@dataclass(frozen=True, slots=True)
class View:
    """
    Args:
        workloads: by id. attempts: all of theirs, by the same ids.
        observed: what they have on the machine, and what belongs to nobody.
        unknown: ids that were asked for and are of no workload, or of one that is at rest with nothing there.
    """

    workloads: Mapping[str, Workload]
    attempts: Mapping[str, Sequence[Attempt]]
    observed: Sequence[Observed]
    unknown: Collection[str]

    @property
    def all_attempts(self) -> list[Attempt]:
        return [a for mine in self.attempts.values() for a in mine]

    def without(
        self, busy: Iterable[str]
    ) -> tuple[list[tuple[Workload, Sequence[Attempt]]], Collection[str]]:
        """The workloads that are not among those, with their attempts; and what is unknown."""
        ids = set(busy)
        calm = [(w, self.attempts[i]) for i, w in self.workloads.items() if i not in ids]
        return calm, [i for i in self.unknown if i not in ids]


def look(
    reads: Reads, entries: Mapping[str, Entry], chosen: Collection[str], seen: Mapping[Key, Observed]
) -> View:
    """
    Args:
        entries: what is not at rest; others are read where they have something on the machine.
    """
    active = {i: entries[i] for i in chosen if i in entries}
    observed = [o for o in seen.values() if o.workload_id in chosen]
    rest = {o.workload_id for o in observed} - active.keys()
    others = {f.id: f for f in reads.by_ids(sorted(rest))} if rest else {}
    attempts = dict[str, Sequence[Attempt]](reads.attempts(list(others))) if others else {}
    workloads = {i: e.found.workload for i, e in active.items()} | {i: f.workload for i, f in others.items()}
    attempts |= {i: e.attempts for i, e in active.items()}
    return View(workloads, attempts, observed, [i for i in chosen if i not in workloads])
