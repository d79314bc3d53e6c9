"""What those that wait are told, and when again: as if each of them was looked at in each pass."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.scheduler.model import Code, Unplaced
from homeport.server.reconcile.refusals import TOLD_AGAIN_MS, Refusals, Teller

FEW, FEWER, LIMIT = (
    Unplaced(("2 nodes are full",)), Unplaced(("1 node is full",)), Unplaced(("2 of 2",), Code.OVER_LIMIT)
)  # fmt: skip


def workload_of(ask_id: str) -> str:
    return ask_id.partition("/")[0]


def told_of_each(
    before: dict[str, tuple[Unplaced, int, int]], refused: Mapping[str, Unplaced], now_ms: int
) -> set[str]:
    """The rule for one workload, for one after another: why, since when, and when it was told last."""
    for gone in before.keys() - refused.keys():
        del before[gone]
    news: set[str] = set()
    for workload, why in refused.items():
        known = before.get(workload)
        if known is not None and known[0] == why:
            continue
        if known is not None and known[0].code is why.code:
            _, since, last = known
            if now_ms - last < max(TOLD_AGAIN_MS, last - since):
                continue
            before[workload] = why, since, now_ms
        else:
            before[workload] = why, now_ms, now_ms
        news.add(workload)
    return news


PASSES = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([FEW, FEWER, LIMIT])),
        st.sampled_from([0, 1_000, 30_000, 60_000, 200_000]),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(PASSES)
def test_those_who_are_told_together_hear_what_each_would_alone(
    passes: list[tuple[dict[str, Unplaced], int]],
) -> None:
    teller, alone, now_ms = Teller(), dict[str, tuple[Unplaced, int, int]](), 0
    for refused, later_ms in passes:
        now_ms += later_ms
        unplaced = {f"{w}/0": Unplaced(why.reasons, why.code) for w, why in refused.items()}
        news = teller.news(unplaced, unplaced.keys(), lambda id_: [id_], now_ms)
        teller.told(news, now_ms)
        assert {workload_of(id_) for id_ in news} == told_of_each(alone, refused, now_ms)
        assert all(news[id_] is unplaced[id_] for id_ in news)


def test_workload_is_told_once_whichever_of_its_replicas_wait() -> None:
    teller = Teller()
    replicas = ["w/0", "w/1", "w/2"]
    waiting = dict.fromkeys(replicas, FEW)
    first = teller.news(waiting, {"w/0"}, lambda _: replicas, 0)
    assert first.keys() == {"w/0"}
    teller.told(first, 0)
    for left in (["w/1", "w/2"], ["w/2"]):  # one after another has its place
        waiting = dict.fromkeys(left, FEW)
        assert teller.news(waiting, {left[0]}, lambda _: replicas, 1) == {}
    assert teller.news({}, set(), lambda _: replicas, 2) == {}
    assert teller.news({"w/2": FEW}, {"w/2"}, lambda _: replicas, 3).keys() == {"w/2"}


def test_what_is_not_written_down_is_news_again() -> None:
    teller = Teller()
    for _ in range(2):
        assert teller.news({"w/0": FEW}, {"w/0"}, lambda _: ["w/0"], 0) == {"w/0": FEW}


def test_nobody_waits_of_whom_nothing_is_known() -> None:
    refused = Refusals({}, {"w/0": FEW})
    assert (list(refused), len(refused), refused.get("w")) == ([], 0, None)
