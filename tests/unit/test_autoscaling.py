"""How many replicas there are to be: from figures to a decision, never from unknown ones."""

from dataclasses import replace

import pytest

from homeport.server.domain.autoscaling import Decision, Seen, decide, next_look_s, wish, woken
from homeport.server.domain.serving import Scaling, Serving

BUSY = Seen(ready=2, is_settled=True, requests=190)


def scaled(least: int = 1, **fields: object) -> Serving:
    return Serving(replicas=least, scaling=Scaling(**{"most": 5} | fields))  # type: ignore[arg-type]


def decided(serving: Serving, now: int, seen: Seen, *window: int) -> Decision | None:
    assert serving.scaling is not None
    return decide(serving, now, seen, wish(serving, serving.scaling, seen), window)


@pytest.mark.parametrize(
    ("serving", "seen", "asked"),
    [
        pytest.param(scaled(qpm=60.0), BUSY, 4, id="as-many-as-take-the-requests"),
        pytest.param(scaled(qpm=60.0, most=3), BUSY, 3, id="at-most"),
        pytest.param(scaled(2, qpm=60.0), replace(BUSY, requests=0), 2, id="at-least"),
        pytest.param(scaled(qpm=60.0), replace(BUSY, requests=60), 1, id="exactly-full"),
        pytest.param(scaled(qpm=60.0), replace(BUSY, requests=61), 2, id="one-too-many"),
        pytest.param(scaled(qpm=0.5), replace(BUSY, requests=2), 4, id="less-than-one-a-minute"),
        pytest.param(scaled(qpm=60.0), replace(BUSY, requests=None), None, id="requests-not-known"),
        pytest.param(scaled(gpu_percent=50), replace(BUSY, gpu_percent=90), 4, id="gpus-too-busy"),
        pytest.param(scaled(gpu_percent=50), replace(BUSY, gpu_percent=54), 2, id="gpus-busy-enough"),
        pytest.param(scaled(gpu_percent=50), replace(BUSY, gpu_percent=20), 1, id="gpus-idle"),
        pytest.param(scaled(gpu_percent=50), replace(BUSY, gpu_percent=0), 1, id="gpus-quite-idle"),
        pytest.param(scaled(gpu_percent=50), BUSY, None, id="gpus-not-known"),
        pytest.param(scaled(gpu_percent=50), Seen(0, True, None, 90), None, id="nobody-uses-them"),
        pytest.param(scaled(no_traffic_timeout_s=9), BUSY, None, id="no-target"),
    ],
)
def test_figures_ask_for_a_number(serving: Serving, seen: Seen, asked: int | None) -> None:
    assert serving.scaling is not None
    found = wish(serving, serving.scaling, seen)
    assert (found and found.replicas) == asked


@pytest.mark.parametrize(
    ("serving", "now", "seen", "window", "reason", "message"),
    [
        pytest.param(
            scaled(qpm=60.0, most=3), 2, BUSY, (), "ScaledUp",
            "2 -> 3 replicas: 190 requests in the last minute, 60 per replica wanted, at most 3 replicas",
            id="up-at-once",
        ),
        pytest.param(
            scaled(qpm=60.0), 3, replace(BUSY, is_settled=False, requests=290), (), "ScaledUp",
            "3 -> 5 replicas: 290 requests in the last minute, 60 per replica wanted", id="up-all-the-same",
        ),
        pytest.param(
            scaled(qpm=60.0), 3, replace(BUSY, requests=10), (2, 1), "ScaledDown",
            "3 -> 2 replicas: 10 requests in the last minute, 60 per replica wanted, for 5 min no more",
            id="down-to-the-most-of-the-window",
        ),
        pytest.param(scaled(qpm=60.0), 3, replace(BUSY, requests=10), (), "", "", id="not-before-it-is-full"),
        pytest.param(scaled(qpm=60.0), 3, replace(BUSY, requests=10), (3, 1), "", "", id="not-after-a-peak"),
        pytest.param(
            scaled(qpm=60.0), 3, replace(BUSY, requests=10, is_settled=False), (1, 1), "", "",
            id="never-while-one-is-not-ready-yet",
        ),
        pytest.param(scaled(qpm=60.0), 3, replace(BUSY, requests=None), (1,), "", "", id="not-known"),
        pytest.param(
            scaled(gpu_percent=50), 2, replace(BUSY, gpu_percent=88.6), (), "ScaledUp",
            "2 -> 4 replicas: GPUs at 89%, 50% wanted", id="by-gpus",
        ),
        pytest.param(
            scaled(no_traffic_timeout_s=60), 1, replace(BUSY, idle_s=60.4), (), "ScaledToZero",
            "1 -> 0 replicas: no request for 60 s, 60 s is the limit", id="to-zero",
        ),
        pytest.param(scaled(no_traffic_timeout_s=60), 1, replace(BUSY, idle_s=59.9), (), "", "", id="not"),
        pytest.param(scaled(no_traffic_timeout_s=60), 1, BUSY, (), "", "", id="idle-time-not-known"),
        pytest.param(
            scaled(no_traffic_timeout_s=60), 1, Seen(0, False, idle_s=1e6), (), "", "",
            id="what-never-was-ready-stays",
        ),
        pytest.param(scaled(no_traffic_timeout_s=0), 1, replace(BUSY, idle_s=1e6), (), "", "", id="never"),
        pytest.param(scaled(qpm=60.0), 0, BUSY, (5,), "", "", id="zero-is-left-by-a-wake-only"),
        pytest.param(Serving(), 1, replace(BUSY, idle_s=1e6), (), "", "", id="does-not-scale"),
    ],
)  # fmt: skip
def test_decision_tells_its_figures(
    serving: Serving, now: int, seen: Seen, window: tuple[int, ...], reason: str, message: str
) -> None:
    current = wish(serving, serving.scaling, seen) if serving.scaling else None
    found = decide(serving, now, seen, current, window)
    assert (found.reason, found.message) == (reason, message) if reason else found is None
    if found is not None:
        assert message.startswith(f"{now} -> {found.replicas} ")


def test_wake_is_for_as_many_as_its_user_wants() -> None:
    assert woken(scaled(2)) == Decision(2, "Waking", "0 -> 2 replicas: a request waits for it")


@pytest.mark.parametrize(
    ("fields", "idle_s", "pause_s"),
    [
        ({"qpm": 1.0}, None, 5),
        ({"no_traffic_timeout_s": 60}, 20.0, 40),
        ({"no_traffic_timeout_s": 60, "qpm": 1.0}, 20.0, 5),
        ({"no_traffic_timeout_s": 60}, 70.0, 5),
        ({"no_traffic_timeout_s": 60}, None, 5),
    ],
)
def test_next_look_is_when_something_may_be_due(
    fields: dict[str, object], idle_s: float | None, pause_s: float
) -> None:
    serving = scaled(**fields)
    assert serving.scaling is not None
    assert next_look_s(serving.scaling, Seen(1, True, idle_s=idle_s)) == pause_s
