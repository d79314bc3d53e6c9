"""The time of a process of its own; the server's clock is not here."""

import time


def now_ns() -> int:
    return time.time_ns()  # noqa: TID251


def now_ms() -> int:
    return now_ns() // 1_000_000


def monotonic_s() -> float:
    return time.monotonic()  # noqa: TID251


def sleep(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251
