"""Why what waits does so, and what of that is news to it; made for hundred thousands that wait."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import groupby, islice

from ...scheduler.model import Code, Unplaced
from ..snapshot.asks import workload_of
from ..snapshot.work import Work

# A reason whose numbers only differ is no new event within this time, nor before it has waited
# for as long again: thousands that wait for hours would else fill the store with what they wait for.
TOLD_AGAIN_MS = 60_000


class Refusals(Mapping[str, Unplaced]):
    """
    By workload id. Looked up when somebody asks, since of the many that wait hardly any are asked about.

    Args:
        unplaced: by ask id. but: workloads that do not wait, whatever is said of their asks.
    """

    def __init__(
        self, works: Mapping[str, Work], unplaced: Mapping[str, Unplaced], but: Collection[str] = ()
    ) -> None:
        self._works, self._unplaced, self._but = works, unplaced, but

    def __getitem__(self, workload_id: str) -> Unplaced:
        if workload_id not in self._but and (work := self._works.get(workload_id)) is not None:
            for ask, _ in work.asks:
                if (why := self._unplaced.get(ask.id)) is not None:
                    return why
        raise KeyError(workload_id)

    def __iter__(self) -> Iterator[str]:
        return (i for i in dict.fromkeys(map(workload_of, self._unplaced)) if i in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(eq=False, slots=True)
class _Told:
    """Those that were told the same at the same time; `since_ms`: of the first reason of its kind."""

    why: Unplaced
    since_ms: int
    last_ms: int
    asks: set[str]

    def is_due(self, now_ms: int) -> bool:
        return now_ms - self.last_ms >= max(TOLD_AGAIN_MS, self.last_ms - self.since_ms)


class Teller:
    """
    Tells each workload once that it waits, under its first ask, and again when the reason has become another.
    A pass goes over those who were told together, not over each of them.
    """

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}
        self._together: dict[_Told, None] = {}

    def news(
        self, unplaced: Mapping[str, Unplaced], waiting: Set[str], others: Callable[[str], Iterable[str]],
        now_ms: int,
    ) -> dict[str, Unplaced]:  # fmt: skip
        """
        What is to be told, by ask id.

        Args:
            waiting: one ask of each workload.
            others: the ids of all asks of the same workload. What was told of one that has its place then
                holds for the next.
        """
        new = set(waiting - self._told.keys())
        for id_ in self._told.keys() - waiting:
            told = self._forget(id_)
            heir = next((other for other in others(id_) if other in unplaced), None)
            if heir is not None and heir not in self._told:
                self._add(heir, told)
                new.discard(heir)
        news = {id_: unplaced[id_] for id_ in new}
        kinds = _Kinds(unplaced)
        for told in self._together:
            known, why = told.asks, told.why
            if told.is_due(now_ms):
                same = {identity: other == why for identity, other in kinds.reasons.items()}
                news |= {i: unplaced[i] for i in known if not same[id(unplaced[i])]}
            elif strange := known - kinds.of(why.code):
                news |= {i: unplaced[i] for i in strange}
        return news

    def told(self, news: Mapping[str, Unplaced], now_ms: int) -> None:
        """It is written down."""
        together: dict[tuple[int, int], _Told] = {}
        for id_, why in news.items():
            before = self._told.get(id_)
            since_ms = before.since_ms if before is not None and before.why.code is why.code else now_ms
            if before is not None:
                self._forget(id_)
            known = together.get((id(why), since_ms))
            if known is None:
                known = together[id(why), since_ms] = _Told(why, since_ms, now_ms, set())
            self._add(id_, known)

    def _add(self, id_: str, told: _Told) -> None:
        told.asks.add(id_)
        self._told[id_] = told
        self._together[told] = None

    def _forget(self, id_: str) -> _Told:
        told = self._told.pop(id_)
        told.asks.discard(id_)
        if not told.asks:
            self._together.pop(told, None)
        return told


class _Kinds:
    """What is unplaced, by the codes of the reasons, and each reason once. Those of a class are together."""

    def __init__(self, unplaced: Mapping[str, Unplaced]) -> None:
        self.reasons: dict[int, Unplaced] = {}  # by identity
        self._ids: dict[Code, set[str]] = {}
        ids = iter(unplaced)
        for identity, run in groupby(unplaced.values(), key=id):
            same = list(run)
            self.reasons[identity] = same[0]
            self._ids.setdefault(same[0].code, set()).update(islice(ids, len(same)))

    def of(self, code: Code) -> Set[str]:
        """Ids of the asks that are refused for it."""
        return self._ids.get(code, set())
