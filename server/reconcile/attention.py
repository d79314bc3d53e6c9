"""Which workloads a pass has to look at, so that those at peace cost nothing however many they are."""

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence

from ...runtime.model import Observed
from ..domain.lifecycle import next_try_ms
from ..domain.workload import Attempt, Workload
from ..store.active import Entry
from .replicas import Key

ALL_AGAIN_MS = 300_000  # whatever may have been missed is found then


class Attention:
    """
    Those that were written to, those whose containers came, went or changed, those whose time has
    come, those that something was to be done about at the last look, and all that serve or are probed.
    """

    def __init__(self) -> None:
        self._restless: set[str] = set()
        self._times: list[tuple[int, str]] = []  # a time that came to nothing costs one look
        self._seen: Mapping[Key, Observed] = {}
        self._all_again_ms = 0

    def choose(
        self,
        entries: Mapping[str, Entry],
        touched: Collection[str],
        seen: Mapping[Key, Observed],
        now_ms: int,
    ) -> set[str]:
        """
        Ids of `entries`, and of workloads that are not among them and have containers. All that are
        chosen stay so until `settle` is told that nothing is to be done about them.

        Args:
            touched: ids of those that were written to.
            seen: what the driver has listed.
        """
        chosen = self._restless
        chosen.update(touched)
        before, self._seen = self._seen, seen
        chosen.update(o.workload_id for key, o in seen.items() if not _is_same(before.get(key), o))
        chosen.update(before[key].workload_id for key in before.keys() - seen.keys())
        while self._times and self._times[0][0] <= now_ms:
            chosen.add(heapq.heappop(self._times)[1])
        if now_ms >= self._all_again_ms:
            self._all_again_ms = now_ms + ALL_AGAIN_MS
            chosen.update(entries)
            chosen.update(o.workload_id for o in seen.values())
        return set(chosen)

    def settle(
        self, calm: Iterable[tuple[Workload, Sequence[Attempt]]], gone: Collection[str], now_ms: int
    ) -> None:
        """
        Args:
            calm: those that nothing is to be done about now.
            gone: ids of those that are at rest, or unknown, and have nothing on the machine.
        """
        self._restless.difference_update(gone)
        for workload, attempts in calm:
            if workload.spec.serving is not None or workload.spec.readiness is not None:
                continue
            self._restless.discard(workload.id)
            times = [next_try_ms(workload, attempts, now_ms)]
            times += [a.next_try_ms for a in attempts if a.is_live]
            coming = [t for t in times if t is not None and t > now_ms]
            if coming:
                heapq.heappush(self._times, (min(coming), workload.id))


def _is_same(before: Observed | None, now: Observed) -> bool:
    return before is now or before == now
